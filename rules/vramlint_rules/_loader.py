"""What the data loaders of one node hold in host memory.

``torch/utils/data/dataloader.py`` (PyTorch 2.13, ``_MultiProcessingDataLoaderIter._reset``) sends out ``num_workers x
prefetch_factor`` batches at start and tops them up as they are consumed; the tensors travel through ``/dev/shm``
(``torch.multiprocessing``, both sharing strategies). One more batch is being consumed, and a pinned copy of one exists
with ``pin_memory``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vramlint.rule import Repair, Run, Safety, Severity, TrainingPlan, Verdict
from vramlint_rules._repairs import write
from vramlint_rules._words import size

DEFAULT_PREFETCH = 2
"""``DataLoader(prefetch_factor=None)`` with workers means 2 (PyTorch 2.0 and later)."""
_CHANNELS, _FLOAT32, _INT64 = 3, 4, 8
_TOKEN_TENSORS = 3
"""Token ids, attention mask and labels, as the usual collators make them, in int64."""


class Loaders(NamedTuple):
    """The training loaders of one node; a batch as float32 pixels (``batch_bytes``) and as bytes straight from disk."""

    ranks: int
    workers: int
    prefetch: int
    batch_bytes: int
    least_bytes: int
    batch_text: str
    pinned: bool
    names: str
    """What the file calls prefetch and workers, for help sentences."""

    @property
    def product(self) -> str:
        """``2 ranks x 4 workers x 2 batches of ``, in front of what a batch is."""
        ranks = f"{self.ranks} ranks x " if self.ranks > 1 else ""
        return f"{ranks}{self.workers} workers x {self.prefetch} batches of "

    @property
    def in_flight(self) -> int:
        """Batches that workers have ready or in work, over all ranks of the node."""
        return self.ranks * self.workers * self.prefetch

    @property
    def in_memory(self) -> int:
        """The same with the batch in use and its pinned copy."""
        return self.in_flight + self.ranks * (2 if self.pinned else 1)


def loaders(run: Run) -> Loaders | None:
    """The node's loaders; None where workers, batch or sample size are unknown, or no workers run."""
    plan = run.plan
    ranks, workers = ranks_per_node(run), plan.workers_per_rank.value
    batch = plan.fact("loader_batch").value or plan.micro_batch.value
    sample = _sample_bytes(plan)
    if ranks is None or not workers or not batch or sample is None:
        return None
    most, least, text = sample
    prefetch = plan.prefetch_factor.value or DEFAULT_PREFETCH
    names = f"{run.spelling('prefetch_factor')} or {run.spelling('workers_per_rank')}"
    shown, pinned = f"{batch} x {text}", bool(plan.pin_memory.value)
    return Loaders(ranks, workers, prefetch, batch * most, batch * least, shown, pinned, names)


class Room(NamedTuple):
    """Where batches lie: its bytes, how many batches are there at once, and how many of them are not in flight."""

    size_bytes: int
    batches: int
    resting: int


def too_many(run: Run, loader: Loaders, room: Room) -> Iterator[Verdict]:
    """A verdict, its words still to be filled in, where the batches do not fit; an error where they cannot by any
    reading of a sample's bytes. The label compares the two sizes."""
    needed = room.batches * loader.batch_bytes
    if needed <= room.size_bytes:
        return
    fitting = room.size_bytes // loader.batch_bytes - room.resting
    certain = room.batches * loader.least_bytes > room.size_bytes
    yield Verdict(
        "workers_per_rank",
        "",
        label=f"{size(needed)} of {size(room.size_bytes)}",
        repairs=tuple(lighter(run, loader, fitting)),
        severity=Severity.ERROR if certain else None,
    )


def refused_without_workers(run: Run, fact: str, *, to: object) -> Iterator[Verdict]:
    """The verdict on a setting that ``DataLoader`` refuses when no worker runs; with the value ``to`` it is legal."""
    if run.plan.workers_per_rank.value != 0:
        return
    name, workers, value = run.spelling(fact), run.spelling("workers_per_rank"), run.plan.fact(fact).value
    shown = name if isinstance(value, bool) else f"{name} {value}"
    legal = write(run, fact, to=to, safety=Safety.SAFE)
    yield Verdict(
        fact,
        f"{shown} with {workers} 0: DataLoader raises ValueError at start-up",
        label=f"needs {workers} above 0",
        help=f"{'Remove' if to is None else 'Switch off'} {name}, or set {workers} above 0",
        repairs=(*legal, *write(run, "workers_per_rank", to=2, safety=Safety.UNSAFE)),
    )


def ranks_per_node(run: Run) -> int | None:
    """Training processes on one machine."""
    if run.plan.world_size.value is not None:
        return max(run.plan.world_size.value // (run.plan.nodes.value or run.target.nodes or 1), 1)
    return run.target.gpus


def lighter(run: Run, loader: Loaders, fits: int) -> Iterator[Repair]:
    """The repair that leaves at most ``fits`` batches in flight: prefetch first, then workers; nothing else changes."""
    prefetch = fits // (loader.ranks * loader.workers)
    if 1 <= prefetch < loader.prefetch and run.editable("prefetch_factor"):
        yield from write(run, "prefetch_factor", to=prefetch, safety=Safety.SAFE)
        return
    workers = fits // (loader.ranks * loader.prefetch)
    if 1 <= workers < loader.workers and run.editable("workers_per_rank"):
        yield from write(run, "workers_per_rank", to=workers, safety=Safety.SAFE)


def _sample_bytes(plan: TrainingPlan) -> tuple[int, int, str] | None:
    """Bytes of one sample as float32 pixels or int64 tokens, the least it can be, and how that was counted."""
    size = plan.image_size.value
    if size is not None:
        pixels = _CHANNELS * size.height * size.width
        return pixels * _FLOAT32, pixels, f"3 x {size} float32"
    if plan.seq_len.value:
        tokens = plan.seq_len.value * _INT64
        return tokens * _TOKEN_TENSORS, tokens, f"3 x {plan.seq_len.value} int64"
    return None
