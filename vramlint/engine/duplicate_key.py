"""A key that stands twice in one mapping.

Why: most loaders keep the last one in silence, so the value that people read first is not the one that trains. Some
loaders (OmegaConf, DeepSpeed's, ruamel.yaml) refuse the file: there it is an error.

Example: ``batch_size: 8`` and, forty lines further down, ``batch_size: 16``.

Fix safety: none. Only its author knows which of the two is meant.

Sources: YAML 1.2.2, section 3.2.1.3 (keys are unique); DeepSpeed 0.18 ``runtime/config_utils.py``
(``dict_raise_error_on_duplicate_keys``).

The readers see this while they read; the rule itself only names it and asks the dialect's loader how bad it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.dialects.loaders import refuses_duplicates
from vramlint.dialects.model import Reading
from vramlint.findings import Finding
from vramlint.fix.edits import location_of
from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint.sources.model import Document, Entry, Mapping, Problem

RULE = RuleInfo(
    code="VL002",
    name="duplicate-key",
    summary="a key that stands twice in one mapping",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://yaml.org/spec/1.2.2/#nodes",
        "https://github.com/deepspeedai/DeepSpeed/blob/master/deepspeed/runtime/config_utils.py",
    ),
)
_HF = "output_dir: out\nper_device_train_batch_size: 4\n{}gradient_accumulation_steps: 2\n"
VALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("")),
    Case("sft.yaml", _HF.format("per_device_eval_batch_size: 4\n")),
)
INVALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("per_device_train_batch_size: 8\n")),
    Case("sft.yaml", _HF.format("learning_rate: 1.0e-4\nlearning_rate: 2.0e-5\n")),
)


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: see ``findings``."""
    yield from ()


def findings(reading: Reading) -> Iterator[Finding]:
    """One finding for each key that is spelled again, where the whole file was claimed."""
    document = reading.document
    if reading.subject is not document or not document.problems:
        return
    fatal = refuses_duplicates(reading.plan.dialect, document.syntax)
    for problem in document.problems:
        if problem.kind == "duplicate-key":
            yield _finding(problem, document, fatal=fatal)


def _finding(problem: Problem, document: Document, *, fatal: bool) -> Finding:
    place = location_of(document, problem.span)
    key = document.text[problem.span.start : problem.span.end].strip("\"'")
    first = _first_of(problem, document)
    lines = f"{place.line}" if first is None else f"{first} and {place.line}"
    line = "lines" if first is not None else "line"
    return Finding(
        RULE.code,
        RULE.name,
        Severity.ERROR if fatal else Severity.WARNING,
        RULE.confidence,
        place,
        f"{key} stands twice, on {line} {lines}: "
        + ("the loader refuses the file" if fatal else "only the last counts"),
        label="spelled again",
        help=f"Remove the {key} that is not meant.",
        fact=key,
    )


def _first_of(problem: Problem, document: Document) -> int | None:
    """The line that spells the same key first, in the mapping that the problem lies in."""
    for mapping in document.mappings():
        again = next((entry for entry in mapping.entries if entry.key_span == problem.span), None)
        if again is not None:
            return _line_of(again, mapping, document)
    return None


def _line_of(again: Entry, mapping: Mapping, document: Document) -> int | None:
    others = (entry for entry in mapping.entries if entry.key == again.key and not entry.merged)
    first = min(others, key=lambda entry: entry.key_span.start)
    return None if first is again else document.position(first.key_span.start).line
