"""``vramlint init``: look at the repository, propose settings and the hook, and write them when told to."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import view, write, write_failures
from vramlint.errors import EditRefused

if TYPE_CHECKING:
    from vramlint.engine.survey import Survey
    from vramlint.project.setup_files import SetupFile


@click.command("init")
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False))
@click.option("--gpu", metavar="NAME", help="The card you train on. Default: what files or this machine name.")
@click.option("--gpus", type=click.IntRange(min=1), metavar="N", help="GPUs per machine. Default: as launch lines say.")
@click.option("--local-hook", is_flag=True, help="Let the hook run the installed vramlint instead of its repository.")
@click.option("--yes", is_flag=True, help="Write without asking.")
def command(folder: str, gpu: str | None, gpus: int | None, local_hook: bool, yes: bool) -> int:
    """Propose `vramlint.toml` and the pre-commit hook for FOLDER (default: the current one).

    What is there already is kept: settings are never overwritten, and the hook is added to an existing
    `.pre-commit-config.yaml` without changing anything else in it.
    """
    from vramlint.engine import CheckOptions
    from vramlint.engine.survey import survey
    from vramlint.hardware.catalogue import find_gpu

    os.chdir(folder)
    if gpu is not None:
        gpu = find_gpu(gpu).name
    found = survey((".",), CheckOptions(gpu=(gpu,) if gpu else (), gpus=gpus))
    if gpu is not None:
        found = found._replace(gpu=gpu, gpu_source="--gpu")
    if gpus is not None:
        found = found._replace(gpus=gpus, gpus_source="--gpus")
    _tell(found)
    files = _proposed(found, local=local_hook)
    for file in files:
        write(_shown(file))
    agreed = bool(files) and (yes or _agreed())
    if agreed:
        for file in files:
            _save(file)
            write(f"wrote {file.path}\n")
    _next_steps(found, written=agreed)
    return CLEAN


def _tell(found: Survey) -> None:
    from vramlint.report.text import count

    dialects = ", ".join(f"{name} {number}" for name, number in found.dialects.most_common())
    runs = count(sum(found.dialects.values()), "training run")
    write(f"{runs} in {count(found.files_seen, 'file')}{f': {dialects}' if dialects else ''}\n")
    write(f"card: {f'{found.gpu} ({found.gpu_source})' if found.gpu else 'named nowhere; add --gpu NAME'}\n")
    if found.gpus:
        write(f"GPUs per machine: {found.gpus} ({found.gpus_source})\n")
    write_failures(found.result.failures)


def _proposed(found: Survey, *, local: bool) -> list[SetupFile]:
    """The files to write; says why where one is left alone."""
    from vramlint.project.settings import SettingsFinder
    from vramlint.project.setup_files import HOOKS_NAME, SETTINGS_NAME, SetupFile, hook_file, hook_lines, settings_text

    files = []
    settings = SettingsFinder().for_folder(os.getcwd())
    if settings.path is not None:
        write(f"{settings.path}: there already, left as it is\n")
    else:
        text = settings_text(found.gpu, found.gpu_source, found.gpus, found.gpus_source)
        files.append(SetupFile(SETTINGS_NAME, None, text.encode("utf-8"), "new"))
    try:
        hook = hook_file(HOOKS_NAME, local=local)
    except (EditRefused, OSError) as error:
        why = error.message if isinstance(error, EditRefused) else str(error.strerror)
        entry = "".join(f"  {line}\n" for line in hook_lines(local=local))
        write(f"{HOOKS_NAME}: left as it is: {why}. Add by hand:\n{entry}")
        return files
    if hook is None:
        write(f"{HOOKS_NAME}: has vramlint already, left as it is\n")
    else:
        files.append(hook)
    return files


def _shown(file: SetupFile) -> str:
    from vramlint.fix.diff import unified_diff
    from vramlint.fix.loop import FileFix

    if file.old is None:
        return f"\n{view().bold(file.path)} (new):\n" + "".join(
            f"    {line}\n" for line in file.new.decode("utf-8").splitlines()
        )
    difference = unified_diff(FileFix(file.path, file.old, file.new)).decode("utf-8", "replace")
    return f"\n{view().bold(file.path)} ({file.note}):\n{difference}"


def _agreed() -> bool:
    """Whether the person at the terminal says yes; without one nothing is written."""
    if not sys.stdin.isatty():
        write("nothing written: add --yes\n")
        return False
    return click.confirm("Write them?", default=True)


def _save(file: SetupFile) -> None:
    """Write a new file, which must not have come up meanwhile, or replace the one that was read."""
    from vramlint.fix.loop import FileFix
    from vramlint.fix.write import write_files

    if file.old is not None:
        write_files([FileFix(file.path, file.old, file.new)])
        return
    try:
        with open(file.path, "xb") as out:
            out.write(file.new)
    except OSError as error:
        raise EditRefused(f"cannot be written: {error.strerror}", path=file.path) from error


def _next_steps(found: Survey, *, written: bool) -> None:
    from vramlint.report.summary import closing_line

    write(f"\nnow: {closing_line(found.result)}\n")
    if found.result.findings:
        write("next: `vramlint --fix --diff .` shows the repairs, `vramlint baseline` accepts what is to stay\n")
    if written:
        write("then: `pre-commit install` runs the hook at every commit\n")
