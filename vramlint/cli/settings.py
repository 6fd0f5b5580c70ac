"""``vramlint settings``: what holds for a file, and the schema of the settings."""

from __future__ import annotations

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import write

_PLAIN = ("select", "ignore", "exclude", "plugins", "rules", "baseline")


@click.command("settings")
@click.argument("path", default=".", type=click.Path(exists=True))
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the settings instead.")
def command(path: str, schema: bool) -> int:
    """Print the settings that hold for PATH (default: the current folder), as JSON, extended files included."""
    from vramlint.report.json import dump

    if schema:
        from vramlint.project.settings_schema import settings_schema

        write(dump(settings_schema()))
        return CLEAN
    import os

    from vramlint.project.settings import SettingsFinder

    finder = SettingsFinder()
    full = os.path.abspath(path)
    found = finder.for_folder(full) if os.path.isdir(full) else finder.for_file(full)
    tables = found.targets_for(full)
    write(
        dump(
            {
                "schema": "vramlint.settings/1",
                "file": found.path,
                "root": found.root,
                "target": {
                    name: next((value for table in tables if (value := getattr(table, name)) is not None), None)
                    for name in ("gpu", "gpus", "nodes")
                },
                "limits": found.limits and found.limits._asdict(),
                **{
                    name: getattr(found, name)
                    for name in ("select", "ignore", "exclude", "plugins", "rules", "baseline")
                },
                "per_file_ignores": [list(pair) for pair in found.per_file_ignores],
                "ignored_here": found.ignored_for(full),
            }
        )
    )
    return CLEAN
