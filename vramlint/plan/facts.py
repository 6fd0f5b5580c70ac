"""A fact: a value of the training plan together with where it came from."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")
S = TypeVar("S")


class Origin(StrEnum):
    """Where a value comes from, strongest first; the words are part of the JSON contract."""

    FILE = "file"
    LAUNCH = "launch"
    OBSERVED = "observed"
    DERIVED = "derived"
    DEFAULT = "default"
    UNKNOWN = "unknown"


# Facts are asked 100 times a run where they come from, and a member of an enum takes 20 times as long to look up.
_NOWHERE = Origin.UNKNOWN
_WRITTEN = (Origin.FILE, Origin.LAUNCH)


class Location(NamedTuple):
    """A place in a file: character offsets of the decoded text and 1-based line and column of both ends."""

    path: str
    start: int
    end: int
    line: int
    column: int
    end_line: int
    end_column: int


class Fact(NamedTuple, Generic[T]):
    """One value of a plan. ``value`` is None exactly when the value is unknown or known to be absent.

    ``note`` says in a few words where the number comes from when no file does: the framework and version of a default,
    the formula of a derived value, why a value is unknown.
    """

    value: T | None
    origin: Origin
    location: Location | None = None
    note: str = ""

    @property
    def known(self) -> bool:
        return self.origin is not _NOWHERE

    @property
    def spelled(self) -> bool:
        """Whether somebody wrote this value down (in a file or on a launch line)."""
        return self.origin in _WRITTEN


_UNKNOWN: Fact[Any] = Fact(None, Origin.UNKNOWN)
"""One for all: most facts of a plan are unknown, and a fact never changes."""


def unknown(note: str = "", location: Location | None = None) -> Fact[T]:
    """A fact nobody can know from the files; ``note`` says why."""
    return Fact(None, Origin.UNKNOWN, location, note) if note or location else _UNKNOWN


def default(value: T, note: str) -> Fact[T]:
    """A framework's default; ``note`` names the framework and its version."""
    return Fact(value, Origin.DEFAULT, None, note)


def derived(value: T, note: str) -> Fact[T]:
    """A value worked out from others; ``note`` is the formula with its numbers."""
    return Fact(value, Origin.DERIVED, None, note)
