"""A suppression comment that names no rule there is.

Why: a misspelled or renamed rule in brackets suppresses nothing, and the finding it was written for is back; or it was
never there, and the comment promises what it does not do.

Example: ``batch_size: 64  # vramlint: ignore[vram-ovr] the A100 run``.

Fix safety: none. Which rule is meant only the author knows; the help names the nearest.

Sources: the comments of other linters, ``ruff``'s RUF100 and ``mypy``'s unused-ignore.

The engine itself judges this: rules see no comments.
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.engine.rules import RuleSet
from vramlint.engine.suppressions import suppressions
from vramlint.findings import Finding
from vramlint.fix.edits import location_of
from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint.sources.model import Document

RULE = RuleInfo(
    code="VL902",
    name="unknown-suppression",
    summary="a vramlint: ignore comment that names no rule there is",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://docs.astral.sh/ruff/rules/unused-noqa/",),
)
_HF = "output_dir: out\nper_device_train_batch_size: 4{}\ngradient_accumulation_steps: 2\n"
VALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("  # vramlint: ignore[effective-batch] said in the README")),
    Case("sft.yaml", _HF.format("  # vramlint: ignore[VL1] said in the README")),
)
INVALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("  # vramlint: ignore[effective-bach] said in the README")),
    Case("sft.yaml", _HF.format("  # vramlint: ignore[VL877] said in the README")),
)


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: see ``findings``."""
    yield from ()


def findings(document: Document, rules: RuleSet) -> Iterator[Finding]:
    """One finding for each name in brackets that means no rule."""
    for comment in suppressions(document):
        for name in comment.rules:
            if rules.knows(name):
                continue
            near = rules.nearest(name)
            yield Finding(
                RULE.code,
                RULE.name,
                RULE.severity,
                RULE.confidence,
                location_of(document, comment.comment.span),
                f"no rule is called {name}: the comment suppresses nothing",
                label="no such rule",
                help=f"Did you mean {near}?" if near else "`vramlint rules` lists them.",
            )
