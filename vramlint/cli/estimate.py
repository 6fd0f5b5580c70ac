"""``vramlint estimate``: peak memory of each run, on one card or several, at one batch or many."""

from __future__ import annotations

import os
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
from vramlint.results import settled

if TYPE_CHECKING:
    from vramlint.engine.measured import OwnersKnowledge
    from vramlint.hardware.model import Gpu
    from vramlint.memory.observations import Observation
    from vramlint.plan import TrainingPlan
    from vramlint.report.rows import EstimateRow
    from vramlint.results import RunResult

_SWEPT = {
    "batch": "micro_batch",
    "micro_batch": "micro_batch",
    "image_size": "image_size",
    "seq_len": "seq_len",
    "queue_size": "queue_size",
    "gpu": "gpu",
}
"""What a sweep may vary, by the name on the command line, and the plan's fact for it; ``gpu`` is the target's."""
_RANGE = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?")
_MOST_VALUES = 4096


class Sweep(NamedTuple):
    """The setting to vary and its values: numbers, or for ``gpu`` the names of cards."""

    name: str
    fact: str
    values: tuple[int, ...] = ()
    cards: tuple[str, ...] = ()


def parse_sweep(texts: Sequence[str]) -> Sweep | None:
    """``batch=1..64``, ``batch=8..64:8`` (steps of 8), ``image_size=384,512,640``, ``gpu=t4,a100-80gb``.

    Raises UsageError for any other form, an unknown setting, values that are no positive numbers, or two sweeps.
    """
    if not texts:
        return None
    if len(texts) > 1:
        raise UsageError(
            f"cannot sweep {' and '.join(texts)} at once",
            help="sweep one setting; for several cards beside it repeat --gpu",
        )
    text = texts[0]
    name, equals, values_text = text.partition("=")
    fact = _SWEPT.get(name.strip().replace("-", "_"))
    if not equals or fact is None:
        raise UsageError(f"cannot sweep {text!r}", help=f"write SETTING=1..64, where SETTING is {' or '.join(_SWEPT)}")
    if fact == "gpu":
        return Sweep("gpu", fact, cards=_cards(text, values_text))
    values = _values(values_text.strip())
    if not values or min(values) < 1 or len(values) > _MOST_VALUES:
        raise UsageError(f"cannot sweep {text!r}", help="give values as 1..64, 8..64:8 or 1,2,4")
    return Sweep(name.strip(), fact, values)


def _cards(text: str, names: str) -> tuple[str, ...]:
    cards = tuple(dict.fromkeys(words([names])))
    if not cards:
        raise UsageError(f"cannot sweep {text!r}", help="name cards: gpu=t4,rtx3090,a100-80gb")
    return cards


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
@click.option(
    "--sweep",
    multiple=True,
    metavar="SETTING=A..B",
    help="Vary one setting: batch=1..64, seq_len=512..4096:512, image_size=384,512,640, gpu=t4,a100-80gb.",
)
@click.option("--largest-batch", is_flag=True, help="Find the largest batch per GPU that fits, and estimate at it.")
@click.option(
    "--observed",
    multiple=True,
    metavar="BATCH=SIZE",
    help="A peak you measured corrects the estimate: 2=7.4GiB as nvidia-smi shows, 2=6.9GiB:allocated. May repeat.",
)
@click.option("--output-format", type=click.Choice(("text", "json")), default="text", show_default=True)
@stdin_option
@config_options
def command(
    output_format: str, sweep: tuple[str, ...], largest_batch: bool, observed: tuple[str, ...], **given: Any
) -> int:
    """Estimate the peak GPU memory of each run: components, phase, interval and verdict.

    --verbose says for every component which formula, profile or observation it comes from.
    """
    from vramlint.engine.measured import OwnersKnowledge
    from vramlint.hardware.catalogue import find_gpu
    from vramlint.project.discovery import Repositories

    swept = parse_sweep(sweep)
    points = [parse_observed(text) for text in observed]
    if swept is not None and largest_batch:
        raise UsageError("--largest-batch searches batches itself", help="leave --sweep out; repeat --gpu for cards")
    named = (*words(given.pop("gpu")), *(swept.cards if swept else ()))
    cards = [find_gpu(name) for name in named]
    result = checked(given)
    _type_in(points, result.runs)
    known = OwnersKnowledge(Repositories(), isolated=given["isolated"])
    runs = [run for found in result.runs for run in _on(found, cards, known, again=bool(points))]
    rows = [row for run in runs for row in _rows(run, swept, largest_batch=largest_batch)]
    if output_format == "json":
        from vramlint.report.json import render_estimates

        write(render_estimates(rows, result.failures))
    else:
        from vramlint.report.estimate import render

        write(render(rows, view(), "" if swept is None else swept.name, origins=given["verbose"]))
    write_failures(result.failures)
    return BROKEN if result.failures else CLEAN


