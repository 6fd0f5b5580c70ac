"""``vramlint baseline``: accept today's findings, so that only new ones are told."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, TypedDict

import click

from vramlint.cli.main import BROKEN, CLEAN
from vramlint.cli.shared import check_options, config_options, paths_argument, target_options, write, write_failures
from vramlint.errors import UsageError

if TYPE_CHECKING:
    from typing import Unpack

    from vramlint.engine.baseline import Entry
    from vramlint.project.settings import SettingsFinder
    from vramlint.results import CheckResult


class Given(TypedDict):
    """The options of the command line, as click hands them over."""

    paths: tuple[str, ...]
    output: str | None
    prune: bool
    select: tuple[str, ...]
    ignore: tuple[str, ...]
    pedantic: bool
    gpu: str | None
    gpus: int | None
    nodes: int | None
    settings_path: str | None
    isolated: bool
    verbose: bool


@click.command("baseline")
@paths_argument
@click.option("--output", metavar="FILE", type=click.Path(dir_okay=False), help="The baseline's file.")
@click.option("--prune", is_flag=True, help="Only take out what no longer occurs; accept nothing new.")
@click.option("--select", multiple=True, metavar="RULES", help="Only these rules: codes, names or prefixes (VL2).")
@click.option("--ignore", multiple=True, metavar="RULES", help="Not these rules.")
@click.option("--pedantic", is_flag=True, help="Also what is merely worth knowing.")
@click.option("--gpu", metavar="NAME", help="The card to check against: rtx3060-12gb, a100-80gb, 24gb.")
@target_options
@config_options
def command(**given: Unpack[Given]) -> int:
    """Write the findings of PATH (default: the current folder) to the baseline.

    `vramlint --baseline FILE`, or `baseline = "FILE"` in the settings, then tells only others. Without --output the
    file is that of the settings, else `.vramlint-baseline.json`. A finding is known by its rule, file, keys and value,
    so it stays known when lines move and comes back when its value changes. What memory findings say depends on the
    card: give the same --gpu and --gpus as where the baseline is used, or name them in the settings.
    """
    from vramlint.engine import baseline as engine
    from vramlint.engine import check
    from vramlint.project.discovery import display_path
    from vramlint.project.settings import SettingsFinder

    finder = SettingsFinder(given["settings_path"], isolated=given["isolated"])
    chosen = given["output"] or finder.for_folder(os.getcwd()).baseline_path or engine.DEFAULT_NAME
    path = display_path(chosen)
    if given["prune"] and (given["select"] or given["ignore"]):
        raise UsageError("--prune looks at every rule", help="leave --select and --ignore out")
    options = check_options(given)
    # What only --pedantic shows is still there, whether or not it is asked for now.
    result = check(given["paths"] or (".",), options._replace(pedantic=options.pedantic or given["prune"]))
    write_failures(result.failures)
    if result.failures:
        write("vramlint: no baseline written, since not everything could be checked\n", err=True)
        return BROKEN
    if given["prune"]:
        return _prune(path, result, finder, given)
    entries = Counter(engine.entries_of(result, path))
    _save(path, engine.render(entries))
    files = len({entry.path for entry in entries})
    write(f"{path}: {_counted(entries.total(), 'finding')} in {_counted(files, 'file')} accepted\n")
    return CLEAN


def _prune(path: str, result: CheckResult, finder: SettingsFinder, given: Given) -> int:
    from vramlint.engine import baseline as engine
    from vramlint.project.discovery import discover

    old = engine.read_baseline(path)
    compared = engine.without_known(result, old)
    seen = [candidate.path for candidate in discover(given["paths"] or (".",), finder)]
    kept: Counter[Entry] = engine.pruned(old, compared.gone, seen)
    _save(path, engine.render(kept))
    dropped = old.entries.total() - kept.total()
    write(f"{path}: {_counted(dropped, 'finding')} no longer there, {kept.total()} kept\n")
    return CLEAN


def _counted(number: int, noun: str) -> str:
    from vramlint.report.text import count

    return count(number, noun)


def _save(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", path=path, help="Name another --output.") from error
