"""``--ask``: the repairs of each finding as a numbered list, and the user's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vramlint.report.text import printable

if TYPE_CHECKING:
    from vramlint.findings import Finding, Fix

SKIP, QUIT = "s", "q"


class Asker:
    """Asks once about each finding and remembers the answer for the passes to come."""

    def __init__(self) -> None:
        self._skipped: set[tuple[str, str, str, str]] = set()
        self._done = False

    def __call__(self, finding: Finding) -> Fix | None:
        """The repair that the user chose; None where there is none to choose, or nobody wants one."""
        fixes = [fix for fix in finding.fixes if fix.edits]
        known = (finding.location.path, finding.code, finding.fact, finding.run)
        if self._done or not fixes or known in self._skipped:
            return None
        answer = self._answer(finding, fixes)
        self._done = answer == QUIT
        self._skipped.add(known)
        return fixes[int(answer) - 1] if answer.isdigit() else None

    @staticmethod
    def _answer(finding: Finding, fixes: list[Fix]) -> str:
        place = finding.location
        click.echo(f"{printable(place.path)}:{place.line}: {finding.severity}[{finding.code}] {finding.name}", err=True)
        click.echo(f"   {printable(finding.message)}", err=True)
        for number, fix in enumerate(fixes, 1):
            click.echo(f"   {number}  {fix.safety}: {printable(fix.title)}", err=True)
        numbers = [str(number) for number, _ in enumerate(fixes, 1)]
        return str(
            click.prompt(
                "   Which? (s: skip, q: no more questions)",
                type=click.Choice([*numbers, SKIP, QUIT]),
                default=SKIP,
                show_choices=False,
                err=True,
            )
        )
