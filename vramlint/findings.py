"""A finding: a rule's verdict with its place in a file and its fixes as edits."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.plan import Location
from vramlint.rule import Confidence, Repair, Safety, Severity


class FileEdit(NamedTuple):
    """Replace the characters at ``location`` of its file by ``text``."""

    location: Location
    text: str


class Fix(NamedTuple):
    """A repair turned into edits; all of them apply together or none does. ``edits`` is empty for display only."""

    safety: Safety
    title: str
    edits: tuple[FileEdit, ...]
    repair: Repair


class Finding(NamedTuple):
    """One thing to tell the user. ``code`` and ``name`` are the rule's; ``location`` is exact."""

    code: str
    name: str
    severity: Severity
    confidence: Confidence
    location: Location
    message: str
    label: str = ""
    help: str = ""
    fixes: tuple[Fix, ...] = ()
    fact: str = ""
    run: str = ""
    """Title of the run in its file, where the file holds several."""
    once_a_card: bool = False
    """As the rule's: of many files, the report tells it of one."""
