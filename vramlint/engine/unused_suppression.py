"""A suppression comment that suppresses nothing.

Why: the setting was repaired, or the rule renamed, and the comment now hides the next mistake of that line.

Example: ``batch_size: 64  # vramlint: ignore[vram-over] the A100 run`` after the batch was halved.

Fix safety: none. Take the comment out. Only rules that ran count, so ``--select`` makes no comment unused.

Sources: the same in other linters, ruff's RUF100.

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
_HF = "output_dir: out\nper_device_train_batch_size: 4{}\ngradient_accumulation_steps: 2\n"
VALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("  # the batch of the paper")),
    Case("sft.yaml", _HF.format("  # vramlint: ignore[effective-batch] said in the README"), gpus=1),
)
INVALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("  # vramlint: ignore[queue-not-divisible] the old queue")),
    Case("sft.yaml", _HF.format("  # vramlint: ignore[VL201] the old queue")),
)


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: see ``vramlint.engine.suppressions``."""
    yield from ()
