"""``vramlint plan``: the facts of each run, with origins."""

from __future__ import annotations

from typing import Any

import click

from vramlint.cli.main import BROKEN, CLEAN
from vramlint.cli.shared import (
    checked,
    config_options,
    paths_argument,
    stdin_option,
    target_options,
    view,
    write,
    write_failures,
)


@click.command("plan")
@paths_argument
@click.option("--gpu", metavar="NAME", help="The card of the run; it changes no fact but those that depend on it.")
@target_options
@click.option("--output-format", type=click.Choice(("text", "json")), default="text", show_default=True)
@stdin_option
@config_options
def command(output_format: str, **given: Any) -> int:
    """Show what each run will do: batch, ranks, precision, loaders, model, and where each fact comes from."""
    result = checked(given)
    if output_format == "json":
        from vramlint.report.json import render_plans

        write(render_plans(result))
    else:
        from vramlint.report.plan import render

        write(render(result, view()))
    write_failures(result.failures)
    return BROKEN if result.failures else CLEAN
