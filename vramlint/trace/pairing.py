"""From a few recordings of one model to a profile: pair their events, fit each storage, keep the moments that matter.

The sequence of allocations does not depend on batch or image size, so storage n of one recording is storage n of
another. Each storage is then a sum of a few terms (a constant, ``B``, ``B*H*W``, …), so is every moment, and the peak
is the maximum over moments. Fitting peaks directly would be wrong by up to 66 % (measured on ResNet-50), since which
moment is the peak changes with the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product
from typing import NamedTuple

from vramlint.errors import TraceError
from vramlint.memory.knowledge import Workload
from vramlint.memory.profile import TERMS
from vramlint.plan import Precision
from vramlint.trace.alignment import aligned
from vramlint.trace.events import CUDA_BLOCK_BYTES, Level, Recording, Shape, block_bytes, running_maxima

Coefficients = tuple[float, ...]

IMAGE_TERMS = ("1", "B", "HW", "BHW")
"""Terms of models on images; four recordings determine them."""

TOKEN_TERMS = ("1", "B", "S", "BS")
"""Terms of models on token sequences."""

GRADIENT_WEIGHTS = (0, 2, 4, 8)
"""Bytes per gradient element for which the kept moments must contain the peak; 0 where all gradients are alive."""

_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
_SIDES = (64, 128, 224, 320, 448, 640, 896, 1024, 1536, 2048)
_TARGETS = (5, 20, 100)
_LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)

PHASES = ("forward", "backward", "optimizer", "evaluation")
"""What follows the colon in the marks of a recording, where memory matters."""

KEEP_WITHIN = 0.0005
"""Share of the activations and gradients by which a profile may be lower for a moment left out."""

_EXACT = 1e-9
"""Relative error below which terms explain a storage's sizes exactly."""


_NEARLY = 1e-4
"""The same within a block of the allocator: some padded maps end a few numbers early."""

_SMALL_BYTES = 8192
"""A storage no larger at any recording that no terms explain counts as of one size: rows of a padded map, say."""


class Point(NamedTuple):
    """One moment of the step: bytes per term beyond static storages and gradients, and gradient elements."""

    phase: str
    coefficients: Coefficients
    gradient_elements: int


class Fit(NamedTuple):
    """The moments of every part of a recording (``fresh``, ``kept``, ``evaluation``) over ``terms``."""

    terms: tuple[str, ...]
    parts: dict[str, tuple[Point, ...]]


def pair(recordings: Sequence[Recording]) -> list[int | str]:
    """The event sequence that all recordings share. Raises TraceError where they differ."""
    first = recordings[0].normalised()
    for other in recordings[1:]:
        events = other.normalised()
        if events != first or other.gradients.keys() != recordings[0].gradients.keys():
            where = next((i for i, (a, b) in enumerate(zip(first, events, strict=False)) if a != b), len(first))
            raise TraceError(
                f"the step at {other.shape} does other things than at {recordings[0].shape} "
                f"(event {where} of {len(first)})",
                help="Trace at shapes that take the same path through the model.",
            )
    return first


def fit(recordings: Sequence[Recording], terms: tuple[str, ...]) -> Fit:
    """The moments of a step as functions of the terms, reduced to those that can be the maximum.

    As many recordings as terms always do, at shapes that tell the terms apart. Fewer do where every storage's sizes
    follow from fewer terms than there are recordings, in one way only; raises TooFewShapes where some do not.
    """
    rows = [factors(recording.shape, terms) for recording in recordings]
    return Fit(terms, {part: reduce(found, terms) for part, found in every_point(recordings, rows).items()})


def every_point(recordings: Sequence[Recording], rows: Sequence[tuple[int, ...]]) -> dict[str, list[Point]]:
    """Every local maximum of each part, in order, as a function of the terms, whose values at a recording are its row.

    Raises as :func:`fit` does.
    """
    recordings = aligned(recordings)
    events = pair(recordings)
    width = len(rows[0])
    solver = _Solver(rows)
    coefficients = [solver.solve(tuple(sizes)) for sizes in zip(*(r.sizes for r in recordings), strict=True)]
    static, gradients = recordings[0].static(), recordings[0].gradients
    nothing = (0.0,) * width

    def weigh(storage: int) -> tuple[float, ...]:
        if storage in static:
            return (*nothing, 0)
        if storage in gradients:
            return (*nothing, gradients[storage])
        return (*coefficients[storage], 0)

    points: dict[str, list[Point]] = {}
    for index, mark, (*activation, elements) in running_maxima(events, weigh, width + 1):
        part, _, phase = mark.partition(":")
        if phase in PHASES:
            left_out = solver.solve(tuple(r.left_out[index] if r.left_out else 0 for r in recordings))
            # Sums of floats leave traces of what was freed: digits far below a byte.
            total = tuple(round(a + b, 9) for a, b in zip(activation, left_out, strict=True))
            points.setdefault(part, []).append(Point(phase, total, int(elements)))
    return points


