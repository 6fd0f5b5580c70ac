"""A deep model's profile from traces of a few layers: every further layer adds what the last one added.

The step of a stack of equal blocks is traced with two and with three of them, or with three and four. In the forward
pass, moments near its end have one block's kept tensors more; in the backward pass, those of the first blocks gone
through too, and those of the last ones one block's gradients more. Where the first blocks' moments end is read off the
two sequences. Between the ends of a stack all moments lie on a line, so that no block inside can be the peak. Traces of
whole models check it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from vramlint.errors import TraceError
from vramlint.trace.events import Recording
from vramlint.trace.pairing import Point, TooFewShapes, every_point

FEW = (2, 3)
"""Blocks of each stack in the smallest trace: three where the first and the last block both differ from the others (the
last one of SD3 drops its text, the first one of a frozen model needs no gradient of its input)."""

_CLOSE = 3e-4
"""Relative difference that two moments may have: what blocks share (one modulation, a sum of gradients) is touched in
the first one that needs it."""


class Shift(NamedTuple):
    """What one more block adds to a moment: bytes by term, and gradient elements."""

    coefficients: tuple[float, ...]
    gradient_elements: int


class Layered(NamedTuple):
    """Moments of the smallest trace, each with what a further block of every stack adds to it."""

    points: dict[str, list[Point]]
    shifts: dict[str, list[tuple[Shift, ...]]]
    few: int

    def at(self, counts: Sequence[int]) -> dict[str, list[Point]]:
        """The moments where the stacks have ``counts`` blocks."""
        return {
            part: [
                _moved(point, shifts, [count - self.few for count in counts])
                for point, shifts in zip(points, self.shifts[part], strict=True)
            ]
            for part, points in self.points.items()
        }


def layered(
    traced: Callable[[Mapping[str, int]], Sequence[Recording]], stacks: Sequence[str], rows: Sequence[tuple[int, ...]]
) -> Layered:
    """Trace with few blocks and with one more of each stack. ``rows`` are the terms' values at each recording.

    Raises TooFewShapes where the recordings do not tell what a storage follows, TraceError where the blocks are no
    stack.
    """
    try:
        return _layered(traced, stacks, rows, FEW[0])
    except TooFewShapes:
        raise
    except TraceError:
        return _layered(traced, stacks, rows, FEW[1])


def _layered(
    traced: Callable[[Mapping[str, int]], Sequence[Recording]],
    stacks: Sequence[str],
    rows: Sequence[tuple[int, ...]],
    few: int,
) -> Layered:
    least = dict.fromkeys(stacks, few)
    base_recordings = traced(least)
    base = every_point(base_recordings, rows)
    by_stack = []
    for stack in stacks:
        recordings = traced({**least, stack: few + 1})
        gradients = recordings[0].trainable - base_recordings[0].trainable
        by_stack.append(_shifts(base, every_point(recordings, rows), gradients))
    points: dict[str, list[Point]] = {}
    shifts: dict[str, list[tuple[Shift, ...]]] = {}
    for part, found in base.items():
        for index, point in enumerate(found):
            for chosen in product(*(stack[part][index] for stack in by_stack)):
                points.setdefault(part, []).append(point)
                shifts.setdefault(part, []).append(chosen)
    return Layered(points, shifts, few)


def _moved(point: Point, shifts: Sequence[Shift], further: Sequence[int]) -> Point:
    """The moment with so many ``further`` blocks in each stack."""
    coefficients, elements = list(point.coefficients), point.gradient_elements
    for shift, count in zip(shifts, further, strict=True):
        coefficients = [a + count * b for a, b in zip(coefficients, shift.coefficients, strict=True)]
        elements += count * shift.gradient_elements
    return Point(point.phase, tuple(round(each, 9) for each in coefficients), elements)


Ways = tuple[Shift, ...]
"""How a moment may move: both ways where it is one of the first blocks' and of the last ones'."""


def _shifts(base: dict[str, list[Point]], more: dict[str, list[Point]], gradients: int) -> dict[str, list[Ways]]:
    result: dict[str, list[Ways]] = {}
    for part, points in base.items():
        kept = gradients if part == "kept" else 0
        # Where the phase ends, autocast has dropped its copies of the weights; one moment earlier they are still there.
        inside, per_block = (_difference(_last(more[part], back), _last(points, back)) for back in (2, 1))
        nothing = (0.0,) * len(per_block)
        ends = {
            "forward": (Shift(nothing, kept), Shift(inside, kept)),
            "end of forward": (Shift(per_block, kept),) * 2,
            "backward": (Shift(per_block, kept), Shift(nothing, gradients)),
            "optimizer": (Shift(nothing, gradients),) * 2,
            "evaluation": (Shift(nothing, 0),) * 2,
        }
        found: list[Ways] = []
        for phase, (early, late) in ends.items():
            before, after = _phase(points, phase), _phase(more[part], phase)
            found += _classified(before, after, early, late, f"{part}:{phase}")
        result[part] = found
    return result


def _phase(points: Sequence[Point], phase: str) -> list[Point]:
    """The moments of a phase; the one at which the forward pass ends stands by itself."""
    found = [point for point in points if point.phase == phase.removeprefix("end of ")]
    if not phase.endswith("forward"):
        return found
    return found[-1:] if phase.startswith("end of ") else found[:-1]


def _last(points: Sequence[Point], back: int) -> Point:
    return [point for point in points if point.phase == "forward"][-back]


def _difference(more: Point, few: Point) -> tuple[float, ...]:
    return tuple(round(a - b, 9) for a, b in zip(more.coefficients, few.coefficients, strict=True))


def _classified(before: Sequence[Point], after: Sequence[Point], early: Shift, late: Shift, where: str) -> list[Ways]:
    """For each moment whether it moves as those at the start of its phase, as those at its end, or both."""
    each = len(after) - len(before)
    if each == 0:
        return [(late,)] * len(before)
    head = _matching(before, after, early)
    if each < 0 or head < each:
        raise TraceError(
            f"{where}: a block has {each} moments, but only {head} of {len(before)} fit one block more",
            help="The blocks are not alike; trace the whole model.",
        )
    # The moments that fit are those of the first two blocks, as far as the second is like the others; a block's worth
    # of them may be of the last block as well.
    return [
        (early,) if index < head - each else (early, late) if index < head else (late,) for index in range(len(before))
    ]


def _matching(before: Sequence[Point], after: Sequence[Point], shift: Shift) -> int:
    count = 0
    for one, other in zip(before, after, strict=False):
        moved = _moved(one, (shift,), (1,))
        if moved.gradient_elements != other.gradient_elements or not _near(moved.coefficients, other.coefficients):
            break
        count += 1
    return count


def _near(left: Sequence[float], right: Sequence[float]) -> bool:
    return all(abs(a - b) <= _CLOSE * max(abs(a), abs(b), 0.01) for a, b in zip(left, right, strict=True))


def as_json(point: Point) -> list[Any]:
    """A moment as the packs hold it."""
    return [point.phase, [_plain(value) for value in point.coefficients], point.gradient_elements]


def _plain(value: float) -> int | float:
    rounded = float(f"{value:.10g}")
    return int(rounded) if rounded.is_integer() else rounded
