"""The plain data of a document with its structure, as far as a comparison before and after an edit needs it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from collections.abc import Sequence as SequenceType
from dataclasses import dataclass
from typing import NamedTuple

from vramlint.fix.edits import Deleted, Inserted, Intent, Replaced
from vramlint.sources.model import (
    Command,
    Document,
    Mapping,
    Node,
    Plain,
    Scalar,
    Sequence,
    Span,
    Syntax,
    TextEdit,
    Unknown,
)


@dataclass(frozen=True, slots=True)
class Written:
    """A value that a repair writes: it is compared by meaning, since each syntax spells it in its own way."""

    value: Plain


@dataclass(frozen=True, slots=True)
class Holding:
    """A shell variable whose text holds the words of a command: it changes as the command inside it is edited.

    Which of its characters change is proved character by character, and what they mean by the command's own words.
    """


Outline = None | bool | int | float | str | Written | Holding | tuple["Outline", ...] | list[tuple[str, "Outline"]]
"""Scalars as they are, lists as tuples, mappings as lists of pairs in file order, duplicate keys included."""


def outline(document: Document) -> Outline:
    """The data of ``document``."""
    return _Builder({}, {}, frozenset(), ()).document(document)


def expected_outline(document: Document, intents: SequenceType[Intent], edits: SequenceType[TextEdit] = ()) -> Outline:
    """The data that ``document`` must have once ``intents`` are carried out by ``edits``."""
    replaced = {
        id(node): intent.value
        for intent in intents
        if isinstance(intent, Replaced)
        for node in (intent.node, intent.via)
        if node is not None
    }
    inserted: dict[int, list[tuple[str, Outline]]] = {}
    for intent in intents:
        if isinstance(intent, Inserted):
            inserted.setdefault(id(intent.parent), []).append((intent.key, Written(intent.value)))
    deleted = frozenset(id(intent.entry) for intent in intents if isinstance(intent, Deleted))
    spans = tuple(edit.span for edit in edits) if document.syntax is Syntax.SHELL else ()
    return _Builder(replaced, inserted, deleted, spans).document(document)


def difference(expected: Outline, actual: Outline, path: str = "") -> str:
    """The first place where the two differ, in words; nothing where they are equal."""
    if isinstance(expected, Written):
        return "" if means(expected.value, actual) else f"{path or 'the value'} to something else than intended"
    if isinstance(expected, Holding):
        return "" if isinstance(actual, (str, tuple)) else path
    if isinstance(expected, list) and isinstance(actual, list):
        return _mapping_difference(expected, actual, path)
    if isinstance(expected, tuple) and isinstance(actual, tuple) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        return next((found for index, (a, b) in pairs if (found := difference(a, b, f"{path}[{index}]"))), "")
    return "" if _same(expected, actual) else (path or "the document")


def means(intended: Plain, actual: Outline) -> bool:
    """Whether ``actual`` is ``intended`` as a file says it: ``"1e-4"`` is 0.0001, the word ``4`` of a shell is 4."""
    if isinstance(intended, list):
        return (
            isinstance(actual, tuple)
            and len(intended) == len(actual)
            and all(means(a, b) for a, b in zip(intended, actual, strict=True))
        )
    if isinstance(intended, dict):
        pairs = dict(actual) if isinstance(actual, list) else None
        return (
            pairs is not None and pairs.keys() == intended.keys() and all(means(intended[k], pairs[k]) for k in pairs)
        )
    if _same(intended, actual) or (isinstance(actual, str) and actual == str(intended)):
        return True
    if isinstance(intended, (int, float)) and not isinstance(intended, bool):
        return _number(actual) == intended
    return False


def _number(value: Outline) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return type(one) is type(other) and one == other


def _mapping_difference(expected: list[tuple[str, Outline]], actual: list[tuple[str, Outline]], path: str) -> str:
    """Old keys keep their order; a new key may stand anywhere among them."""
    fresh = [key for key, value in expected if isinstance(value, Written)]
    old_order = [key for key, _ in expected if key not in fresh]
    new_order = [key for key, _ in actual if key not in fresh]
    if old_order != new_order or sorted(key for key, _ in expected) != sorted(key for key, _ in actual):
        return f"the keys of {path or 'the document'}"
    remaining = list(actual)
    for key, value in expected:
        index = next(index for index, (other, _) in enumerate(remaining) if other == key)
        found = difference(value, remaining.pop(index)[1], f"{path}.{key}" if path else key)
        if found:
            return found
    return ""


class _Builder(NamedTuple):
    """Builds an outline; each node once, so that aliases and recursive anchors cannot explode."""

    replaced: MappingType[int, Plain]
    inserted: MappingType[int, list[tuple[str, Outline]]]
    deleted: frozenset[int]
    edited: tuple[Span, ...]

    def document(self, document: Document) -> Outline:
        seen: dict[int, int] = {}
        roots = tuple(self.node(root, seen) for root in (document.root, *document.more_roots))
        definitions = tuple(
            (found.kind, found.name, found.bases, self.node(found.members, seen)) for found in document.definitions
        )
        commands = tuple(tuple(self.command(command, seen)) for command in document.commands)
        directives = self.node(document.batch_directives, seen) if document.batch_directives is not None else None
        return (roots, definitions, commands, directives)

    def command(self, command: Command, seen: dict[int, int]) -> Iterator[Outline]:
        yield command.program
        yield command.subcommand
        yield tuple(self.node(word, seen) for word in command.positionals)
        yield self.node(command.options, seen)
        yield self.node(command.overrides, seen)
        yield self.node(command.environment, seen)
        yield tuple((launcher.name, self.node(launcher.options, seen)) for launcher in command.launchers)

    def node(self, node: Node, seen: dict[int, int]) -> Outline:
        if isinstance(node, (Scalar, Unknown)) and self.holds(node):
            return Holding()
        if isinstance(node, Scalar):
            return self.scalar(node)
        if isinstance(node, Unknown):
            return ("unknown", node.text)
        if id(node) in seen:
            return ("same as", seen[id(node)])
        seen[id(node)] = len(seen)
        if isinstance(node, Sequence):
            return tuple(self.node(item, seen) for item in node.items)
        return self.mapping(node, seen)

    def mapping(self, node: Mapping, seen: dict[int, int]) -> Outline:
        kept = [entry for entry in node.entries if id(entry) not in self.deleted]
        return [(entry.key, self.node(entry.value, seen)) for entry in kept] + self.inserted.get(id(node), [])

    def holds(self, node: Scalar | Unknown) -> bool:
        """Whether an edit stands inside ``node``, which it is not about: the words of a command in a variable."""
        span = node.span
        inside = any(span.start < edit.start and edit.end < span.end for edit in self.edited)
        return inside and id(node) not in self.replaced

    def scalar(self, node: Scalar) -> Outline:
        """The value, or the one to be written. What refers to the same constant is another setting: it must stay."""
        return Written(self.replaced[id(node)]) if id(node) in self.replaced else node.value
