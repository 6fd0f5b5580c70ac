"""The fixpoint: repair, check again, until nothing is left to repair."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.rule import Safety


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
