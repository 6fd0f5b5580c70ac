"""Sharded parameters in a run that fits with replicated ones.

Why: ZeRO-3 and FSDP's full shard gather every layer's weights in the forward and in the backward pass: half as much
communication again as data parallelism. Where the parameters fit on each card, ZeRO-2 (``SHARD_GRAD_OP``) is faster and
still shards gradients and optimizer states.

Example: ZeRO-3 for a 0.5B model on eight 80 GB cards.

Fix safety: none. The stage stands in a file of its own, and its other settings go with it.

Sources: Rajbhandari et al., ZeRO, arXiv 1910.02054, section 7 (communication volume 1.5 times that of data
parallelism).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Severity, Stability, Verdict, revise
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import is_plain
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL608",
    name="sharding-without-need",
    summary="sharded parameters in a run that fits with replicated ones",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://arxiv.org/abs/1910.02054",),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)


def _file(model: str, stage: int = 3) -> str:
    zero = f"{{zero_optimization: {{stage: {stage}}}}}"
    return trainer(model_name_or_path=model, max_length=512, bf16="true", deepspeed=zero)


VALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B"), gpu="a100-40gb", gpus=4),
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B", 2), gpu="a100-80gb", gpus=8),
)
INVALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B"), gpu="a100-80gb", gpus=8),
    Case("sft.yaml", _file("Qwen/Qwen2.5-1.5B"), gpu="h100-80gb", gpus=8),
)


def check(run: Run) -> Iterator[Verdict]:
    """Estimate the run under ZeRO-2; its upper bound has to leave the set target free."""
    plan = run.plan
    if plan.sharding.value not in ("zero3", "fsdp") or not plan.sharding.spelled:
        return
    if (plan.data_parallel.value or 1) < 2 or not is_plain(plan):
        return
    after = run.estimate(revise(plan, {"sharding": "zero2"}))
    required, usable = after.required, after.usable_bytes
    if after.verdict is not MemoryVerdict.FITS or required is None or usable is None:
        return
    if required.high <= run.limits.fill_to * usable:
        lighter = "ZeRO-2" if plan.sharding.value == "zero3" else "SHARD_GRAD_OP"
        yield Verdict(
            "sharding",
            f"sharded parameters are gathered twice a step, and under {lighter} the run needs "
            f"{size(required.value)} of {size(usable)}",
            label=f"{lighter} needs {size(required.value)}",
            help=f"Use {lighter}",
        )
