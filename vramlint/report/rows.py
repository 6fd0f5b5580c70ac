"""What the command ``estimate`` shows: one row a run, GPU and swept value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vramlint.memory.model import Estimate
from vramlint.plan import TrainingPlan

if TYPE_CHECKING:
    from vramlint.memory.largest import LargestBatch


class EstimateRow(NamedTuple):
    """One estimate with the run it is for.

    ``swept`` is the value that a sweep gave the swept setting; ``largest`` holds the largest batches where those were
    asked for, and the estimate is then of the larger one that fits.
    """

    plan: TrainingPlan
    estimate: Estimate
    swept: int | str | None = None
    largest: LargestBatch | None = None
