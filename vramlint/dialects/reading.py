"""What every dialect shares: from nodes to validated settings, to facts with origins, to slots that can be edited.

The settings are declared as a schema (``vramlint.dialects.schema``). A value of the wrong type becomes an UNKNOWN fact
that says so; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.schema import Count, Flag, Natural, Schema, Size, Text, Whole, keys, problems, validate
from vramlint.plan import Fact, default, unknown
from vramlint.sources.model import Document, Mapping, Node, Plain, Scalar, Span, Unknown

__all__ = [
    "Count",
    "Flag",
    "Natural",
    "Schema",
    "Settings",
    "Size",
    "Text",
    "Whole",
    "keys",
    "plain_value",
    "read_settings",
    "settings_from",
    "span_text",
]

S = TypeVar("S", bound=Schema)


class Settings(NamedTuple, Generic[S]):
    """A schema filled from files: the values, where each was spelled, and why some could not be read."""

    values: S
    places: dict[str, Place]
    doubts: dict[str, str]
    sources: tuple[Source, ...] = ()
    """Where the settings were looked up, first source first."""

    def fact(self, name: str) -> Fact[Any]:
        """The setting as a fact: spelled, the framework's default, or UNKNOWN with the reason."""
        place = self.places.get(name)
        if place is not None:
            where = location(place)
            if name in self.doubts:
                return unknown(self.doubts[name], where)
            if plain_value(place.node) is not None:
                return Fact(getattr(self.values, name), place.source.origin, where, place.source.note)
        value = getattr(self.values, name)
        if value is None:
            return unknown("" if place is None else f"{place.name} has no value")
        return default(value, f"default of {self.values.source}" if self.values.source else "default")

    def spelled(self, name: str) -> bool:
        """Whether somebody wrote the setting down, readable or not."""
        return name in self.places


def read_settings(schema: type[S], sources: Sequence[Source]) -> Settings[S]:
    """Fill ``schema`` from ``sources``, the first that spells a setting winning."""
    places: dict[str, Place] = {}
    for name, setting in schema.model_fields.items():
        place = _first_place(sources, setting.keys)
        if place is not None:
            places[name] = place
    return settings_from(schema, places)._replace(sources=tuple(sources))


def settings_from(schema: type[S], places: dict[str, Place]) -> Settings[S]:
    """Validate the values at ``places`` (by field name); what does not validate becomes a doubt."""
    doubts = {name: reason for name, place in places.items() if (reason := _unreadable(place.node))}
    data = {name: plain_value(place.node) for name, place in places.items() if name not in doubts}
    # A key that is spelled without a value (`key:`) means the default in every loader that reads it.
    data = {name: value for name, value in data.items() if value is not None}
    try:
        return Settings(validate(schema, data), places, doubts)
    except ValueError as error:
        for name, words in problems(error).items():
            doubts[name] = f"{places[name].name} = {_shown(data.pop(name, None))}: {words}"
        return Settings(validate(schema, data), places, doubts)


def plain_value(node: Node) -> Plain:
    """The value of ``node`` without places; lists of scalars keep their items."""
    match node:
        case Scalar():
            return node.value
        case Unknown():
            return None
        case Mapping():
            return {entry.key: plain_value(entry.value) for entry in node.entries}
        case _:
            return [plain_value(item) for item in node.items]


def _first_place(sources: Sequence[Source], names: Sequence[str]) -> Place | None:
    """The place of a setting: the first source that has it, whichever of its names has a value there."""
    for source in sources:
        empty: Place | None = None
        for name in names:
            place = source.find(name)
            if place is None:
                continue
            node = place.node
            if not isinstance(node, Scalar) or node.value is not None:
                return place
            empty = empty or place
        if empty is not None:
            return empty
    return None


def _unreadable(node: Node) -> str:
    if isinstance(node, Unknown):
        return node.reason or "not a constant"
    return ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def span_text(document: Document, span: Span) -> str:
    """The characters of ``span``."""
    return document.text[span.start : span.end]
