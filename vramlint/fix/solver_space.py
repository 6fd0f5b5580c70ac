"""What a repair may choose from: batches, queues and image sizes that keep the constraints. Arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from vramlint.plan import ImageSize, Origin, TrainingPlan, revise

T = TypeVar("T")

_COARSE_FROM = 16
"""From this micro batch on, people choose multiples of 8; below it, any number."""
_COARSE_STEP = 8
_SIZE_STEPS = (64, 32, 56, 48, 28, 24, 16, 14, 12, 8)
"""Usual products of patch, window and stride; the first that divides the present size is kept."""
_SMALLEST_SHARE = 0.5
"""An image side is never brought below this share of the present one: beyond that it is another experiment."""
_QUEUE_GROWTH = 1.2
"""A round queue may hold at most this many times the present keys, else the nearest one that divides is taken."""
_ROUND_BATCHES = 100
_MOST_TRIED = 4096
"""Larger batches per optimizer step and rank are left alone."""


class Split(NamedTuple):
    """A micro batch with what has to change for it; ``keeps`` tells whether the effective batch stays."""

    micro_batch: int
    values: dict[str, object]
    keeps: bool


def keeping_splits(plan: TrainingPlan, editable: Callable[[str], bool]) -> tuple[Split, ...]:
    """Every micro batch, largest first, that can be had at the present effective batch; the present one included.

    A framework that derives its accumulation (a nominal or global batch) needs the micro batch alone; where
    accumulation is spelled, it changes with it. A queue has to stay a multiple of the batch.
    """
    micro = plan.micro_batch.value
    if micro is None:
        return ()
    found = [Split(micro, {}, keeps=True)]
    if editable("micro_batch"):
        found += [
            split
            for candidate in _candidates(plan, micro)
            if divides_queue(plan, candidate) and (split := _keeping_split(plan, candidate, editable)) is not None
        ]
    return tuple(sorted(found, key=lambda split: -split.micro_batch))


def _candidates(plan: TrainingPlan, micro: int) -> list[int]:
    """Micro batches worth trying: divisors of what one rank accumulates, or all up to it where a framework rounds."""
    most = min(micro * (plan.accumulation.value or 1), _MOST_TRIED)
    rounds = plan.accumulation.origin is Origin.DERIVED
    return [batch for batch in range(1, max(most, micro) + 1) if batch != micro and (rounds or most % batch == 0)]


def _keeping_split(plan: TrainingPlan, candidate: int, editable: Callable[[str], bool]) -> Split | None:
    alone: dict[str, object] = {"micro_batch": candidate}
    if same_effective(plan, revise(plan, alone)):
        return Split(candidate, alone, keeps=True)
    micro, steps = plan.micro_batch.value, plan.accumulation.value
    if micro is None or steps is None or (micro * steps) % candidate or not editable("accumulation"):
        return None
    both: dict[str, object] = {"micro_batch": candidate, "accumulation": micro * steps // candidate}
    return Split(candidate, both, keeps=True) if same_effective(plan, revise(plan, both)) else None


def same_effective(before: TrainingPlan, after: TrainingPlan) -> bool:
    """Whether one optimizer step sees as many samples after as before; per rank where the ranks are unknown."""
    if before.effective_batch.value is not None:
        return before.effective_batch.value == after.effective_batch.value
    return _per_rank(before) is not None and _per_rank(before) == _per_rank(after)


def _per_rank(plan: TrainingPlan) -> int | None:
    micro, steps = plan.micro_batch.value, plan.accumulation.value
    return None if micro is None or steps is None else micro * steps


def smaller_splits(plan: TrainingPlan, editable: Callable[[str], bool]) -> tuple[Split, ...]:
    """Smaller micro batches, largest first, whatever becomes of the effective batch."""
    micro = plan.micro_batch.value
    if micro is None or not editable("micro_batch"):
        return ()
    return _splits(plan, editable, (batch for batch in range(micro - 1, 0, -1) if _is_usual(batch)))


def larger_splits(plan: TrainingPlan, editable: Callable[[str], bool], most: int) -> tuple[Split, ...]:
    """Larger micro batches up to ``most``, smallest first, whatever becomes of the effective batch."""
    micro = plan.micro_batch.value
    if micro is None or not editable("micro_batch"):
        return ()
    return _splits(plan, editable, (batch for batch in range(micro + 1, most + 1) if _is_usual(batch)))


def _splits(plan: TrainingPlan, editable: Callable[[str], bool], batches: Iterable[int]) -> tuple[Split, ...]:
    found = []
    for batch in batches:
        values: dict[str, object] = {"micro_batch": batch}
        if not divides_queue(plan, batch):
            if not editable("queue_size"):
                continue
            values["queue_size"] = round_queue(revise(plan, values))
        found.append(Split(batch, values, same_effective(plan, revise(plan, values))))
    return tuple(found)


def _is_usual(batch: int) -> bool:
    return batch < _COARSE_FROM or batch % _COARSE_STEP == 0


def divides_queue(plan: TrainingPlan, micro_batch: int) -> bool:
    """Whether the queue, if there is one, holds a whole number of batches of this size."""
    queue = plan.queue_size.value
    return not queue or queue % micro_batch == 0


def round_queue(plan: TrainingPlan) -> int | None:
    """The queue to take for the plan's micro batch; None where queue or batch is unknown.

    Never fewer keys than now; whole effective batches, so that any later split into micro batches and accumulation
    divides it too, and so does the batch gathered over ranks; hundreds of micro batches, where that costs at most a
    fifth more keys, because such a queue stays whole when the batch changes again.
    """
    queue, micro = plan.queue_size.value, plan.micro_batch.value
    if not queue or not micro:
        return None
    effective = plan.effective_batch.value or micro * (plan.accumulation.value or 1)
    whole = math.lcm(micro, effective)
    for unit in (math.lcm(whole, micro * _ROUND_BATCHES), whole):
        rounded = math.ceil(queue / unit) * unit
        if rounded <= queue * _QUEUE_GROWTH:
            return rounded
    return nearest_queue(queue, micro)


def nearest_queue(queue: int, micro_batch: int) -> int:
    """The smallest queue that is a multiple of the batch and loses no key."""
    return math.ceil(queue / micro_batch) * micro_batch


def queue_divisors(plan: TrainingPlan, editable: Callable[[str], bool]) -> tuple[Split, ...]:
    """Micro batches that divide the queue as it stands: the next smaller and the next larger, best first.

    Among the smaller ones down to half the present batch, one that keeps the effective batch is preferred.
    """
    queue, micro = plan.queue_size.value, plan.micro_batch.value
    if not queue or not micro or not editable("micro_batch"):
        return ()
    smaller = [batch for batch in range(micro - 1, 0, -1) if queue % batch == 0]
    larger = [batch for batch in range(micro + 1, 2 * micro + 1) if queue % batch == 0]
    near = [_any_split(plan, batch, editable) for batch in smaller if batch >= micro / 2]
    chosen = sorted(near or [_any_split(plan, batch, editable) for batch in smaller[:1]], key=lambda s: not s.keeps)[:1]
    return (*chosen, *(_any_split(plan, batch, editable) for batch in larger[:1]))


def _any_split(plan: TrainingPlan, batch: int, editable: Callable[[str], bool]) -> Split:
    return _keeping_split(plan, batch, editable) or Split(batch, {"micro_batch": batch}, keeps=False)


def smaller_sizes(plan: TrainingPlan) -> tuple[ImageSize, ...]:
    """Smaller image sizes of the same shape, largest first, in steps that the model is known to take.

    The step is the dialect's ``image_multiple`` where it knows one, else the largest usual step that divides both
    sides now. Sides stay in proportion.
    """
    size = plan.image_size.value
    if size is None:
        return ()
    known = plan.fact("image_multiple").value
    step = known if isinstance(known, int) and known > 0 else _usual_step(size)
    short = min(size)
    if step is None or short % step:
        return ()
    found = []
    for side in range(short - step, int(short * _SMALLEST_SHARE) - 1, -step):
        height, width = size.height * side, size.width * side
        if height % (short * step) == 0 and width % (short * step) == 0:
            found.append(ImageSize(height // short, width // short))
    return tuple(found)


def _usual_step(size: ImageSize) -> int | None:
    return next((step for step in _SIZE_STEPS if size.height % step == 0 and size.width % step == 0), None)


def first_that(candidates: Sequence[T], holds: Callable[[T], bool], near: int = -1) -> T | None:
    """The first candidate for which ``holds``, by bisection: once it holds, it holds for all later ones.

    Memory falls along every list of candidates here, so "fits" has that shape; this keeps a solve to a few dozen
    estimates where a scan would take hundreds. ``near`` is where to look first, and then beside it: a good guess saves
    most of them.
    """
    low, high, guesses = 0, len(candidates), 2
    if not low <= near < high:
        if not candidates or not holds(candidates[-1]):
            return None
        high -= 1
    while low < high:
        guessed = guesses > 0 and low <= near < high
        middle = near if guessed else (low + high) // 2
        guesses -= 1
        if holds(candidates[middle]):
            high = middle
            near = middle - 1
        else:
            low = near = middle + 1
    return candidates[low] if low < len(candidates) else None
