"""Packed samples see each other.

Why: packing joins short samples into one row. Only attention kernels that are told where a sample ends keep them apart
(FlashAttention and its kin, through position ids); under plain attention every token attends to the samples in front of
its own. The run works and learns from mixed contexts.

Example: ``packing: true`` with ``attn_implementation: eager``.

Fix safety: unsafe. Another kernel has to be installed and changes the arithmetic a little.

Sources: TRL 1.10 ``trainer/sft_trainer.py`` ("Padding-free training is enabled, but the attention implementation is not
set to a supported flash attention variant").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Stability, Verdict
from vramlint_rules._cases import trainer

RULE = RuleInfo(
    code="VL113",
    name="packing-mixes-samples",
    summary="packed samples see each other",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://github.com/huggingface/trl/blob/main/trl/trainer/sft_trainer.py",),
    stability=Stability.PREVIEW,
)

_MIXING = {
    "trl": ("eager", "sdpa"),
    "hf_trainer": ("eager", "sdpa"),
}
"""Kernels under which the framework's packing mixes samples; others have masks or kernels of their own."""
VALID = (
    Case("sft.yaml", trainer(packing="true", attn_implementation="flash_attention_2", max_length=2048)),
    Case("sft.yaml", trainer(packing="false", attn_implementation="eager", max_length=2048)),
)
INVALID = (
    Case("sft.yaml", trainer(packing="true", attn_implementation="eager", max_length=2048)),
    Case("sft.yaml", trainer(packing="true", attn_implementation="sdpa", max_length=4096)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for packing under a kernel that knows no borders."""
    plan = run.plan
    kernel = plan.fact("attention")
    if not plan.fact("packing").value or kernel.value not in _MIXING.get(plan.dialect, ()):
        return
    yield Verdict(
        "attention",
        f"packing under {kernel.value} attention: every token attends to the samples in front of its own",
        label="knows no sample borders",
        help="Use FlashAttention, or switch packing off",
    )
