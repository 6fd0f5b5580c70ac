"""Findings as editors want them: zero-based places in the editor's units, quick fixes, and a text for the pointer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vramlint.findings import FileEdit, Finding
from vramlint.plan import Location
from vramlint.report.plan import title, value_words
from vramlint.report.summary import memory_line, plan_line
from vramlint.report.text import size
from vramlint.results import CheckResult, Failure, RunResult
from vramlint.rule import Safety, Severity

_LINE_END = re.compile(r"\r\n|\r|\n")
_MOST_COMPONENTS = 6


class Lines:
    """The lines of a text, whose columns an editor counts in units of ``encoding``."""

    def __init__(self, text: str, encoding: str) -> None:
        self._lines = _LINE_END.split(text)
        self._encoding = encoding
        self._width = {"utf-8": 1, "utf-16-le": 2, "utf-32-le": 4}[encoding]

    def units(self, line: int, column: int) -> int:
        """The editor's zero-based character of the one-based ``line`` and ``column``."""
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return len(text[: column - 1].encode(self._encoding, "surrogatepass")) // self._width

    def place(self, location: Location) -> Place:
        """``location`` as the editor has it."""
        return Place(
            location.line - 1,
            self.units(location.line, location.column),
            location.end_line - 1,
            self.units(location.end_line, location.end_column),
        )


class Place(NamedTuple):
    """A range of an editor: zero-based lines and characters, the end exclusive."""

    line: int
    character: int
    end_line: int
    end_character: int

    def holds(self, line: int, character: int) -> bool:
        """Whether the pointer is inside, its end included."""
        return (self.line, self.character) <= (line, character) <= (self.end_line, self.end_character)


class EditorDiagnostic(NamedTuple):
    """A finding, or something that could not be checked, in one file."""

    place: Place
    severity: Severity
    code: str
    message: str


class Edit(NamedTuple):
    """Replace ``place`` of the file ``path`` by ``text``."""

    path: str
    place: Place
    text: str


class QuickFix(NamedTuple):
    """A repair that the editor can make. ``preferred``: the first safe one of its finding."""

    title: str
    diagnostic: EditorDiagnostic
    edits: tuple[Edit, ...]
    preferred: bool


LinesOf = Callable[[str], Lines]
"""The lines of a file, by its path as results spell it."""


def diagnostics(result: CheckResult, path: str, lines: LinesOf) -> list[EditorDiagnostic]:
    """What is wrong with the file ``path``, failures first."""
    found = [_failed(failure, lines(path)) for failure in result.failures if failure.path == path]
    found.extend(_diagnostic(each, lines(path)) for each in result.findings if each.location.path == path)
    return found


def _failed(failure: Failure, lines: Lines) -> EditorDiagnostic:
    line = failure.line or 1
    start = lines.units(line, failure.column or 1)
    place = Place(line - 1, start, line - 1, start + 1)
    return EditorDiagnostic(place, Severity.ERROR, "could-not-check", _sentence(failure.message, failure.help))


def _diagnostic(finding: Finding, lines: Lines) -> EditorDiagnostic:
    return EditorDiagnostic(
        lines.place(finding.location), finding.severity, finding.name, _sentence(finding.message, finding.help)
    )


def _sentence(message: str, help: str) -> str:
    return f"{message}. {help}" if help else message


def quick_fixes(result: CheckResult, path: str, lines: LinesOf) -> Iterator[QuickFix]:
    """The repairs of the findings in the file ``path``; they may edit other files of the run."""
    for finding in result.findings:
        if finding.location.path != path:
            continue
        about = _diagnostic(finding, lines(path))
        preferred = True
        for fix in finding.fixes:
            if not fix.edits:
                continue
            edits = tuple(_edit(edit, lines(edit.location.path)) for edit in fix.edits)
            safe = fix.safety is Safety.SAFE
            words = fix.title if safe else f"{fix.title} (unsafe: may change the experiment)"
            yield QuickFix(words[:1].upper() + words[1:], about, edits, safe and preferred)
            preferred = preferred and not safe


def _edit(edit: FileEdit, lines: Lines) -> Edit:
    return Edit(edit.location.path, lines.place(edit.location), edit.text)


def hover(result: CheckResult, path: str, lines: LinesOf, line: int, character: int) -> str | None:
    """Markdown on the setting under the pointer and what it means for its run; None where no fact is spelled there."""
    for run in result.runs:
        for name, fact in run.reading.plan.facts():
            place = fact.location
            if place is not None and place.path == path and lines(path).place(place).holds(line, character):
                return _about(run, title(name), value_words(fact.value) if fact.known else "unknown", fact.note)
    return None


def _about(run: RunResult, name: str, value: str, note: str) -> str:
    plan = run.reading.plan
    parts = [
        f"**{name}** {_plain(value)}{f' ({_plain(note)})' if note else ''}",
        f"plan: {_plain(plan_line(plan))}",
        f"memory: {_plain(memory_line(run.estimate, run.target))}",
    ]
    largest = sorted(run.estimate.components, key=lambda one: -one.bytes)[:_MOST_COMPONENTS]
    if largest:
        rows = [f"| {one.name} | {size(one.bytes)} |" for one in largest]
        parts.append("\n".join(["| largest parts | |", "|---|---:|", *rows]))
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)
