"""``vramlint completion``: the script that makes a shell complete vramlint's commands and options."""

from __future__ import annotations

import click

from vramlint.cli.main import CLEAN, cli
from vramlint.cli.shared import write


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> int:
    """Print the completion script of a shell: put `eval "$(vramlint completion bash)"` into ~/.bashrc."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows the shells of the choice above"
    write(found(cli, {}, "vramlint", "_VRAMLINT_COMPLETE").source() + "\n")
    return CLEAN
