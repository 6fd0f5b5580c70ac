"""FlashAttention in a run that computes in fp32.

Why: FlashAttention has kernels for fp16 and bf16 only. In fp32 the first forward pass raises "FlashAttention only
support fp16 and bf16 data type".

Example: ``attn_implementation: flash_attention_2`` beside ``bf16: false``.

Fix safety: none. Whether to train in bf16 or with another kernel only the author knows.

Sources: Dao-AILab/flash-attention ``csrc/flash_attn/flash_api.cpp``; transformers 5.23.0 ``modeling_utils.py`` ("Flash
Attention 2 only supports torch.float16 and torch.bfloat16 dtypes").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, Precision, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import trainer

RULE = RuleInfo(
    code="VL506",
    name="flash-attention-in-fp32",
    summary="a kernel without fp32 in a run that computes in fp32",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://github.com/Dao-AILab/flash-attention/blob/main/csrc/flash_attn/flash_api.cpp",),
)

_FLASH = ("flash_attention_2", "flash_attention_3")
_DIALECTS = ("hf_trainer", "trl", "axolotl", "llamafactory")
VALID = (
    Case("sft.yaml", trainer(attn_implementation="flash_attention_2", bf16="true")),
    Case("sft.yaml", trainer(attn_implementation="flash_attention_2", torch_dtype="bfloat16")),
)
INVALID = (
    Case("sft.yaml", trainer(attn_implementation="flash_attention_2", bf16="false")),
    Case("sft.yaml", trainer(attn_implementation="flash_attention_2", fp16="false", torch_dtype="float32")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for a spelled fp32 beside the kernel; weights that are loaded in 16 bits compute so."""
    plan = run.plan
    kernel = plan.fact("attention").value
    if kernel not in _FLASH or plan.dialect not in _DIALECTS or plan.precision.value is not Precision.FP32:
        return
    loaded = str(run.setting("torch_dtype").value or run.setting("dtype").value or "")
    if not plan.precision.spelled or loaded.removeprefix("torch.") not in ("", "float32"):
        return
    yield Verdict(
        "attention",
        f"{kernel} has no fp32 kernels and the run computes in fp32: the first batch fails",
        label="fp16 and bf16 only",
        help="Switch on bf16, or use scaled_dot_product_attention (sdpa)",
    )
