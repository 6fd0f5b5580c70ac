"""The settings of a run by the names its files give them, for rules about a framework's own keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vramlint.dialects.model import Reading
from vramlint.dialects.overrides import WordSource
from vramlint.dialects.places import FlagSource, Place, Source, location
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, Origin, unknown
from vramlint.sources.model import Command, Definition, Document, Mapping, Node, Scalar, Unknown

_INHERITING = ("_BASE_", "_base_", "defaults", "base_config", "extends", "include")
"""Keys by which a file takes settings over from others: what it does not say itself may be said there."""
_CONFIG_SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_REFERENCES = ("${", "{{", "???")
"""What an interpolation and a mandatory value look like before they are resolved."""


_NOT_SET: Fact[Any] = Fact(None, Origin.DEFAULT, None, "not set")
_SET_ELSEWHERE: Fact[Any] = unknown("another file or an expression may set it")


class SpelledSettings:
    """Looks settings up in the claimed part of a file and on the launch line that uses it, which goes first."""

    def __init__(self, reading: Reading) -> None:
        self._own = list(_own_sources(reading))
        self._launches = [
            [FlagSource(document, command.options), WordSource(document, command.overrides)]
            for document, command in reading.launches
        ]
        self._environments = list(_environments(reading))
        self._complete = _is_complete(reading)
        self._top = _top_keys([*self._own, *(source for sources in self._launches for source in sources)])
        self._known: dict[str, Fact[Any]] = {}

    def fact(self, key: str) -> Fact[Any]:
        """The setting ``key`` as ``vramlint.rule.Run.setting`` promises it."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._found(key)
        return known

    def _found(self, key: str) -> Fact[Any]:
        if key.startswith("$"):
            return self._variable(key[1:])
        if self._top is not None and key.partition(".")[0] not in self._top:
            return _NOT_SET if self._complete else _SET_ELSEWHERE
        overriding = [place for sources in self._launches if (place := _first(sources, key)) is not None]
        if overriding and len(self._launches) > 1:
            return unknown("the launch lines differ", location(overriding[0]))
        place = overriding[0] if overriding else _first(self._own, key)
        if place is not None:
            return _fact(place)
        if not self._complete or any(_is_hidden(source.mapping, key) for source in self._own):
            return _SET_ELSEWHERE
        return _NOT_SET

    def _variable(self, name: str) -> Fact[Any]:
        place = _first(self._environments, name)
        return unknown("the environment is not at hand") if place is None else _fact(place)


def _environments(reading: Reading) -> Iterator[Source]:
    """The variables that the claimed command or the launch lines are given."""
    if isinstance(reading.subject, Command):
        yield Source(reading.spoken_in or reading.document, reading.subject.environment, Origin.LAUNCH)
    for document, command in reading.launches:
        yield Source(document, command.environment, Origin.LAUNCH)


def _own_sources(reading: Reading) -> Iterator[Source]:
    document = reading.spoken_in or reading.document
    if reading.settings is not None:
        yield Source(document, reading.settings)
        return
    match reading.subject:
        case Command() as command:
            yield FlagSource(document, command.options)
            yield WordSource(document, command.overrides)
        case Definition() as definition:
            yield Source(document, definition.members)
        case Mapping() as mapping:
            yield Source(document, mapping)
        case Document() | None:
            if isinstance(document.root, Mapping):
                yield Source(document, document.root)


def _top_keys(sources: list[Source]) -> frozenset[str] | None:
    """The keys at the top of a file whose settings nothing overrides: most that rules ask for are not among them.

    None where a key may be spelled in another way than as it is: flags, words, what ``**`` unpacks.
    """
    if len(sources) != 1 or type(sources[0]) is not Source:
        return None
    keys = frozenset(sources[0].mapping.keys())
    return None if "**" in keys else keys


def _first(sources: list[Source], key: str) -> Place | None:
    for source in sources:
        place = source.find(key)
        if place is not None:
            return place
    return None


def _fact(place: Place) -> Fact[Any]:
    where, node = location(place), place.node
    if isinstance(node, Unknown):
        return unknown(node.reason, where)
    value = plain_value(node)
    if isinstance(value, str) and any(mark in value for mark in _REFERENCES):
        return unknown("a reference to another value", where)
    return Fact(value, place.source.origin, where)


def _is_complete(reading: Reading) -> bool:
    """Whether what is not spelled is the framework's default, as far as files can tell."""
    subject = reading.subject
    if isinstance(subject, Command):
        named = [*subject.positionals, *(entry.value for entry in subject.options.entries)]
        return not any(_names_config(node) for node in named)
    if isinstance(subject, Definition):
        return subject.kind == "call"
    root = reading.settings or reading.document.root
    return isinstance(root, Mapping) and not any(root.get(key) is not None for key in _INHERITING)


def _names_config(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, str) and node.value.endswith(_CONFIG_SUFFIXES)


def _is_hidden(mapping: Mapping, key: str) -> bool:
    """Whether an expression that cannot be read stands where ``key`` would: ``**options``, ``fp16: ${precision}``."""
    at: Node | None = mapping
    for part in key.split("."):
        if not isinstance(at, Mapping):
            return at is not None and not (isinstance(at, Scalar) and at.value is None)
        if at.get("**") is not None:
            return True
        at = at.get(part)
    return False
