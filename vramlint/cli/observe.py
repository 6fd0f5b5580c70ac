"""``vramlint observe``: what a run really took, kept for the estimates that follow."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from vramlint.cli.main import BROKEN, CLEAN
from vramlint.cli.shared import check_options, checked, config_options, target_options, write, write_failures
from vramlint.errors import UsageError

if TYPE_CHECKING:
    from vramlint.memory.observations import Meter, Observation
    from vramlint.probe.peaks import Peak
    from vramlint.results import CheckResult, RunResult

_COMMAND = "vramlint.observe.command"


class _ObserveCommand(click.Command):
    """Sets aside the words after ``--``: they are the command to run, whatever they look like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's own, on what stands before ``--``."""
        words: list[str] = []
        if "--" in args:
            index = args.index("--")
            args, words = args[:index], args[index + 1 :]
        ctx.meta[_COMMAND] = tuple(words)
        return super().parse_args(ctx, args)


@click.command("observe", cls=_ObserveCommand)
@click.argument("paths", metavar="[LOG|CONFIG] [-- COMMAND...]", nargs=-1, type=click.Path(path_type=str))
@click.option("--peak", metavar="SIZE", help="A peak that you read yourself: 7.4GiB, 7600MiB.")
@click.option(
    "--meter",
    type=click.Choice(("nvidia-smi", "allocated", "reserved")),
    default="nvidia-smi",
    show_default=True,
    help="Where --peak was read.",
)
@click.option("--run", "config", metavar="CONFIG", help="The config that the log or the command belongs to.")
@click.option("--gpu", metavar="NAME", help="The card it was measured on.")
@click.option("--dry-run", is_flag=True, help="Show what was found and keep nothing.")
@target_options
@config_options
@click.pass_context
def command(ctx: click.Context, /, paths: tuple[str, ...], peak: str | None, meter: str, **given: Any) -> int:
    """Keep what a run really took, so that estimates of it are corrected from then on.

    Three ways: `observe --peak 7.4GiB config.yml` by hand; `observe train.log --run config.yml` from what the trainer
    printed (Ultralytics, mmengine, detectron2, torchtune, the Hugging Face Trainer, DeepSpeed, Lightning, Megatron-LM,
    nvidia-smi CSV and others); `observe -- torchrun train.py ...` runs a command, reads its lines and samples the
    driver. The command keeps its streams, signals and exit status. Observations are lines of
    `.vramlint/observations.jsonl` in the repository.
    """
    words: tuple[str, ...] = ctx.meta[_COMMAND]
    if words:
        if paths or peak:
            raise UsageError("a command stands alone", help="put only options before --")
        return _command(words, given)
    if peak is not None:
        return _by_hand(paths, peak, meter, given)
    if not paths:
        raise UsageError("nothing to observe", help="name a log, give --peak SIZE CONFIG, or a command after --")
    return _logs(paths, given)


def _by_hand(paths: tuple[str, ...], peak: str, meter: str, given: Mapping[str, Any]) -> int:
    from vramlint.memory.user_models import typed

    try:
        point = typed({"batch": 1, "memory": peak, "meter": meter})
    except ValueError as error:
        raise UsageError(f"--peak {peak!r}: {error}", help="write 7.4GiB or 7600MiB") from error
    config = given["config"] or (paths[0] if len(paths) == 1 else None)
    if config is None:
        raise UsageError("--peak is of one run", help="name its config: vramlint observe --peak 7.4GiB config.yml")
    return _keep(_run_of(config, given), ((point.meter, point.bytes, "typed in"),), given)


def _logs(paths: tuple[str, ...], given: Mapping[str, Any]) -> int:
    from vramlint.probe.peaks import PeakReader

    reader = PeakReader()
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    reader.read(line.rstrip("\n"))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}", help="name a log file that is there") from error
    peaks = reader.peaks()
    if not peaks:
        raise UsageError(f"no memory figure in {', '.join(paths)}", help="give the peak yourself: --peak 7.4GiB CONFIG")
    if given["config"] is None:
        write("".join(f"{_shown(peak)}\n" for peak in peaks))
        write("not kept: name the run's config with --run\n", err=True)
        return CLEAN
    found = tuple((peak.meter, peak.bytes, f"{peak.source}, {os.path.basename(paths[0])}") for peak in peaks)
    return _keep(_run_of(given["config"], given), found, given)