def parse_observed(text: str) -> Observation:
    """``2=7.4GiB`` or ``2=6.9GiB:allocated``: batch per GPU, memory, meter. Raises UsageError for any other form."""
    from vramlint.memory.user_models import typed

    batch, equals, rest = text.partition("=")
    memory, _, meter = rest.partition(":")
    try:
        if not equals or not batch.strip().isdecimal():
            raise ValueError("no BATCH=SIZE")
        row = {"batch": int(batch), "memory": memory, "meter": meter or "nvidia-smi", "source": "--observed"}
        return typed(row)
    except ValueError as error:
        help = "write 2=7.4GiB as nvidia-smi shows, or 2=6.9GiB:allocated, 2=7GiB:reserved"
        raise UsageError(f"--observed {text!r}: {error}", help=help) from error


def _type_in(points: Sequence[Observation], runs: Sequence[RunResult]) -> None:
    """Gives the points to the one run they were measured on. Raises UsageError where there are several."""
    if not points:
        return
    from vramlint.memory.observations import attach

    plans = list({id(run.reading.plan): run.reading.plan for run in runs}.values())
    if len(plans) > 1:
        raise UsageError("--observed was measured on one run, and here are several", help="name the one file")
    for plan in plans:
        attach(plan, points)


def _on(run: RunResult, cards: Sequence[Gpu], known: OwnersKnowledge, *, again: bool) -> Iterator[RunResult]:
    """The run on each of ``cards``, whatever card its files name: this command answers "what if".

    A card that ``vramlint probe`` measured in the run's repository is taken as measured. ``again``: the plan has
    changed since it was estimated.
    """
    from vramlint.memory.estimate import estimate

    if not cards:
        yield run._replace(estimator=settled(estimate(run.reading.plan, run.target, run.limits))) if again else run
    for card in cards:
        target = known.calibrated(run.target._replace(gpu=card, source="--gpu"), os.path.abspath(run.reading.plan.path))
        yield run._replace(target=target, estimator=settled(estimate(run.reading.plan, target, run.limits)))


def _rows(run: RunResult, sweep: Sweep | None, *, largest_batch: bool) -> Iterator[EstimateRow]:
    """What to show of one run on one card: its estimate, that at its largest batch, or one a swept value."""
    from vramlint.report.rows import EstimateRow

    plan = run.reading.plan
    if largest_batch:
        yield _largest(run)
    elif sweep is None:
        yield EstimateRow(plan, run.estimate)
    elif sweep.cards:
        yield EstimateRow(plan, run.estimate, run.estimate.gpu)
    else:
        yield from _sweep(run, sweep)


def _largest(run: RunResult) -> EstimateRow:
    from vramlint.memory.estimate import estimate
    from vramlint.memory.largest import at_batch, largest_batch
    from vramlint.report.rows import EstimateRow

    plan = run.reading.plan
    found = largest_batch(plan, run.target, run.limits)
    batch = found.fits or found.by_value
    if batch is None:
        return EstimateRow(plan, run.estimate, largest=found)
    there = at_batch(plan, batch or 1)
    return EstimateRow(there, estimate(there, run.target, run.limits), largest=found)


def _sweep(run: RunResult, sweep: Sweep) -> Iterator[EstimateRow]:
    from vramlint.memory.estimate import estimate
    from vramlint.plan import ImageSize, revise
    from vramlint.report.rows import EstimateRow

    for value in sweep.values:
        wanted = ImageSize(value, value) if sweep.fact == "image_size" else value
        facts = (sweep.fact, *_following(run.reading.plan, sweep.fact))
        plan = revise(run.reading.plan, dict.fromkeys(facts, wanted))
        yield EstimateRow(plan, estimate(plan, run.target, run.limits), value)


def _following(plan: TrainingPlan, swept: str) -> tuple[str, ...]:
    """Facts that go with the swept one: batches that are padded to their largest image are as large as that."""
    padded = swept == "image_size" and plan.image_size.known and plan.fact("batch_shape").known
    return ("batch_shape",) if padded else ()
