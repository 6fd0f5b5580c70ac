"""The report for people: each finding with its line, each run with what it will do, and one closing line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vramlint.findings import Finding, Fix
from vramlint.report.frame import Frames, Texts
from vramlint.report.summary import closing_line, memory_line, plan_line
from vramlint.report.text import View, display_width, printable, wrap
from vramlint.results import CheckResult, RunResult
from vramlint.rule import Safety, Severity

SEVERITY_STYLES = {Severity.ERROR: "1;31", Severity.WARNING: "1;33", Severity.INFO: "1;36"}
_INDENT = "   "


class _Block(NamedTuple):
    """Findings that belong together: those of one run, or those of a file that are about no run."""

    findings: list[Finding]
    run: RunResult | None


def render(result: CheckResult, texts: Texts, view: View) -> str:
    """The whole report. ``texts`` gives the source lines of the frames."""
    frames = Frames(texts, view)
    pieces: list[str] = []
    for block in _blocks(result):
        for finding in block.findings:
            pieces.extend(_finding(finding, frames, view))
        if block.run is not None:
            pieces.extend(_run(block.run, result.runs, view))
        pieces.append("")
    pieces.append(closing_line(result))
    return "\n".join(pieces) + "\n"


def _blocks(result: CheckResult) -> list[_Block]:
    """The findings of ``result`` grouped by run, in the order of the files; each finding once."""
    waiting = {_identity(finding): finding for finding in result.findings}
    blocks: list[_Block] = []
    for run in result.runs:
        own = [waiting.pop(_identity(found)) for found in run.findings if _identity(found) in waiting]
        if own:
            blocks.append(_Block(sorted(own, key=_place), run))
    by_path: dict[str, list[Finding]] = {}
    for finding in waiting.values():
        by_path.setdefault(finding.location.path, []).append(finding)
    blocks.extend(_Block(findings, None) for findings in by_path.values())
    return sorted(blocks, key=lambda block: _place(block.findings[0]))


def _place(finding: Finding) -> tuple[str, int]:
    return finding.location.path, finding.location.start


def _identity(finding: Finding) -> tuple[object, ...]:
    return finding.code, finding.location, finding.run, finding.message


def _finding(finding: Finding, frames: Frames, view: View) -> list[str]:
    style = SEVERITY_STYLES[finding.severity]
    place = f"{finding.location.path}:{finding.location.line}:{finding.location.column}:"
    kind = view.paint(f"{finding.severity.value}[{finding.code}]", style)
    lines = [f"{view.bold(printable(place))} {kind} {finding.name}"]
    label, message = printable(finding.label), printable(finding.message)
    if not label or frames.fits_beside(finding.location, message):
        lines.extend(frames.draw(finding.location, message, style))
    else:
        lines.extend(frames.draw(finding.location, label, style))
        lines.extend(_paragraph("", message, view))
    if finding.help and not finding.fixes:
        lines.extend(_paragraph("help: ", printable(finding.help), view))
    return [*lines, *_fixes(finding.fixes, view)]


def _paragraph(head: str, text: str, view: View) -> list[str]:
    first, *rest = wrap(text, max(view.width - len(_INDENT) - len(head), 20)) or [""]
    indent = _INDENT + " " * len(head)
    return [f"{_INDENT}{view.bold(head)}{first}", *(indent + line for line in rest)]


def _fixes(fixes: Sequence[Fix], view: View) -> list[str]:
    """``safe fix: A   or B`` on one line where it fits, else one line each."""
    lines: list[str] = []
    for safety in Safety:
        titles = [printable(fix.title) for fix in fixes if fix.safety is safety]
        if not titles:
            continue
        head = "by hand: " if safety is Safety.DISPLAY else f"{safety.value} fix: "
        joined = "   or ".join(titles)
        if display_width(_INDENT + head + joined) <= view.width:
            lines.append(f"{_INDENT}{view.bold(head)}{joined}")
            continue
        lines.extend(_paragraph(head, titles[0], view))
        for title in titles[1:]:
            lines.extend(_paragraph(" " * (len(head) - 4) + "or: ", title, view))
    return lines


def _run(run: RunResult, runs: Sequence[RunResult], view: View) -> list[str]:
    plan = run.reading.plan
    alone = sum(other.reading.plan.path == plan.path for other in runs) == 1
    title = "" if alone or not plan.title else f"{plan.title}: "
    return [
        *_labelled("plan", printable(title + plan_line(plan)), view),
        *_labelled("memory", printable(memory_line(run.estimate, run.target)), view),
    ]


def _labelled(name: str, text: str, view: View) -> list[str]:
    first, *rest = wrap(text, view.width - 8) or [""]
    return [f"{view.bold(f'{name:<8}')}{first}", *(" " * 8 + line for line in rest)]
