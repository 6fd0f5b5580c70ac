"""``vramlint models``: the models whose memory is known by name."""

from __future__ import annotations

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import write


@click.command("models")
@click.option("--output-format", type=click.Choice(("text", "json")), default="text", show_default=True)
def command(output_format: str) -> int:
    """List the models whose memory is known by name: traced profiles, and decoder LLMs by their shape."""
    from vramlint.memory.catalogue import decoders
    from vramlint.memory.profile_catalogue import profiles

    traced = profiles()
    shaped = decoders()
    if output_format == "json":
        from vramlint.report.json import dump

        rows = [{"name": name, "knowledge": "profile"} for name in traced]
        rows += [{"name": one.name, "knowledge": "shape"} for one in shaped]
        write(dump({"schema": "vramlint.models/1", "models": rows}))
        return CLEAN
    for name in traced:
        write(f"{name}  (traced profile)\n")
    for one in shaped:
        shape = one.config.shape
        write(f"{one.name}  ({shape.layers} layers of {shape.hidden}, vocabulary {shape.vocabulary:,})\n")
    return CLEAN
