"""``vramlint rules``: what is checked."""

from __future__ import annotations

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import rules_here, write


@click.command("rules")
@click.option("--output-format", type=click.Choice(("text", "json")), default="text", show_default=True)
def command(output_format: str) -> int:
    """List the rules: code, severity, name, what they find, and how they fix it."""
    infos = [rule.RULE for rule in rules_here()]
    if output_format == "json":
        from vramlint.report.json import dump

        write(dump({"schema": "vramlint.rules/1", "rules": [info._asdict() for info in infos]}))
        return CLEAN
    width = max((len(info.name) for info in infos), default=0)
    for info in infos:
        fix = f" [{info.fix.value} fix]" if info.fix else ""
        pedantic = " [pedantic]" if info.pedantic else ""
        write(f"{info.code}  {info.severity.value:<8} {info.name:<{width}}  {info.summary}{fix}{pedantic}\n")
    return CLEAN
