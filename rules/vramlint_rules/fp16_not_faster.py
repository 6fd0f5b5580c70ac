"""fp16 on a card whose fp16 arithmetic is slow.

Why: before Volta most cards compute fp16 at a fraction of their fp32 rate (1/64 on Pascal's GeForce cards). Autocast
still halves the activations, but the run gets slower.

Example: ``fp16: true`` on a GTX 1080 Ti.

Fix safety: none. Where memory is short the exchange may be wanted.

Sources: CUDA C++ Programming Guide, "Throughput of Native Arithmetic Instructions" (16-bit add and multiply by compute
capability).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, Precision, RuleInfo, Run, Severity, Verdict
from vramlint_rules._capability import capability, older_than
from vramlint_rules._cases import trainer

RULE = RuleInfo(
    code="VL512",
    name="fp16-not-faster",
    summary="fp16 on a card whose fp16 arithmetic is slow",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#arithmetic-instructions",),
)

_FAST = ((6, 0), (6, 2))
"""P100 and the Tegra X2 compute fp16 at twice the rate of fp32."""
VALID = (
    Case("sft.yaml", trainer(fp16="true"), gpu="t4"),
    Case("sft.yaml", trainer(fp16="true"), gpu="p100-16gb"),
)
INVALID = (
    Case("sft.yaml", trainer(fp16="true"), gpu="gtx1080ti"),
    Case("sft.yaml", trainer(fp16="True"), gpu="p40"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the precision with the card."""
    gpu = older_than(run, (7, 0))
    if gpu is None or gpu.capability in _FAST:
        return
    if run.plan.precision.value in (Precision.FP16, Precision.PURE_FP16):
        yield Verdict(
            "precision",
            f"{capability(gpu)} computes fp16 slower than fp32: only memory is won",
            label=f"slow on {gpu.name}",
            help="Use fp32 unless the run needs the memory",
        )
