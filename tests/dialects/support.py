"""A document, its surroundings and the plans that the dialects read of it, for the tables in this folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vramlint import sources
from vramlint.dialects import registry
from vramlint.dialects.model import Reading
from vramlint.hardware.model import GIB, Gpu, Target
from vramlint.plan import Fact
from vramlint.sources.model import Command, Document

AMPERE = Gpu("ampere-24gb", "an Ampere card", 24 * GIB, 23 * GIB, (8, 6), "test")
TURING = Gpu("turing-4gb", "a Turing card", 4 * GIB, 4 * GIB, (7, 5), "test")


class Surroundings:
    """A context of files held in memory."""

    def __init__(
        self,
        files: dict[str, str] | None = None,
        gpus: int | None = None,
        gpu: Gpu | None = None,
        launched_by: str = "",
    ) -> None:
        self._files = files or {}
        self._launcher = launched_by
        self.target = Target(gpu, gpus, source="--gpus" if gpus else "")

    def document(self, path: str) -> Document | None:
        text = self._files.get(path)
        return None if text is None else document(path, text)

    def launches(self, _document: Document) -> Sequence[tuple[Document, Command]]:
        if not self._launcher:
            return []
        found = document("launch.sh", self._launcher)
        return [(found, command) for command in found.commands]


def document(path: str, text: str) -> Document:
    return sources.read(path, text.encode())


def readings(path: str, text: str, context: Surroundings | None = None) -> list[Reading]:
    """Every run of the file, as its dialect reads it."""
    read = document(path, text)
    around = context or Surroundings()
    return [registry.dialect(claim.dialect).read(claim, read, around) for claim in registry.claims(read)]


def reading(path: str, text: str, context: Surroundings | None = None) -> Reading:
    (found,) = readings(path, text, context)
    return found


def told(fact: Fact[Any]) -> tuple[Any, str, int | None]:
    """Value, origin and line of a fact."""
    return fact.value, fact.origin.value, fact.location.line if fact.location else None


def values(found: Reading, *names: str) -> tuple[Any, ...]:
    return tuple(found.plan.fact(name).value for name in names)
