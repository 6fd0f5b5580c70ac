"""Readings over real files with slots made by hand, so that the fixer is tested without any dialect."""

from __future__ import annotations

from collections.abc import Callable

from vramlint.dialects.model import Reading, Slot
from vramlint.plan import TrainingPlan
from vramlint.rule import Change, Repair, Safety
from vramlint.sources import read
from vramlint.sources.model import Command, Definition, Document, Mapping, Plain, Scalar


def as_is(value: object) -> Plain:
    """The plan's value as the file's."""
    return value  # type: ignore[return-value]


def slot(
    document: Document,
    parent: Mapping,
    key: str,
    *,
    after: str | None = None,
    spell: Callable[[object], Plain] = as_is,
) -> Slot:
    """The slot of ``key`` in ``parent``: its scalar, or the place to insert it."""
    node = parent.get(key)
    return Slot(document, key, node if isinstance(node, Scalar) else None, parent, key, after, spell)


def reading(document: Document, **slots: Slot) -> Reading:
    return Reading(TrainingPlan("fake", document.path), document, dict(slots), documents=[document])


def document(path: str, text: str) -> Document:
    return read(path, text.encode())


def root(found: Document) -> Mapping:
    assert isinstance(found.root, Mapping)
    return found.root


def members(found: Document) -> Mapping:
    """The attributes of the first class or call of a Python document."""
    definition: Definition = found.definitions[0]
    return definition.members


def options(found: Document) -> Mapping:
    """The flags of the first command of a shell document."""
    command: Command = found.commands[0]
    return command.options


def repair(safety: Safety = Safety.SAFE, **changes: object) -> Repair:
    title = ", ".join(f"{fact} = {value}" for fact, value in changes.items())
    return Repair(title, safety, tuple(Change(fact, value) for fact, value in changes.items()))
