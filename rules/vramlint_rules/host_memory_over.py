"""Prefetched batches do not fit the host's memory.

Why: every rank keeps ``num_workers x prefetch_factor`` batches ready, one more in use, and a pinned copy with
``pin_memory``. Workers and prefetch cost host memory and never GPU memory; when it is full, the kernel kills the run.

Example: 8 GPUs x 16 workers x 4 batches of 32 images at 1024 x 1024 float32 are 192 GiB.

Fix safety: safe. Fewer batches in flight change nothing in the training arithmetic.

Sources: PyTorch 2.13 ``torch/utils/data/dataloader.py`` (``_MultiProcessingDataLoaderIter``, ``pin_memory``). The
number is a lower bound: the workers' own memory (pytorch/pytorch#13246) comes on top.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._loader import Room, loaders, too_many

RULE = RuleInfo(
    code="VL305",
    name="host-memory-over",
    summary="the batches in flight do not fit the host's memory",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=Safety.SAFE,
    sources=("https://github.com/pytorch/pytorch/issues/13246",),
)

_LINE = (
    "torchrun --nproc_per_node=2 train.py --model hrnet --image_size 1024 1024 --batch_size 16 "
    "--num_workers {workers} --prefetch_factor {prefetch} --epochs 5\n"
)
VALID = (
    Case("train.sh", _LINE.format(workers=4, prefetch=2), ram_gib=16),
    Case("train.sh", _LINE.format(workers=16, prefetch=8)),
)
INVALID = (
    Case(
        "train.sh",
        _LINE.format(workers=8, prefetch=8),
        ram_gib=16,
        fixed=_LINE.format(workers=8, prefetch=5),
    ),
    Case(
        "train.sh",
        _LINE.format(workers=16, prefetch=2),
        ram_gib=8,
        fixed=_LINE.format(workers=16, prefetch=1),
    ),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the loaders' batches with the host's memory."""
    ram, loader = run.target.host.ram_bytes, loaders(run)
    if ram is None or loader is None:
        return
    for found in too_many(run, loader, Room(ram, loader.in_memory, loader.in_memory - loader.in_flight)):
        yield found._replace(
            message=f"{loader.product}{loader.batch_text} hold at least {found.label} host memory: the kernel kills "
            "the run",
            help=f"Lower {loader.names}; neither costs GPU memory",
        )
