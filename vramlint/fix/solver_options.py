"""The ladder: changed plans that fit a card, found rung by rung (see ``solver`` for the order of preference)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from vramlint.fix.solver_space import (
    Split,
    divides_queue,
    first_that,
    keeping_splits,
    same_effective,
    smaller_sizes,
    smaller_splits,
)
from vramlint.hardware.model import Target
from vramlint.memory.model import Estimate
from vramlint.memory.model import Verdict as MemoryVerdict
from vramlint.plan import ImageSize, Precision, TrainingPlan, revise
from vramlint.rule import Limits, Safety

_FEWER_QUERIES = (200, 100)
"""Object queries to step down to; DETR trains 100 (facebookresearch/detr main.py), RF-DETR 300."""


_SAFE_FACTS = frozenset({"micro_batch", "accumulation", "precision", "grad_checkpointing"})
_AS_IT_IS = Split(0, {}, keeps=True)


class Problem(Protocol):
    """What the solver asks of a run."""

    @property
    def plan(self) -> TrainingPlan: ...
    @property
    def target(self) -> Target: ...
    @property
    def limits(self) -> Limits: ...
    def estimate(self, plan: TrainingPlan | None = None) -> Estimate: ...
    def editable(self, fact: str) -> bool: ...
    def spelling(self, fact: str) -> str: ...


Values = dict[str, object]
Standard = Callable[[Problem, Estimate], bool]


class Option(NamedTuple):
    """A changed plan that meets the standard it was found with."""

    values: Values
    estimate: Estimate
    safety: Safety

    @property
    def splits_alone(self) -> bool:
        """Whether nothing but the split of the batch (and the queue with it) changes."""
        return self.values.keys() <= {"micro_batch", "accumulation", "queue_size"}


def comfortable(problem: Problem, estimate: Estimate) -> bool:
    """The upper bound fits, and the value leaves the head-room free: after such a repair no finding is left."""
    return estimate.verdict is MemoryVerdict.FITS and close(problem, estimate)


def close(problem: Problem, estimate: Estimate) -> bool:
    """The value leaves the head-room free; the upper bound may be over."""
    required, usable = estimate.required, estimate.usable_bytes
    return required is not None and usable is not None and required.value <= usable * (1 - problem.limits.headroom)


def possible(_problem: Problem, estimate: Estimate) -> bool:
    """The lower bound fits: whoever tries may succeed. For when nothing better is left."""
    required, usable = estimate.required, estimate.usable_bytes
    return required is not None and usable is not None and required.low <= usable


def revised(problem: Problem, values: Mapping[str, object]) -> Estimate:
    """Peak memory after a repair."""
    return problem.estimate(_scaled(problem.plan, revise(problem.plan, values)))


def _scaled(before: TrainingPlan, after: TrainingPlan) -> TrainingPlan:
    """``after`` with the largest multi-scale shape, where the plan knows one, following the image size."""
    largest, old, new = before.fact("largest_image_size").value, before.image_size.value, after.image_size.value
    if not isinstance(largest, ImageSize) or old is None or new is None or old == new:
        return after
    follows = ImageSize(largest.height * new.height // old.height, largest.width * new.width // old.width)
    return revise(after, {"largest_image_size": follows})


def option(problem: Problem, values: Values, safety: Safety) -> Option:
    """The changed plan as an option."""
    return Option(values, revised(problem, values), safety)


def safe_options(problem: Problem) -> list[Option]:
    """Safe repairs that fit, best first: for each set of switches the largest micro batch that it allows.

    Where the upper bound is over with any micro batch, the smallest one is the best chance.
    """
    half, recompute = half_precision(problem), checkpointing(problem)
    cheap = [Values(), half] if half else [Values()]
    dear = [{**switches, **recompute} for switches in reversed(cheap)] if recompute else []
    splits = keeping_splits(problem.plan, problem.editable)
    best = _with_splits(problem, cheap, splits, comfortable) or _with_splits(problem, cheap, splits[-1:], close)
    best += _with_splits(problem, dear, splits, comfortable)
    return _distinct(best or _with_splits(problem, dear, splits[-1:], close))


def hopeful_option(problem: Problem) -> list[Option]:
    """Where no safe repair fits: the one that may, by the lower bound; empty where the plan itself may already."""
    splits = keeping_splits(problem.plan, problem.editable)
    for switches in (Values(), {**half_precision(problem), **checkpointing(problem)}):
        split = _largest(problem, splits, switches, possible)
        if split is not None:
            values = {**split.values, **switches}
            return [option(problem, values, Safety.SAFE)] if values else []
    return []


def unsafe_options(problem: Problem, safe: Sequence[Option]) -> list[Option]:
    """Repairs that fit but change the experiment, in the order of the ladder.

    A batch at another effective batch is worth saying where it is larger than the one that a safe repair reaches.
    """
    reached = max((found.values.get("micro_batch", 0) for found in safe if found.splits_alone), key=_number, default=0)
    splits = smaller_splits(problem.plan, problem.editable)
    larger = [split for split in splits if split.micro_batch > _number(reached)]
    found = _with_splits(problem, [Values()], larger, comfortable) if larger else []
    return _unsafe([*found, *_reductions(problem, [_AS_IT_IS], {}, comfortable)])


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def last_resorts(problem: Problem) -> list[Option]:
    """The same where no safe repair fits: on top of the smallest micro batch and of mixed precision, which costs
    nothing of the experiment, then of every safe switch."""
    plan = problem.plan
    splits = keeping_splits(plan, problem.editable) or (_AS_IT_IS,)
    half = half_precision(problem)
    switches = {**half, **checkpointing(problem)}
    free = smaller_splits(plan, problem.editable) if len(splits) == 1 else ()
    for standard in (comfortable, close, possible):
        found = _with_splits(problem, [Values()], free, standard)
        found += _reductions(problem, splits, half, standard)
        if not found and switches != half:
            found = _reductions(problem, splits, switches, standard)
        if found:
            return _unsafe(found)
    return []


def safe_part(problem: Problem, unsafe: Sequence[Option]) -> list[Option]:
    """The part of the best unsafe repair that keeps the experiment, as a first step of its own; empty without one."""
    for found in unsafe:
        values = {fact: value for fact, value in found.values.items() if fact in _SAFE_FACTS}
        after = revise(problem.plan, values)
        if values and values != found.values and _keeps(problem.plan, after):
            return [option(problem, values, Safety.SAFE)]
    return []


def _keeps(before: TrainingPlan, after: TrainingPlan) -> bool:
    return same_effective(before, after) and divides_queue(after, after.micro_batch.value or 1)


def half_precision(problem: Problem) -> Values:
    """fp16 or bf16 autocast, where the run is in fp32, the card has it and a key of the framework switches it on.

    Language models are trained in bf16 (fp16 overflows in them); for the rest fp16, which every such card has.
    """
    gpu, plan = problem.target.gpu, problem.plan
    if gpu is None or plan.precision.value is not Precision.FP32 or not problem.editable("precision"):
        return {}
    if plan.model_shape.value is not None or plan.seq_len.value is not None:
        return {"precision": Precision.BF16} if gpu.has_bf16 else {}
    return {"precision": Precision.FP16} if gpu.has_fast_fp16 else {}


def checkpointing(problem: Problem) -> Values:
    """Activation checkpointing, where it is known to be off and can be switched on."""
    is_off = problem.plan.grad_checkpointing.value is False
    return {"grad_checkpointing": True} if is_off and problem.editable("grad_checkpointing") else {}


def _with_splits(
    problem: Problem, switches: Sequence[Values], splits: Sequence[Split], standard: Standard
) -> list[Option]:
    """For each set of switches the largest micro batch of ``splits`` that meets the standard with them."""
    found = []
    for values in switches:
        split = _largest(problem, splits, values, standard)
        if split is not None and (split.values or values):
            safety = Safety.SAFE if split.keeps else Safety.UNSAFE
            found.append(option(problem, {**split.values, **values}, safety))
    return found


def _largest(problem: Problem, splits: Sequence[Split], values: Values, standard: Standard) -> Split | None:
    return first_that(splits, lambda split: standard(problem, revised(problem, {**split.values, **values})))


def _reductions(problem: Problem, splits: Sequence[Split], base: Values, standard: Standard) -> list[Option]:
    """On top of ``base``: multi-scale off, a smaller image, both, fewer queries."""
    off = multi_scale_off(problem)
    found = _with_splits(problem, [{**base, **off}], splits, standard) if off else []
    smallest = {**splits[-1].values, **base}
    for start in (smallest, {**smallest, **off}):
        size = _largest_size(problem, start, standard)
        if size is not None:
            found.append(option(problem, {**start, "image_size": size}, Safety.UNSAFE))
            break
    count = _most_queries(problem, smallest, standard)
    if count is not None:
        found.append(option(problem, {**smallest, "num_queries": count}, Safety.UNSAFE))
    return found


def multi_scale_off(problem: Problem) -> Values:
    """One image size only, where several are drawn and the switch can be written."""
    is_on = problem.plan.multi_scale.value and problem.editable("multi_scale")
    return {"multi_scale": False} if is_on else {}


def _largest_size(problem: Problem, start: Values, standard: Standard) -> ImageSize | None:
    sizes = smaller_sizes(problem.plan) if problem.editable("image_size") else ()
    return first_that(sizes, lambda size: standard(problem, revised(problem, {**start, "image_size": size})))


def _most_queries(problem: Problem, start: Values, standard: Standard) -> int | None:
    queries = problem.plan.num_queries.value or 0
    fewer = [count for count in _FEWER_QUERIES if count < queries] if problem.editable("num_queries") else []
    return first_that(fewer, lambda count: standard(problem, revised(problem, {**start, "num_queries": count})))


def _unsafe(options: Sequence[Option]) -> list[Option]:
    return [found if found.safety is Safety.UNSAFE else found._replace(safety=Safety.UNSAFE) for found in options]


def _distinct(options: Sequence[Option]) -> list[Option]:
    """Without options that change more than an earlier one and reach no larger micro batch."""
    kept: list[Option] = []
    for candidate in options:
        if not any(_is_worse(candidate, other) for other in kept):
            kept.append(candidate)
    return kept


def _is_worse(candidate: Option, other: Option) -> bool:
    same_batch = candidate.values.get("micro_batch") == other.values.get("micro_batch")
    return same_batch and other.values.keys() <= candidate.values.keys()
