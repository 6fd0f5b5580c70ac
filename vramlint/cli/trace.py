"""``vramlint trace``: the memory of any model, found on a CPU and kept in the repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import write
from vramlint.errors import UsageError
from vramlint.trace.choices import PARALLEL, UPDATES, Choices, parse_options, parse_point

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
@click.option(
    "--at",
    "points",
    multiple=True,
    metavar="POINT",
    help="Trace at this batch and size, 4x512x640 or 4x2048 tokens; may repeat. One size: the profile is of it alone.",
)
@click.option("--channels-last", is_flag=True, help="Weights and images in channels_last.")
@click.option("--checkpoint", multiple=True, metavar="MODULES", help="Recompute these modules (blocks.*); may repeat.")
@click.option("--lora", "lora_rank", type=click.IntRange(min=1), help="Adapters of this rank on linear layers (peft).")
@click.option("--lora-target", "lora_targets", multiple=True, metavar="LAYERS", help="Only on these; may repeat.")
@click.option(
    "--optimizer",
    default="",
    help="Trace a whole step with it: a name of torch.optim or bitsandbytes, or MODULE:CALLABLE of the parameters.",
)
@click.option("--optimizer-option", "optimizer_options", multiple=True, metavar="NAME=VALUE", help="momentum=0.9")
@click.option("--update", type=click.Choice(UPDATES), help="How the optimizer updates; CUDA takes foreach if not told.")
@click.option("--grad-scaler", "scaler", is_flag=True, help="The whole step scales its loss (fp16).")
@click.option("--ema", is_flag=True, help="The whole step keeps an averaged copy of the model.")
@click.option("--accumulate", type=click.IntRange(min=1), default=1, help="Micro steps of the whole step.")
@click.option("--parallel", type=click.Choice(PARALLEL), help="The whole step of one rank, by torch's own classes.")
@click.option("--ranks", type=click.IntRange(min=2), default=2, show_default=True, help="Ranks of --parallel.")
@click.option("--shard", multiple=True, metavar="MODULES", help="What fsdp2 shards on its own; lists' elements if not.")
def command(
    target: str,
    name: str,
    variants: str,
    folder: Path,
    output: Path | None,
    quiet: bool,
    points: tuple[str, ...],
    optimizer_options: tuple[str, ...],
    **given: Any,
) -> int:
    """Trace a whole training step of TARGET and keep its memory profile.

    TARGET is a known name (resnet50, ultralytics/yolo12s, rfdetr/rfdetr_nano) or MODULE:CALLABLE of your own. The
    callable takes batch, height, width, seq_len or checkpointing as it likes and returns a module, or (model, inputs,
    loss). This runs your code, on tensors without data: no GPU and no memory is needed. The linter reads the profile
    from .vramlint/profiles without torch.

    A profile leaves the optimizer and all that is around the model to the estimator. --optimizer, --ema, --parallel and
    their like trace one whole step as well, and show what its peak is made of.
    """
    from vramlint.trace import profile_path, run
    from vramlint.trace.layout import profile_text

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    choices = Choices(
        points=tuple(map(parse_point, points)),
        optimizer_options=parse_options(optimizer_options),
        **{key: value for key, value in given.items() if value is not None},
    )
    if choices.whole_step and not choices.optimizer:
        raise UsageError("a whole step needs its optimizer", help="add --optimizer AdamW, or your own")
    if choices.ema and choices.parallel == "fsdp2":
        raise UsageError("an averaged copy of shards is not traced", help="leave --ema out: a copy takes as much again")
    wanted = [*_VARIANTS[variants], *((each, True) for each, _ in _VARIANTS[variants] if choices.checkpoint)]
    data = run(target, folder=folder, name=name, choices=choices, variants=wanted, say=say)
    file = output or profile_path(folder, data["name"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(profile_text(data), encoding="utf-8")
    worst = max(variant["residual"] for variant in data["variants"].values())
    write("".join(f"note: {note}\n" for note in data["assumptions"] if note.startswith("made with")), err=True)
    write(
        f"{file}: {data['parameters']:,} parameters, {', '.join(data['variants'])}; "
        f"confirmed by further traces within {worst:.2%}\n"
    )
    write("".join(map(_step, data.get("steps", ()))))
    return CLEAN


def _step(step: Mapping[str, Any]) -> str:
    """A whole step in one line: its peak, where it is, what it is made of."""
    parts = ", ".join(f"{name} {size / 2**20:,.1f}" for name, size in step["parts"].items() if size >= 2**20 / 20)
    shape = "x".join(map(str, step["shape"]))
    return (
        f"whole step at {shape}, {step['variant']}, {step['optimizer']}: at its peak, in {step['phase']}, "
        f"{step['peak_bytes'] / 2**20:,.1f} MiB are allocated ({parts})\n"
    )
