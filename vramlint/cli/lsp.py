"""``vramlint lsp``: findings, repairs and estimates while a config is being edited."""

from __future__ import annotations

import importlib.util

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import check_options, target_options
from vramlint.errors import UsageError


@click.command("lsp")
@click.option("--gpu", metavar="NAME", help="The card to check against, where files and settings name none.")
@target_options
@click.option("--pedantic", is_flag=True, help="Also show what is merely worth knowing.")
def command(gpu: str | None, gpus: int | None, nodes: int | None, pedantic: bool) -> int:
    """Serve the language server protocol on standard input and output.

    Findings are shown when a file is opened or saved, their repairs are quick fixes, and hovering over a setting shows
    what it means for the run. Needs the extra: pip install 'vramlint[lsp]'.
    """
    if importlib.util.find_spec("pygls") is None:
        raise UsageError("the language server needs pygls", help="Install it with: pip install 'vramlint[lsp]'")
    from vramlint.cli.lsp_server import server

    given = {"gpu": gpu, "gpus": gpus, "nodes": nodes, "pedantic": pedantic}
    server(check_options(given)).start_io()
    return CLEAN
