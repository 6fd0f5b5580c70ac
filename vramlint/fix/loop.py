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


Choose = Callable[[Finding], Fix | None]
"""Which repair of a finding to make; None leaves it as it is. It may be asked about one finding in several passes."""


def first_allowed(*, unsafe: bool) -> Choose:
    """The first repair that is safe, or with ``unsafe`` the first that can be written at all."""
    allowed = (Safety.SAFE, Safety.UNSAFE) if unsafe else (Safety.SAFE,)
    return lambda finding: next((fix for fix in finding.fixes if fix.safety in allowed and fix.edits), None)


def repair_all(check: Check, choose: Choose | None = None, *, unsafe: bool = False) -> LoopResult:
    """Repair what ``check`` finds, in memory, until a pass changes nothing (at most ``MOST_PASSES`` times).

    Per finding the repair that ``choose`` names is tried; without it the first that is safe, or with ``unsafe`` the
    first that can be written. Repairs of one pass touch no text twice and no plan twice; the rest waits for the next
    pass. A repair that cannot be proven is refused. When repairs undo each other, the file stays as it was before the
    first of them, so that the next invocation changes nothing either.
    """
    loop = _Loop(choose or first_allowed(unsafe=unsafe))
    for number in range(1, MOST_PASSES + 1):
        if not loop.advance(check(loop.now)):
            return loop.result(number, converged=True)
    return loop.result(MOST_PASSES, converged=False)


class _Loop:
    """The texts as they are now, what was done to them, and the states that each file has been in."""

    def __init__(self, choose: Choose) -> None:
        self.now: dict[str, bytes] = {}
        self._choose = choose
        self._old: dict[str, bytes] = {}
        self._applied: list[Applied] = []
        self._refused: dict[Refused, None] = {}
        self._states: dict[str, dict[bytes, int]] = {}
        """By path, the texts so far, each with the number of repairs applied when it was reached."""
        self._frozen: set[str] = set()

    def advance(self, fixables: Sequence[Fixable]) -> bool:
        """One pass; whether it changed anything."""
        texts = _Texts()
        for finding, reading in fixables:
            fix = self._choose(finding)
            if fix is not None:
                self._try(finding, fix, reading, texts)
        changed = texts.changed()
        for path, (before, after) in changed.items():
            self._old.setdefault(path, before)
            self._states.setdefault(path, {before: 0})
            self.now[path] = after
        for path, (_, after) in changed.items():
            self._remember(path, after)
        return bool(changed)

    def result(self, passes: int, *, converged: bool) -> LoopResult:
        """What has come of it so far."""
        files = tuple(
            FileFix(path, self._old[path], self.now[path])
            for path in sorted(self.now)
            if self._old[path] != self.now[path]
        )
        return LoopResult(files, tuple(self._applied), tuple(self._refused), passes, converged)

    def _try(self, finding: Finding, fix: Fix, reading: Reading, texts: _Texts) -> None:
        path = finding.location.path
        try:
            planned = plan_edits(fix.repair, reading)
            if not planned or not texts.is_free(planned, reading):
                return
            if not self._frozen.isdisjoint(each.document.path for each in planned):
                raise EditRefused("another repair undoes this one")
            for each in planned:
                prove(each)
        except EditRefused as error:
            self._refused[Refused(path, finding.code, finding.name, fix.title, error.message)] = None
            return
        texts.take(planned, reading)
        self._applied.append(Applied(path, finding.code, finding.name, fix.title, fix.safety))

    def _remember(self, path: str, text: bytes) -> None:
        """A file that comes back to an earlier text stays there, and what led it in a circle was not done."""
        states = self._states[path]
        mark = states.get(text)
        if mark is None:
            states[text] = len(self._applied)
            return
        self._frozen.add(path)
        self._applied = [done for number, done in enumerate(self._applied) if number < mark or done.path != path]


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


def _meet(one: TextEdit, other: TextEdit) -> bool:
    """Whether two edits touch: they overlap, or one inserts at an end of the other."""
    return one.span.start <= other.span.end and other.span.start <= one.span.end
