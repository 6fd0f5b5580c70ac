"""What measured points change in an estimate.

One point says how far the calculation is off there. Whether the difference grows with the activations or is a constant
is not known from one: the value takes it as growing, the interval covers both. Points at different workloads give a
line in the calculated activations: an offset and a factor, which follow the calculation's bends where a straight line
through measured peaks would not. Of a model that nothing is known of, two points give a straight line in the work
(batch x pixels or tokens), and one gives its own workload alone, or, with the number of parameters known, the bytes
beyond the states as growing with the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import NamedTuple

from vramlint.memory.allocator import REQUIRED_SLACK, RESERVED_SLACK
from vramlint.memory.context import CONTEXT
from vramlint.memory.intervals import added, with_slack
from vramlint.memory.model import Component, Estimate, Interval
from vramlint.memory.observations import Meter, Observation
from vramlint.plan import TrainingPlan

NOISE = 0.03
"""Half-width at the measured workload itself: published figures of one setting differ by 1 % in the median between two
cards and by 9 % at the 90th percentile; one run repeated differs less."""

EXTRAPOLATED = 0.15
"""Half-width of a straight line or a proportion at twice the measured work, where nothing else is known of the model: a
judgement, not scored yet. A peak is the largest of several straight lines, so it bends where the phase changes."""

_LEAST_FACTOR, _MOST_FACTOR = 0.3, 3.0
"""Factors on the activations that a model's implementation may explain; beyond, the difference is taken as constant."""


class Point(NamedTuple):
    """An observation with what was calculated at its workload, and the workload as batch x pixels or tokens."""

    observation: Observation
    calculated: Estimate
    work: int


class _Line(NamedTuple):
    """A difference as offset + factor x activations, with the largest distance of a point from it."""

    offset: float
    factor: float
    residual: float

    def at(self, activations: float) -> float:
        return self.offset + self.factor * activations


def work_of(plan: TrainingPlan) -> int:
    """Batch x tokens or pixels of one rank; the batch alone where neither is known."""
    size = plan.image_size.value
    each = plan.seq_len.value or (size.height * size.width if size else 1)
    return (plan.micro_batch.value or 0) * each


def corrected(estimate: Estimate, points: Sequence[Point], work: int) -> Estimate:
    """The estimate with what ``points`` say; its verdict is to be found anew. ``work`` is that of the plan."""
    said = _said(points)
    if estimate.allocated is None:
        return _from_points(estimate, points, work, said)
    usable = [point for point in points if _meter(point) is not None]
    if not usable:
        return estimate
    shift, spread, distance = _difference(estimate, usable)
    note = f"corrected by {said}"
    move = _Move(shift, spread, distance, estimate.allocated.value + shift)
    allocated = move.apply(estimate.allocated)
    return estimate._replace(
        allocated=allocated,
        reserved=move.apply(estimate.reserved),
        device=move.apply(estimate.device),
        required=move.apply(estimate.required),
        components=_components(estimate, round(shift), said),
        assumptions=(note, *estimate.assumptions),
    )


class _Move(NamedTuple):
    """By how much intervals move, how far apart the readings of the points are, and how much of the old width stays."""

    shift: float
    spread: float
    kept: float
    value: float

    def apply(self, interval: Interval | None) -> Interval:
        assert interval is not None
        value = interval.value + self.shift
        below = hypot(NOISE * value, self.spread, self.kept * (interval.value - interval.low))
        above = hypot(NOISE * value, self.spread, self.kept * (interval.high - interval.value))
        return Interval(max(0, round(value - below)), round(value), round(value + above))


def _difference(estimate: Estimate, points: Sequence[Point]) -> tuple[float, float, float]:
    """Shift of the value in bytes, how far another reading of the points lies from it, share of the width to keep."""
    here = _activations(estimate)
    pairs = [(_activations(point.calculated), _residual(point)) for point in points]
    distance = min(_distance(here, there) for there, _ in pairs)
    line = _fit(pairs)
    if line is not None and _LEAST_FACTOR <= 1 + line.factor <= _MOST_FACTOR:
        inside = min(there for there, _ in pairs) <= here <= max(there for there, _ in pairs)
        return line.at(here), line.residual, 0.0 if inside else distance / 2
    there, residual = min(pairs, key=lambda pair: _distance(here, pair[0]))
    factor = residual / there if there else 0.0
    if here and there and _LEAST_FACTOR <= 1 + factor <= _MOST_FACTOR:
        scaled = factor * here
        return scaled, abs(scaled - residual), distance
    return residual, 0.0, distance


