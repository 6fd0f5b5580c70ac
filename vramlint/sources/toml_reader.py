"""TOML to a document: tomllib says whether the text is valid and what it means, a scanner says where everything stands.

The two are compared value by value, so a place is never off without an error. Tables are mappings of style ``table``;
``implicit`` is a table that only its sub-tables name (``[a.b]`` without ``[a]``), ``dotted`` one that dotted keys make
(``a.b = 1``), ``flow`` an inline table and ``flow-dotted`` a dotted key inside one.
"""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

from vramlint.errors import OversizeSource, SourceError, TemplateSource
from vramlint.sources.model import (
    Comment,
    Document,
    Entry,
    Mapping,
    Node,
    Plain,
    Scalar,
    Sequence,
    Span,
    Style,
    Syntax,
    plain,
    position_in,
)

MAX_DEPTH = 100
"""Nesting of arrays and inline tables, and parts of one dotted key."""

MAX_VALUES = 100_000
"""Values and table headers in one file: under a second of work."""

_DEEP = f"nested more than {MAX_DEPTH} deep"
_LONG_KEY = re.compile(r"(?<![\w\"'-])(?:[\"']?[\w-]*+[\"']?[ \t]*+\.[ \t]*+){" + str(MAX_DEPTH) + "}")
"""A dotted key of too many parts; tomllib takes quadratic time for them."""

_BLANK = re.compile(r"[ \t\r\n]*")
_COMMENT = re.compile(r"#[^\r\n]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d[^\s,\]}#]*)?")
_BARE_VALUE = re.compile(r"[^\s,\]}#]+")
_ERROR_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")
_STRINGS = (
    (re.compile(r'"""(?:[^\\]|\\.)*?"""(?:""|")?', re.DOTALL), Style.BLOCK),
    (re.compile(r"'''.*?'''(?:''|')?", re.DOTALL), Style.BLOCK),
    (re.compile(r'"(?:[^"\\]|\\.)*"'), Style.DOUBLE),
    (re.compile(r"'[^']*'"), Style.SINGLE),
)


class _KeyPart(NamedTuple):
    name: str
    span: Span


def parse(text: str, path: str) -> Document:
    """Read a TOML file. Dates stay text. Raises SourceError where tomllib does, with its line and column."""
    if text.count(".") > MAX_DEPTH and _LONG_KEY.search(text) is not None:
        raise _oversize(path, _DEEP)
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _error(text, path, str(error)) from None
    except RecursionError:
        raise _oversize(path, _DEEP) from None
    scanner = _Scanner(text, path)
    root = scanner.read()
    if not _agree(expected, plain(root)):
        raise SourceError("the places of the values cannot be told", path=path, help="Please report this TOML file.")
    return Document(path, text, Syntax.TOML, root, comments=scanner.comments)


