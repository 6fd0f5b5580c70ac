"""DistributedDataParallel keeps a second copy of the gradients.

Why: the reducer communicates in buckets, which hold all gradients once more unless ``gradient_as_bucket_view=True``
makes the gradients views of them. Where memory is short that copy is worth having back.

Example: a model of 1 billion fp32 parameters: 3.7 GiB of buckets.

Fix safety: none. It is an argument of DistributedDataParallel, in code.

Sources: PyTorch 2.13 ``torch/nn/parallel/distributed.py`` (``gradient_as_bucket_view``: "reduces peak memory usage,
where the saved memory size will be equal to the total gradients size").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import trainer
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL407",
    name="gradients-copied-into-buckets",
    summary="a second copy of the gradients where memory is short",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html",),
)

_LEAST_SHARE = 0.03


def _file(length: int) -> str:
    return trainer(
        per_device_train_batch_size=1, max_length=length, bf16="true", packing="true", gradient_checkpointing="true"
    )


VALID = (
    Case("sft.yaml", _file(256), gpu="rtx3060-12gb", gpus=1),
    Case("sft.yaml", _file(256), gpu="a100-40gb", gpus=2),
)
INVALID = (
    Case("sft.yaml", _file(1024), gpu="rtx3060-12gb", gpus=2),
    Case("sft.yaml", _file(2048), gpu="rtx3060-12gb", gpus=4),
)


def check(run: Run) -> Iterator[Verdict]:
    """Weigh the buckets of a run that does not surely fit."""
    estimate = run.estimate()
    if estimate.verdict not in (MemoryVerdict.OVER, MemoryVerdict.TIGHT) or run.plan.fact("bucket_view").value:
        return
    buckets = sum(part.bytes for part in estimate.components if part.name == "DDP buckets")
    if estimate.usable_bytes is None or buckets < _LEAST_SHARE * estimate.usable_bytes:
        return
    yield Verdict(
        "world_size",
        f"DistributedDataParallel's buckets hold the gradients a second time: {size(buckets)} of "
        f"{size(estimate.usable_bytes)} usable",
        label=f"{size(buckets)} of buckets",
        help="Pass gradient_as_bucket_view=True to DistributedDataParallel",
    )
