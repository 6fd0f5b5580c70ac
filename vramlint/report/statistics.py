"""Counts per rule."""

from __future__ import annotations

from collections import Counter

from vramlint.report.summary import closing_line
from vramlint.results import CheckResult
from vramlint.rule import Safety


def render(result: CheckResult) -> str:
    """One line a rule, most frequent first: count, severity, code, name, and whether ``--fix`` helps."""
    counts = Counter((found.code, found.name, found.severity) for found in result.findings)
    fixable = {found.code for found in result.findings if any(fix.safety is Safety.SAFE for fix in found.fixes)}
    lines = [
        f"{number:>6}  {severity.value:<8} {code:<6} {name}{'  [safe fix]' if code in fixable else ''}"
        for (code, name, severity), number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return "\n".join([*lines, closing_line(result)]) + "\n"
