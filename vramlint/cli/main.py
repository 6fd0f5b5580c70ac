"""Entry point: which command runs, and the one place where errors become exit code 2.

Exit codes: 0 clean, 1 findings of severity warning or error, 2 could not check. Importing this module imports nothing
but click and the standard library; a command's own imports happen when it runs, since start-up is most of the time
that checking one file takes.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
from collections.abc import Sequence

import click

from vramlint import __version__
from vramlint.errors import VramlintError

CLEAN, FOUND, BROKEN = 0, 1, 2

COMMANDS = {
    "check": "Check training configs and launch scripts; the default.",
    "plan": "Show what each run will do, and where each fact comes from.",
    "estimate": "Estimate peak GPU memory: components, phase, verdict.",
    "explain": "Explain a rule, a dialect or a component of memory.",
    "rules": "List the rules.",
    "gpus": "List the GPUs that --gpu knows.",
    "models": "List the models whose memory is known by name.",
    "dialects": "List the dialects, or say why a file is (not) one.",
    "trace": "Trace a model's memory on a CPU (needs torch; runs your code).",
    "observe": "Keep what a run really took, for the estimates that follow.",
    "probe": "Measure this machine's GPU (needs CUDA).",
    "init": "Look at the repository and propose settings and the pre-commit hook.",
    "settings": "Show the settings that hold for a path, or their schema.",
    "baseline": "Accept today's findings, so that only new ones are told.",
    "exec": "Check a launch command, then run it if no error stands.",
    "lsp": "Serve editors: findings, quick fixes and estimates while typing.",
    "completion": "Print the shell completion script.",
}
"""Every command with its one line of help: ``vramlint.cli.<name>.command`` is imported when it runs."""

_OWN_OPTIONS = frozenset({"-h", "--help", "--version"})


class LazyGroup(click.Group):
    """A group that imports a command when it runs, and takes anything that is no command as a path to check."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"vramlint.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in COMMANDS and args[0] not in _OWN_OPTIONS:
            _refuse_misspelled_command(args[0], ctx)
            args = ["check", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Lists the commands from the table, so that ``--help`` imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _refuse_misspelled_command(word: str, ctx: click.Context) -> None:
    """A bare word that is no file and nearly a command is a slip, not a path."""
    if not word.isalpha() or os.path.exists(word):
        return
    from difflib import get_close_matches

    close = get_close_matches(word, COMMANDS, n=1)
    if close:
        raise click.UsageError(f"No command and no file is called {word!r}. Did you mean {close[0]!r}?", ctx)


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    options_metavar="",
    subcommand_metavar="[COMMAND] [OPTIONS] [PATH]...",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """The pre-flight check for deep-learning training runs.

    `vramlint PATH...` is `vramlint check PATH...`: it reads training configs and launch scripts, works out what the
    run will do, and says what will crash, waste or corrupt. `vramlint --fix PATH...` repairs it.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run vramlint with ``argv`` (the process's own arguments where None) and return the exit code."""
    if argv is None:
        # The process ends with the command: Python's last search for garbage among all it holds was a fifth of a check.
        atexit.register(gc.freeze)
    try:
        code = cli.main(args=None if argv is None else list(argv), prog_name="vramlint", standalone_mode=False)
    except SystemExit as stop:  # click ends so when the reader of a pipe has gone, and after shell completion
        return BROKEN if stop.code else CLEAN
    except click.Abort:
        click.echo("vramlint: interrupted", err=True)
        return BROKEN
    except click.ClickException as error:
        error.show()
        return BROKEN
    except VramlintError as error:
        click.echo(f"vramlint: {error}", err=True)
        return BROKEN
    except Exception:  # noqa: BLE001 - Python would end with 1, which means "findings" here
        import traceback

        traceback.print_exc()
        click.echo("vramlint: internal error; please report it with the lines above", err=True)
        return BROKEN
    return code if isinstance(code, int) else CLEAN
