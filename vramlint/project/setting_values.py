"""The keys of the settings and what their values may be: a function a kind of value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_SIZE_UNITS = {
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}

Check = Callable[[object], Any]
"""Returns the value as settings hold it; raises ValueError with the words "expected …"."""


def text(value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("expected a text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of texts")
    return tuple(value)


def _text_or_texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str) and value:
        return (value,)
    if not isinstance(value, list):
        raise ValueError("expected a text or a list of texts")
    return _texts(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("expected a whole number of at least 1")
    return value


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError("expected a share between 0 and 1")
    return float(value)


def size_bytes(value: object) -> int:
    """Bytes of ``"64GiB"`` or ``"64 GB"``; a bare number is refused because nobody knows its unit."""
    if isinstance(value, str):
        text = value.strip().lower()
        digits = text.rstrip("bigkmt ")
        factor = _SIZE_UNITS.get(text[len(digits) :].strip())
        if factor is not None and digits.replace(".", "", 1).isdigit() and float(digits) > 0:
            return int(float(digits) * factor)
    raise ValueError('expected a size with its unit, as "64GiB"')


def _table_of_texts(value: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise ValueError("expected a table of patterns, each with a list of rules")
    return tuple((pattern, _texts(codes)) for pattern, codes in value.items())


def _tables(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise ValueError("expected an array of tables, [[targets]]")
    return value


TARGET_KEYS: dict[str, Check] = {
    "gpu": text,
    "gpus": _count,
    "nodes": _count,
    "cores": _count,
    "ram": size_bytes,
    "shm": size_bytes,
    "disk": size_bytes,
}
LIMIT_FIELDS = {"headroom": "headroom", "wasted-below": "wasted_below", "fill-to": "fill_to"}
LIST_FIELDS = {
    "select": "select",
    "ignore": "ignore",
    "exclude": "exclude",
    "plugins": "plugins",
    "rules": "rules",
    "per-file-ignores": "per_file_ignores",
}
KEYS: dict[str, Check] = {
    **dict.fromkeys(LIMIT_FIELDS, _share),
    **dict.fromkeys(("select", "ignore", "exclude", "plugins", "rules"), _texts),
    "baseline": text,
    "extend": _text_or_texts,
    "per-file-ignores": _table_of_texts,
    "targets": _tables,
    "models": _tables,
}
SETTING_NAMES: tuple[str, ...] = tuple(sorted({**TARGET_KEYS, **KEYS}))
"""Every setting, for the documentation's drift check."""

_TEXTS = {"type": "array", "items": {"type": "string"}}
_FORMS: dict[Check, dict[str, Any]] = {
    text: {"type": "string", "minLength": 1},
    _texts: _TEXTS,
    _text_or_texts: {"anyOf": [{"type": "string", "minLength": 1}, _TEXTS]},
    _count: {"type": "integer", "minimum": 1},
    _share: {"type": "number", "minimum": 0, "maximum": 1},
    size_bytes: {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]*)?\s*([KkMmGgTt][Ii]?[Bb])\s*$"},
    _table_of_texts: {"type": "object", "additionalProperties": _TEXTS},
}
"""What each kind of value is in JSON Schema."""


def form_of(check: Check) -> dict[str, Any]:
    """The JSON Schema of the values that ``check`` accepts; tables of targets are put together by the caller."""
    return _FORMS[check] if check is not _tables else {"type": "array"}
