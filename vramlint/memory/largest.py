"""The largest micro batch that fits a card."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vramlint.hardware.model import Target
from vramlint.memory.estimate import Headroom, estimate
from vramlint.memory.model import Estimate, Verdict
from vramlint.plan import TrainingPlan, revise

MOST = 1 << 20
"""A batch nobody trains with per GPU: the search stops there."""


class LargestBatch(NamedTuple):
    """Micro batches per GPU; 0 where not even 1 fits, None where the memory or the card is unknown.

    ``fits``: with the upper bound inside the card and its head-room. ``by_value``: with the value inside the card.
    """

    fits: int | None
    by_value: int | None


def at_batch(plan: TrainingPlan, batch: int) -> TrainingPlan:
    """The plan with this micro batch, what follows from it worked out again."""
    return revise(plan, {"micro_batch": batch})


def largest_batch(plan: TrainingPlan, target: Target, limits: Headroom | None = None) -> LargestBatch:
    """The largest micro batches of ``plan`` on the card of ``target``; memory grows with the batch."""
    known: dict[int, Estimate] = {}

    def verdict(batch: int) -> Verdict:
        if batch not in known:
            known[batch] = estimate(at_batch(plan, batch), target, limits)
        return known[batch].verdict

    if verdict(1) is Verdict.UNKNOWN:
        return LargestBatch(None, None)
    fits = _largest(lambda batch: verdict(batch) is Verdict.FITS)
    return LargestBatch(fits, _largest(lambda batch: verdict(batch) in (Verdict.FITS, Verdict.TIGHT), fits))


def _largest(holds: Callable[[int], bool], at_least: int = 0) -> int:
    """The largest batch for which ``holds``, by doubling and halving: about two dozen tries."""
    low, high = at_least, max(1, at_least + 1)
    while high <= MOST and holds(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
