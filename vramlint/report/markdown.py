"""Markdown for a comment on a pull request: what was found, what each run will do, and the repairs folded away."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vramlint.findings import Finding
from vramlint.report.summary import closing_line, memory_line, plan_line
from vramlint.results import CheckResult, Failure, RunResult
from vramlint.rule import Safety, Severity

MARK = "<!-- vramlint -->"
"""Begins every comment, so that a bot finds its last one and edits it."""
MOST_CHARACTERS = 65_000
"""GitHub refuses comments beyond 65,536 characters."""
_SIGNS = {Severity.ERROR: "🔴 error", Severity.WARNING: "🟡 warning", Severity.INFO: "🔵 info"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~])")


def render(result: CheckResult) -> str:
    """The comment; the least serious findings are counted instead of listed where it would be too long."""
    ordered = sorted(result.findings, key=lambda found: list(Severity).index(found.severity))
    shown = len(ordered)
    text = _render(result, ordered)
    while shown and len(text) > MOST_CHARACTERS:
        shown = shown * 3 // 4
        text = _render(result, ordered[:shown])
    return text


def _render(result: CheckResult, shown: Sequence[Finding]) -> str:
    parts = [MARK, f"### vramlint: {_escape(closing_line(result))}"]
    if shown:
        parts.append(_table(shown))
    left_out = len(result.findings) - len(shown)
    if left_out:
        parts.append(f"… and {left_out:,} more.")
    if result.failures:
        parts.append("\n".join(_failure(failure) for failure in result.failures))
    repairs = [line for finding in shown for line in _repairs(finding)]
    if repairs:
        parts.append(_folded("Repairs", "\n".join(repairs)))
    about = [run for run in result.runs if run.findings] or result.runs[:1]
    if about and not left_out:
        parts.append(_folded("What the runs will do", _runs(about)))
    return "\n\n".join(parts) + "\n"


def _table(findings: Sequence[Finding]) -> str:
    rows = [
        f"| {_SIGNS[found.severity]} | {_code(f'{found.location.path}:{found.location.line}')} "
        f"| {found.code} {found.name} | {_escape(found.message)} |"
        for found in findings
    ]
    return "\n".join(["| | where | rule | what |", "|---|---|---|---|", *rows])


def _repairs(finding: Finding) -> list[str]:
    place = _code(f"{finding.location.path}:{finding.location.line}")
    lines = [f"- {place} {fix.safety.value} fix: {_escape(fix.title)}" for fix in finding.fixes]
    if not lines and finding.help:
        lines = [f"- {place} {_escape(finding.help)}"]
    if any(fix.safety is Safety.SAFE and fix.edits for fix in finding.fixes):
        lines[0] += " (`vramlint --fix` makes it)"
    return lines


def _runs(runs: Sequence[RunResult]) -> str:
    rows = [
        f"| {_code(f'{run.reading.plan.path} {run.reading.plan.title}'.rstrip())} "
        f"| {_escape(plan_line(run.reading.plan))} | {_escape(memory_line(run.estimate, run.target))} |"
        for run in runs
    ]
    return "\n".join(["| run | plan | memory |", "|---|---|---|", *rows])


def _failure(failure: Failure) -> str:
    place = ":".join(str(part) for part in (failure.path, failure.line) if part is not None)
    return f"- ⚠️ {_code(place)} could not be checked: {_escape(failure.message)}"


def _folded(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _escape(text: str) -> str:
    """``text`` as it is: no markup, no mention of people, one line."""
    one_line = re.sub(r"\s+", " ", text)
    return _SPECIAL.sub(r"\\\1", one_line).replace("@", "@\u200b").replace("#", "#\u200b")


def _code(text: str) -> str:
    """``text`` as code; a pipe still ends a cell of a table, even there."""
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    pad = " " if len(fence) > 1 else ""
    return f"{fence}{pad}{text.replace('|', chr(92) + '|')}{pad}{fence}"
