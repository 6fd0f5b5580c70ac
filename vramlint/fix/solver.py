"""The repair solver: which facts to change so that a run fits its card, fills it, or divides its queue.

Constraints: the queue stays a whole number of batches, the hardware has what is asked of it, the changed plan fits the
target. Invariants of a safe repair: the effective batch and the numerics of a step. Order of preference:

1. the micro batch down and accumulation up, which costs nothing but time;
2. mixed precision, where the card has it and the framework's own key (with its loss scaling) switches it on;
3. activation checkpointing, a fifth to a third of the speed;
4. multi-scale off, then a smaller image: another experiment, so unsafe.

Within a rung the largest micro batch wins. A rung is taken when the *upper* bound of the estimate fits; before it pays
for checkpointing, the solver accepts that only the value fits with head-room (the finding then stays, as "tight").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vramlint.fix.solver_options import (
    Option,
    Problem,
    Values,
    comfortable,
    hopeful_option,
    last_resorts,
    option,
    revised,
    safe_options,
    safe_part,
    unsafe_options,
)
from vramlint.fix.solver_space import (
    Split,
    first_that,
    keeping_splits,
    larger_splits,
    nearest_queue,
    queue_divisors,
    round_queue,
)
from vramlint.fix.solver_words import saving, title
from vramlint.memory.model import Estimate
from vramlint.memory.model import Verdict as MemoryVerdict
from vramlint.rule import Change, Repair, Safety

__all__ = ["Problem", "repairs_to_divide", "repairs_to_fill", "repairs_to_fit"]

_MOST_REPAIRS = 5
"""More alternatives than this nobody reads."""
_LARGEST_GROWTH = 16
"""How many times the present micro batch is tried at most when memory is wasted."""


def repairs_to_fit(problem: Problem) -> Sequence[Repair]:
    """Repairs after which the plan fits the target with head-room, best first.

    When only the upper bound is over, the run may well work: then nothing but the split of the batch is changed
    unasked, and the other repairs are shown. When no safe repair reaches far enough, one that may by the lower
    bound comes first, else the safe part of the best unsafe one: it is right whichever unsafe step follows.
    """
    before = problem.estimate()
    if before.required is None or before.usable_bytes is None or comfortable(problem, before):
        return ()
    safe = safe_options(problem)
    options = _without_twins([*safe, *(unsafe_options(problem, safe) if safe else last_resorts(problem))])
    if problem.plan.num_queries.known:
        options.sort(key=_detector_order)
    if not safe:
        options[:0] = hopeful_option(problem) or safe_part(problem, options)
    options = [found for found in options if _needs_less(found.estimate, before)]
    is_over = before.verdict is MemoryVerdict.OVER
    repairs = (_repair(problem, found, before, shown_only=not (is_over or found.splits_alone)) for found in options)
    return tuple(repairs)[:_MOST_REPAIRS]


def _needs_less(after: Estimate, before: Estimate) -> bool:
    """A larger batch can pass one standard and need more all the same: that repairs nothing."""
    if after.required is None or before.required is None:
        return False
    return after.required.value < before.required.value and after.required.high < before.required.high


def _without_twins(options: Sequence[Option]) -> list[Option]:
    return [found for at, found in enumerate(options) if all(found.values != other.values for other in options[:at])]


def _detector_order(found: Option) -> int:
    """Users of query detectors lower the resolution before multi-scale, and pay for checkpointing last."""
    if "grad_checkpointing" in found.values:
        return 4
    if "num_queries" in found.values:
        return 3
    if "multi_scale" in found.values:
        return 2
    return 1 if "image_size" in found.values else 0


def repairs_to_fill(problem: Problem) -> Sequence[Repair]:
    """Repairs that use free memory up to ``limits.fill_to``, best first.

    A larger micro batch with less accumulation is safe; a larger effective batch is only shown, with the queue
    that goes with it, because the learning rate would have to follow.
    """
    before = problem.estimate()
    if before.required is None or before.usable_bytes is None:
        return ()
    micro, goal = problem.plan.micro_batch.value or 0, problem.limits.fill_to * before.usable_bytes
    keeping = [split for split in keeping_splits(problem.plan, problem.editable) if split.micro_batch > micro]
    best = first_that(keeping, lambda split: _fills(problem, split.values, goal))
    repairs = [] if best is None else [_repair(problem, option(problem, best.values, Safety.SAFE), before)]
    nearest = _nearest_to(problem, goal)
    if nearest is not None and nearest.micro_batch > (best.micro_batch if best else micro):
        repairs.append(_repair(problem, option(problem, nearest.values, Safety.DISPLAY), before))
    return tuple(repairs)


def repairs_to_divide(problem: Problem) -> Sequence[Repair]:
    """Repairs after which the queue is a multiple of the batch and everything else still holds, best first.

    The queue is changed first (one value; the effective batch stays), then the batch at a constant effective batch,
    then the batch alone, then the queue by as little as possible.
    """
    plan = problem.plan
    queue, micro = plan.queue_size.value, plan.micro_batch.value
    if not queue or not micro or queue % micro == 0:
        return ()
    queues: list[Repair] = []
    if problem.editable("queue_size"):
        sizes = [size for size in (round_queue(plan), nearest_queue(queue, micro)) if size is not None]
        queues = [_queue_repair(problem, size, micro) for size in dict.fromkeys(sizes)]
    splits = [split for split in queue_divisors(plan, problem.editable) if _may_run(problem, split.values)]
    batches = [_batch_repair(problem, split, queue) for split in sorted(splits, key=lambda split: not split.keeps)]
    return (*queues[:1], *batches, *queues[1:])


def _queue_repair(problem: Problem, size: int, micro: int) -> Repair:
    values: Values = {"queue_size": size}
    return Repair(title(problem, values, note=f"{size // micro} batches"), Safety.SAFE, _changes(values))


def _batch_repair(problem: Problem, split: Split, queue: int) -> Repair:
    safety = Safety.SAFE if split.keeps else Safety.UNSAFE
    note = f"queue {queue // split.micro_batch} batches"
    return Repair(title(problem, split.values, note=note), safety, _changes(split.values))


def _nearest_to(problem: Problem, goal: float) -> Split | None:
    """The larger batch whose memory comes nearest to ``goal`` and still fits with head-room."""
    micro = problem.plan.micro_batch.value or 0
    splits = larger_splits(problem.plan, problem.editable, micro * _LARGEST_GROWTH)
    near = len(splits) - _foreseen(problem, splits, goal)
    largest = first_that(splits[::-1], lambda split: comfortable(problem, revised(problem, split.values)), near)
    if largest is None:
        return None
    fitting = splits[: splits.index(largest) + 1]
    near = len(fitting) - _foreseen(problem, fitting, goal)
    below = first_that(fitting[::-1], lambda split: _required(problem, split.values) <= goal, near)
    at = fitting.index(below) if below else 0
    return min(fitting[at : at + 2], key=lambda split: abs(_required(problem, split.values) - goal))


def _foreseen(problem: Problem, splits: Sequence[Split], goal: float) -> int:
    """How many of ``splits`` need no more than ``goal`` if activations grow with the batch and nothing else does."""
    now, micro = problem.estimate(), problem.plan.micro_batch.value
    if now.required is None or not micro:
        return 0
    each = sum(part.bytes for part in now.components if part.name == "activations") / micro
    return sum(now.required.value + each * (split.micro_batch - micro) <= goal for split in splits)


def _fills(problem: Problem, values: Mapping[str, object], goal: float) -> bool:
    return comfortable(problem, revised(problem, values)) and _required(problem, values) <= goal


def _required(problem: Problem, values: Mapping[str, object]) -> int:
    required = revised(problem, values).required
    return 0 if required is None else required.value


def _may_run(problem: Problem, values: Mapping[str, object]) -> bool:
    return revised(problem, values).verdict in (MemoryVerdict.FITS, MemoryVerdict.UNKNOWN)


def _repair(problem: Problem, found: Option, before: Estimate, *, shown_only: bool = False) -> Repair:
    safety = Safety.DISPLAY if shown_only else found.safety
    doubt = "may still not fit" if found.estimate.verdict is MemoryVerdict.OVER else ""
    text = title(problem, found.values, found.estimate, note=doubt)
    won = saving(before, found.estimate)
    return Repair(f"{text} ({won})" if won else text, safety, _changes(found.values))


def _changes(values: Mapping[str, object]) -> tuple[Change, ...]:
    return tuple(Change(fact, value) for fact, value in values.items())
