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
from vramlint_rules._loader import lighter, loaders
from vramlint_rules._words import size

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
    if shm is None or loader is None or loader.in_flight * loader.batch_bytes <= shm:
        return
    needed = loader.in_flight * loader.batch_bytes
    workers, prefetch = run.spelling("workers_per_rank"), run.spelling("prefetch_factor")
    ranks = f"{loader.ranks} ranks x " if loader.ranks > 1 else ""
    yield Verdict(
        "workers_per_rank",
        f"{ranks}{loader.workers} workers x {loader.prefetch} batches of {loader.batch_text} = {size(needed)} in "
        f"/dev/shm of {size(shm)}: a worker dies with a bus error",
        label=f"{size(needed)} in flight",
        help=f"Give the container more shared memory (--shm-size), or lower {workers} or {prefetch}",
        repairs=tuple(lighter(run, loader, shm // loader.batch_bytes)),
        severity=Severity.ERROR if loader.in_flight * loader.least_bytes > shm else None,
    )
