"""How a dialect declares its settings: fields with their keys, types and the framework's defaults.

Eight types are all that training configs need, so this small module stands where a general validation library would:
importing one took longer than checking a config. The types are read from the annotations' text, never evaluated.
Numbers are accepted as configs and shells spell them: ``"8"``, ``1e3`` for a count, ``"1e-4"`` for a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from vramlint.dialects.values import as_count, as_flag, as_size, as_text
from vramlint.plan import ImageSize

Count = int
"""A number of things, at least one."""
Natural = int
"""A number of things, perhaps none."""
Whole = int
"""Any integer, never a switch."""
Flag = bool
Size = ImageSize
Text = str

_WHOLE_TEXT = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*(?:\.0+)?")


class Setting(NamedTuple):
    """A field of a schema: the keys that spell it, in order of preference, its type and the framework's default."""

    keys: tuple[str, ...]
    default: Any = None
    read: Callable[[Any], Any] = lambda value: value
    """The meant value of a spelled one. Raises ValueError saying why there is none."""


def keys(*names: str, default: Any = None) -> Any:
    """A field spelled by any of ``names`` (the first that is there counts), with the framework's default."""
    return Setting(names, default)


class Schema:
    """Base of every dialect's schema. ``source`` names framework and version for the notes of its defaults."""

    settings: ClassVar[dict[str, Setting]] = {}
    """The fields by name, those of the base schema first."""
    source: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        own = {name: found for name, found in vars(cls).items() if isinstance(found, Setting)}
        cls.settings = {**cls.settings, **{name: _typed(cls, name, found) for name, found in own.items()}}
        for name, found in cls.settings.items():
            setattr(cls, name, found.default)

    def __init__(self, values: Mapping[str, Any]) -> None:
        vars(self).update(values)


def validated(schema: type[Schema], spelled: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The meant values of ``spelled`` ones by field, and why some have none."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, value in spelled.items():
        try:
            values[name] = schema.settings[name].read(value)
        except ValueError as error:
            problems[name] = str(error)
    return values, problems


def _typed(schema: type[Schema], name: str, found: Setting) -> Setting:
    """The field with the reader that its annotation names, and its default read by it."""
    read = _READERS[schema.__annotations__[name]]
    return Setting(found.keys, None if found.default is None else read(found.default), read)


def _anything(value: Any) -> Any:
    return value


def _integer(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("Input should be a finite number")
        if abs(value) >= 2**63:
            raise ValueError("Input should be an integer of 64 bits")
        if value.is_integer():
            return int(value)
        raise ValueError("Input should be a valid integer, got a number with a fractional part")
    if not isinstance(value, str):
        raise ValueError("Input should be a valid integer")
    text = value.strip()
    if _WHOLE_TEXT.fullmatch(text) is None:
        raise ValueError("Input should be a valid integer, unable to parse string as an integer")
    return int(text.partition(".")[0])


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value if value.isascii() else "")
        except ValueError as error:
            raise ValueError("Input should be a valid number, unable to parse string as a number") from error
    if not isinstance(value, (int, float)):
        raise ValueError("Input should be a valid number")
    return float(value)


def _explained(read: Callable[[object], Any]) -> Callable[[Any], Any]:
    """``read`` whose reasons stand apart in a message."""

    def explaining(value: object) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise ValueError(f"Value error, {error}") from error

    return explaining


_counted = _explained(as_count)


def _whole(value: Any) -> int:
    return _integer(_counted(value))


def _at_least(least: int) -> Callable[[Any], int]:
    def bounded(value: Any) -> int:
        number = _whole(value)
        if number < least:
            raise ValueError(f"Input should be greater than or equal to {least}")
        return number

    return bounded


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "Any": _anything,
    "Count | None": _at_least(1),
    "Natural | None": _at_least(0),
    "Whole | None": _whole,
    "int | None": _integer,
    "float | None": _number,
    "Flag | None": _explained(as_flag),
    "Size | None": _explained(as_size),
    "Text | None": _explained(as_text),
}
"""By annotation, as a schema spells it."""