def factors(shape: Shape, terms: Iterable[str]) -> tuple[int, ...]:
    """The values of the terms at a shape."""
    workload = Workload(
        shape.batch, Precision.FP32, checkpointing=False, height=shape.height, width=shape.width,
        seq_len=shape.seq_len, targets=shape.targets,
    )  # fmt: skip
    return tuple(TERMS[term](workload) for term in terms)


def reduce(points: Sequence[Point], terms: tuple[str, ...]) -> tuple[Point, ...]:
    """The points that are the maximum somewhere on a grid of shapes and gradient weights, in their order.

    Of those, the ones without which the maximum is nowhere lower by more than ``KEEP_WITHIN`` are left out.
    """
    return reduce_on(points, _grid(terms))


def reduce_on(points: Sequence[Point], grid: Sequence[tuple[int, ...]]) -> tuple[Point, ...]:
    """The points that are the maximum somewhere on a grid of the terms' values and of gradient weights, in their order.

    Of those, the ones without which the maximum is nowhere lower by more than ``KEEP_WITHIN`` are left out.
    """
    distinct = list(dict.fromkeys(points))
    kept: set[int] = set()
    rows = []
    for values in grid:
        activations = [_level(point, values, 0) for point in distinct]
        for weight in GRADIENT_WEIGHTS:
            levels = [
                activation + weight * point.gradient_elements
                for activation, point in zip(activations, distinct, strict=True)
            ]
            kept.add(levels.index(max(levels)))
            rows.append(levels)
    needed = _needed(sorted(kept), rows)
    needed |= {index for index, point in enumerate(distinct) if point.phase == "optimizer"}
    return tuple(distinct[index] for index in sorted(needed))


def _needed(candidates: list[int], rows: list[list[float]]) -> set[int]:
    """The candidates left when each, in order, is dropped if the others reach every row's maximum closely enough."""
    bars = [(1 - KEEP_WITHIN) * max(levels[index] for index in candidates) for levels in rows]
    kept = list(candidates)
    for candidate in candidates:
        others = [index for index in kept if index != candidate]
        if others and all(
            any(levels[index] >= bar for index in others) for levels, bar in zip(rows, bars, strict=True)
        ):
            kept = others
    return set(kept)


def peak(points: Iterable[Point], values: Sequence[int], gradient_bytes: int) -> float:
    """The highest level among the points in bytes, where an element of a gradient has ``gradient_bytes``."""
    return max(_level(point, values, gradient_bytes) for point in points)


class TooFewShapes(TraceError):
    """Some storage's sizes are not explained by fewer terms than there are recordings."""


class Residual(NamedTuple):
    """The worst relative differences between a fit and a recording.

    What is compared are the peaks beyond parameters, buffers and optimizer states: of the whole peak it is less.
    ``evaluation`` is of the pass without graph, whose peak is a small part of the training step's.
    """

    training: float
    evaluation: float


def residual(found: Fit, recording: Recording, gradient_bytes: int = 4) -> Residual:
    """How far the fit is from a recording that it was not made from."""
    values = factors(recording.shape, found.terms)
    direct: dict[str, int] = {}
    for level in recording.levels():
        part, _, phase = level.phase.partition(":")
        if part in found.parts and phase in PHASES:
            direct[part] = max(direct.get(part, 0), _bytes(level, gradient_bytes))
    off = {part: abs(peak(found.parts[part], values, gradient_bytes) - total) / total for part, total in direct.items()}
    return Residual(max((off[part] for part in off if part != "evaluation"), default=0.0), off.get("evaluation", 0.0))


def _bytes(level: Level, gradient_bytes: int) -> int:
    return level.activation_bytes + gradient_bytes * level.gradient_elements


def _level(point: Point, values: Sequence[int], weight: int) -> float:
    return sum(map(float.__mul__, point.coefficients, map(float, values))) + weight * point.gradient_elements


