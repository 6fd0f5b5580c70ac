"""Memory estimates as text: a bar a component, and a curve for a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from vramlint.memory.model import Component, Estimate, Interval, Verdict
from vramlint.report.rows import EstimateRow
from vramlint.report.summary import interval_of, least_words, verdict_words
from vramlint.report.text import View, bar, count, gib, gib_range, percent, printable, size, wrap

VERDICT_STYLES = {Verdict.FITS: "1;32", Verdict.TIGHT: "1;33", Verdict.OVER: "1;31", Verdict.UNKNOWN: "1"}
_NAME_WIDTH = 24
_SWEEP_ROWS = 16
"""A longer sweep prints only the rows that tell something: nobody reads 64."""


def render(rows: Sequence[EstimateRow], view: View, swept: str = "", *, origins: bool = False) -> str:
    """One block a run and GPU; ``swept`` names the setting a sweep varied, the rows of one sweep being adjacent.

    ``origins``: say below every component where its bytes come from.
    """
    if not rows:
        return "no training run to estimate\n"
    if not swept:
        return "\n".join(_single(row, view, origins=origins) for row in rows)
    cards = swept == "gpu"
    groups = groupby(rows, key=lambda row: (row.plan.path, row.plan.title, "" if cards else row.estimate.gpu))
    if cards:
        return "\n".join(_cards(list(group), view) for _, group in groups)
    return "\n".join(_sweep(list(group), swept, view) for _, group in groups)


def _heading(row: EstimateRow, view: View, gpu: str = "") -> str:
    estimate = row.estimate
    name = f"{row.plan.path} {row.plan.title}".rstrip()
    where = gpu or estimate.gpu or "any GPU"
    return f"{view.bold(printable(name))}  {printable(estimate.model or 'unknown model')} on {where}"


def _single(row: EstimateRow, view: View, *, origins: bool) -> str:
    estimate = row.estimate
    lines = [_heading(row, view), *_largest(row, view), *_verdict(estimate, view), *_meters(estimate)]
    lines.extend(_components(estimate.components, view, origins=origins))
    for assumption in (*([estimate.caveat] if estimate.caveat else []), *estimate.assumptions):
        first, *rest = wrap(printable(assumption), view.width - 4)
        lines.extend([view.dim(f"  - {first}"), *(view.dim(f"    {line}") for line in rest)])
    return "\n".join(lines) + "\n"


def _largest(row: EstimateRow, view: View) -> list[str]:
    """The largest batches, where they were asked for; the lines below are of the batch named first."""
    found = row.largest
    if found is None:
        return []
    if found.fits is None or found.by_value is None:
        why = "name a card with --gpu" if row.estimate.usable_bytes is None else "see below"
        return [f"  largest batch that fits: unknown, {why}"]
    if not found.by_value:
        return [view.paint("  no batch fits: not even 1", VERDICT_STYLES[Verdict.OVER]), "  at batch 1:"]
    effective = row.plan.effective_batch.value
    whole = f" (effective {effective:,})" if effective and found.fits and effective != found.fits else ""
    beyond = f", {found.by_value} by the value alone" if found.by_value > found.fits else ""
    if not found.fits:
        return [f"  largest batch that fits: none for certain{beyond}", f"  at batch {found.by_value}:"]
    style = VERDICT_STYLES[Verdict.FITS]
    return [f"  largest batch that fits: {view.paint(f'{found.fits} per GPU', style)}{whole}{beyond}"]


def _verdict(estimate: Estimate, view: View) -> list[str]:
    needed = interval_of(estimate)
    if needed is None:
        return [f"  {line}" for line in wrap(_why_unknown(estimate), view.width - 2)]
    words = view.paint(verdict_words(estimate.verdict), VERDICT_STYLES[estimate.verdict])
    phase = f", peak in {estimate.phase}" if estimate.phase else ""
    if estimate.usable_bytes is None:
        return [f"  needs {gib(needed.value)} GiB ({gib_range(needed)}){phase}; name a card with --gpu for a verdict"]
    share = percent(needed.value, estimate.usable_bytes)
    amount = f"{gib(needed.value)} GiB ({gib_range(needed)}) of {gib(estimate.usable_bytes)} usable, {share}"
    return [f"  needs {amount}{phase}: {words}"]


def _why_unknown(estimate: Estimate) -> str:
    if estimate.least_bytes is None:
        return f"unknown: {estimate.unknown_because}"
    said = f"{least_words(estimate)}: {estimate.unknown_because}"
    match estimate.unknown_because:
        case "sequence length unknown":
            return f"{said}; --sweep seq_len=512..4096:512 shows what it adds"
        case "batch size per GPU unknown":
            return f"{said}; --sweep batch=1..16 shows what it adds"
        case _:
            return said


def _meters(estimate: Estimate) -> list[str]:
    meters: list[tuple[str, Interval | None, str]] = [
        ("allocated", estimate.allocated, "torch.cuda.max_memory_allocated"),
        ("reserved", estimate.reserved, "torch.cuda.max_memory_reserved"),
        ("device", estimate.device, "nvidia-smi"),
        ("evaluation", estimate.evaluation, "what the card must hold at each evaluation"),
    ]
    return [
        f"  {name:<{_NAME_WIDTH}} {size(value.value):>9}  {gib_range(value):<18} {source}"
        for name, value, source in meters
        if value is not None
    ]


def _components(components: Sequence[Component], view: View, *, origins: bool) -> list[str]:
    """A bar each, in file order; the longest bar is the largest component."""
    largest = max((component.bytes for component in components), default=0)
    width = max(min(view.width - _NAME_WIDTH - 16, 40), 10)
    lines = []
    for component in components:
        drawn = view.paint(bar(max(component.bytes, 0), largest, width), "36")
        lines.append(f"  {printable(component.name):<{_NAME_WIDTH}} {size(component.bytes):>9}  {drawn}".rstrip())
        if origins:
            lines.extend(view.dim(f"      {line}") for line in wrap(printable(component.origin), view.width - 6))
    return lines


def _cards(rows: Sequence[EstimateRow], view: View) -> str:
    """One line a card: what the run needs there, of what the card has."""
    lines = [_heading(rows[0], view, "each GPU")]
    width = max((len(str(row.swept)) for row in rows), default=0)
    for row in rows:
        needed, usable = interval_of(row.estimate), row.estimate.usable_bytes
        if needed is None or usable is None:
            lines.append(f"  {row.swept!s:<{width}}  unknown: {row.estimate.unknown_because}")
            continue
        drawn = _Axis(usable * 2, max(min(view.width - width - 36, 40), 10), usable).draw(needed.value)
        painted = view.paint(drawn, VERDICT_STYLES[row.estimate.verdict])
        share = f"{size(needed.value):>9} {percent(needed.value, usable):>6}"
        lines.append(f"  {row.swept!s:<{width}} {share}  {painted} {row.estimate.verdict.value}")
    return "\n".join(lines) + "\n"


def _sweep(rows: Sequence[EstimateRow], swept: str, view: View) -> str:
    usable = rows[0].estimate.usable_bytes
    peaks = [needed.value for row in rows if (needed := interval_of(row.estimate)) is not None]
    if not peaks:
        return "\n".join([_heading(rows[0], view), *_verdict(rows[0].estimate, view)]) + "\n"
    # Far beyond the card every bar looks alike, so bars end at twice its memory.
    scale = min(max(peaks), 2 * usable) if usable else max(peaks)
    width = max(min(view.width - 44, 60), 10)
    axis = _Axis(max(scale, usable or 0), width, usable)
    lines = [_heading(rows[0], view)]
    lines.extend(_sweep_row(row, swept, axis, view) for row in _thinned(rows))
    return "\n".join([*lines, _conclusion(rows, swept)]) + "\n"


class _Axis(NamedTuple):
    """The bars of a sweep: bytes at full ``width``, and the card's memory to mark."""

    full_bytes: int
    width: int
    usable_bytes: int | None

    def draw(self, needed_bytes: int) -> str:
        """The bar of one row, padded, with a line where the card ends."""
        beyond = needed_bytes > self.full_bytes
        drawn = bar(min(needed_bytes, self.full_bytes), self.full_bytes, self.width)
        cells = list(f"{drawn[:-1]}▶" if beyond else drawn.ljust(self.width))
        if self.usable_bytes is not None:
            end = min(round(self.width * self.usable_bytes / self.full_bytes), self.width - 1)
            cells[end] = "│" if cells[end] == " " else "┃"
        return "".join(cells)