def _fit(pairs: Sequence[tuple[float, float]]) -> _Line | None:
    """Least squares through the points; None where all lie at the same activations."""
    mean_x, mean_y = (sum(pair[axis] for pair in pairs) / len(pairs) for axis in (0, 1))
    square = sum((x - mean_x) ** 2 for x, _ in pairs)
    if max(x for x, _ in pairs) - min(x for x, _ in pairs) < 0.02 * max(1.0, mean_x):
        return None
    factor = sum((x - mean_x) * (y - mean_y) for x, y in pairs) / square
    offset = mean_y - factor * mean_x
    residual = max(abs(y - offset - factor * x) for x, y in pairs)
    return _Line(offset, factor, residual)


def _distance(here: float, there: float) -> float:
    """0 at the same place, towards 1 far from it."""
    largest = max(here, there)
    return abs(here - there) / largest if largest else 0.0


def _activations(estimate: Estimate) -> float:
    return float(sum(part.bytes for part in estimate.components if part.name == "activations"))


def _residual(point: Point) -> float:
    calculated = _meter(point)
    assert calculated is not None
    return float(point.observation.bytes - calculated.value)


def _meter(point: Point) -> Interval | None:
    match point.observation.meter:
        case Meter.ALLOCATED:
            return point.calculated.allocated
        case Meter.RESERVED:
            return point.calculated.reserved
        case Meter.DEVICE:
            return point.calculated.device


def _components(estimate: Estimate, shift: int, said: str) -> tuple[Component, ...]:
    """The activations take the difference where they can."""
    found = list(estimate.components)
    for number, part in enumerate(found):
        if part.name == "activations" and part.bytes + shift > 0:
            origin = f"observed: {said}; calculated {part.bytes:,} bytes, {part.origin}"
            found[number] = Component(part.name, part.bytes + shift, origin)
            return tuple(found)
    return (*found, Component("observed difference", shift, f"observed: {said}"))


# --- nothing calculated ----------------------------------------------------------------------------------------------


def _from_points(estimate: Estimate, points: Sequence[Point], work: int, said: str) -> Estimate:
    """An estimate from the points alone, of a model whose activations are unknown."""
    if not work:
        return estimate
    states = sum(part.bytes for part in estimate.components)
    pairs = [(float(point.work), _allocated(point.observation)) for point in points]
    line = _fit(pairs)
    distance = min(_distance(work, there) for there, _ in pairs)
    there, measured = min(pairs, key=lambda pair: _distance(work, pair[0]))
    if distance < 0.001:
        value, residual = measured, 0.0
    elif line is not None and line.factor > 0 and line.offset > 0:
        value, residual = line.at(work), line.residual
    elif 0 < states < measured:
        value, residual = states + (measured - states) * work / there, 0.0
    else:
        because = f"{estimate.unknown_because}; {said} says nothing of another batch: observe a second one"
        return estimate._replace(unknown_because=because)
    half = hypot(NOISE * value, residual, 2 * EXTRAPOLATED * distance * value)
    allocated = Interval(max(0, round(value - half)), round(value), round(value + half))
    reserved = with_slack(allocated, RESERVED_SLACK)
    beyond = Component("activations", round(value) - states, f"observed: {said}")
    return estimate._replace(
        allocated=allocated,
        reserved=reserved,
        device=added(reserved, CONTEXT),
        required=added(with_slack(allocated, REQUIRED_SLACK), CONTEXT),
        phase="observed",
        components=(*estimate.components, beyond),
        assumptions=(f"from {said}: {estimate.unknown_because}", *estimate.assumptions),
        unknown_because="",
    )


def _allocated(observation: Observation) -> float:
    """What torch had allocated when a meter showed this."""
    match observation.meter:
        case Meter.ALLOCATED:
            return float(observation.bytes)
        case Meter.RESERVED:
            return observation.bytes / (1 + RESERVED_SLACK.value)
        case Meter.DEVICE:
            return max(0, observation.bytes - CONTEXT.value) / (1 + RESERVED_SLACK.value)


_WORDS = {Meter.ALLOCATED: "allocated", Meter.RESERVED: "reserved", Meter.DEVICE: "nvidia-smi"}
_MOST_SAID = 3


def _said(points: Sequence[Point]) -> str:
    """The points in words: ``1 observation (batch 2: 7.40 GiB by nvidia-smi)``."""
    each = [
        f"batch {point.observation.micro_batch}: {point.observation.bytes / 2**30:.2f} GiB by "
        f"{_WORDS[point.observation.meter]}"
        for point in points[:_MOST_SAID]
    ]
    more = ", …" if len(points) > _MOST_SAID else ""
    return f"{len(points)} observation{'' if len(points) == 1 else 's'} ({', '.join(each)}{more})"
