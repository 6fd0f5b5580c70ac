"""``vramlint dialects``: the frameworks whose files are read, and why a file is taken for one."""

from __future__ import annotations

from pathlib import Path

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import write
from vramlint.errors import UsageError


@click.command("dialects")
@click.option("--why", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="Say what FILE is taken for.")
@click.option("--schema", metavar="NAME", help="Print the JSON Schema of the settings that the dialect NAME declares.")
@click.option("--output-format", type=click.Choice(("text", "json")), default="text", show_default=True)
def command(why: str | None, schema: str | None, output_format: str) -> int:
    """List the dialects, most specific first; with --why, say what FILE is taken for and on what evidence.

    --schema tells which keys of a framework vramlint reads, of which types, and the framework's defaults. Keys that
    nest are dotted; a key's title is the fact of the plan it decides.
    """
    if why is not None:
        return _why(why, output_format)
    if schema is not None:
        return _schema(schema)
    from vramlint.dialects.registry import rows

    known = [
        {"name": row.name, "title": row.title, "syntaxes": [str(one) for one in row.syntaxes], "read": bool(row.module)}
        for row in rows()
    ]
    if output_format == "json":
        from vramlint.report.json import dump

        write(dump({"schema": "vramlint.dialects/1", "dialects": known}))
        return CLEAN
    width = max(len(row.name) for row in rows())
    for row in rows():
        state = ", ".join(row.syntaxes) if row.module else "recognised, left alone"
        write(f"{row.name:<{width}}  {row.title} ({state})\n")
    return CLEAN


def _schema(name: str) -> int:
    from vramlint.dialects.registry import dialect
    from vramlint.dialects.schema import Schema, json_schema
    from vramlint.report.json import dump

    module = dialect(name)
    declared = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Schema)]
    schemas = [each for each in declared if each is not Schema]
    if not schemas:
        raise UsageError(f"the dialect {name!r} declares no settings of its own", help="It reads those of others.")
    write(dump(json_schema(schemas, module.TITLE)))
    return CLEAN


def _why(path: str, output_format: str) -> int:
    from vramlint.dialects.registry import why
    from vramlint.sources import read

    document = read(path, Path(path).read_bytes())
    verdicts = why(document)
    if output_format == "json":
        from vramlint.report.json import dump

        rows = [
            {"dialect": one.dialect, "title": one.title, "read": one.served, "evidence": list(one.evidence)}
            for one in verdicts
        ]
        write(dump({"schema": "vramlint.why/1", "path": path, "verdicts": rows}))
        return CLEAN
    for verdict in verdicts:
        write(f"{path}: {verdict}\n")
    if not verdicts:
        write(f"{path}: no training config that vramlint knows\n")
    return CLEAN
