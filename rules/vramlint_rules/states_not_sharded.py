"""Replicated states that sharding would make fit.

Why: under data parallelism every rank holds all weights, gradients and optimizer states. Where they do not fit once,
more ranks do not help; ZeRO and FSDP give each rank its share.

Example: full fine-tuning of a 7B model on four 80 GB cards: 105 GiB on each, 50 when sharded.

Fix safety: none. It is another launch configuration.

Sources: Rajbhandari et al., ZeRO, arXiv 1910.02054; PyTorch documentation of ``fully_shard``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Severity, Stability, Verdict, revise
from vramlint_rules._cases import trainer
from vramlint_rules._words import memory_fact, size

RULE = RuleInfo(
    code="VL609",
    name="states-not-sharded",
    summary="replicated states that sharding would make fit",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://arxiv.org/abs/1910.02054", "https://pytorch.org/docs/stable/distributed.fsdp.fully_shard.html"),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)


def _file(model: str, **more: object) -> str:
    return trainer(
        model_name_or_path=model,
        per_device_train_batch_size=1,
        max_length=512,
        bf16="true",
        gradient_checkpointing="true",
        **more,
    )


_ZERO = "{{zero_optimization: {{stage: {}}}}}"
VALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B", deepspeed=_ZERO.format(0)), gpu="a100-80gb", gpus=8),
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B", deepspeed=_ZERO.format(3)), gpu="a100-80gb", gpus=8),
)
INVALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B", deepspeed=_ZERO.format(0)), gpu="a100-80gb", gpus=8),
    Case("sft.yaml", _file("Qwen/Qwen2.5-3B", deepspeed=_ZERO.format(0)), gpu="a100-40gb", gpus=8),
)


def check(run: Run) -> Iterator[Verdict]:
    """Where a run over several ranks does not fit, estimate it sharded."""
    plan, estimate = run.plan, run.estimate()
    ranks = plan.data_parallel.value or 1
    if estimate.verdict is not MemoryVerdict.OVER or ranks < 2 or plan.sharding.value not in ("none", "ddp"):
        return
    after = run.estimate(revise(plan, {"sharding": "fsdp"}))
    if after.required is None or after.verdict is not MemoryVerdict.FITS or estimate.required is None:
        return
    yield Verdict(
        memory_fact(plan),
        f"with all states on every rank the run needs {size(estimate.required.value)}; sharded over {ranks} ranks "
        f"{size(after.required.value)} of {size(after.usable_bytes or 0)}",
        label=f"{size(after.required.value)} sharded",
        help="Start the run under FSDP or ZeRO-3",
    )
