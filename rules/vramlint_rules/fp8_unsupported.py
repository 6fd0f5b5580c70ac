"""fp8 on a card without fp8 arithmetic.

Why: fp8 matrix products need compute capability 8.9 (Ada) or 9.0 (Hopper). Transformer Engine asserts it when the first
fp8 layer runs.

Example: ``mixed_precision: fp8`` on an A100.

Fix safety: unsafe. bf16 has other numerics and needs more memory.

Sources: Transformer Engine 2.x ``pytorch/quantization.py`` ("Device compute capability 8.9 or higher required for FP8
execution"); torchao ``float8`` (8.9).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, Precision, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._capability import capability, older_than
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL504",
    name="fp8-unsupported",
    summary="fp8 on a card without fp8 arithmetic",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.UNSAFE,
    sources=(
        "https://github.com/NVIDIA/TransformerEngine/blob/main/transformer_engine/pytorch/quantization.py",
        "https://docs.nvidia.com/deeplearning/transformer-engine/user-guide/examples/fp8_primer.html",
    ),
)

_CONFIG = """\
model:
  name: vit_b_16
trainer:
  epochs: 10
  lr: 1.0e-4
  mixed_precision: {}
dataset:
  image_size: 224
  batch_size: 8
"""
VALID = (
    Case("config.yml", _CONFIG.format("fp8"), gpu="h100-80gb"),
    Case("config.yml", _CONFIG.format("bf16"), gpu="a100-40gb"),
)
INVALID = (
    Case("config.yml", _CONFIG.format("fp8"), gpu="a100-40gb", fixed=_CONFIG.format("bf16"), unsafe=True),
    Case("config.yml", _CONFIG.format("fp8"), gpu="t4"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the precision with the card."""
    gpu = older_than(run, (8, 9))
    if gpu is None or run.plan.precision.value is not Precision.FP8:
        return
    repairs = write(run, "precision", to=Precision.BF16, safety=Safety.UNSAFE) if gpu.has_bf16 else ()
    yield Verdict(
        "precision",
        f"{capability(gpu)} has no fp8 arithmetic, which needs 8.9: the first fp8 layer stops the run",
        label=f"no fp8 on {gpu.name}",
        help="Use bf16" if gpu.has_bf16 else "Use fp16 with loss scaling",
        repairs=repairs,
    )
