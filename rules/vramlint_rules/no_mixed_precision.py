"""fp32 where memory is short and the card has 16-bit arithmetic.

Why: autocast halves most saved activations and uses the tensor cores. The finding appears only where memory is short:
the run is over or tight, or fills the card beyond the set target; not where a repair of ``vram-over`` says it already.

Example: HRNet at 1024 x 1024 in fp32 on a 12 GB Ampere card.

Fix safety: only shown while ``vram-over`` stands (its repairs weigh mixed precision against a smaller micro batch),
else unsafe: the numerics change in a run that works.

Sources: Micikevicius et al., arXiv 1710.03740; PyTorch ``torch.amp`` documentation.
"""

from collections.abc import Iterator

from vramlint.rule import (
    Case,
    Change,
    Confidence,
    Estimate,
    MemoryVerdict,
    Precision,
    Repair,
    RuleInfo,
    Run,
    Safety,
    Severity,
    Verdict,
    revise,
)
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL502",
    name="no-mixed-precision",
    summary="fp32 where memory is short and the card has 16-bit arithmetic",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=Safety.UNSAFE,
    sources=("https://arxiv.org/abs/1710.03740", "https://pytorch.org/docs/stable/amp.html"),
    needs_gpu=True,
)

_LEAST_SAVING = 0.10
"""A smaller share of the peak is not worth a finding."""

_CONFIG = """\
model:
  name: hrnet
trainer:
  epochs: 10
  lr: 1.0e-4
  mixed_precision: {}
dataset:
  image_size: 1024
  batch_size: {}
"""
VALID = (
    Case("config.yml", _CONFIG.format("fp16", 1), gpu="rtx3060-12gb"),
    Case("config.yml", _CONFIG.format("no", 1), gpu="a100-80gb"),
)
INVALID = (
    Case("config.yml", _CONFIG.format('"no"', 3), gpu="rtx3060-12gb"),
    Case("config.yml", _CONFIG.format("'no'", 12), gpu="a100-40gb"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Where memory is short, estimate the run under autocast."""
    plan, gpu, estimate = run.plan, run.target.gpu, run.estimate()
    if _already_offered(run):
        return
    if gpu is None or not gpu.has_fast_fp16 or plan.precision.value is not Precision.FP32 or not _short(run, estimate):
        return
    is_language = plan.seq_len.value is not None or plan.model_shape.value is not None
    if is_language and not gpu.has_bf16:
        return
    half = Precision.BF16 if is_language else Precision.FP16
    after = run.estimate(revise(plan, {"precision": half}))
    if estimate.required is None or after.required is None:
        return
    before, then = estimate.required.value, after.required.value
    if before - then < _LEAST_SAVING * before:
        return
    repairs: tuple[Repair, ...] = ()
    if run.editable("precision"):
        title = f"use {half.value} autocast ({run.spelling('precision')}): {size(then)}"
        safety = Safety.DISPLAY if estimate.verdict is not MemoryVerdict.FITS else Safety.UNSAFE
        repairs = (Repair(title, safety, (Change("precision", half),)),)
    yield Verdict(
        "precision",
        f"fp32 needs {size(before)}, {half.value} autocast would need {size(then)}, and {gpu.name} has it",
        label=f"{half.value} needs {size(then)}",
        help=f"Use {half.value} autocast with loss scaling" if half is Precision.FP16 else "Use bf16 autocast",
        repairs=repairs,
    )


def _already_offered(run: Run) -> bool:
    """Whether a repair of ``vram-over`` switches mixed precision on: saying it twice helps nobody."""
    return any(change.fact == "precision" for repair in run.repairs_to_fit() for change in repair.changes)


def _short(run: Run, estimate: Estimate) -> bool:
    if estimate.required is None or estimate.usable_bytes is None:
        return False
    return estimate.required.value >= run.limits.fill_to * estimate.usable_bytes or (
        estimate.verdict is not MemoryVerdict.FITS
    )
