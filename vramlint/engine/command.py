"""The check of a command before it runs: its launch line, the scripts it names and the configs those name."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

from vramlint.engine.check import DEFAULTS, check_candidates
from vramlint.engine.options import CheckOptions
from vramlint.errors import SourceError
from vramlint.project.discovery import Candidate, display_path
from vramlint.project.settings import SettingsFinder
from vramlint.results import CheckResult
from vramlint.sources import read
from vramlint.sources.model import Mapping

COMMAND_PATH = "<command>.sh"
"""What places in the command are called; no file."""
_SCRIPT_SUFFIXES = (".sh", ".bash", ".slurm", ".sbatch", ".job")
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")
_DATA_SUFFIXES = (".yaml", ".yml", ".json", ".toml")


def command_text(words: Sequence[str]) -> bytes:
    """The command as the script that results show: what a shell is given with ``-c``, else the words themselves."""
    inner = _inner_script(words)
    return os.fsencode((shlex.join(words) if inner is None else inner) + "\n")


def _inner_script(words: Sequence[str]) -> str | None:
    """The text in ``bash -lc TEXT``."""
    if os.path.basename(words[0]) not in _SHELLS:
        return None
    for number, word in enumerate(words[1:], 1):
        if not word.startswith("-"):
            return None
        if not word.startswith("--") and "c" in word:
            return words[number + 1] if number + 1 < len(words) else None
    return None


def _all_words(words: Sequence[str]) -> tuple[str, ...]:
    """``words``, and those of the text that a shell is given."""
    inner = _inner_script(words)
    try:
        return (*words, *(shlex.split(inner) if inner else ()))
    except ValueError:
        return tuple(words)  # a quote that never closes: the check says so


def check_command(words: Sequence[str], options: CheckOptions = DEFAULTS) -> CheckResult:
    """Check the command ``words`` as it would run in the current folder. Raises as ``check`` does.

    Only this command and the scripts it names count as launch lines: what other scripts do with the same configs is not
    about to happen.
    """
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    overlay = {COMMAND_PATH: command_text(words)}
    named = _all_words(words)
    scripts = _files(named, _SCRIPT_SUFFIXES)
    options = _requested(words, scripts, options)._replace(launchers=(COMMAND_PATH, *scripts))
    candidates = tuple(Candidate(path, explicit=True) for path in (COMMAND_PATH, *scripts))
    found = check_candidates(candidates, finder, options, overlay)
    read = {document.path for run in found.runs for document in run.reading.documents}
    read |= {failure.path for failure in found.failures}
    unread = tuple(Candidate(path, explicit=True) for path in _files(named, _DATA_SUFFIXES) if path not in read)
    return check_candidates((*candidates, *unread), finder, options, overlay) if unread else found


def _requested(words: Sequence[str], scripts: Sequence[str], options: CheckOptions) -> CheckOptions:
    """``options`` with what a job asks Slurm for: by words of ``sbatch``, then by ``#SBATCH`` lines of its script.

    Source: sbatch(1), "Command line options will override any environment variables", and those the script's.
    """
    if os.path.basename(words[0]) != "sbatch":
        return options
    from vramlint.engine.targets import job_request

    (command, *_) = read(COMMAND_PATH, command_text(words)).commands
    asked = [job_request(command.options), *map(job_request, _directives(scripts))]
    gpu = options.gpu or next(((table.gpu,) for table in asked if table.gpu), ())
    gpus = options.gpus or next((table.gpus for table in asked if table.gpus), None)
    nodes = options.nodes or next((table.nodes for table in asked if table.nodes), None)
    return options._replace(gpu=gpu, gpus=gpus, nodes=nodes)


def _directives(scripts: Sequence[str]) -> Iterator[Mapping]:
    for path in scripts:
        try:
            with open(path, "rb") as file:
                directives = read(path, file.read()).batch_directives
        except (OSError, SourceError):
            continue  # the check itself says what is wrong with the file
        if directives is not None:
            yield directives


def _files(words: Sequence[str], suffixes: tuple[str, ...]) -> tuple[str, ...]:
    """The existing files that words name, on their own or behind ``=``."""
    named = (part for word in words for part in (word, word.partition("=")[2]))
    return tuple(
        dict.fromkeys(display_path(name) for name in named if name.endswith(suffixes) and os.path.isfile(name))
    )
