"""``vramlint gpus``: the cards that ``--gpu`` knows."""

from __future__ import annotations

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import write


@click.command("gpus")
@click.argument("name", required=False)
@click.option("--output-format", type=click.Choice(("text", "json")), default="text", show_default=True)
def command(name: str | None, output_format: str) -> int:
    """List the GPUs with their memory, or look up the one that NAME means."""
    from vramlint.hardware.catalogue import find_gpu, gpus

    found = gpus() if name is None else (find_gpu(name),)
    if output_format == "json":
        from vramlint.report.json import dump

        rows = [gpu._asdict() | {"capability": "{}.{}".format(*gpu.capability)} for gpu in found]
        write(dump({"schema": "vramlint.gpus/1", "gpus": rows}))
        return CLEAN
    from vramlint.report.text import gib

    width = max(len(gpu.name) for gpu in found)
    write(f"{'name':<{width}}  {'total':>9}  {'usable':>9}  {'capability':>10}  {'bf16':>4}\n")
    for gpu in found:
        known = gpu.capability > (0, 0)
        capability = "{}.{}".format(*gpu.capability) if known else "?"
        bf16 = "?" if not known else "yes" if gpu.has_bf16 else "no"
        sizes = f"{gib(gpu.total_bytes):>5} GiB  {gib(gpu.usable_bytes):>5} GiB"
        write(f"{gpu.name:<{width}}  {sizes}  {capability:>10}  {bf16:>4}\n")
    return CLEAN
