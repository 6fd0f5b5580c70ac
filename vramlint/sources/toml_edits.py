"""Edits of TOML text."""

from __future__ import annotations

import math
import re

from vramlint.errors import EditRefused
from vramlint.sources.braces import delete_in_braces, insert_in_braces
from vramlint.sources.model import Document, Entry, Mapping, Plain, Scalar, Sequence, Span, Style, TextEdit
from vramlint.sources.places import after_break, is_blank, line_end, line_start, newline_near
from vramlint.sources.spelling import spell_float, spell_int, spell_quoted

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def replace_value(_document: Document, node: Scalar, value: Plain) -> TextEdit:
    """Spell ``value`` where ``node`` stands. Refuses strings in triple quotes and values TOML lacks."""
    if node.style is Style.BLOCK:
        raise EditRefused("the value is a string in triple quotes")
    return TextEdit(node.span, _spell(value, node.text, node.style))


def insert_entry(document: Document, mapping: Mapping, key: str, value: Plain, after: str | None) -> TextEdit:
    """Add a key behind the entry ``after``, or behind the table's last own line, before its sub-tables."""
    if mapping.entry(key) is not None:
        raise EditRefused(f"the key {key!r} is there already")
    if mapping.style == "flow-dotted":
        raise EditRefused("a dotted key inside an inline table has no place for a neighbour")
    own = own_entries(mapping)
    before = next((entry for entry in own if entry.key == after), own[-1] if own else None)
    text = f"{_spell_key(key)}{_gap(document, own)}{_spell(value, '', _quotes(own))}"
    if mapping.style == "flow":
        return insert_in_braces(document, mapping, before, text)
    if mapping.style == "implicit":
        return _insert_header(document, mapping, text)
    if before is None:
        return _insert_under_header(document, mapping, text)
    start = line_start(document.text, before.span.start)
    if mapping.style == "dotted":
        prefix = _dotted_prefix(document, own)
    else:
        prefix = re.match(r"[ \t]*", document.text[start:]).group()  # type: ignore[union-attr] # always matches
    end = _rest_of_line(document, before.span.end)
    return TextEdit(Span(end, end), f"{newline_near(document.text, end)}{prefix}{text}")


def delete_entry(document: Document, mapping: Mapping, entry: Entry) -> TextEdit:
    """Take out the line of ``entry``. Refuses whole tables and the only key of a dotted table."""
    if entry not in own_entries(mapping):
        raise EditRefused("the entry is a table of its own")
    if mapping.style == "flow-dotted" or (isinstance(entry.value, Mapping) and "dotted" in entry.value.style):
        raise EditRefused("the entry is made of dotted keys")
    if mapping.style == "flow":
        return delete_in_braces(document, mapping, entry)
    if mapping.style == "dotted" and len(mapping.entries) < 2:
        raise EditRefused("the entry is the only one: its dotted table would vanish")
    first = line_start(document.text, entry.span.start)
    last = _rest_of_line(document, entry.span.end)
    return TextEdit(Span(first, after_break(document.text, last)), "")


def own_entries(mapping: Mapping) -> list[Entry]:
    """The entries written as ``key = value`` lines, without sub-tables and arrays of tables."""
    return [entry for entry in mapping.entries if not _is_table(entry)]


def _is_table(entry: Entry) -> bool:
    value = entry.value
    if isinstance(value, Mapping):
        return value.style in ("table", "implicit")
    return isinstance(value, Sequence) and value.style == "block"


def _dotted_prefix(document: Document, own: list[Entry]) -> str:
    for entry in own:
        if isinstance(entry.value, Mapping) and entry.value.style == "dotted":
            continue
        return document.text[line_start(document.text, entry.span.start) : entry.span.start]
    raise EditRefused("the dotted table has no line of its own")


def _insert_header(document: Document, mapping: Mapping, entry_text: str) -> TextEdit:
    """A table that only its sub-tables name gets its header, before the first of them."""
    text = document.text
    place = line_start(text, mapping.span.start)
    name = _header_name(document, mapping)
    newline = newline_near(text, mapping.span.start)
    return TextEdit(Span(place, place), f"[{name}]{newline}{entry_text}{newline}{newline}")


def _header_name(document: Document, mapping: Mapping) -> str:
    """The dotted name of an implicit table, as the header that implies it spells it."""
    text = document.text
    header = text[mapping.span.start : line_end(text, mapping.span.start)]
    entry = next(entry for table in document.mappings() for entry in table.entries if entry.value is mapping)
    offset = entry.key_span.end - mapping.span.start
    if header.startswith("[[") or not 0 < offset <= len(header):
        raise EditRefused("the table is implied by an array of tables")
    return header[1:offset].strip()


def _insert_under_header(document: Document, mapping: Mapping, entry_text: str) -> TextEdit:
    text = document.text
    if mapping is document.root:
        first_table = text.find("[") if not mapping.entries else _first_table(document, mapping)
        place = line_start(text, first_table) if first_table >= 0 else len(text)
        place = _before_comments(text, place)
        newline = newline_near(text, place)
        if first_table >= 0 and mapping.entries:
            return TextEdit(Span(place, place), f"{entry_text}{newline}{newline}")
        lead = newline if text and not text.endswith(("\n", "\r")) else ""
        return TextEdit(Span(len(text), len(text)), f"{lead}{entry_text}{newline}")
    end = _rest_of_line(document, mapping.span.end)
    start = line_start(text, mapping.span.start)
    indent = text[start : mapping.span.start]
    return TextEdit(Span(end, end), f"{newline_near(text, end)}{indent if is_blank(indent) else ''}{entry_text}")


def _first_table(document: Document, mapping: Mapping) -> int:
    first = min(entry.key_span.start for entry in mapping.entries)
    return line_start(document.text, first)


def _before_comments(text: str, place: int) -> int:
    """Step up over the comment lines right above ``place``: they belong to what stands there."""
    while place > 0:
        above = line_start(text, place - 1)
        if not text[above:place].lstrip().startswith("#"):
            break
        place = above
    return place


def _rest_of_line(document: Document, end: int) -> int:
    rest = line_end(document.text, end)
    behind = document.text[end:rest].strip()
    if behind and not behind.startswith("#"):
        raise EditRefused("something else follows on the same line")
    return rest


def _gap(document: Document, own: list[Entry]) -> str:
    gaps = {document.text[entry.key_span.end : entry.value.span.start] for entry in own}
    gaps = {gap for gap in gaps if gap.strip(" ") == "="}
    return gaps.pop() if len(gaps) == 1 else " = "


def _quotes(own: list[Entry]) -> Style:
    styles = {entry.value.style for entry in own if isinstance(entry.value, Scalar)} & {Style.SINGLE, Style.DOUBLE}
    return Style.SINGLE if styles == {Style.SINGLE} else Style.DOUBLE


def _spell_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else spell_quoted(key)


def _spell(value: Plain, old: str, style: Style) -> str:
    match value:
        case None:
            raise EditRefused("TOML has no null: delete the key instead")
        case bool():
            return "true" if value else "false"
        case int():
            return spell_int(value, old)
        case float():
            return spell_float(value, old) if math.isfinite(value) else str(value)
        case str():
            literal = style is Style.SINGLE and "'" not in value and value.isprintable()
            return f"'{value}'" if literal else spell_quoted(value)
        case list():
            return "[" + ", ".join(_spell(item, "", style) for item in value) + "]"
        case dict():
            pairs = ", ".join(f"{_spell_key(key)} = {_spell(item, '', style)}" for key, item in value.items())
            return "{ " + pairs + " }" if pairs else "{}"
