"""Prefetched batches do not fit /dev/shm.

Why: workers hand their batches over through shared memory. ``num_workers x prefetch_factor`` batches a rank lie there
at once; when /dev/shm is full, a worker dies with "Bus error". A Docker container has 64 MB unless told otherwise.

Example: 4 workers x 2 batches x 8 images of 1024 x 1024 float32 are 768 MiB.

Fix safety: safe. Fewer batches in flight change nothing in the training arithmetic.

Sources: PyTorch 2.13 ``torch/utils/data/dataloader.py`` (``_MultiProcessingDataLoaderIter._reset``), "It is possible
that dataloader's workers are out of shared memory"; PyTorch README, "Docker Image" (``--shm-size``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._loader import Room, loaders, too_many

RULE = RuleInfo(
    code="VL304",
    name="shm-over",
    summary="the batches in flight do not fit /dev/shm",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=Safety.SAFE,
    sources=("https://github.com/pytorch/pytorch#docker-image", "https://pytorch.org/docs/stable/multiprocessing.html"),
)

_LINE = (
    "torchrun --nproc_per_node=1 train.py --model hrnet --image_size 1024 1024 --batch_size 2 --num_workers {workers} "
    "--prefetch_factor {prefetch} --epochs 5\n"
)
VALID = (
    Case("train.sh", _LINE.format(workers=2, prefetch=1), shm_mib=64),
    Case("train.sh", _LINE.format(workers=8, prefetch=4)),
)
INVALID = (
    Case(
        "train.sh",
        _LINE.format(workers=2, prefetch=4),
        shm_mib=64,
        fixed=_LINE.format(workers=2, prefetch=1),
    ),
    Case(
        "train.sh",
        _LINE.format(workers=4, prefetch=2),
        shm_mib=64,
        fixed=_LINE.format(workers=1, prefetch=2),
    ),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the workers' batches with /dev/shm."""
    shm, loader = run.target.host.shm_bytes, loaders(run)
    if shm is None or loader is None:
        return
    for found in too_many(run, loader, Room(shm, loader.in_flight, 0)):
        yield found._replace(
            message=f"{loader.product}{loader.batch_text} take {found.label} in /dev/shm: a worker dies with a bus "
            "error",
            help=f"Give the container more shared memory (--shm-size), or lower {loader.names}",
        )