class _Scanner:
    """One pass over text that tomllib has found valid."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.position = 0
        self.depth = 0
        self.count = 0
        self.known: dict[int, dict[str, Entry]] = {}
        self.comments: list[Comment] = []
        self.root = Mapping(Span(0, 0), [], "table")

    def read(self) -> Mapping:
        """The root table."""
        table = self.root
        while True:
            self._skip()
            if self.position >= len(self.text):
                break
            if self.text[self.position] == "[":
                table = self._header()
            else:
                self._pair(table, "dotted")
        _close_tables(self.root)
        return self.root

    def _count(self) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            raise _oversize(self.path, f"more than {MAX_VALUES:,} values")

    def _add(self, table: Mapping, part: _KeyPart, value: Node, end: int) -> None:
        """Append an entry and remember it by name: a search through a long table would take quadratic time."""
        entry = Entry(part.name, part.span, value, Span(part.span.start, end))
        table.entries.append(entry)
        self.known.setdefault(id(table), {})[part.name] = entry

    def _found(self, table: Mapping, name: str) -> Entry | None:
        return self.known.get(id(table), {}).get(name)

    def _step_into(self, parent: Mapping, part: _KeyPart, style: str, start: int) -> Mapping:
        """The table ``part`` of ``parent``, made where absent; of an array of tables the last."""
        entry = self._found(parent, part.name)
        found = None if entry is None else entry.value
        if isinstance(found, Sequence) and found.items:
            found = found.items[-1]
        if isinstance(found, Mapping):
            return found
        table = Mapping(Span(start, start), [], style)
        self._add(parent, part, table, part.span.end)
        return table

    def _header(self) -> Mapping:
        self._count()
        start = self.position
        is_array = self.text.startswith("[[", start)
        self.position += 2 if is_array else 1
        parts = self._key()
        self.position += 2 if is_array else 1
        span = Span(start, self.position)
        parent = self.root
        for part in parts[:-1]:
            parent = self._step_into(parent, part, "implicit", span.start)
        last = parts[-1]
        entry = self._found(parent, last.name)
        found = None if entry is None else entry.value
        table = Mapping(span, [], "table")
        if is_array:
            if isinstance(found, Sequence):
                found.items.append(table)
            else:
                self._add(parent, last, Sequence(span, [table], "block"), span.end)
            return table
        if isinstance(found, Mapping):
            found.style, found.span = "table", span
            return found
        self._add(parent, last, table, span.end)
        return table

    def _pair(self, table: Mapping, dotted: str) -> None:
        """``a.b = value``: every table on the way is extended to the value's end."""
        parts = self._key()
        way = [table]
        for part in parts[:-1]:
            way.append(self._step_into(way[-1], part, dotted, part.span.start))
        self._skip()
        self.position += 1  # the equals sign
        self._skip()
        value = self._value()
        last = parts[-1]
        self._add(way[-1], last, value, self.position)
        table.span = Span(table.span.start, self.position)
        for outer, part, inner in zip(way, parts, way[1:], strict=False):
            inner.span = Span(inner.span.start, self.position)
            entry = self._found(outer, part.name)
            if entry is not None:
                entry.span = Span(entry.span.start, self.position)

    def _key(self) -> list[_KeyPart]:
        parts: list[_KeyPart] = []
        while True:
            self._skip()
            start = self.position
            if self.text[start] in "\"'":
                scalar = self._string(start)
                parts.append(_KeyPart(str(scalar.value), scalar.span))
            else:
                bare = _BARE_KEY.match(self.text, start)
                if bare is None:
                    raise self._lost()
                self.position = bare.end()
                parts.append(_KeyPart(bare.group(), Span(start, self.position)))
            if len(parts) > MAX_DEPTH:
                raise _oversize(self.path, _DEEP)
            self._skip()
            if self.text[self.position] != ".":
                return parts
            self.position += 1

    def _value(self) -> Node:
        self._count()
        start = self.position
        first = self.text[start]
        if first in "\"'":
            return self._string(start)
        if first in "[{":
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _oversize(self.path, _DEEP)
            node = self._array(start) if first == "[" else self._inline_table(start)
            self.depth -= 1
            return node
        matched = _DATE_TIME.match(self.text, start) or _BARE_VALUE.match(self.text, start)
        if matched is None:
            raise self._lost()
        self.position = matched.end()
        text = matched.group()
        return Scalar(Span(start, self.position), text, _bare_value(text))

    def _array(self, start: int) -> Sequence:
        items: list[Node] = []
        self.position += 1
        while True:
            self._skip()
            if self.text[self.position] == "]":
                self.position += 1
                return Sequence(Span(start, self.position), items, "flow")
            items.append(self._value())
            self._skip()
            if self.text[self.position] == ",":
                self.position += 1

    def _inline_table(self, start: int) -> Mapping:
        table = Mapping(Span(start, start), [], "flow")
        self.position += 1
        while True:
            self._skip()
            if self.text[self.position] == "}":
                self.position += 1
                table.span = Span(start, self.position)
                return table
            self._pair(table, "flow-dotted")
            self._skip()
            if self.text[self.position] == ",":
                self.position += 1

    def _string(self, start: int) -> Scalar:
        for pattern, style in _STRINGS:
            if (matched := pattern.match(self.text, start)) is None:
                continue
            self.position = matched.end()
            text = matched.group()
            plain_text = style in (Style.SINGLE, Style.DOUBLE) and "\\" not in text
            value = text[1:-1] if plain_text or style is Style.SINGLE else tomllib.loads(f"x = {text}")["x"]
            return Scalar(Span(start, self.position), text, value, style)
        raise self._lost()

    def _skip(self) -> None:
        while True:
            blank = _BLANK.match(self.text, self.position)
            self.position = blank.end() if blank is not None else self.position
            comment = _COMMENT.match(self.text, self.position)
            if comment is None:
                return
            self.comments.append(Comment(Span(*comment.span()), comment.group()))
            self.position = comment.end()

    def _lost(self) -> SourceError:
        return _error(self.text, self.path, f"cannot read on at offset {self.position}")


def _close_tables(root: Mapping) -> None:
    """Give the entry of every table the end of its table, which was open when the entry was made."""
    pending: list[Node] = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, Sequence):
            if node.style == "block" and node.items:
                node.span = Span(node.span.start, node.items[-1].span.end)
            pending.extend(node.items)
        elif isinstance(node, Mapping):
            for entry in node.entries:
                pending.append(entry.value)
                if isinstance(entry.value, (Mapping, Sequence)) and entry.value.style in ("table", "block"):
                    entry.span = Span(entry.key_span.start, max(entry.span.end, entry.value.span.end))


def _bare_value(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    digits = text.replace("_", "")
    try:
        return int(digits, 0) if digits[:2] in ("0x", "0o", "0b") else int(digits)
    except ValueError:
        pass  # a float or a date
    try:
        return float(digits)
    except ValueError:
        return text  # a date, as tomllib has made sure


def _agree(expected: object, found: Plain) -> bool:
    """Whether tomllib's value and the scanner's are the same; dates are text here and compare as any text."""
    if isinstance(expected, dict):
        same = isinstance(found, dict) and list(expected) == list(found)
        return same and isinstance(found, dict) and all(_agree(expected[key], found[key]) for key in expected)
    if isinstance(expected, list):
        same = isinstance(found, list) and len(expected) == len(found)
        return same and isinstance(found, list) and all(map(_agree, expected, found))
    if isinstance(expected, (bool, int, float, str)):
        return type(expected) is type(found) and (expected == found or expected != expected)
    return isinstance(found, str)


def _oversize(path: str, message: str) -> OversizeSource:
    return OversizeSource(message, path=path, help="Exclude the file: it is data, not a config.")


def _error(text: str, path: str, message: str) -> SourceError:
    matched = _ERROR_PLACE.search(message)
    line, column = (int(matched[1]), int(matched[2])) if matched is not None else position_in(text, len(text))
    message = _ERROR_PLACE.sub("", message).removesuffix(" (at end of document)")
    if "{{" in text or "{%" in text:
        return TemplateSource(
            f"a template, not TOML: {message}",
            path=path,
            line=line,
            column=column,
            help="Check the rendered file instead.",
        )
    return SourceError(message, path=path, line=line, column=column, help="Correct the TOML at this place.")
