"""JSON to a document with exact places: strict JSON, and the comments and trailing commas that Hjson readers take.

What goes beyond strict JSON is read and named in ``problems`` (``json-comment``, ``json-trailing-comma``,
``json-unquoted-key``), because ``json.load`` stops there and DeepSpeed's ``hjson.load`` does not.
"""

from __future__ import annotations

import re
from json import JSONDecodeError, JSONDecoder

from vramlint.errors import OversizeSource, SourceError, TemplateSource
from vramlint.sources.model import (
    Comment,
    Document,
    Entry,
    Mapping,
    Node,
    Problem,
    Scalar,
    Sequence,
    Span,
    Style,
    Syntax,
    position_in,
)

MAX_DEPTH = 100
"""Nesting of objects and arrays."""

MAX_VALUES = 100_000
"""Values in one file: under a second of work."""

_DECODER = JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_LINE_COMMENT = re.compile(r"(?://|#)[^\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?(?![\w.+-])")
_WORD = re.compile(r"-?[A-Za-z_$][\w$-]*")
_WORDS: dict[str, None | bool | float] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}


def parse(text: str, path: str) -> Document:
    """Read one JSON value. Raises SourceError for what neither strict nor comment-tolerant readers take."""
    reader = _Reader(text, path)
    root = reader.read()
    strict_name = not path.lower().endswith(".jsonc")
    if strict_name and reader.comments:
        first = reader.comments[0].span
        reader.problems.insert(0, Problem("json-comment", first, "strict JSON has no comments: json.load stops here"))
    return Document(path, text, Syntax.JSON, root, comments=reader.comments, problems=reader.problems)


class _Reader:
    """A pass over the text with the open objects and arrays on a stack (no recursion)."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.position = 0
        self.count = 0
        self.comments: list[Comment] = []
        self.problems: list[Problem] = []
        self.keys: dict[int, set[str]] = {}
        self.stack: list[tuple[Mapping | Sequence, str, Span]] = []

    def read(self) -> Node:
        """The one value of the text."""
        self._skip()
        if self.position == len(self.text):
            return Mapping(Span(self.position, self.position), [], "flow")
        node = self._value()
        while self.stack:
            node = self._step(node)
        self._skip()
        if self.position != len(self.text):
            raise self._error("something follows the end of the value", self.position)
        return node

    def _step(self, done: Node) -> Node:
        """Attach ``done`` to the collection on top (unless it is that one, just opened) and read on."""
        top, key, key_span = self.stack[-1]
        fresh = done is top
        closing = "}" if isinstance(top, Mapping) else "]"
        if not fresh:
            if isinstance(top, Mapping):
                top.entries.append(Entry(key, key_span, done, Span(key_span.start, done.span.end)))
            else:
                top.items.append(done)
        self._skip()
        comma = self.position
        if not fresh:
            if self._peek() == ",":
                self.position += 1
                self._skip()
                if self._peek() == closing:
                    self._note("json-trailing-comma", Span(comma, comma + 1), "strict JSON has no comma here")
            elif self._peek() != closing:
                raise self._error(f"expected ',' or '{closing}'", self.position)
        if self._peek() == closing:
            self.position += 1
            top.span = Span(top.span.start, self.position)
            self.stack.pop()
            return top
        if isinstance(top, Mapping):
            key, key_span = self._key(top)
            self.stack[-1] = (top, key, key_span)
        return self._value()

    def _key(self, mapping: Mapping) -> tuple[str, Span]:
        start = self.position
        if self._peek() == '"':
            key, self.position = self._string(start)
        elif (word := _WORD.match(self.text, start)) is not None:
            key, self.position = word.group(), word.end()
            self._note("json-unquoted-key", Span(start, word.end()), "strict JSON quotes its keys")
        else:
            raise self._error("expected a key in double quotes", start)
        span = Span(start, self.position)
        known = self.keys.setdefault(id(mapping), set())
        if key in known:
            message = f"the key {key!r} stands twice in one object: json.load keeps the last, DeepSpeed stops"
            self.problems.append(Problem("duplicate-key", span, message))
        known.add(key)
        self._skip()
        if self._peek() != ":":
            raise self._error("expected ':' behind the key", self.position)
        self.position += 1
        self._skip()
        return key, span

    def _value(self) -> Node:
        start = self.position
        self.count += 1
        if self.count > MAX_VALUES:
            raise self._oversize(f"more than {MAX_VALUES:,} values", start)
        first = self._peek()
        if first in ("{", "["):
            return self._open(start)
        if first == '"':
            value, self.position = self._string(start)
            span = Span(start, self.position)
            return Scalar(span, self.text[start : self.position], value, Style.DOUBLE)
        if (number := _NUMBER.match(self.text, start)) is not None:
            self.position = number.end()
            text = number.group()
            return Scalar(Span(start, self.position), text, self._number(text, number))
        word = _WORD.match(self.text, start)
        if word is None or word.group() not in _WORDS:
            end = start == len(self.text)
            raise self._error("the file ends inside a value" if end else "expected a value", start)
        self.position = word.end()
        return Scalar(Span(start, self.position), word.group(), _WORDS[word.group()])

    def _open(self, start: int) -> Node:
        if len(self.stack) >= MAX_DEPTH:
            raise self._oversize(f"nested more than {MAX_DEPTH} deep", start)
        span = Span(start, start)
        node = Mapping(span, [], "flow") if self.text[start] == "{" else Sequence(span, [], "flow")
        self.stack.append((node, "", span))
        self.position += 1
        return node

    def _number(self, text: str, matched: re.Match[str]) -> int | float:
        if matched[1] or matched[2]:
            return float(text)
        try:
            return int(text)
        except ValueError:
            raise self._error(f"a number of {len(text):,} digits", matched.start()) from None

    def _string(self, start: int) -> tuple[str, int]:
        try:
            value, end = _DECODER.raw_decode(self.text, start)
        except JSONDecodeError as error:
            raise self._error(error.msg, error.pos) from None
        return str(value), end

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def _skip(self) -> None:
        """Pass white space and comments (``//``, ``#``, ``/* */``)."""
        while True:
            space = _SPACE.match(self.text, self.position)
            self.position = space.end() if space is not None else self.position
            start = self.position
            if (line := _LINE_COMMENT.match(self.text, start)) is not None:
                self.position = line.end()
            elif self.text.startswith("/*", start):
                close = self.text.find("*/", start + 2)
                if close < 0:
                    raise self._error("the comment never ends", start)
                self.position = close + 2
            else:
                return
            self.comments.append(Comment(Span(start, self.position), self.text[start : self.position]))

    def _note(self, kind: str, span: Span, message: str) -> None:
        if not self.path.lower().endswith(".jsonc"):
            self.problems.append(Problem(kind, span, message))

    def _oversize(self, message: str, offset: int) -> OversizeSource:
        line, column = position_in(self.text, offset)
        help = "Exclude the file: it is data, not a config."
        return OversizeSource(message, path=self.path, line=line, column=column, help=help)

    def _error(self, message: str, offset: int) -> SourceError:
        line, column = position_in(self.text, offset)
        if "{{" in self.text or "{%" in self.text:
            return TemplateSource(
                f"a template, not JSON: {message}",
                path=self.path,
                line=line,
                column=column,
                help="Check the rendered file instead.",
            )
        return SourceError(message, path=self.path, line=line, column=column, help="Correct the JSON at this place.")
