"""The second reading of JSON and TOML, by the standard library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vramlint.fix.edits import DocumentEdits
from vramlint.fix.outline import Outline, difference, expected_outline


def unintended_json(planned: DocumentEdits, text: str) -> str:
    """What differs in the edited JSON besides the intended. Comment-tolerant files have one reader only: ours."""
    import json

    try:
        json.loads(planned.document.text)
    except ValueError:
        return ""  # it has comments or trailing commas, which the standard library does not read
    return _unintended(planned, lambda: json.loads(text, object_pairs_hook=_pairs))


def unintended_toml(planned: DocumentEdits, text: str) -> str:
    """What differs in the edited TOML besides the intended."""
    import tomllib

    # tomllib counts only LF and CRLF as line ends, as our reader does.
    return _unintended(planned, lambda: tomllib.loads(text))


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its pairs in file order, told apart from an array."""


def _pairs(found: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs(found)


def _unintended(planned: DocumentEdits, load: Callable[[], Any]) -> str:
    expected = expected_outline(planned.document, planned.intents)
    assert isinstance(expected, tuple)
    roots = expected[0]
    assert isinstance(roots, tuple)
    return difference(_sorted(roots[0]), _sorted(_outline(load())))


def _outline(value: Any) -> Outline:
    if isinstance(value, _Pairs):
        return [(key, _outline(inner)) for key, inner in value]
    if isinstance(value, dict):
        return [(key, _outline(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return tuple(_outline(inner) for inner in value)
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


def _sorted(value: Outline) -> Outline:
    """Keys in alphabetical order: tables of a TOML file may be spread, so their order is the parser's own."""
    if isinstance(value, list):
        return sorted(((key, _sorted(inner)) for key, inner in value), key=lambda pair: pair[0])
    if isinstance(value, tuple) and value[:1] != ("unknown",):
        return tuple(_sorted(inner) for inner in value)
    return value
