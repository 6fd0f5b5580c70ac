"""Charts of the HTML report as inline SVG and plain tables: no script, no file beside the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from vramlint.engine.curve import Point
from vramlint.hardware.model import GIB
from vramlint.memory.model import Component
from vramlint.report.text import gib, gib_range, size

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 14, 44
_ROOM = 1.15
"""Above the present need there is so much room."""
_HIGHEST = 1.35
"""The axis ends at so many times the card's memory: beyond it every need is the same, too much."""


def component_table(components: Sequence[Component]) -> str:
    """A row a component with a bar; the longest bar is the largest component."""
    largest = max((component.bytes for component in components), default=0) or 1
    rows = "".join(
        f'<tr><th scope="row">{escape(one.name)}</th><td class="number">{size(one.bytes)}</td>'
        f'<td class="bar"><span style="width:{max(100 * one.bytes / largest, 0):.1f}%"></span></td></tr>'
        for one in components
    )
    head = '<thead><tr><th scope="col">part</th><th scope="col">size</th><th scope="col"></th></tr></thead>'
    return f"<table>{head}<tbody>{rows}</tbody></table>"


def curve_chart(points: Sequence[Point], now: int, usable_bytes: int | None, name: str) -> str:
    """Need over the micro batch with its interval, the card's end, the present batch; ``name`` makes ids unique."""
    largest = largest_fitting(points, usable_bytes)
    described = _described(points, now, usable_bytes, largest)
    axes = _Axes(points, now, usable_bytes)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="{name}-title {name}-text">',
        f'<title id="{name}-title">GPU memory over the micro batch</title>',
        f'<desc id="{name}-text">{escape(described)}</desc>',
        f'<clipPath id="{name}-plot"><rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH - _LEFT - _RIGHT}" '
        f'height="{_HEIGHT - _TOP - _BOTTOM}"/></clipPath>',
        *axes.grid(),
        f'<g clip-path="url(#{name}-plot)">',
        f'<polygon class="band" points="{axes.band(points)}"/>',
        f'<polyline class="curve" points="{axes.line(points)}"/>',
        "</g>",
        *_card(axes, usable_bytes),
        *_dots(axes, points, now, largest),
        "</svg>",
    ]
    return "".join(parts)


def curve_table(points: Sequence[Point]) -> str:
    """The same numbers to read."""
    rows = "".join(
        f'<tr><th scope="row">{point.batch}</th><td class="number">{gib(point.needed.value)} GiB</td>'
        f"<td>{gib_range(point.needed)}</td></tr>"
        for point in points
    )
    head = '<tr><th scope="col">micro batch</th><th scope="col">needs</th><th scope="col">interval</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def largest_fitting(points: Sequence[Point], usable_bytes: int | None) -> Point | None:
    """The largest drawn batch whose whole interval fits, None without a card or where none does."""
    fitting = [point for point in points if usable_bytes is not None and point.needed.high <= usable_bytes]
    return max(fitting, key=lambda point: point.batch, default=None)


class _Axes:
    """From batches and bytes to places in the picture."""

    def __init__(self, points: Sequence[Point], now: int, usable_bytes: int | None) -> None:
        current = next(point for point in points if point.batch == now)
        highest = max(point.needed.high for point in points)
        if usable_bytes is not None:
            highest = min(max(highest, int(1.1 * usable_bytes)), int(_HIGHEST * usable_bytes))
        highest = max(highest, int(_ROOM * current.needed.value))
        self._gib_step = _step(highest / GIB, 6)
        self._top = highest
        self._first = points[0].batch
        # Where hardly anything fits, the batches far beyond the card would squeeze what matters.
        inside = [point.batch for point in points if point.needed.low <= highest]
        self._last = max(*inside, now, points[min(1, len(points) - 1)].batch)

    def x(self, batch: float) -> float:
        span = max(self._last - self._first, 1)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (batch - self._first) / span

    def y(self, amount_bytes: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * amount_bytes / self._top

    def line(self, points: Sequence[Point]) -> str:
        return " ".join(f"{self.x(point.batch):.1f},{self.y(point.needed.value):.1f}" for point in points)

    def band(self, points: Sequence[Point]) -> str:
        upper = [f"{self.x(point.batch):.1f},{self.y(point.needed.high):.1f}" for point in points]
        lower = [f"{self.x(point.batch):.1f},{self.y(point.needed.low):.1f}" for point in reversed(points)]
        return " ".join([*upper, *lower])

    def holds(self, point: Point) -> bool:
        return point.batch <= self._last and point.needed.value <= self._top

    def grid(self) -> list[str]:
        """Lines and numbers of both axes."""
        parts = []
        level = 0.0
        while level * GIB <= self._top:
            y = self.y(level * GIB)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="muted" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{level:g}</text>')
            level += self._gib_step
        step = max(int(_step(self._last, 8)), 1)
        ticks = sorted({self._first, *range(step, self._last + 1, step)})
        for batch in ticks:
            place = f'x="{self.x(batch):.1f}" y="{_HEIGHT - _BOTTOM + 18}"'
            parts.append(f'<text class="muted" {place} text-anchor="middle">{batch}</text>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(f'<text class="muted" x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">micro batch</text>')
        parts.append(f'<text class="muted" x="4" y="{_TOP + 4}">GiB</text>')
        return parts


def _step(span: float, most: int) -> float:
    """A round step (1, 2 or 5 times a power of ten) that cuts ``span`` into at most ``most`` parts."""
    power = 10.0**-3
    while True:
        for factor in (1, 2, 5):
            if span / (factor * power) <= most:
                return factor * power
        power *= 10


def _card(axes: _Axes, usable_bytes: int | None) -> list[str]:
    if usable_bytes is None:
        return []
    y = axes.y(usable_bytes)
    words = f"{gib(usable_bytes)} GiB usable"
    return [
        f'<line class="card" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<text x="{_WIDTH - _RIGHT - 6}" y="{y - 6:.1f}" text-anchor="end">{words}</text>',
    ]


def _dots(axes: _Axes, points: Sequence[Point], now: int, largest: Point | None) -> list[str]:
    current = next(point for point in points if point.batch == now)
    marked = [("now", current, f"now {now}")]
    if largest is not None and largest.batch != now:
        marked.append(("largest", largest, f"{largest.batch} fits"))
    parts = []
    for kind, point, words in marked:
        if not axes.holds(point):
            continue
        x, y = axes.x(point.batch), axes.y(point.needed.value)
        anchor, beside = ("end", -9) if x > _WIDTH / 2 else ("start", 9)
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        parts.append(f'<text x="{x + beside:.1f}" y="{y + 16:.1f}" text-anchor="{anchor}">{words}</text>')
    return parts


def _described(points: Sequence[Point], now: int, usable_bytes: int | None, largest: Point | None) -> str:
    current = next(point for point in points if point.batch == now)
    words = [f"Micro batch {now} needs {gib(current.needed.value)} GiB ({gib_range(current.needed)})."]
    if usable_bytes is not None:
        words.append(f"The card has {gib(usable_bytes)} GiB usable.")
        words.append("No batch of the curve surely fits." if largest is None else f"Up to {largest.batch} surely fits.")
    return " ".join(words)
