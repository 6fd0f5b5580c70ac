"""``vramlint probe``: what this machine's card really gives and takes."""

from __future__ import annotations

import datetime
import importlib.util
import json
import time
import warnings
from pathlib import Path
from typing import Any

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import write
from vramlint.errors import ProbeError


@click.command("probe")
@click.option("--device", type=click.IntRange(min=0), default=0, show_default=True, help="The card to measure.")
@click.option("--model", "models", multiple=True, help="Train only this model of the sweep; may repeat.")
@click.option("--batch", "batches", type=click.IntRange(min=1), multiple=True, help="Batches to try; may repeat.")
@click.option("--quick", is_flag=True, help="A few minutes: two models, one optimizer, three batches.")
@click.option("--standard", is_flag=True, help="The settings of many families by which predictions are judged.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Begin no further setting after so long.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".vramlint/probe.json"),
    show_default=True,
    help="Where the result goes.",
)
def command(
    device: int,
    models: tuple[str, ...],
    batches: tuple[int, ...],
    quick: bool,
    standard: bool,
    minutes: float | None,
    output: Path,
) -> int:
    """Measure a CUDA card: context, workspaces, usable memory, and a sweep of real training steps.

    Use a card that nothing else runs on. The result is a JSON file with the card, its driver and torch, written after
    every setting, and a table of measured against predicted memory is shown. Left in .vramlint/probe.json, it stands in
    for the tables where the target is that card.
    """
    if importlib.util.find_spec("torch") is None:
        raise ProbeError("probe needs torch", help="Install it with: pip install 'vramlint[probe]'")
    # torch speaks of NumPy, which nothing here uses, before the one line that matters.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    from vramlint.probe.compare import compare, table
    from vramlint.probe.cuda import CudaBackend
    from vramlint.probe.plans import chosen
    from vramlint.probe.sweep import probe

    plan = chosen(models, batches, quick=quick, standard=standard)
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    end = None if minutes is None else time.monotonic() + 60 * minutes
    output.parent.mkdir(parents=True, exist_ok=True)

    def keep(result: dict[str, Any]) -> None:
        output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    result = probe(
        CudaBackend(device),
        plan,
        date,
        lambda line: click.echo(line, err=True),
        in_time=lambda: end is None or time.monotonic() < end,
        keep=keep,
    )
    write(table(compare(result["rows"], result["stages"][0]["device_bytes"])))
    write(f"{output}: {len(result['rows'])} settings measured\n")
    return CLEAN
