"""YAML tags and anchors: where the value behind them begins and what a tagged scalar is."""

from __future__ import annotations

import re

from vramlint.sources.model import Scalar, Span, Style, Unknown
from vramlint.sources.scalars import yaml11

_PREFIX = "tag:yaml.org,2002:"
_PROPERTY = re.compile(r"(?:!<[^>\s]*>|![^\s,\[\]{}]*|&[^\s,\[\]{}]+)")
_BLANK = re.compile(r"(?:[ \t\r\n\x85\u2028\u2029]+(?:#[^\r\n]*)?)*")


def content_start(text: str, start: int, end: int) -> int:
    """Where the value begins whose tags and anchors begin at ``start``; ``end`` where there is nothing but them."""
    position = start
    while position < end and (found := _PROPERTY.match(text, position, end)) is not None:
        position = found.end()
        blank = _BLANK.match(text, position, end)
        position = blank.end() if blank is not None else position
    return min(position, end)


def tagged_value(tag: str, value: str, style: Style, span: Span, whole: str, text: str) -> Scalar | Unknown:
    """A scalar with an explicit tag. ``!!int`` and its kin convert; what only a program knows is Unknown.

    ``whole`` is the source with its tag, so that a dialect can read ``!ref <batch_size>`` itself.
    """
    if tag in ("!", f"{_PREFIX}str"):
        return Scalar(span, text, value, style, tag)
    kind = tag.removeprefix(_PREFIX)
    if kind == tag or kind not in _KINDS:
        return Unknown(Span(span.end - len(whole), span.end), whole, f"the tag {tag} needs the program that defines it")
    read = yaml11(value)
    if kind == "float" and isinstance(read, int) and not isinstance(read, bool):
        read = float(read)
    if isinstance(read, _KINDS[kind]):
        return Scalar(span, text, read, style, tag)
    if kind == "float":
        try:
            return Scalar(span, text, float(value.replace("_", "")), style, tag)
        except ValueError:
            pass  # not a number after all: Unknown, as below
    return Unknown(Span(span.end - len(whole), span.end), whole, f"{value!r} is no {kind}")


_KINDS: dict[str, type | tuple[type, ...]] = {"int": int, "float": float, "bool": bool, "null": type(None)}
