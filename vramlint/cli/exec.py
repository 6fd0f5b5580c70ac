"""``vramlint exec -- COMMAND``: the gate before an expensive job."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TypedDict

import click

from vramlint.cli.known import fresh
from vramlint.cli.main import BROKEN, CLEAN, FOUND
from vramlint.cli.shared import check_options, config_options, target_options, texts_of, view, write, write_failures
from vramlint.errors import UsageError

if TYPE_CHECKING:
    from typing import Unpack

    from vramlint.results import CheckResult

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of a command that cannot run, as shells give them (POSIX, Shell Command Language, 2.8.2)."""


class Given(TypedDict):
    """The options of the command line, as click hands them over."""

    command: tuple[str, ...]
    gpu: str | None
    gpus: int | None
    nodes: int | None
    anyway: bool
    require_run: bool
    check_only: bool
    quiet: bool
    settings_path: str | None
    isolated: bool
    verbose: bool


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--gpu", metavar="NAME", help="The card to check against: rtx3060-12gb, a100-80gb, 24gb.")
@target_options
@click.option("--anyway", is_flag=True, help="Run the command whatever was found.")
@click.option("--require-run", is_flag=True, help="Refuse a command in which no training run is recognised.")
@click.option("--check-only", is_flag=True, help="Check the command and do not run it.")
@click.option("--quiet", is_flag=True, help="Say nothing unless the command is refused.")
@config_options
def command(**given: Unpack[Given]) -> int:
    """Check a launch line and the configs it names, then run it only if no error stands.

    Findings go to standard error. A finding of severity error refuses the command with exit code 1, something that
    could not be checked with 2; otherwise the command takes this process's place, with its streams, signals and exit
    code its own. Works in front of torchrun, accelerate, deepspeed, python, srun, sbatch and shell scripts.
    """
    from vramlint.engine.command import check_command

    words = given["command"]
    result = fresh(check_command(words, check_options(given)), given)
    refused = _refusal(result, given)
    if refused or not given["quiet"]:
        _report(result, words)
    if refused and not given["anyway"]:
        code, why = refused
        write(f"vramlint: not run: {why} (--anyway runs it all the same)\n", err=True)
        return code
    return CLEAN if given["check_only"] else _run(words)


def _refusal(result: CheckResult, given: Given) -> tuple[int, str] | None:
    """The exit code and the reason why the command should not run; None where nothing speaks against it."""
    from vramlint.report.text import count

    errors = sum(finding.severity.value == "error" for finding in result.findings)
    if errors:
        return FOUND, count(errors, "error")
    if result.failures:
        return BROKEN, f"{len(result.failures)} could not be checked"
    if given["require_run"] and not result.runs:
        return BROKEN, "no training run is recognised in it"
    return None


def _report(result: CheckResult, words: Sequence[str]) -> None:
    write_failures(result.failures)
    if not result.runs and not result.findings:
        write("vramlint: no training run is recognised in the command, so nothing was checked\n", err=True)
        return
    from vramlint.engine.command import COMMAND_PATH, command_text
    from vramlint.report import full

    texts = texts_of(result, {COMMAND_PATH: command_text(words)})
    write(full.render(result, texts, view(sys.stderr)), err=True)


def _run(words: Sequence[str]) -> int:
    """Run the command in this process's place; only where that is impossible, as its child. Raises UsageError."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name == "posix":
            _replace_process(words)
        return _run_child(words)
    except FileNotFoundError:
        write(f"vramlint: {words[0]}: command not found\n", err=True)
        return NOT_FOUND
    except PermissionError:
        write(f"vramlint: {words[0]}: cannot be executed\n", err=True)
        return NOT_EXECUTABLE
    except OSError as error:
        raise UsageError(f"{words[0]} cannot be run: {error.strerror}") from error


def _replace_process(words: Sequence[str]) -> NoReturn:
    # Python ignores these two, and what is ignored stays so across exec: the job would not die of a closed pipe.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execvp(words[0], list(words))


def _run_child(words: Sequence[str]) -> int:
    """For systems that cannot replace a process: Ctrl-C reaches the child, so it is not ours to end on."""
    import subprocess

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.run(list(words), check=False).returncode
