"""``# vramlint: ignore[rule, CODE] reason`` and ``# vramlint: ignore-file[rule]``, and which of them are not needed.

A comment at the end of a line covers that line; on a line of its own it covers the next line that says something. A
command of a shell script is one line however many it is wrapped over, since no comment fits inside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from vramlint.engine.rules import means
from vramlint.engine.unused_suppression import RULE as UNUSED
from vramlint.findings import Finding
from vramlint.fix.edits import location_of
from vramlint.patterns import later
from vramlint.sources.model import Comment, Document

_IGNORE = later(r"vramlint:\s*ignore(?P<file>-file)?\b\s*(?:\[(?P<rules>[^\]]*)\])?")


class Suppression(NamedTuple):
    """One comment: the rules it names and the lines it covers, first and last included (None: the whole file)."""

    comment: Comment
    rules: tuple[str, ...]
    lines: tuple[int, int] | None

    def covers(self, finding: Finding, rule: str) -> bool:
        """Whether ``rule``, one of those it names, suppresses ``finding``."""
        if not means(rule, finding.code, finding.name):
            return False
        return self.lines is None or self.lines[0] <= finding.location.line <= self.lines[1]


class Judged(NamedTuple):
    """Findings after suppression, unused suppressions among them, and how many were suppressed."""

    findings: tuple[Finding, ...]
    suppressed: int


def suppress(findings: Sequence[Finding], document: Document, ran: Callable[[str], bool] | None) -> Judged:
    """``findings`` of ``document`` without the suppressed ones, and with one for each rule a comment names in vain.

    ``ran`` says whether a rule, as a comment names it, was among those that ran; None where nobody wants to know.
    """
    comments = tuple(suppressions(document))
    if not comments:
        return Judged(tuple(findings), 0)
    used: set[tuple[int, str]] = set()
    kept = []
    for finding in findings:
        hits = [(i, rule) for i, each in enumerate(comments) for rule in each.rules if each.covers(finding, rule)]
        used.update(hits)
        if not hits:
            kept.append(finding)
    # An unused suppression may itself be suppressed, by a comment that names the rule unused-suppression.
    unused = [] if ran is None else list(_unused(document, comments, used, ran))
    for finding in unused:
        if not any(each.covers(finding, rule) for each in comments for rule in each.rules):
            kept.append(finding)
    return Judged(tuple(kept), len(findings) + len(unused) - len(kept))


def suppressions(document: Document) -> Iterator[Suppression]:
    """Every suppression comment of ``document``."""
    for comment in document.comments:
        match = _IGNORE.search(comment.text)
        if match is not None:
            rules = tuple(rule.strip() for rule in (match["rules"] or "").split(",") if rule.strip())
            yield Suppression(comment, rules, None if match["file"] else _lines(document, comment))


def _lines(document: Document, comment: Comment) -> tuple[int, int]:
    line = document.position(comment.span.start).line
    return command_lines(document, _next_line(document, line) if _is_alone(document, comment) else line)


def command_lines(document: Document, line: int) -> tuple[int, int]:
    """First and last line of what a comment on ``line`` covers: the line itself, or the whole command it is part of."""
    for command in document.commands:
        first, last = document.position(command.span.start).line, document.position(command.span.end).line
        if first <= line <= last:
            return first, last
    return line, line


def _is_alone(document: Document, comment: Comment) -> bool:
    column = document.position(comment.span.start).column
    return not document.text[comment.span.start - column + 1 : comment.span.start].strip()


def _next_line(document: Document, line: int) -> int:
    """The first line after ``line`` that holds more than a comment; the next one where none does."""
    lines = re.split(r"\r\n|\r|\n", document.text)
    for number in range(line, len(lines)):
        bare = lines[number].strip()
        if bare and not bare.startswith(("#", "//")):
            return number + 1
    return line + 1


def _unused(
    document: Document, comments: Iterable[Suppression], used: set[tuple[int, str]], ran: Callable[[str], bool]
) -> Iterator[Finding]:
    for index, each in enumerate(comments):
        if not each.rules:
            yield _finding(document, each.comment, "this comment names no rule, so it suppresses nothing")
        for rule in each.rules:
            itself = means(rule, UNUSED.code, UNUSED.name)
            if not itself and (index, rule) not in used and ran(rule):
                yield _finding(document, each.comment, f"no finding of {rule} is suppressed by this comment")


def _finding(document: Document, comment: Comment, message: str) -> Finding:
    return Finding(
        code=UNUSED.code,
        name=UNUSED.name,
        severity=UNUSED.severity,
        confidence=UNUSED.confidence,
        location=location_of(document, comment.span),
        message=message,
        label="suppresses nothing",
        help="Write the rule in brackets, ignore[rule-name], or remove the comment.",
    )
