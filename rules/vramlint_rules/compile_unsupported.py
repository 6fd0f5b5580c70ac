"""torch.compile on a card that its kernels do not run on.

Why: the default backend writes Triton kernels, which need compute capability 7.0 (Volta). The first step raises "too
old to be supported by the triton GPU compiler".

Example: ``torch_compile: true`` on a P100.

Fix safety: safe. Eager execution computes the same.

Sources: PyTorch 2.13 ``torch/_inductor/scheduler.py`` (``GPUTooOldForTriton``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._capability import capability, older_than
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL511",
    name="compile-unsupported",
    summary="a card that compiled kernels do not run on",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.SAFE,
    sources=("https://github.com/pytorch/pytorch/blob/main/torch/_inductor/scheduler.py",),
)

VALID = (
    Case("sft.yaml", trainer(torch_compile="true"), gpu="t4"),
    Case("sft.yaml", trainer(torch_compile="false"), gpu="p100-16gb"),
)
INVALID = (
    Case("sft.yaml", trainer(torch_compile="true"), gpu="p100-16gb", fixed=trainer(torch_compile="false")),
    Case("sft.yaml", trainer(torch_compile="True"), gpu="gtx1080ti", fixed=trainer(torch_compile="False")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the switch with the card."""
    gpu, compiled = older_than(run, (7, 0)), run.plan.fact("compile")
    if gpu is None or compiled.value is not True:
        return
    yield Verdict(
        "compile",
        f"{capability(gpu)} is too old for Triton, which needs 7.0: the first step fails",
        label=f"does not run on {gpu.name}",
        help=f"Switch off {run.spelling('compile')}",
        repairs=write(run, "compile", to=False, safety=Safety.SAFE),
    )