def _sweep_row(row: EstimateRow, swept: str, axis: _Axis, view: View) -> str:
    needed = interval_of(row.estimate)
    head = f"  {swept} {row.swept:>5}"
    if needed is None:
        return f"{head}  unknown"
    verdict = row.estimate.verdict
    words = "" if verdict is Verdict.UNKNOWN else verdict.value
    drawn = view.paint(axis.draw(needed.value), VERDICT_STYLES[verdict])
    return f"{head} {size(needed.value):>9}  {drawn} {words}".rstrip()


def _thinned(rows: Sequence[EstimateRow]) -> list[EstimateRow]:
    """All rows of a short sweep; of a long one each doubling, and every row beside which the verdict changes."""
    if len(rows) <= _SWEEP_ROWS:
        return list(rows)
    kept = {0, len(rows) - 1}
    step = 1
    while step <= len(rows):
        kept.add(step - 1)
        step *= 2
    for number in range(1, len(rows)):
        if rows[number].estimate.verdict is not rows[number - 1].estimate.verdict:
            kept |= {number - 1, number}
    return [rows[number] for number in sorted(kept)]


def _conclusion(rows: Sequence[EstimateRow], swept: str) -> str:
    usable = rows[0].estimate.usable_bytes
    if usable is None:
        return "  name a card with --gpu for a verdict"
    fitting = [row.swept for row in rows if row.estimate.verdict is Verdict.FITS and isinstance(row.swept, int)]
    if not fitting:
        return f"  none of {count(len(rows), 'value')} fits {gib(usable)} GiB usable"
    largest = max(fitting)
    if largest == max(row.swept for row in rows if isinstance(row.swept, int)):
        return f"  every {swept} of the sweep fits {gib(usable)} GiB usable, up to {largest}: sweep further"
    return f"  largest {swept} that fits {gib(usable)} GiB usable: {largest}"