def _grid(terms: tuple[str, ...]) -> list[tuple[int, ...]]:
    if any("S" in term for term in terms):
        shapes = [Shape(batch, seq_len=length) for batch, length in product(_BATCHES, _LENGTHS)]
    else:
        targets = _TARGETS if any("T" in term for term in terms) else (0,)
        shapes = [Shape(batch, side, side, 0, each) for batch, side, each in product(_BATCHES, _SIDES, targets)]
    return list(dict.fromkeys(factors(shape, terms) for shape in shapes))


class _Solver:
    """Finds the fewest terms that explain a storage's sizes at the recorded shapes, else their least-squares fit."""

    def __init__(self, rows: Sequence[tuple[int, ...]]) -> None:
        self._rows = rows
        self._width = len(rows[0])
        self._known: dict[tuple[int, ...], Coefficients] = {}

    def solve(self, sizes: tuple[int, ...]) -> Coefficients:
        """Coefficients of the terms for a storage of these sizes. A constant one counts in allocator blocks."""
        if sizes not in self._known:
            self._known[sizes] = self._solve(sizes)
        return self._known[sizes]

    def _solve(self, sizes: tuple[int, ...]) -> Coefficients:
        if len(set(sizes)) == 1:
            return (float(block_bytes(sizes[0])),) + (0.0,) * (self._width - 1)
        enough = len(self._rows) >= self._width
        for count in range(1, self._width + 1 if enough else len(self._rows)):
            found = list(self._explanations(count, sizes))
            if len(found) == 1 or (found and enough):
                return found[0]
            if found:
                break
        if max(sizes) <= _SMALL_BYTES:
            return (float(block_bytes(max(sizes))),) + (0.0,) * (self._width - 1)
        if not enough:
            raise TooFewShapes(f"{len(self._rows)} shapes do not tell what a storage of {sizes} bytes follows")
        best = _least_squares([list(row) for row in self._rows], sizes)
        if best is None:
            raise TraceError("the traced shapes do not tell the terms apart", help="Vary batch and size separately.")
        return tuple(best)

    def _explanations(self, count: int, sizes: tuple[int, ...]) -> Iterator[Coefficients]:
        """The ways to explain the sizes by ``count`` terms."""
        for columns in combinations(range(self._width), count):
            solution = _least_squares([[row[c] for c in columns] for row in self._rows], sizes)
            if solution is not None and self._explains(columns, solution, sizes):
                yield self._spread(columns, solution)

    def _explains(self, columns: tuple[int, ...], solution: list[float], sizes: tuple[int, ...]) -> bool:
        if min(solution) < 0 and len(columns) == self._width:
            return False
        return all(
            abs(sum(row[c] * x for c, x in zip(columns, solution, strict=True)) - size)
            <= max(_EXACT * max(size, 1), min(CUDA_BLOCK_BYTES, _NEARLY * size))
            for row, size in zip(self._rows, sizes, strict=True)
        )

    def _spread(self, columns: tuple[int, ...], solution: list[float]) -> Coefficients:
        full = [0.0] * self._width
        for column, value in zip(columns, solution, strict=True):
            full[column] = value
        return tuple(full)


def _least_squares(rows: list[list[int]], right: Sequence[int]) -> list[float] | None:
    """The solution of the normal equations, weighted so that relative errors count; None where they are singular."""
    width = len(rows[0])
    scale = [max(abs(row[i]) for row in rows) or 1 for i in range(width)]
    sizes = [max(size, 1) for size in right]
    weighted = [
        ([row[i] / scale[i] / size for i in range(width)], value / size)
        for row, size, value in zip(rows, sizes, right, strict=True)
    ]
    matrix = [
        [sum(row[i] * row[j] for row, _ in weighted) for j in range(width)] + [sum(row[i] * y for row, y in weighted)]
        for i in range(width)
    ]
    for pivot in range(width):
        best = max(range(pivot, width), key=lambda i: abs(matrix[i][pivot]))
        if abs(matrix[best][pivot]) < 1e-13 * max(1e-300, max(abs(value) for value in matrix[best])):
            return None
        matrix[pivot], matrix[best] = matrix[best], matrix[pivot]
        for other in range(width):
            if other != pivot:
                ratio = matrix[other][pivot] / matrix[pivot][pivot]
                matrix[other] = [a - ratio * b for a, b in zip(matrix[other], matrix[pivot], strict=True)]
    return [matrix[i][width] / matrix[i][i] / scale[i] for i in range(width)]
