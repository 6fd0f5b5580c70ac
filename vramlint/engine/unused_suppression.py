"""A suppression comment that suppresses nothing.

Why: the setting was repaired, or the rule renamed, and the comment now hides the next mistake of that line.

Example: ``batch_size: 64  # vramlint: ignore[vram-over] the A100 run`` after the batch was halved.

Fix: none; take the comment out. Only rules that ran count, so ``--select`` makes no comment unused.

The engine itself judges this: it alone sees which findings the comments took away.
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict

RULE = RuleInfo(
    code="VL901",
    name="unused-suppression",
    summary="a vramlint: ignore comment that suppresses nothing",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://docs.astral.sh/ruff/rules/unused-noqa/",),
)
VALID: tuple[Case, ...] = ()
INVALID: tuple[Case, ...] = ()


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: see ``vramlint.engine.suppressions``."""
    yield from ()
