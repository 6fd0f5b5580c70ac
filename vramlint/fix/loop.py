"""The fixpoint: repair, check again, until nothing is left to repair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from vramlint.dialects.model import Reading
from vramlint.errors import EditRefused
from vramlint.findings import Finding, Fix
from vramlint.fix.edits import DocumentEdits, plan_edits
from vramlint.fix.proof import prove
from vramlint.rule import Safety
from vramlint.sources import encode
from vramlint.sources.model import Document, TextEdit, apply_edits

MOST_PASSES = 10


class FileFix(NamedTuple):
    """A file's bytes before and after."""

    path: str
    old: bytes
    new: bytes


class Applied(NamedTuple):
    """A repair that was made; ``path`` is the file of its finding."""

    path: str
    code: str
    name: str
    title: str
    safety: Safety


class Refused(NamedTuple):
    """A repair that was not made because it could not be proven, and why; ``path`` is the file of its finding."""

    path: str
    code: str
    name: str
    title: str
    reason: str


class Fixable(NamedTuple):
    """A finding with the reading it came from, whose slots its repairs are written through."""

    finding: Finding
    reading: Reading


Check = Callable[[Mapping[str, bytes]], Sequence[Fixable]]
"""Checks again with these bytes standing for the files of these paths."""


class LoopResult(NamedTuple):
    """What the loop came to: ``files`` that differ, ``passes`` made, whether the last pass left nothing to do."""

    files: tuple[FileFix, ...]
    applied: tuple[Applied, ...]
    refused: tuple[Refused, ...]
    passes: int
    converged: bool


def repair_all(check: Check, *, unsafe: bool = False) -> LoopResult:
    """Repair what ``check`` finds, in memory, until a pass changes nothing (at most ``MOST_PASSES`` times).

    Per finding the first repair that is allowed is tried: a safe one, or an unsafe one with ``unsafe``. Repairs of one
    pass touch no text twice and no plan twice; the rest waits for the next pass. A repair that cannot be proven is
    refused and not tried again.
    """
    old: dict[str, bytes] = {}
    now: dict[str, bytes] = {}
    applied: list[Applied] = []
    refused: dict[Refused, None] = {}
    for number in range(1, MOST_PASSES + 1):
        texts = _Texts()
        for fixable in check(now):
            fix = _allowed(fixable.finding, unsafe)
            if fix is not None:
                _try(fixable, fix, texts, applied, refused)
        changed = texts.changed()
        if not changed:
            return LoopResult(_files(old, now), tuple(applied), tuple(refused), number, converged=True)
        for path, (before, after) in changed.items():
            old.setdefault(path, before)
            now[path] = after
    return LoopResult(_files(old, now), tuple(applied), tuple(refused), MOST_PASSES, converged=False)


class _Texts:
    """The texts of one pass with the edits taken so far."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._edits: dict[str, list[TextEdit]] = {}
        self._readings: set[int] = set()

    def is_free(self, planned: Sequence[DocumentEdits], reading: Reading) -> bool:
        """Whether none of these edits meets one already taken, and no repair of the same run was taken."""
        if id(reading) in self._readings:
            return False
        return not any(
            _meet(edit, taken)
            for each in planned
            for edit in each.edits
            for taken in self._edits.get(each.document.path, ())
        )

    def take(self, planned: Sequence[DocumentEdits], reading: Reading) -> None:
        self._readings.add(id(reading))
        for each in planned:
            self._documents[each.document.path] = each.document
            self._edits.setdefault(each.document.path, []).extend(each.edits)

    def changed(self) -> dict[str, tuple[bytes, bytes]]:
        """Bytes before and after, by path."""
        return {
            path: (encode(document, document.text), encode(document, apply_edits(document.text, self._edits[path])))
            for path, document in self._documents.items()
        }


def _try(fixable: Fixable, fix: Fix, texts: _Texts, applied: list[Applied], refused: dict[Refused, None]) -> None:
    finding, reading = fixable
    path = finding.location.path
    try:
        planned = plan_edits(fix.repair, reading)
        if not planned or not texts.is_free(planned, reading):
            return
        for each in planned:
            prove(each)
    except EditRefused as error:
        refused[Refused(path, finding.code, finding.name, fix.title, error.message)] = None
        return
    texts.take(planned, reading)
    applied.append(Applied(path, finding.code, finding.name, fix.title, fix.safety))


def _allowed(finding: Finding, unsafe: bool) -> Fix | None:
    allowed = (Safety.SAFE, Safety.UNSAFE) if unsafe else (Safety.SAFE,)
    return next((fix for fix in finding.fixes if fix.safety in allowed and fix.edits), None)


def _meet(one: TextEdit, other: TextEdit) -> bool:
    """Whether two edits touch: they overlap, or one inserts at an end of the other."""
    return one.span.start <= other.span.end and other.span.start <= one.span.end


def _files(old: Mapping[str, bytes], now: Mapping[str, bytes]) -> tuple[FileFix, ...]:
    return tuple(FileFix(path, old[path], now[path]) for path in sorted(now) if old[path] != now[path])
