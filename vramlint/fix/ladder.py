"""The ladder: what each step alone would save, for runs that no repair of the experiment's own makes fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vramlint.fix.solver_options import (
    Option,
    Problem,
    Values,
    checkpointing,
    comfortable,
    half_precision,
    multi_scale_off,
    option,
)
from vramlint.fix.solver_space import keeping_splits, smaller_sizes
from vramlint.fix.solver_words import gib, saving, title
from vramlint.memory.model import Estimate
from vramlint.rule import Change, Repair, Safety

_LEAST_SHARE = 0.02
"""A step that saves less of the upper bound is not worth its line."""
_FEWER_QUERIES = 200
"""What people go down to first from RF-DETR's 300."""


def steps_to_fit(problem: Problem) -> Sequence[Repair]:
    """Every single step that saves memory, in the order of preference, each with what it saves. For display: a step
    alone may not be enough.

    The order is that of the repairs: the batch at a constant effective batch, mixed precision, activation
    checkpointing, multi-scale off, a smaller image. People who train query detectors go another way: batch, resolution,
    multi-scale, queries, and checkpointing last. Loader workers are no step: they cost no GPU memory.
    """
    before = problem.estimate()
    if before.required is None or comfortable(problem, before):
        return ()
    found = (option(problem, values, Safety.DISPLAY) for values in _rungs(problem))
    return [_step(problem, step, before) for step in found if _saves(step, before)]


def _rungs(problem: Problem) -> Iterator[Values]:
    yield from _batch(problem)
    yield from _given(half_precision(problem))
    image, off, recompute = _image(problem), _given(multi_scale_off(problem)), _given(checkpointing(problem))
    if problem.plan.num_queries.known:
        yield from (*image, *off, *_queries(problem), *recompute)
    else:
        yield from (*recompute, *off, *image)


def _given(values: Values) -> tuple[Values, ...]:
    return (values,) if values else ()


def _batch(problem: Problem) -> tuple[Values, ...]:
    micro = problem.plan.micro_batch.value or 0
    smaller = (each.values for each in keeping_splits(problem.plan, problem.editable) if each.micro_batch < micro)
    return _given(next(smaller, {}))


def _image(problem: Problem) -> tuple[Values, ...]:
    sizes = smaller_sizes(problem.plan) if problem.editable("image_size") else ()
    return _given({"image_size": sizes[0]} if sizes else {})


def _queries(problem: Problem) -> tuple[Values, ...]:
    many = (problem.plan.num_queries.value or 0) > _FEWER_QUERIES and problem.editable("num_queries")
    return _given({"num_queries": _FEWER_QUERIES} if many else {})


def _saves(step: Option, before: Estimate) -> bool:
    after, required = step.estimate.required, before.required
    return after is not None and required is not None and required.high - after.high >= _LEAST_SHARE * required.high


def _step(problem: Problem, step: Option, before: Estimate) -> Repair:
    text = title(
        problem, step.values, step.estimate, note="" if comfortable(problem, step.estimate) else "not enough alone"
    )
    won = saving(before, step.estimate) or _bound(step, before)
    changes = tuple(Change(fact, value) for fact, value in step.values.items())
    return Repair(f"{text} ({won})" if won else text, Safety.DISPLAY, changes)


def _bound(step: Option, before: Estimate) -> str:
    """Where only the worst case gets lighter (multi-scale): that, instead of the value."""
    if step.estimate.required is None or before.required is None:
        return ""
    return f"at most {gib(step.estimate.required.high)} instead of {gib(before.required.high)}"
