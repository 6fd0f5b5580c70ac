"""The logits of the loss are what does not fit.

Why: the last layer of a language model gives one number per token and word of the vocabulary, and the loss copies them
to fp32 and normalises them: at 150,000 words more than all layers together. Fused or chunked losses (Liger, torchtune's
chunked output, cut cross entropy) never hold them all.

Example: Qwen2.5-0.5B at 4 x 2,048 tokens: 15 GiB of logits under 12 GiB of everything else.

Fix safety: none. What the framework calls it differs, and the kernel has to be installed.

Sources: Hsu et al., Liger Kernel, arXiv 2410.10989; Wijmans et al., Cut Your Losses, arXiv 2411.09009; the estimator,
``docs/memory.md``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Severity, Stability, Verdict, revise
from vramlint_rules._cases import trainer
from vramlint_rules._words import memory_fact, size

RULE = RuleInfo(
    code="VL413",
    name="logits-dominate",
    summary="the logits of the loss are what does not fit",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://arxiv.org/abs/2410.10989", "https://arxiv.org/abs/2411.09009"),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)

_LEAST_SAVING = 0.15


def _file(length: int, **more: object) -> str:
    return trainer(model_max_length=length, bf16="true", **more)


VALID = (
    Case("sft.yaml", _file(2048, use_liger_kernel="true"), gpu="rtx4090"),
    Case("sft.yaml", _file(512), gpu="a100-80gb"),
)
INVALID = (
    Case("sft.yaml", _file(2048), gpu="rtx4090"),
    Case("sft.yaml", _file(2048, gradient_checkpointing="true"), gpu="rtx3060-12gb"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Where a language model does not surely fit, estimate it with a fused loss."""
    plan, estimate = run.plan, run.estimate()
    if estimate.verdict not in (MemoryVerdict.OVER, MemoryVerdict.TIGHT) or plan.fact("fused_loss").value:
        return
    if run.shape is None or estimate.required is None:
        return
    after = run.estimate(revise(plan, {"fused_loss": True}))
    if after.required is None:
        return
    before, then = estimate.required.value, after.required.value
    if before - then >= _LEAST_SAVING * before:
        yield Verdict(
            memory_fact(plan),
            f"{size(before - then)} of {size(before)} are logits over {run.shape.vocabulary:,} words: a fused loss "
            f"needs {size(then)}",
            label=f"{size(before - then)} of logits",
            help="Use a fused or chunked cross entropy (Liger kernel, cut cross entropy)",
        )
