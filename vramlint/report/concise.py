"""One line a finding, for editors, grep and narrow logs."""

from __future__ import annotations

from vramlint.findings import Finding
from vramlint.report.full import SEVERITY_STYLES
from vramlint.report.text import View, printable
from vramlint.results import CheckResult
from vramlint.rule import Safety


def render(result: CheckResult, view: View) -> str:
    """``path:line:column: severity[code] name: message``, with the fix that ``--fix`` or ``--unsafe-fixes`` makes."""
    return "".join(f"{_line(finding, view)}\n" for finding in result.findings)


def _line(finding: Finding, view: View) -> str:
    place = f"{finding.location.path}:{finding.location.line}:{finding.location.column}:"
    kind = view.paint(f"{finding.severity.value}[{finding.code}]", SEVERITY_STYLES[finding.severity])
    return f"{printable(place)} {kind} {finding.name}: {printable(finding.message)}{_fix(finding)}"


def _fix(finding: Finding) -> str:
    for safety in (Safety.SAFE, Safety.UNSAFE):
        if any(fix.safety is safety and fix.edits for fix in finding.fixes):
            return f" [{safety.value} fix]"
    return ""
