"""Activation checkpointing in a run that fits without it.

Why: checkpointing computes the forward pass twice, a fifth to a third of the time. Where the activations fit, that time
is paid for nothing.

Example: ``gradient_checkpointing: true`` for a 0.5B model at 512 tokens on an 80 GB card.

Fix safety: unsafe, although the numerics stay: a run that works must not run out of memory because an estimate was low.

Sources: Chen et al., arXiv 1604.06174; the estimator, ``docs/memory.md``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Safety, Severity, Stability, Verdict, revise
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import is_plain, write
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL409",
    name="checkpointing-without-need",
    summary="activation checkpointing in a run that fits without it",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=Safety.UNSAFE,
    sources=("https://arxiv.org/abs/1604.06174",),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)


def _file(on: str, length: int) -> str:
    return trainer(max_length=length, bf16="true", gradient_checkpointing=on)


VALID = (
    Case("sft.yaml", _file("true", 4096), gpu="rtx4090"),
    Case("sft.yaml", _file("false", 512), gpu="a100-80gb"),
)
INVALID = (
    Case("sft.yaml", _file("true", 512), gpu="a100-80gb", fixed=_file("false", 512), unsafe=True),
    Case("sft.yaml", _file("True", 1024), gpu="h100-80gb", fixed=_file("False", 1024), unsafe=True),
)


def check(run: Run) -> Iterator[Verdict]:
    """Estimate the run without it; its upper bound has to leave the set target free."""
    checkpointing = run.plan.grad_checkpointing
    if checkpointing.value is not True or not checkpointing.spelled or not is_plain(run.plan):
        return
    after = run.estimate(revise(run.plan, {"grad_checkpointing": False}))
    required, usable = after.required, after.usable_bytes
    if after.verdict is not MemoryVerdict.FITS or required is None or usable is None:
        return
    if required.high > run.limits.fill_to * usable:
        return
    name = run.spelling("grad_checkpointing")
    yield Verdict(
        "grad_checkpointing",
        f"{name} costs a fifth to a third of the time, and without it the run needs {size(required.value)} of "
        f"{size(usable)}",
        label=f"{size(required.value)} without it",
        help=f"Switch off {name}",
        repairs=write(run, "grad_checkpointing", to=False, safety=Safety.UNSAFE, why=f"needs {size(required.value)}"),
    )
