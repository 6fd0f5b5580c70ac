"""``vramlint trace``: the memory of any model, found on a CPU and kept in the repository."""

from __future__ import annotations

from pathlib import Path

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import write

_VARIANTS = {
    "fp32": [("fp32", False)],
    "amp": [("amp", False)],
    "both": [("fp32", False), ("amp", False)],
    "all": [],
}


@click.command("trace")
@click.argument("target")
@click.option(
    "--name", default="", help="The name under which configs speak of the model; the target's own by default."
)
@click.option(
    "--optimizer", default="", help="MODULE:CALLABLE that makes your own optimizer of the parameters; traced as well."
)
@click.option(
    "--variants",
    type=click.Choice(tuple(_VARIANTS)),
    default="all",
    show_default=True,
    help="What to trace: fp32, mixed precision, both, or all that the model offers (with checkpointing).",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The repository: importable while tracing, and where the profile is kept.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the profile to this file.")
@click.option("--quiet", is_flag=True, help="Do not show each trace as it begins.")
def command(
    target: str, name: str, optimizer: str, variants: str, folder: Path, output: Path | None, quiet: bool
) -> int:
    """Trace a whole training step of TARGET and keep its memory profile.

    TARGET is a known name (resnet50, ultralytics/yolo12s, rfdetr/rfdetr_nano) or MODULE:CALLABLE of your own. The
    callable takes batch, height, width, seq_len or checkpointing as it likes and returns a module, or (model, inputs,
    loss). This runs your code, on tensors without data: no GPU and no memory is needed. The linter reads the profile
    from .vramlint/profiles without torch.
    """
    from vramlint.trace import profile_path, run
    from vramlint.trace.layout import profile_text

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    data = run(target, folder=folder, name=name, optimizer=optimizer, variants=_VARIANTS[variants], say=say)
    file = output or profile_path(folder, data["name"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(profile_text(data), encoding="utf-8")
    worst = max(variant["residual"] for variant in data["variants"].values())
    write(
        f"{file}: {data['parameters']:,} parameters, {', '.join(data['variants'])}; "
        f"confirmed by further traces within {worst:.2%}\n"
    )
    return CLEAN
