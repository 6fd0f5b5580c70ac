"""The recogniser: which dialect a document, a command, a class or a call belongs to, and why.

It works on the table (``vramlint.dialects.table``) alone and imports no dialect module; ``dialect`` imports one when a
claim is to be read. Nothing is ever claimed twice: rows are tried in the table's order and the first that fits has it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple, cast

from vramlint.dialects.model import Claim, Dialect, Job
from vramlint.dialects.prefilter import prefilter, shell_prefilter
from vramlint.dialects.rows import Row
from vramlint.dialects.shortlist import frameworks_for, generic_for
from vramlint.dialects.signature import Match, Signature, Subject
from vramlint.dialects.table import FRAMEWORKS
from vramlint.dialects.table_generic import GENERIC
from vramlint.errors import UsageError
from vramlint.sources.model import Definition, Document

__all__ = ["Verdict", "claims", "dialect", "names", "prefilter", "rows", "why"]


ROWS: tuple[Row, ...] = FRAMEWORKS + GENERIC
"""The whole table, most specific first."""


class Verdict(NamedTuple):
    """What one row of the table says of one subject: for ``vramlint dialects --why``."""

    dialect: str
    title: str
    served: bool
    subject: Subject
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        what = self.dialect if self.served else f"{self.title} (recognised, not read)"
        return f"{what}: {', '.join(self.evidence) or 'structure'}"


_Taken = dict[int, Verdict | None]
"""Verdicts by the identity of their subject; None for a file whose commands are its runs."""


def names() -> tuple[str, ...]:
    """The dialects that vramlint reads, most specific first."""
    return tuple(row.name for row in ROWS if row.module)


def rows() -> tuple[Row, ...]:
    """The whole table, recognised and unread frameworks included."""
    return ROWS


def claims(document: Document) -> tuple[Claim, ...]:
    """The runs in ``document``: each subject claimed once, by the most specific dialect that fits it."""
    return tuple(
        Claim(verdict.dialect, verdict.subject, verdict.evidence) for verdict in why(document) if verdict.served
    )


def why(document: Document) -> tuple[Verdict, ...]:
    """Every decision about ``document`` and the names it rests on, frameworks that are left alone included."""
    taken: _Taken = {}
    for listed in frameworks_for(document):
        _take(listed.row, listed.signatures, document, taken)
        if id(document) in taken:
            break
    # A generic dialect guesses at layouts; it is not to see files (commands, for shell) that a framework owns.
    whole = not document.commands and bool(taken)
    for listed in () if whole else generic_for(document):
        _take(listed.row, listed.signatures, document, taken)
    found = [verdict for verdict in taken.values() if verdict is not None]
    # The commands of a job file come in its order; their own places count from the start of each script.
    return tuple(found if id(document) in taken and taken[id(document)] is None else sorted(found, key=_place))


@cache
def dialect(name: str) -> Dialect:
    """The module of the dialect called ``name``, imported on first use.

    Raises UsageError where vramlint reads no dialect of that name.
    """
    for row in ROWS:
        if row.name == name and row.module:
            return cast("Dialect", importlib.import_module(f"vramlint.dialects.{row.module}"))
    raise UsageError(f"no dialect is called {name!r}", help=f"Choose one of {', '.join(names())}.")


def job(name: str) -> Job:
    """The module of the job dialect called ``name``."""
    return cast("Job", dialect(name))


def _take(row: Row, signatures: tuple[Signature, ...], document: Document, taken: _Taken) -> None:
    if id(document) in taken:
        return
    found = {id(match.subject): match for signature in signatures for match in signature.matches(document)}
    if not found:
        return
    if row.job:
        found = {id(match.subject): match for match in _inside(row, document)}
    for match in _most_derived(list(found.values())):
        if id(match.subject) not in taken and id(document) not in taken:
            taken[id(match.subject)] = Verdict(row.name, row.title, bool(row.module), match.subject, match.evidence)
    if row.job and found:
        taken[id(document)] = None  # its commands are the runs: no other row is to see the file itself


def _inside(row: Row, document: Document) -> Iterator[Match]:
    """The commands inside a job file that train. Most job files hold none: a byte search says so without reading."""
    if not shell_prefilter(document.text.lower().encode("utf-8", "replace")):
        return
    from vramlint.dialects.job import inner_claims

    for _, claim in inner_claims(row.name, document):
        yield Match(claim.subject, (claim.dialect, *claim.evidence))


def _most_derived(found: list[Match]) -> list[Match]:
    """Without the classes that other claimed classes of the file inherit from: those are no run of their own."""
    bases = {base for match in found if isinstance(match.subject, Definition) for base in match.subject.bases}
    return [
        match
        for match in found
        if not (isinstance(match.subject, Definition) and match.subject.kind == "class" and match.subject.name in bases)
    ]


def _place(verdict: Verdict) -> tuple[int, str]:
    return (0 if isinstance(verdict.subject, Document) else verdict.subject.span.start), verdict.dialect
