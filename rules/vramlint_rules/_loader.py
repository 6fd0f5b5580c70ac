"""What the data loaders of one node hold in host memory.

``torch/utils/data/dataloader.py`` (PyTorch 2.13, ``_MultiProcessingDataLoaderIter._reset``) sends out ``num_workers x
prefetch_factor`` batches at start and tops them up as they are consumed; the tensors travel through ``/dev/shm``
(``torch.multiprocessing``, both sharing strategies). One more batch is being consumed, and a pinned copy of one exists
with ``pin_memory``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vramlint.rule import Change, Repair, Run, Safety, TrainingPlan

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
    return Loaders(
        ranks, workers, prefetch, batch * most, batch * least, f"{batch} x {text}", bool(plan.pin_memory.value)
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
        yield _set(run, "prefetch_factor", prefetch)
        return
    workers = fits // (loader.ranks * loader.prefetch)
    if 1 <= workers < loader.workers and run.editable("workers_per_rank"):
        yield _set(run, "workers_per_rank", workers)


def _set(run: Run, fact: str, value: int) -> Repair:
    return Repair(f"set {run.spelling(fact)} to {value}", Safety.SAFE, (Change(fact, value),))


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