def _command(words: tuple[str, ...], given: Mapping[str, Any]) -> int:
    """Runs the command; what vramlint has to say comes after it, on standard error, and never changes its status."""
    from vramlint.memory.observations import Meter
    from vramlint.probe.nvml import nvml
    from vramlint.probe.watched import run

    target = _planned(words, given)
    watched = run(words, nvml())
    found = [(peak.meter, peak.bytes, f"{peak.source}, as it ran") for peak in watched.peaks]
    if watched.device_bytes:
        found.insert(0, (Meter.DEVICE, watched.device_bytes, "NVML, as it ran"))
    if not found:
        write("vramlint: no memory figure seen: no driver here, and no trainer's line known\n", err=True)
    elif isinstance(target, str):
        write(f"vramlint: {'; '.join(_words(*each[:2]) for each in found)}; not kept: {target}\n", err=True)
    else:
        _keep(target, tuple(found), {**given, "gpu": given["gpu"] or watched.card})
    return watched.status


def _planned(words: Sequence[str], given: Mapping[str, Any]) -> RunResult | str:
    """The one run of the command, or why there is none; asked before it starts, while the files are as it sees them."""
    from vramlint.engine.command import check_command

    try:
        if given["config"] is not None:
            return _run_of(given["config"], given)
        return _one(check_command(words, check_options(given)._replace(with_rules=False)), "the command")
    except UsageError as error:
        return f"{error.message}, {error.help}"


def _run_of(config: str, given: Mapping[str, Any]) -> RunResult:
    result = checked({**given, "paths": (config,)})
    write_failures(result.failures)
    return _one(result, config)


def _one(result: CheckResult, what: str) -> RunResult:
    runs = {id(run.reading.plan): run for run in result.runs}
    if len(runs) == 1:
        return next(iter(runs.values()))
    if not runs:
        raise UsageError(f"no training run recognised in {what}", help="name its config with --run")
    raise UsageError(f"{what} has {len(runs)} training runs", help="name the one config with --run")


def _keep(run: RunResult, found: tuple[tuple[Meter, int, str], ...], given: Mapping[str, Any]) -> int:
    """Adds an observation for each meter to the repository's file, or shows what it would add."""
    from vramlint.memory.observations import line_of, observation_of
    from vramlint.project.discovery import repository_root

    plan, date = run.reading.plan, datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    card = given["gpu"] or (run.target.gpu.name if run.target.gpu else "")
    if not plan.micro_batch.value:
        write(f"vramlint: not kept: the batch size per GPU of {plan.path} is unknown\n", err=True)
        return BROKEN
    points = [observation_of(plan, size, meter, gpu=card, date=date, source=source) for meter, size, source in found]
    folder = os.path.dirname(os.path.abspath(plan.path))
    file = os.path.join(repository_root(folder) or folder, ".vramlint", "observations.jsonl")
    if not given["dry_run"]:
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "a", encoding="utf-8") as stream:
            stream.write("".join(map(line_of, points)))
    _say(points, plan.path, "would be kept" if given["dry_run"] else f"kept in {os.path.relpath(file)}")
    return CLEAN


def _say(points: Sequence[Observation], path: str, kept: str) -> None:
    seen = ", ".join(_words(point.meter, point.bytes) for point in points)
    write(f"vramlint: {path} at batch {points[0].micro_batch} per GPU: {seen}; {kept}\n", err=True)


def _shown(peak: Peak) -> str:
    return f"{_words(peak.meter, peak.bytes)}  ({peak.source})"


def _words(meter: Meter, size: int) -> str:
    return f"{size / 2**30:.2f} GiB {meter.value}"
