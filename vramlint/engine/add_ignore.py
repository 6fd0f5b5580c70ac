"""``--add-ignore``: a suppression comment for every finding, so that a team can begin with a clean slate.

A comment goes to the end of its line where that leaves a short line, else on a line of its own above; a shell command
gets it above its first line. Rules that a comment covers together share it. Each file is read again with its comments:
its data must be the same and the findings must be gone, else the finding keeps standing and the reason is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from vramlint.engine.check import DEFAULTS, check_candidates
from vramlint.engine.options import CheckOptions
from vramlint.engine.suppressions import Suppression, command_lines, suppressions
from vramlint.errors import EditRefused, SourceError
from vramlint.findings import Finding
from vramlint.fix.edits import DocumentEdits
from vramlint.fix.loop import FileFix
from vramlint.fix.proof import prove_comments
from vramlint.project.discovery import discover
from vramlint.project.settings import SettingsFinder
from vramlint.results import CheckResult
from vramlint.sources import encode, read
from vramlint.sources.model import Document, Span, Syntax, TextEdit, apply_edits

_LONGEST_LINE = 100
"""A comment at the end of a line must not make it longer than this."""
_LINE_END = re.compile(r"\r\n|\r|\n")
_BRACKETS = re.compile(r"(vramlint:\s*ignore\s*\[)([^\]]*)")
_BASELINE_HINT = "`vramlint baseline` records it instead"


class Left(NamedTuple):
    """A finding that got no comment, and why."""

    finding: Finding
    reason: str


class IgnoreOutcome(NamedTuple):
    """What adding comments comes to; nothing is written yet. ``result`` is the check with the comments in place."""

    files: tuple[FileFix, ...]
    added: int
    left: tuple[Left, ...]
    before: CheckResult
    result: CheckResult


class _Comment(NamedTuple):
    """One comment to be: the edit that writes it, its whole text, and the comment it takes the place of."""

    edit: TextEdit
    added: str
    removed: str | None
    findings: tuple[Finding, ...]


def _everything(result: CheckResult) -> CheckResult:
    return result


def add_ignores(
    paths: Sequence[str],
    options: CheckOptions = DEFAULTS,
    reason: str = "",
    fresh: Callable[[CheckResult], CheckResult] = _everything,
) -> IgnoreOutcome:
    """Work out a comment for every finding that ``check`` shows and ``fresh`` keeps. Raises as ``check`` does."""
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    candidates = discover(paths, finder, force_exclude=options.force_exclude)
    before = fresh(check_candidates(candidates, finder, options, {}))

    def after(files: Sequence[FileFix]) -> CheckResult:
        overlay = {file.path: file.new for file in files}
        return fresh(check_candidates(candidates, finder, options, overlay)) if files else before

    said = " ".join(reason.split())
    files, left = _files(before.findings, said)
    result = after(files)
    told = {_identity(each.finding) for each in left}
    standing = {_identity(found) for found in result.findings} - told
    missed = [found for found in before.findings if _identity(found) in standing]
    if missed:
        files, left = _files([found for found in before.findings if _identity(found) not in standing], said)
        left.extend(Left(found, f"a comment does not reach it; {_BASELINE_HINT}") for found in missed)
        result = after(files)
    return IgnoreOutcome(tuple(files), len(before.findings) - len(result.findings), tuple(left), before, result)


def _files(findings: Sequence[Finding], reason: str) -> tuple[list[FileFix], list[Left]]:
    """The files with their comments, and the findings that get none."""
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        by_path.setdefault(finding.location.path, []).append(finding)
    files: list[FileFix] = []
    left: list[Left] = []
    for path, found in by_path.items():
        file, refused = _file(path, found, reason)
        left.extend(refused)
        if file is not None:
            files.append(file)
    return files, left


def _identity(finding: Finding) -> tuple[str, str, str, str]:
    return finding.code, finding.location.path, finding.run, finding.message


def _file(path: str, findings: Sequence[Finding], reason: str) -> tuple[FileFix | None, list[Left]]:
    """The file with as many comments as can be proven, and the findings left without."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        document = read(path, data)
    except (OSError, SourceError) as error:
        why = error.message if isinstance(error, SourceError) else str(error.strerror)
        return None, [Left(found, why) for found in findings]
    if document.syntax is Syntax.JSON:
        return None, [Left(found, f"JSON has no comments; {_BASELINE_HINT}") for found in findings]
    made: list[_Comment] = []
    left: list[Left] = []
    for comment in _comments(document, findings, reason):
        try:
            _prove(document, [*made, comment])
            made.append(comment)
        except EditRefused as error:
            left.extend(Left(found, f"{error.message}; {_BASELINE_HINT}") for found in comment.findings)
    if not made:
        return None, left
    text = apply_edits(document.text, [comment.edit for comment in made])
    return FileFix(path, data, encode(document, text)), left


