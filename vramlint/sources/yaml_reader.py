"""YAML to a document, from libyaml's events: exact spans, no recursion, nothing executed.

Events and not ``compose``: they take half the time (0.05 against 0.09 ms a file over 500 files), need no recursion
(the C composer segfaults on 100,000 nested brackets), and show where an alias stands and not only what it means.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NoReturn, Protocol, cast

import yaml
from yaml import events

from vramlint.errors import OversizeSource, SourceError, TemplateSource
from vramlint.sources.model import (
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
    Unknown,
    position_in,
)
from vramlint.sources.scalars import yaml11
from vramlint.sources.yaml_comments import find_comments
from vramlint.sources.yaml_shared import MAX_MERGED, expand_merges, mark_shared, refuse_explosion
from vramlint.sources.yaml_tags import content_start, tagged_value

MAX_DEPTH = 100
"""Nesting of collections; no published config is deeper than a tenth of it."""

MAX_VALUES = 100_000
"""Scalars in one file, keys included: under a second of work."""

_span = cast("Callable[[tuple[int, int]], Span]", partial(tuple.__new__, Span))
"""Makes a Span of a pair. NamedTuple's own constructor is a Python function, and each setting has three spans."""

_PLAIN, _EMPTY, _BLOCK = Style.PLAIN, Style.EMPTY, Style.BLOCK  # a member of an enum takes long to look up
_STYLES = {"'": Style.SINGLE, '"': Style.DOUBLE, "|": _BLOCK, ">": _BLOCK}


class _Mark(Protocol):
    index: int


class _Event(Protocol):
    """What libyaml's events carry; each kind has some of it."""

    start_mark: _Mark
    end_mark: _Mark
    anchor: str | None
    tag: str | None
    value: str
    style: str | None
    implicit: tuple[bool, bool]
    flow_style: bool


class _Parser(Protocol):
    def get_event(self) -> _Event | None: ...


class _PurePythonParser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """The same events without libyaml, for installations that lack it."""

    def __init__(self, stream: str) -> None:
        yaml.reader.Reader.__init__(self, stream)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)


def new_parser(text: str) -> _Parser:
    """libyaml's parser where PyYAML was built with it, else PyYAML's own."""
    fast = getattr(yaml, "cyaml", None)
    return cast("_Parser", _PurePythonParser(text) if fast is None else fast.CParser(text))


def parse(text: str, path: str) -> Document:
    """Read a YAML stream. Values are those of ``yaml.safe_load``, but dates stay text and custom tags are Unknown.

    Raises SourceError for malformed YAML, TemplateSource where the malformed text is a Jinja or Helm template, and
    OversizeSource for nesting beyond ``MAX_DEPTH``, more than ``MAX_VALUES`` scalars and aliases without bound.
    """
    builder = _Builder(text, path)
    builder.run(new_parser(text))
    roots = builder.roots or [_empty_root(text)]
    if builder.aliased:
        mark_shared(builder.aliased)
        refuse_explosion(roots, path)
    document = Document(path, text, Syntax.YAML, roots[0], problems=builder.problems, more_roots=roots[1:])
    document.comments = find_comments(text, builder.starts, builder.ends, builder.block_starts)
    return document


class _Open:
    """A collection whose end has not come yet. ``end`` is where its last child ended."""

    __slots__ = ("anchor", "end", "entries", "is_merge", "items", "key", "key_span", "keys", "merges", "node")

    def __init__(self, node: Mapping | Sequence, anchor: str | None) -> None:
        self.node = node
        self.entries = node.entries if isinstance(node, Mapping) else None
        self.items = node.items if isinstance(node, Sequence) else None
        self.anchor = anchor
        self.end = node.span.start
        self.key: str | None = None
        self.key_span = node.span
        self.is_merge = False
        self.merges: list[Node] = []
        self.keys: set[str] = set()


