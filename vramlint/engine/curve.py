"""Memory over the micro batch: what one run would need with other batches, around the one it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vramlint.memory.estimate import estimate
from vramlint.memory.model import Estimate, Interval
from vramlint.plan import revise
from vramlint.results import RunResult

_MOST_POINTS = 24
_BEYOND_CARD = 1.3
"""A curve ends where the run needs so many times the card's usable memory."""
_LEAST_SPAN = 4
"""Without a card a curve ends at so many times the present batch."""


class Point(NamedTuple):
    """The need of one rank with ``batch`` samples per step."""

    batch: int
    needed: Interval


def batch_curve(run: RunResult) -> tuple[Point, ...]:
    """Points in ascending order, the present batch among them; empty where batch or memory is unknown."""
    now = run.reading.plan.micro_batch.value
    if now is None or now < 1 or _needed(run.estimate) is None:
        return ()
    points = {now: Point(now, _at(run, now) or Interval(0, 0, 0))}
    for batch in _batches():
        needed = _at(run, batch)
        if needed is None:
            continue
        points[batch] = Point(batch, needed)
        if batch > now and _ends(batch, needed, now, run.estimate.usable_bytes):
            break
    return tuple(points[batch] for batch in sorted(points))


def _batches() -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, …: each power of two and the one and a half of it."""
    yield 1
    power = 2
    for _ in range(_MOST_POINTS // 2):
        yield power
        yield power + power // 2
        power *= 2


def _ends(batch: int, needed: Interval, now: int, usable_bytes: int | None) -> bool:
    if usable_bytes is None:
        return batch >= _LEAST_SPAN * now
    return needed.value >= _BEYOND_CARD * usable_bytes


def _at(run: RunResult, batch: int) -> Interval | None:
    plan = revise(run.reading.plan, {"micro_batch": batch})
    return _needed(estimate(plan, run.target, run.limits))


def _needed(found: Estimate) -> Interval | None:
    return found.required or found.device
