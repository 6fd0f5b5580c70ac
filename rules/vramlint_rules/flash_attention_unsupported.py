"""FlashAttention on a card that it does not run on.

Why: FlashAttention 2 needs compute capability 8.0 (Ampere), FlashAttention 3 needs 9.0 (Hopper). The first forward pass
raises on anything older. PyTorch's own ``sdpa`` picks a kernel that the card has.

Example: ``attn_implementation: flash_attention_2`` on a V100.

Fix safety: none. What the framework calls its other kernels differs.

Sources: Dao-AILab/flash-attention README ("Ampere, Ada, or Hopper GPUs") and ``csrc/flash_attn/flash_api.cpp``
("FlashAttention only supports Ampere GPUs or newer").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._capability import capability, older_than
from vramlint_rules._cases import trainer

RULE = RuleInfo(
    code="VL505",
    name="flash-attention-unsupported",
    summary="a card that FlashAttention does not run on",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/Dao-AILab/flash-attention#nvidia-cuda-support",
        "https://github.com/Dao-AILab/flash-attention/blob/main/csrc/flash_attn/flash_api.cpp",
    ),
)

_NEEDS = {"flash_attention_2": (8, 0), "flash_attention_3": (9, 0)}
VALID = (
    Case("sft.yaml", trainer(attn_implementation="flash_attention_2", bf16="true"), gpu="a100-40gb"),
    Case("sft.yaml", trainer(attn_implementation="sdpa", fp16="true"), gpu="t4"),
)
INVALID = (
    Case("sft.yaml", trainer(attn_implementation="flash_attention_2", fp16="true"), gpu="t4"),
    Case("sft.yaml", trainer(attn_implementation="flash_attention_3", bf16="true"), gpu="a100-40gb"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the kernel with the card."""
    kernel = run.plan.fact("attention")
    least = _NEEDS.get(str(kernel.value))
    gpu = None if least is None else older_than(run, least)
    # Megatron's switch is a request that falls back.
    if gpu is None or least is None or run.plan.dialect == "megatron":
        return
    yield Verdict(
        "attention",
        f"{capability(gpu)} does not run {kernel.value}, which needs {least[0]}.{least[1]}: the first batch fails",
        label=f"does not run on {gpu.name}",
        help="Use scaled_dot_product_attention (sdpa)",
    )
