"""GitHub Actions workflow commands: findings as annotations on the lines of a pull request.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from vramlint.findings import Finding
from vramlint.results import CheckResult, Failure
from vramlint.rule import Severity

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(result: CheckResult) -> str:
    """One workflow command a finding, and an error for each file that could not be checked."""
    commands = [*(_finding(finding) for finding in result.findings), *(_failure(item) for item in result.failures)]
    return "".join(f"{command}\n" for command in commands)


def _finding(finding: Finding) -> str:
    place = finding.location
    properties: dict[str, object] = {"file": place.path, "line": place.line, "endLine": place.end_line}
    if place.line == place.end_line:  # GitHub refuses columns over several lines
        properties |= {"col": place.column, "endColumn": max(place.end_column - 1, place.column)}
    properties["title"] = f"{finding.code} {finding.name}"
    text = f"{finding.message}\n{finding.help}" if finding.help else finding.message
    return _command(_COMMANDS[finding.severity], properties, text)


def _failure(failure: Failure) -> str:
    properties: dict[str, object] = {"file": failure.path, "line": failure.line or 1, "title": "could not check"}
    return _command("error", properties, failure.message)


def _command(name: str, properties: dict[str, object], text: str) -> str:
    joined = ",".join(f"{key}={_escape_property(str(value))}" for key, value in properties.items())
    return f"::{name} {joined}::{_escape(text)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
