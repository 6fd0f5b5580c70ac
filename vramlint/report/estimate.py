"""Memory estimates as text: a bar a component, and a curve for a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from vramlint.memory.model import Component, Estimate, Interval, Verdict
from vramlint.report.json import EstimateRow
from vramlint.report.summary import interval_of, verdict_words
from vramlint.report.text import View, bar, count, gib, gib_range, percent, printable, wrap

VERDICT_STYLES = {Verdict.FITS: "1;32", Verdict.TIGHT: "1;33", Verdict.OVER: "1;31", Verdict.UNKNOWN: "1"}
_NAME_WIDTH = 24
_SWEEP_ROWS = 16
"""A sweep prints at most about this many rows: nobody reads 64."""


def render(rows: Sequence[EstimateRow], view: View, swept: str = "") -> str:
    """One block a run and GPU; ``swept`` names the setting a sweep varied, the rows of one sweep being adjacent."""
    if not rows:
        return "no training run to estimate\n"
    if not swept:
        return "\n".join(_single(row, view) for row in rows)
    groups = groupby(rows, key=lambda row: (row.plan.path, row.plan.title, row.estimate.gpu))
    return "\n".join(_sweep(list(group), swept, view) for _, group in groups)


def _heading(row: EstimateRow, view: View) -> str:
    estimate = row.estimate
    name = f"{row.plan.path} {row.plan.title}".rstrip()
    return (
        f"{view.bold(printable(name))}  {printable(estimate.model or 'unknown model')} on {estimate.gpu or 'any GPU'}"
    )


def _single(row: EstimateRow, view: View) -> str:
    estimate = row.estimate
    lines = [_heading(row, view), *_verdict(estimate, view), *_meters(estimate)]
    lines.extend(_components(estimate.components, view))
    for assumption in estimate.assumptions:
        first, *rest = wrap(printable(assumption), view.width - 4)
        lines.extend([view.dim(f"  - {first}"), *(view.dim(f"    {line}") for line in rest)])
    return "\n".join(lines) + "\n"


def _verdict(estimate: Estimate, view: View) -> list[str]:
    needed = interval_of(estimate)
    if needed is None:
        return [f"  {line}" for line in wrap(f"unknown: {estimate.unknown_because}", view.width - 2)]
    words = view.paint(verdict_words(estimate.verdict), VERDICT_STYLES[estimate.verdict])
    phase = f", peak in {estimate.phase}" if estimate.phase else ""
    if estimate.usable_bytes is None:
        return [f"  needs {gib(needed.value)} GiB ({gib_range(needed)}){phase}; name a card with --gpu for a verdict"]
    share = percent(needed.value, estimate.usable_bytes)
    return [f"  needs {gib(needed.value)} of {gib(estimate.usable_bytes)} GiB usable ({share}){phase}: {words}"]


def _meters(estimate: Estimate) -> list[str]:
    meters: list[tuple[str, Interval | None, str]] = [
        ("allocated", estimate.allocated, "torch.cuda.max_memory_allocated"),
        ("reserved", estimate.reserved, "torch.cuda.max_memory_reserved"),
        ("device", estimate.device, "nvidia-smi"),
    ]
    return [
        f"  {name:<{_NAME_WIDTH}} {gib(value.value):>7} GiB  {gib_range(value):<18} {source}"
        for name, value, source in meters
        if value is not None
    ]


def _components(components: Sequence[Component], view: View) -> list[str]:
    """A bar each, in file order; the longest bar is the largest component."""
    largest = max((component.bytes for component in components), default=0)
    width = max(min(view.width - _NAME_WIDTH - 16, 40), 10)
    return [
        f"  {printable(component.name):<{_NAME_WIDTH}} {gib(component.bytes):>7} GiB  "
        f"{view.paint(bar(component.bytes, largest, width), '36')}".rstrip()
        for component in components
    ]


def _sweep(rows: Sequence[EstimateRow], swept: str, view: View) -> str:
    usable = rows[0].estimate.usable_bytes
    peaks = [needed.value for row in rows if (needed := interval_of(row.estimate)) is not None]
    if not peaks:
        return "\n".join([_heading(rows[0], view), *_verdict(rows[0].estimate, view)]) + "\n"
    scale = max([*peaks, usable or 0])
    width = max(min(view.width - 44, 60), 10)
    lines = [_heading(rows[0], view)]
    lines.extend(_sweep_row(row, swept, (scale, width), view) for row in _thinned(rows))
    return "\n".join([*lines, _conclusion(rows, swept)]) + "\n"


def _sweep_row(row: EstimateRow, swept: str, size: tuple[int, int], view: View) -> str:
    scale, width = size
    needed = interval_of(row.estimate)
    head = f"  {swept} {row.swept:>5}"
    if needed is None:
        return f"{head}  unknown"
    style = VERDICT_STYLES[row.estimate.verdict]
    drawn = bar(needed.value, scale, width)
    words = "" if row.estimate.verdict is Verdict.UNKNOWN else row.estimate.verdict.value
    padding = " " * (width - len(drawn))
    return f"{head} {gib(needed.value):>7} GiB  {view.paint(drawn, style)}{padding} {words}".rstrip()


def _thinned(rows: Sequence[EstimateRow]) -> list[EstimateRow]:
    """At most about ``_SWEEP_ROWS`` rows, spread evenly, with every row beside which the verdict changes."""
    step = -(-len(rows) // _SWEEP_ROWS)
    kept = {0, len(rows) - 1, *range(step - 1, len(rows), step)}
    for number in range(1, len(rows)):
        if rows[number].estimate.verdict is not rows[number - 1].estimate.verdict:
            kept |= {number - 1, number}
    return [rows[number] for number in sorted(kept)]


def _conclusion(rows: Sequence[EstimateRow], swept: str) -> str:
    usable = rows[0].estimate.usable_bytes
    if usable is None:
        return "  name a card with --gpu for a verdict"
    fitting = [row.swept for row in rows if row.estimate.verdict is Verdict.FITS and row.swept is not None]
    if not fitting:
        return f"  none of {count(len(rows), 'value')} fits {gib(usable)} GiB usable"
    return f"  largest {swept} that fits {gib(usable)} GiB usable: {max(fitting)}"
