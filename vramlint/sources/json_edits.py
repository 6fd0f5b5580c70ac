"""Edits of JSON text."""

from __future__ import annotations

import json
import math

from vramlint.errors import EditRefused
from vramlint.sources.braces import delete_in_braces, insert_in_braces
from vramlint.sources.model import Document, Entry, Mapping, Plain, Scalar, Style, TextEdit
from vramlint.sources.spelling import spell_float, spell_int


def replace_value(_document: Document, node: Scalar, value: Plain) -> TextEdit:
    """Spell ``value`` where ``node`` stands, its notation kept. Refuses infinities and NaN, which JSON lacks."""
    old = node.text if node.style is Style.PLAIN else ""
    return TextEdit(node.span, _spell(value, old, _escapes(node.text)))


def insert_entry(document: Document, mapping: Mapping, key: str, value: Plain, after: str | None) -> TextEdit:
    """Add a key behind the entry ``after`` (last where None) with the comma where strict JSON wants it."""
    if mapping.entry(key) is not None:
        raise EditRefused(f"the key {key!r} is there already")
    entries = mapping.entries
    before = next((entry for entry in reversed(entries) if entry.key == after), entries[-1] if entries else None)
    gap = ": " if before is None else document.text[before.key_span.end : before.value.span.start]
    if gap.strip(" ") != ":":
        gap = ": "
    escapes = any(_escapes(document.text[entry.key_span.start : entry.key_span.end]) for entry in entries)
    return insert_in_braces(document, mapping, before, f"{_spell(key, '', escapes)}{gap}{_spell(value, '', escapes)}")


def delete_entry(document: Document, mapping: Mapping, entry: Entry) -> TextEdit:
    """Take out ``entry`` and one comma."""
    return delete_in_braces(document, mapping, entry)


def _spell(value: Plain, old: str, ascii_only: object) -> str:
    match value:
        case float() if not math.isfinite(value):
            raise EditRefused("JSON has no infinity and no NaN")
        case float():
            return spell_float(value, old)
        case int() if not isinstance(value, bool):
            return spell_int(value)
        case list():
            return "[" + ", ".join(_spell(item, "", ascii_only) for item in value) + "]"
        case dict():
            pairs = (f"{_spell(key, '', ascii_only)}: {_spell(item, '', ascii_only)}" for key, item in value.items())
            return "{" + ", ".join(pairs) + "}"
        case _:
            return json.dumps(value, ensure_ascii=bool(ascii_only))


def _escapes(text: str) -> bool:
    """Whether the text writes letters beyond ASCII as escapes."""
    return "\\u" in text
