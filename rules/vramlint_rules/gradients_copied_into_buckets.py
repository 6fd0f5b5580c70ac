"""DistributedDataParallel keeps a second copy of the gradients.

Why: the reducer communicates in buckets, which hold all gradients once more unless ``gradient_as_bucket_view=True``
makes the gradients views of them. Where memory is short that copy is worth having back.

Example: ConvNeXt-Large (198 million fp32 parameters): 0.74 GiB of buckets on a 12 GB card.

Fix safety: none. It is an argument of DistributedDataParallel, in code.

Sources: PyTorch 2.13 ``torch/nn/parallel/distributed.py`` (``gradient_as_bucket_view``: "reduces peak memory usage,
where the saved memory size will be equal to the total gradients size").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Severity, Stability, Verdict
from vramlint_rules._cases import torchrun
from vramlint_rules._repairs import is_language
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL407",
    name="gradients-copied-into-buckets",
    summary="a second copy of the gradients where memory is short",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html",),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)

_LEAST_SHARE = 0.03


def _line(ranks: int, batch: int) -> str:
    return torchrun(ranks, model="convnext_large", batch_size=batch, mixed_precision=True, use_ddp=True)


VALID = (
    Case("train.sh", _line(1, 32), gpu="rtx3060-12gb"),
    Case("train.sh", _line(2, 8), gpu="rtx3060-12gb"),
)
INVALID = (
    Case("train.sh", _line(2, 32), gpu="rtx3060-12gb"),
    Case("train.sh", _line(4, 36), gpu="rtx3060-12gb"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Weigh the buckets of a run that does not surely fit."""
    estimate = run.estimate()
    if estimate.verdict not in (MemoryVerdict.OVER, MemoryVerdict.TIGHT) or run.plan.fact("bucket_view").value:
        return
    buckets = sum(part.bytes for part in estimate.components if part.name == "DDP buckets")
    required, usable = estimate.required, estimate.usable_bytes
    if required is None or usable is None or buckets < _LEAST_SHARE * usable or required.value - buckets > usable:
        return
    # The launch of a language model may shard it, and DeepSpeed has buckets of its own.
    if (is_language(run.plan) and run.plan.sharding.value is None) or run.setting("deepspeed").location is not None:
        return
    yield Verdict(
        "world_size",
        f"DistributedDataParallel's buckets hold the gradients a second time: {size(buckets)} of {size(usable)} usable",
        label=f"{size(buckets)} of buckets",
        help="Pass gradient_as_bucket_view=True to DistributedDataParallel",
    )
