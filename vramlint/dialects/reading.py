"""What every dialect shares: from nodes to validated settings, to facts with origins, to slots that can be edited.

A dialect declares its settings once, as a schema: the field is the plan's fact, ``keys(...)`` gives the framework's own
keys (dotted where they nest) and the framework's default, the type says what is accepted. A value of the wrong type
becomes an UNKNOWN fact that says so; nothing is guessed.

The schemas look like pydantic's and are not: importing pydantic 2 and building one model of thirty fields takes longer
than everything else that checking a config does, and all it had left to do here was to compare with a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar, get_args, get_type_hints

from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.values import as_at_least, as_flag, as_number, as_size, as_text, as_whole
from vramlint.plan import Fact, ImageSize, default, unknown
from vramlint.sources.model import Document, Mapping, Node, Plain, Scalar, Span, Unknown

Count = Annotated[int, as_at_least(1)]
"""A number of things, at least one. The function reads a spelled value or raises ValueError saying why not."""
Natural = Annotated[int, as_at_least(0)]
Whole = Annotated[int, as_whole]
Flag = Annotated[bool, as_flag]
Size = Annotated[ImageSize, as_size]
Text = Annotated[str, as_text]


class Key(NamedTuple):
    """How a field is spelled, in order of preference, and what it is where nobody spells it."""

    names: tuple[str, ...]
    default: object


class Field(NamedTuple):
    """A field of a schema: its key, and what reads a value of its type."""

    key: Key
    read: Callable[[Any], object]


def keys(*names: str, default: Any = None) -> Any:
    """A field spelled by any of ``names`` (the first that is there counts), with the framework's default."""
    return Key(names, default)


class Schema:
    """Base of every dialect's schema. ``source`` names framework and version for the notes of its defaults."""

    source: ClassVar[str] = ""
    model_fields: ClassVar[dict[str, Field]] = {}
    """The fields by name, in order of their declaration."""

    def __init_subclass__(cls) -> None:
        types = get_type_hints(cls, include_extras=True)
        own = {name: Field(key, _reader(types[name])) for name, key in vars(cls).items() if isinstance(key, Key)}
        cls.model_fields = {**cls.model_fields, **own}

    def __init__(self, spelled: dict[str, Plain]) -> None:
        """Read ``spelled``, by field name. ``problems`` says why a value could not be read; its field is None."""
        self.problems: dict[str, str] = {}
        for name, field in self.model_fields.items():
            value = spelled.get(name, field.key.default)
            try:
                setattr(self, name, None if value is None else field.read(value))
            except ValueError as error:
                self.problems[name] = str(error)
                setattr(self, name, None)


def _reader(hint: object) -> Callable[[Any], object]:
    """The reader of ``X | None``, where X is one of the types above, int, float or, for a value as it is, Any."""
    wanted = next((part for part in get_args(hint) if part is not type(None)), hint)
    for own in getattr(wanted, "__metadata__", ()):
        reader: Callable[[Any], object] = own
        return reader
    return _PLAIN_READERS[wanted]


def _as_it_is(value: Plain) -> Plain:
    return value


_PLAIN_READERS: dict[object, Callable[[Any], object]] = {int: as_whole, float: as_number, Any: _as_it_is}


S = TypeVar("S", bound=Schema)


class Settings(NamedTuple, Generic[S]):
    """A schema filled from files: the values, where each was spelled, and why some could not be read."""

    values: S
    places: dict[str, Place]
    doubts: dict[str, str]

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
    for name, field in schema.model_fields.items():
        place = _first_place(sources, field.key.names or (name,))
        if place is not None:
            places[name] = place
    return settings_from(schema, places)


def settings_from(schema: type[S], places: dict[str, Place]) -> Settings[S]:
    """Validate the values at ``places`` (by field name); what does not validate becomes a doubt."""
    doubts = {name: reason for name, place in places.items() if (reason := _unreadable(place.node))}
    data = {name: plain_value(place.node) for name, place in places.items() if name not in doubts}
    # A key that is spelled without a value (`key:`) means the default in every loader that reads it.
    data = {name: value for name, value in data.items() if value is not None}
    values = schema(data)
    for name, problem in values.problems.items():
        doubts[name] = f"{places[name].name} = {_shown(data[name])}: {problem}"
    return Settings(values, places, doubts)


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
    for source in sources:
        for name in names:
            place = source.find(name)
            if place is not None:
                return place
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
