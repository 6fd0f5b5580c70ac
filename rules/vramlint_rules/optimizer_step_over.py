"""The optimizer's step is what does not fit.

Why: ``foreach`` implementations copy all parameters for a moment in every step; with large models and short batches
that is the peak of the whole run. A fused optimizer writes in place and needs none of it.

Example: ``optim: adamw_torch`` for a 7B model in bf16: 14 GiB of temporary copies.

Fix safety: none. What the framework calls its fused optimizer differs.

Sources: PyTorch 2.13 ``torch/optim/adamw.py`` (``_multi_tensor_adamw``: "foreach ... sizeof(params) more peak memory",
``_fused_adamw``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Severity, Stability, Verdict, revise
from vramlint_rules._cases import trainer
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL406",
    name="optimizer-step-over",
    summary="the optimizer's step is what does not fit",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://pytorch.org/docs/stable/generated/torch.optim.AdamW.html",),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)

_LEAST_SAVING = 0.03


def _file(optimizer: str, model: str = "Qwen/Qwen2.5-1.5B") -> str:
    return trainer(
        model_name_or_path=model,
        per_device_train_batch_size=1,
        max_length=256,
        bf16="true",
        torch_dtype="bfloat16",
        gradient_checkpointing="true",
        packing="true",
        optim=optimizer,
    )


VALID = (
    Case("sft.yaml", _file("adamw_torch_fused"), gpu="rtx3060-12gb"),
    Case("sft.yaml", _file("adamw_torch"), gpu="a100-40gb"),
)
INVALID = (
    Case("sft.yaml", _file("adamw_torch"), gpu="rtx3060-12gb"),
    Case("sft.yaml", _file("adamw_torch", "Qwen/Qwen2.5-3B"), gpu="rtx4090"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Where the step is the peak of a run that does not surely fit, estimate it with a fused optimizer."""
    plan, estimate = run.plan, run.estimate()
    if estimate.phase != "optimizer" or estimate.verdict not in (MemoryVerdict.OVER, MemoryVerdict.TIGHT):
        return
    name = (plan.optimizer.value or "").lower()
    after = run.estimate(revise(plan, {"optimizer": "adamw_torch_fused"}))
    if "adam" not in name or estimate.required is None or after.required is None:
        return
    before, then = estimate.required.value, after.required.value
    if before - then < _LEAST_SAVING * before:
        return
    yield Verdict(
        "optimizer",
        f"the peak is the step of {plan.optimizer.value}, which copies all parameters: a fused one needs {size(then)} "
        f"instead of {size(before)}",
        label=f"{size(before - then)} of copies",
        help="Use the fused form of the optimizer (adamw_torch_fused, fused=True)",
    )
