"""fp32 matrix products without TF32 on a card that has it.

Why: since PyTorch 1.12 matrix products in fp32 run in full precision unless TF32 is allowed. On Ampere and later TF32
is up to eight times faster at fp32's range with a 10-bit mantissa.

Example: ``tf32: false`` in an fp32 run on an A100.

Fix safety: unsafe. The mantissa of matrix products is shorter.

Sources: PyTorch documentation, "TensorFloat-32 (TF32) on Ampere (and later) devices"; NVIDIA A100 whitepaper, table 1.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, Precision, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL509",
    name="tf32-off",
    summary="fp32 matrix products without TF32 on a card that has it",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    fix=Safety.UNSAFE,
    sources=("https://pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices",),
    pedantic=True,
)

VALID = (
    Case("sft.yaml", trainer(tf32="true"), gpu="a100-40gb"),
    Case("sft.yaml", trainer(tf32="false", bf16="true"), gpu="a100-40gb"),
)
INVALID = (
    Case("sft.yaml", trainer(tf32="false"), gpu="a100-40gb", fixed=trainer(tf32="true"), unsafe=True),
    Case("sft.yaml", trainer(tf32="False"), gpu="rtx3060-12gb", fixed=trainer(tf32="True"), unsafe=True),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for the switch spelled off in an fp32 run."""
    gpu, tf32 = run.target.gpu, run.plan.fact("tf32")
    if gpu is None or not gpu.known_capability or not gpu.has_bf16:
        return
    if tf32.value is not False or not tf32.spelled or run.plan.precision.value is not Precision.FP32:
        return
    name = run.spelling("tf32")
    yield Verdict(
        "tf32",
        f"{name} is off in an fp32 run on {gpu.name}: matrix products leave the tensor cores unused",
        label="tensor cores unused",
        help=f"Switch on {name}, unless the model needs full fp32 products",
        repairs=write(run, "tf32", to=True, safety=Safety.UNSAFE),
    )