def _prove(document: Document, comments: Sequence[_Comment]) -> None:
    planned = DocumentEdits(document, tuple(sorted(each.edit for each in comments)), ())
    removed = [each.removed for each in comments if each.removed is not None]
    prove_comments(planned, [each.added for each in comments], removed)


def _comments(document: Document, findings: Sequence[Finding], reason: str) -> Iterator[_Comment]:
    """One comment for the findings of each line, of each command in a script."""
    head = len(document.text) - len(document.text.lstrip())
    whole = tuple(finding for finding in findings if finding.location.start == head)
    if whole:
        yield _for_the_file(document, whole, reason)
    by_line: dict[int, list[Finding]] = {}
    for finding in findings:
        if finding.location.start == head:
            continue
        first, _ = command_lines(document, finding.location.line)
        by_line.setdefault(first, []).append(finding)
    present = {each.lines: each for each in suppressions(document) if each.lines is not None and each.rules}
    for line, found in sorted(by_line.items()):
        names = tuple(dict.fromkeys(each.name for each in found))
        known = present.get(command_lines(document, line))
        if known is not None:
            yield _extended(known, names, tuple(found))
        else:
            yield _new(document, line, names, reason, tuple(found))


def _for_the_file(document: Document, findings: tuple[Finding, ...], reason: str) -> _Comment:
    """One comment at the top for findings that no line is to blame for: they point at the first, whichever that is."""
    names = ", ".join(dict.fromkeys(each.name for each in findings))
    comment = f"# vramlint: ignore-file[{names}]{f' {reason}' if reason else ''}"
    line = 2 if document.text.startswith("#!") else 1
    start, _ = _bounds(document.text, line)
    return _Comment(TextEdit(Span(start, start), f"{comment}{_newline(document.text)}"), comment, None, findings)


def _extended(known: Suppression, names: Sequence[str], findings: tuple[Finding, ...]) -> _Comment:
    """The rules ``names`` behind those of a comment that is there already."""
    old = known.comment.text
    rules = ", ".join(dict.fromkeys((*known.rules, *names)))
    new = _BRACKETS.sub(lambda match: f"{match[1]}{rules}", old, count=1)
    return _Comment(TextEdit(known.comment.span, new), new, old, findings)


def _new(document: Document, line: int, names: Sequence[str], reason: str, findings: tuple[Finding, ...]) -> _Comment:
    comment = f"# vramlint: ignore[{', '.join(names)}]{f' {reason}' if reason else ''}"
    start, end = _bounds(document.text, line)
    text = document.text[start:end]
    commented = any(start <= each.span.start < end for each in document.comments)
    beside = document.syntax is not Syntax.SHELL and not commented and len(text) + len(comment) + 2 <= _LONGEST_LINE
    if beside:
        place = start + len(text.rstrip(" \t"))
        return _Comment(TextEdit(Span(place, place), f"  {comment}"), comment, None, findings)
    indent = text[: len(text) - len(text.lstrip(" \t"))]
    return _Comment(
        TextEdit(Span(start, start), f"{indent}{comment}{_newline(document.text)}"), comment, None, findings
    )


def _bounds(text: str, line: int) -> tuple[int, int]:
    """Offsets of the first character of ``line`` and of its line end."""
    ends = list(_LINE_END.finditer(text))
    start = ends[line - 2].end() if line > 1 else 0
    return start, ends[line - 1].start() if line <= len(ends) else len(text)


def _newline(text: str) -> str:
    """The file's own line end."""
    match = _LINE_END.search(text)
    return match[0] if match else os.linesep