class _Builder:
    """Turns events into nodes, keeping the open collections on a stack."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.roots: list[Node] = []
        self.problems: list[Problem] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.block_starts: set[int] = set()
        self.anchors: dict[str, Node | None] = {}
        self.merged = 0
        self.aliased: list[Node] = []
        self.stack: list[_Open] = []
        self.top: _Open | None = None

    def run(self, parser: _Parser) -> None:
        """Read every event. The loop is the hot path of the whole reader."""
        handlers: dict[type, Callable[[_Event], None]] = {
            events.ScalarEvent: self._scalar,
            events.MappingStartEvent: self._open_mapping,
            events.SequenceStartEvent: self._open_sequence,
            events.MappingEndEvent: self._close,
            events.SequenceEndEvent: self._close,
            events.AliasEvent: self._alias,
            events.DocumentStartEvent: self._new_document,
        }
        get_event = parser.get_event
        try:
            while (event := get_event()) is not None:
                handler = handlers.get(type(event))
                if handler is not None:
                    handler(event)
        except yaml.MarkedYAMLError as error:
            self._fail(error)
        except yaml.reader.ReaderError as error:
            raise SourceError(
                f"character #x{error.character:04x} is not allowed in YAML"
                if isinstance(error.character, int)
                else f"not readable as YAML: {error.reason}",
                path=self.path,
                help="Remove the control character.",
            ) from None

    def _new_document(self, _event: _Event) -> None:
        self.anchors = {}

    def _scalar(self, event: _Event) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        anchor, tag = event.anchor, event.tag
        whole = start
        if anchor is not None or tag is not None:
            start = content_start(self.text, start, end)
        self.starts.append(start)
        self.ends.append(end)
        if len(self.ends) > MAX_VALUES:
            self._limit(f"more than {MAX_VALUES:,} values", start)
        top = self.top
        if top is not None and top.key is None and top.entries is not None:
            key = event.value
            top.key, top.key_span, top.end = key, _span((start, end)), end
            if key in top.keys or key == "<<" or anchor is not None:
                self._special_key(top, event)
            else:
                top.keys.add(key)
            return
        style = _STYLES.get(event.style or "")
        is_plain = style is None
        text = self.text[start:end]
        if style is None:
            style = _PLAIN if text else _EMPTY
        elif style is _BLOCK:
            self.block_starts.add(start)
            end, text = _trim_block(text, start)
        node: Node
        if tag is None:
            value = yaml11(event.value) if is_plain and event.implicit[0] else event.value
            node = Scalar(_span((start, end)), text, value, style)
        else:
            node = tagged_value(tag, event.value, style, Span(start, end), self.text[whole:end], text)
        if anchor is not None:
            self.anchors[anchor] = node
        self._attach(node, end)

    def _special_key(self, top: _Open, event: _Event) -> None:
        """A key that stands twice, merges or has an anchor."""
        key, span = event.value, top.key_span
        if key == "<<" and event.implicit[0] and not event.style:
            top.is_merge = True
        elif key in top.keys:
            message = f"the key {key!r} stands twice in one mapping: only the last counts"
            self.problems.append(Problem("duplicate-key", span, message))
        else:
            top.keys.add(key)
        if event.anchor is not None:
            self.anchors[event.anchor] = Scalar(span, self.text[span.start : span.end], key)

    def _alias(self, event: _Event) -> None:
        span = Span(event.start_mark.index, event.end_mark.index)
        text = self.text[span.start : span.end]
        if event.anchor not in self.anchors:
            line, column = position_in(self.text, span.start)
            message = f"the alias *{event.anchor} has no anchor"
            help = f"Define &{event.anchor} above it."
            raise SourceError(message, path=self.path, line=line, column=column, help=help)
        target = self.anchors[event.anchor]
        node: Node
        if target is None:
            node = Unknown(span, text, "an alias inside its own anchor")
        elif isinstance(target, Unknown):
            node = Unknown(span, text, target.reason)
        elif isinstance(target, Scalar):
            source = target.definition or target
            node = Scalar(span, text, target.value, Style.COMPUTED, target.tag, shared=True, definition=source)
            self.aliased.append(source)
        else:
            node = target
            self.aliased.append(target)
        top = self.top
        if top is not None and top.key is None and top.entries is not None:
            top.key = str(node.value) if isinstance(node, Scalar) else text
            top.key_span = span
            top.end = span.end
            return
        self._attach(node, span.end)

    def _open_mapping(self, event: _Event) -> None:
        span = self._start_of(event)
        self._open(Mapping(span, [], "flow" if event.flow_style else "block", tag=_custom(event.tag)), event)

    def _open_sequence(self, event: _Event) -> None:
        span = self._start_of(event)
        self._open(Sequence(span, [], "flow" if event.flow_style else "block", tag=_custom(event.tag)), event)

    def _start_of(self, event: _Event) -> Span:
        start = event.start_mark.index
        if event.anchor is not None or event.tag is not None:
            start = content_start(self.text, start, len(self.text))
        return _span((start, start))

    def _open(self, node: Mapping | Sequence, event: _Event) -> None:
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.top = _Open(node, event.anchor)
        self.stack.append(self.top)
        start = node.span.start
        if len(self.stack) > MAX_DEPTH:
            self._limit(f"nested more than {MAX_DEPTH} deep", start)

    def _close(self, event: _Event) -> None:
        closed = self.stack.pop()
        self.top = self.stack[-1] if self.stack else None
        node = closed.node
        end = event.end_mark.index if node.style == "flow" else closed.end
        node.span = _span((node.span[0], end))
        if closed.merges and isinstance(node, Mapping):
            self.merged += expand_merges(node, closed.merges, self.problems)
            if self.merged > MAX_MERGED:
                self._limit(f"merge keys bring in more than {MAX_MERGED:,} entries", end)
        if closed.anchor is not None:
            self.anchors[closed.anchor] = node
        top = self.top
        if top is not None and top.key is None and top.entries is not None:
            top.key = self.text[node.span.start : end]
            top.key_span = node.span
            top.end = end
            return
        self._attach(node, end)

    def _attach(self, node: Node, end: int) -> None:
        top = self.top
        if top is None:
            empty = isinstance(node, Scalar) and node.style is Style.EMPTY
            self.roots.append(Mapping(Span(end, end), [], "block") if empty else node)
            return
        top.end = end
        if top.items is not None:
            top.items.append(node)
            return
        key, entries = top.key, top.entries
        assert key is not None
        assert entries is not None
        top.key = None
        if top.is_merge:
            top.is_merge = False
            top.merges.append(node)
            return
        entries.append(Entry(key, top.key_span, node, _span((top.key_span[0], end))))

    def _limit(self, message: str, offset: int) -> NoReturn:
        line, column = position_in(self.text, offset)
        help = "Exclude the file: it is data, not a config."
        raise OversizeSource(message, path=self.path, line=line, column=column, help=help)

    def _fail(self, error: yaml.MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        line, column = position_in(self.text, mark.index) if mark is not None else (None, None)
        problem = error.problem or "malformed YAML"
        if problem == _LIBYAML_TOO_DEEP:
            self._limit(f"nested more than {MAX_DEPTH} deep", mark.index if mark is not None else 0)
        message = f"{error.context}: {problem}" if error.context else problem
        if "{{" in self.text or "{%" in self.text:
            raise TemplateSource(
                f"a template, not YAML: {message}",
                path=self.path,
                line=line,
                column=column,
                help="Check the rendered file instead.",
            ) from None
        raise SourceError(
            message, path=self.path, line=line, column=column, help="Correct the YAML at this place."
        ) from None


_LIBYAML_TOO_DEEP = "exceeded maximum nesting depth"
"""libyaml 0.2.6 (in PyYAML 6.0.4) refuses by itself, while it looks ahead and before our own limit is asked; 0.2.5
never does (``src/scanner.c``, ``yaml_parser_increase_flow_level``)."""


def _custom(tag: str | None) -> str | None:
    return None if tag in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq") else tag


def _trim_block(text: str, start: int) -> tuple[int, str]:
    """End and text of a block scalar without the line ends behind it, which ``|+`` alone counts as content."""
    header = text.splitlines()[0].split("#", 1)[0]
    trimmed = text if "+" in header else text.rstrip(" \r\n")
    return start + len(trimmed), trimmed


def _empty_root(text: str) -> Mapping:
    return Mapping(Span(len(text), len(text)), [], "block")
