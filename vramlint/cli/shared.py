"""What several commands share: options, where output goes, colours."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from vramlint.errors import UsageError

if TYPE_CHECKING:
    from vramlint.engine import CheckOptions, RuleSet
    from vramlint.report.frame import Texts
    from vramlint.report.text import View
    from vramlint.results import CheckResult, Failure

C = TypeVar("C", bound=Callable[..., Any])

STDIN = "-"
_WIDEST, _NARROWEST = 140, 60


def paths_argument(function: C) -> C:
    """``PATH...``: files and folders, ``-`` for standard input; the current folder where none is given."""
    return click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=str, allow_dash=True))(
        function
    )


def target_options(function: C) -> C:
    """``--gpus`` and ``--nodes``."""
    function = click.option(
        "--nodes", type=click.IntRange(min=1), metavar="N", help="Machines. Default: what the launch line says."
    )(function)
    return click.option(
        "--gpus", type=click.IntRange(min=1), metavar="N", help="GPUs per machine. Default: what the launch line says."
    )(function)


def stdin_option(function: C) -> C:
    """``--stdin-filename``."""
    return click.option(
        "--stdin-filename", metavar="PATH", help="The path that standard input (`-`) stands for; its suffix decides."
    )(function)


def config_options(function: C) -> C:
    """``--config``, ``--isolated`` and ``--verbose``."""
    function = click.option("--verbose", is_flag=True, help="Say more: sources of every number, tracebacks.")(function)
    function = click.option("--isolated", is_flag=True, help="Read no settings at all.")(function)
    return click.option(
        "--config",
        "settings_path",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="Read these settings instead of the closest pyproject.toml or vramlint.toml.",
    )(function)


def words(values: Iterable[str]) -> tuple[str, ...]:
    """The words of comma-separated, repeatable options: ``--select VL1,VL2 --select vram-over``."""
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


def check_options(given: Mapping[str, Any]) -> CheckOptions:
    """The engine's options from a command's; what the command does not have stays at its default."""
    from vramlint.engine import CheckOptions

    named = {name: given[name] for name in CheckOptions._fields if name in given}
    for name in ("select", "ignore", "gpu"):
        if name in named:
            value = named[name]
            named[name] = words((value,) if isinstance(value, str) else value or ())
    return CheckOptions(**named)


def collect_seldom() -> None:
    """Look for garbage in cycles only when much has come together.

    Documents are trees without cycles and live until the report is written. Looking for cycles among them took a
    seventh of a check at Python's own threshold of 700 objects, a twentieth at 100,000; this is 1,500 files.
    """
    gc.set_threshold(1_000_000, 50, 50)


def checked(given: Mapping[str, Any]) -> CheckResult:
    """The runs of a command's paths, read and estimated, without any rule."""
    from vramlint.engine import check, check_source

    collect_seldom()
    options = check_options(given)._replace(with_rules=False)
    paths = given["paths"] or (".",)
    if STDIN not in paths:
        return check(paths, options)
    return check_source(*standard_input(paths, options.stdin_filename), options)


def rules_here() -> RuleSet:
    """The rules of the current folder: vramlint's own, and those of its settings' plugins and files.

    Raises PluginError and SettingsError.
    """
    from vramlint.engine.rules import load_rules, own_files
    from vramlint.project.settings import SettingsFinder

    settings = SettingsFinder().for_folder(os.getcwd())
    return load_rules(settings.plugins, own_files(settings))


def standard_input(paths: tuple[str, ...], name: str | None) -> tuple[str, bytes]:
    """The name and bytes of standard input. Raises UsageError where it has no name or is not alone."""
    if len(paths) > 1:
        raise UsageError("- stands alone", help="give the other paths a call of their own")
    if name is None:
        raise UsageError("standard input has no name", help="add --stdin-filename, whose suffix says how to read it")
    data = sys.stdin.buffer.read()
    from vramlint.sources import syntax_of

    if syntax_of(name, data[:128]) is None:
        help = "Known: .yaml .yml .json .jsonc .toml .py .sh .bash .slurm .sbatch, or a shebang line in the text."
        raise UsageError(f"nothing tells how to read {name!r}", help=help)
    return name, data


def view(stream: TextIO | None = None) -> View:
    """Colours and width for ``stream``, standard output where None.

    NO_COLOR and FORCE_COLOR decide first, then whether it is a terminal.

    Sources: https://no-color.org, https://force-color.org
    """
    from vramlint.report.text import DEFAULT_WIDTH, View

    terminal = (stream or sys.stdout).isatty()
    colour = terminal and os.environ.get("TERM") != "dumb"
    if os.environ.get("FORCE_COLOR"):
        colour = True
    if os.environ.get("NO_COLOR"):
        colour = False
    columns = _terminal_columns(DEFAULT_WIDTH) if terminal else DEFAULT_WIDTH
    return View(colour, min(max(columns, _NARROWEST), _WIDEST))


def _terminal_columns(fallback: int) -> int:
    import shutil  # and with it three compression modules, which output to a file or a pipe does not need

    return shutil.get_terminal_size((fallback, 24)).columns


def write(text: str, *, err: bool = False) -> None:
    """Print ``text`` as it is; what the stream's encoding lacks becomes ``?`` instead of a crash."""
    stream = sys.stderr if err else sys.stdout
    encoding = stream.encoding or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding), nl=False, err=err, color=True)


def write_failures(failures: Sequence[Failure]) -> None:
    """Print what could not be checked to standard error."""
    if not failures:
        return
    from vramlint.report.text import printable

    for failure in failures:
        place = ":".join(str(part) for part in (failure.path, failure.line, failure.column) if part is not None)
        lines = [f"{place}: could not check: {failure.message}", *([f"  help: {failure.help}"] if failure.help else [])]
        write("".join(f"{printable(line)}\n" for part in lines for line in part.split("\n")), err=True)


def texts_of(result: CheckResult, overlay: dict[str, bytes] | None = None) -> Texts:
    """The texts of the files that a result speaks of: those already read, then ``overlay``, then the disk."""
    known = {document.path: document.text for run in result.runs for document in run.reading.documents}
    known |= {path: data.decode("utf-8-sig", "replace") for path, data in (overlay or {}).items()}

    def text(path: str) -> str | None:
        if path not in known:
            known[path] = _text_on_disk(path)
        return known[path]

    return text


def _text_on_disk(path: str) -> str:
    """A file's text for display only, so a byte that is no UTF-8 is shown as a mark; empty where there is no file."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8-sig", "replace")
    except OSError:
        return ""
