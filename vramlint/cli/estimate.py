"""``vramlint estimate``: peak memory of each run, on one card or several, at one batch or many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vramlint.cli.main import BROKEN, CLEAN
from vramlint.cli.shared import (
    checked,
    config_options,
    paths_argument,
    stdin_option,
    target_options,
    view,
    words,
    write,
    write_failures,
)
from vramlint.errors import UsageError

if TYPE_CHECKING:
    from vramlint.hardware.model import Gpu
    from vramlint.report.json import EstimateRow
    from vramlint.results import RunResult

_SWEPT = {
    "batch": "micro_batch",
    "micro_batch": "micro_batch",
    "image_size": "image_size",
    "seq_len": "seq_len",
    "queue_size": "queue_size",
}
"""What a sweep may vary, by the name on the command line, and the plan's fact for it."""
_RANGE = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?")
_MOST_VALUES = 4096


class Sweep(NamedTuple):
    """The setting to vary and its values."""

    name: str
    fact: str
    values: tuple[int, ...]


def parse_sweep(text: str) -> Sweep:
    """``batch=1..64``, ``batch=8..64:8`` (steps of 8), ``image_size=384,512,640``.

    Raises UsageError for any other form, an unknown setting, or values that are no positive numbers.
    """
    name, equals, values_text = text.partition("=")
    fact = _SWEPT.get(name.strip().replace("-", "_"))
    if not equals or fact is None:
        raise UsageError(f"cannot sweep {text!r}", help=f"write SETTING=1..64, where SETTING is {' or '.join(_SWEPT)}")
    values = _values(values_text.strip())
    if not values or min(values) < 1 or len(values) > _MOST_VALUES:
        raise UsageError(f"cannot sweep {text!r}", help="give values as 1..64, 8..64:8 or 1,2,4")
    return Sweep(name.strip(), fact, values)


def _values(text: str) -> tuple[int, ...]:
    match = _RANGE.fullmatch(text)
    if match:
        return tuple(range(int(match[1]), int(match[2]) + 1, int(match[3] or 1) or 1))
    parts = [part.strip() for part in text.split(",")]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


@click.command("estimate")
@paths_argument
@click.option("--gpu", multiple=True, metavar="NAME", help="A card to fit: rtx3060-12gb, a100-80gb, 24gb. May repeat.")
@target_options
@click.option("--sweep", metavar="SETTING=A..B", help="Vary one setting: batch=1..64, image_size=384,512,640.")
@click.option("--output-format", type=click.Choice(("text", "json")), default="text", show_default=True)
@stdin_option
@config_options
def command(output_format: str, sweep: str | None, **given: Any) -> int:
    """Estimate the peak GPU memory of each run: components, phase, interval and verdict."""
    from vramlint.hardware.catalogue import find_gpu
    from vramlint.report.json import EstimateRow

    swept = None if sweep is None else parse_sweep(sweep)
    cards = [find_gpu(name) for name in words(given.pop("gpu"))]
    result = checked(given)
    runs = [run for found in result.runs for run in _on(found, cards)]
    if swept is None:
        rows = [EstimateRow(run.reading.plan, run.estimate) for run in runs]
    else:
        rows = [row for run in runs for row in _sweep(run, swept)]
    if output_format == "json":
        from vramlint.report.json import render_estimates

        write(render_estimates(rows, result.failures))
    else:
        from vramlint.report.estimate import render

        write(render(rows, view(), "" if swept is None else swept.name))
    write_failures(result.failures)
    return BROKEN if result.failures else CLEAN


def _on(run: RunResult, cards: Sequence[Gpu]) -> Iterator[RunResult]:
    """The run on each of ``cards``, whatever card its files name: this command answers "what if"."""
    from vramlint.memory.estimate import estimate

    if not cards:
        yield run
    for card in cards:
        target = run.target._replace(gpu=card, source="--gpu")
        yield run._replace(target=target, estimate=estimate(run.reading.plan, target, run.limits))


def _sweep(run: RunResult, sweep: Sweep) -> Iterator[EstimateRow]:
    from vramlint.memory.estimate import estimate
    from vramlint.plan import ImageSize, revise
    from vramlint.report.json import EstimateRow

    for value in sweep.values:
        wanted = ImageSize(value, value) if sweep.fact == "image_size" else value
        plan = revise(run.reading.plan, {sweep.fact: wanted})
        yield EstimateRow(plan, estimate(plan, run.target, run.limits), value)
