"""Pinned batches take most of the host's memory.

Why: pinned memory cannot be swapped out. With ``pin_memory`` every batch that waits for its card is copied into it;
when that is half of the machine and more, everything else starves, and allocations fail although memory looks free.

Example: 8 ranks x 8 workers x 4 batches of 32 images at 1024 x 1024 are 96 GiB pinned.

Fix safety: safe. Fewer batches in flight change nothing in the training arithmetic.

Sources: PyTorch 2.13 ``torch/utils/data/dataloader.py`` (the pin-memory thread empties the workers' queue into pinned
copies) and documentation, "Memory Pinning"; CUDA C++ Best Practices Guide, "Pinned Memory" ("should not be overused").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Stability, Verdict
from vramlint_rules._loader import lighter, loaders
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL311",
    name="pinned-memory-over",
    summary="pinned batches take most of the host's memory",
    severity=Severity.WARNING,
    confidence=Confidence.LOW,
    fix=Safety.SAFE,
    sources=(
        "https://pytorch.org/docs/stable/data.html#memory-pinning",
        "https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/index.html#pinned-memory",
    ),
    stability=Stability.PREVIEW,
)

_MOST = 0.5
_LINE = (
    "torchrun --nproc_per_node=4 train.py --model hrnet --image_size 1024 1024 --batch_size 8 --num_workers {} "
    "--prefetch_factor {} --pin_memory True --epochs 5\n"
)
VALID = (
    Case("train.sh", _LINE.format(4, 2), ram_gib=64),
    Case("train.sh", _LINE.format(8, 4)),
)
INVALID = (
    Case("train.sh", _LINE.format(8, 4), ram_gib=20, fixed=_LINE.format(8, 3)),
    Case("train.sh", _LINE.format(8, 3), ram_gib=12, fixed=_LINE.format(8, 2)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the batches in flight, pinned, with half of the host's memory."""
    ram, loader = run.target.host.ram_bytes, loaders(run)
    if ram is None or loader is None or not loader.pinned:
        return
    pinned, total = loader.in_flight * loader.batch_bytes, loader.in_memory * loader.batch_bytes
    if pinned <= _MOST * ram or total > ram:
        return
    workers, prefetch = run.spelling("workers_per_rank"), run.spelling("prefetch_factor")
    yield Verdict(
        "workers_per_rank",
        f"up to {loader.in_flight} batches of {loader.batch_text} are pinned: {size(pinned)} of {size(ram)} cannot be "
        "swapped out",
        label=f"{size(pinned)} pinned",
        help=f"Lower {prefetch} or {workers}",
        repairs=tuple(lighter(run, loader, int(_MOST * ram) // loader.batch_bytes)),
    )
