"""A key that the framework does not know and that looks like one it knows.

Why: a misspelled setting does not hold. Frameworks that check their keys stop at start-up, after the job has waited for
its machine; a program that does not check them trains with the default.

Example: ``gradient_accumulaton_steps: 8``.

Fix safety: none. The help names the key that was probably meant.

Sources: transformers 5.23.0 ``hf_argparser.py`` (unused keys are refused); accelerate 1.15
``commands/config/config_args.py`` ("has unknown keys").

Only files whose dialect has a complete list of keys are looked at (``vramlint/dialects/known_keys``), and only keys
with a near match that the file does not spell as well: programs have settings of their own beside the framework's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from vramlint.dialects import known_keys
from vramlint.dialects.model import Reading
from vramlint.findings import Finding
from vramlint.fix.edits import location_of
from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint.sources.model import Mapping, Syntax

RULE = RuleInfo(
    code="VL003",
    name="unknown-key",
    summary="a key that looks like one of the framework's and is none",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=(
        "https://github.com/huggingface/transformers/blob/main/src/transformers/hf_argparser.py",
        "https://github.com/huggingface/accelerate/blob/main/src/accelerate/commands/config/config_args.py",
    ),
)
_HF = "output_dir: out\nper_device_train_batch_size: 4\n{}: 2\n"
VALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("gradient_accumulation_steps")),
    Case("sft.yaml", _HF.format("my_own_setting")),
)
INVALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("gradient_accumulaton_steps")),
    Case("sft.yaml", _HF.format("per_device_eval_batchsize")),
)

_NEAR = 0.9
"""Likeness (difflib) from which a key is a slip of the pen and not another setting."""
_SHORTEST = 6
"""Shorter keys are like each other by chance (``lr0`` and ``lrf``)."""
_STOPS = ("accelerate",)
"""Dialects whose files hold nothing but the framework's keys, and which stop at another."""


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: see ``findings``."""
    yield from ()


def findings(reading: Reading) -> Iterator[Finding]:
    """One finding for each misspelled key at the top of a claimed data file."""
    document, dialect = reading.document, reading.plan.dialect
    root = document.root
    if dialect not in known_keys.DIALECTS or document.syntax not in (Syntax.YAML, Syntax.JSON):
        return
    if reading.subject is not document or not isinstance(root, Mapping):
        return
    known = _known(dialect)
    spelled = root.keys()
    for entry in root.entries:
        key = entry.key
        if key in known.all or entry.merged or len(key) < _SHORTEST:
            continue
        from difflib import get_close_matches  # most files spell every key right

        near = [name for name in get_close_matches(key, known.settings, n=1, cutoff=_NEAR) if name not in spelled]
        if near:
            stops = dialect in _STOPS
            yield Finding(
                RULE.code,
                RULE.name,
                Severity.ERROR if stops else RULE.severity,
                Confidence.HIGH if stops else RULE.confidence,
                location_of(document, entry.key_span),
                f"{key} is no setting of {known.source}: "
                + ("it stops" if stops else "it stops, or the default holds"),
                label="unknown",
                help=f"Did you mean {near[0]}?",
                fact=key,
            )


class _Known(NamedTuple):
    settings: tuple[str, ...]
    all: frozenset[str]
    source: str


@lru_cache(maxsize=8)
def _known(dialect: str) -> _Known:
    settings, others = known_keys.load(dialect)
    return _Known(settings, frozenset((*settings, *others)), known_keys.SOURCES[dialect])
