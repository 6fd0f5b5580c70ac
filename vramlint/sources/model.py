"""What every reader returns: a document of values that know their exact place in the text.

Offsets count characters of the decoded text (no byte-order mark), end exclusive. The nodes are plain data and are never
changed after reading; they compare by identity, because a node *is* a place.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from vramlint.patterns import later

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""A value without a place: what a loader would hand to a training script."""


class Span(NamedTuple):
    """Half-open range of characters ``[start, end)`` in a document's text."""

    start: int
    end: int


class Position(NamedTuple):
    """1-based line and column (columns count characters)."""

    line: int
    column: int


class Syntax(StrEnum):
    """The languages vramlint reads."""

    YAML = "yaml"
    JSON = "json"
    TOML = "toml"
    PYTHON = "python"
    SHELL = "shell"


class Style(StrEnum):
    """How a scalar is spelled, so that its replacement can be spelled alike."""

    PLAIN = "plain"
    SINGLE = "single-quoted"
    DOUBLE = "double-quoted"
    BLOCK = "block"
    EMPTY = "empty"
    """No text at all: a YAML key without a value, a bare shell switch. The span has zero width."""
    COMPUTED = "computed"
    """Not spelled here but worked out (Python ``1024 * 64``, a shell ``$BATCH``): see ``Scalar.definition``."""


@dataclass(slots=True, eq=False)
class Scalar:
    """One value. ``text`` is the source text of ``span``; ``value`` is what the syntax's own loader makes of it.

    ``shared`` is true where an edit here would change other values too (a YAML anchor with aliases, a constant used
    twice). ``definition`` is the scalar that spells the value when this one only refers to it.
    """

    span: Span
    text: str
    value: None | bool | int | float | str
    style: Style = Style.PLAIN
    tag: str | None = None
    shared: bool = False
    definition: Scalar | None = None


@dataclass(slots=True, eq=False)
class Unknown:
    """An expression whose value cannot be known without running the code; ``reason`` says why."""

    span: Span
    text: str
    reason: str


@dataclass(slots=True, eq=False)
class Sequence:
    """A list. ``style`` is ``flow`` (``[a, b]``), ``block`` (``- a``) or ``words`` (values after one shell flag)."""

    span: Span
    items: list[Node]
    style: str = "block"
    shared: bool = False
    tag: str | None = None


@dataclass(slots=True, eq=False)
class Entry:
    """One ``key: value`` of a mapping; ``span`` runs from the key's start to the value's end."""

    key: str
    key_span: Span
    value: Node
    span: Span
    merged: bool = False
    """The entry came from a YAML merge key (``<<``), a base class or a base file: it is not spelled in this mapping."""


@dataclass(slots=True, eq=False)
class Mapping:
    """Keys and values in file order. Duplicate keys stay in ``entries``; ``get`` returns the last, as loaders do.

    ``style`` is ``block``, ``flow``, ``table`` (TOML), ``class`` (attributes of a Python class), ``call`` (keyword
    arguments), ``module`` (assignments of a Python module), ``options`` (flags of a command line), ``overrides``
    (``key=value`` words of a command line) or ``environment`` (variables exported to or set in front of a command).
    """

    span: Span
    entries: list[Entry]
    style: str = "block"
    shared: bool = False
    tag: str | None = None
    """A YAML tag that is not YAML's own (``!new:torch.optim.Adam``)."""
    _by_key: dict[str, Entry] | None = field(default=None, init=False, repr=False)
    _asked: tuple[int, Entry | None] = field(default=(0, None), init=False, repr=False)
    """How many entries there were when ``entry`` was last asked, and the last: while a file is read, they come and go
    at the end."""

    def entry(self, key: str) -> Entry | None:
        """The entry that counts for ``key`` (the last one spelled), or None."""
        entries = self.entries
        if not entries:
            return None
        count, last = self._asked
        if count != len(entries) or last is not entries[-1]:
            self._asked, self._by_key = (len(entries), entries[-1]), None
            return next((candidate for candidate in reversed(entries) if candidate.key == key), None)
        if self._by_key is None:  # only now: a reader may ask between each two entries that it adds
            self._by_key = {candidate.key: candidate for candidate in entries}
        return self._by_key.get(key)

    def get(self, key: str) -> Node | None:
        """The value node of ``key``, or None where the key is absent."""
        entry = self.entry(key)
        return None if entry is None else entry.value

    def keys(self) -> set[str]:
        return {entry.key for entry in self.entries}


Node = Scalar | Unknown | Sequence | Mapping


def plain(node: Node | None) -> Plain:
    """The value of ``node`` without places; an :class:`Unknown` reads as None."""
    match node:
        case None | Unknown():
            return None
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {entry.key: plain(entry.value) for entry in node.entries}


def lookup(node: Node | None, dotted: str) -> Node | None:
    """Follow ``a.b.c`` through nested mappings; None where any step is missing."""
    for key in dotted.split("."):
        if not isinstance(node, Mapping):
            return None
        node = node.get(key)
    return node


class Comment(NamedTuple):
    """A comment, its ``#`` or ``//`` included."""

    span: Span
    text: str


class Problem(NamedTuple):
    """Something the loaders accept in silence and people do not mean: ``duplicate-key``, ``tab-indent``, …"""

    kind: str
    span: Span
    message: str


@dataclass(slots=True, eq=False)
class Definition:
    """A Python class or a recognised call: its dotted ``name``, its ``bases`` and its attributes or keyword arguments.

    ``kind`` is ``class``, ``call`` or ``argparse`` (one mapping of every ``add_argument`` default, keyed by flag).
    The ``bases`` of a call on a variable (``model.train(...)``) name what made the variable (``YOLO``). Positional
    arguments of a call are keyed ``0``, ``1``, … with an empty key span. An argparse definition is named after its
    variable (``parser``) or its subcommand (``train``).
    """

    kind: str
    name: str
    bases: tuple[str, ...]
    members: Mapping
    span: Span
    function: str | None = None
    """Enclosing function, None at module level."""
    arguments: Mapping | None = None
    """For ``argparse``: flag -> mapping of its ``dest``, ``type``, ``nargs``, ``action``, ``choices``, ``required``,
    and ``flags`` with every spelling of the option. A name such as ``int`` is an Unknown whose text is the name."""


class Import(NamedTuple):
    """``from module import name as alias``; ``name`` is None for ``import module``."""

    module: str
    name: str | None
    alias: str
    span: Span


@dataclass(slots=True, eq=False)
class Command:
    """One simple command of a shell text, launchers peeled off.

    ``program`` is what finally runs (``train.py``, ``trl``, ``package.module`` for ``-m``); ``positionals`` the words
    that belong to no flag; ``options`` the flags as written (``--batch_size``), a bare switch holding an EMPTY scalar
    whose value is True; ``overrides`` the ``key=value`` words. ``launcher`` holds the launchers' own options.
    """

    program: str
    program_span: Span
    positionals: list[Scalar]
    options: Mapping
    overrides: Mapping
    span: Span
    launchers: list[Launcher] = field(default_factory=list)
    environment: Mapping = field(default_factory=lambda: Mapping(Span(0, 0), [], "environment"))
    subcommand: str | None = None


@dataclass(slots=True, eq=False)
class Launcher:
    """A launcher in front of the program: ``torchrun``, ``accelerate launch``, ``deepspeed``, ``srun``, …"""

    name: str
    options: Mapping


class Host(Protocol):
    """What holds a document that is part of another file: a shell text or a list of words in a job's YAML."""

    @property
    def document(self) -> Document:
        """The file."""
        ...

    def place(self, span: Span, /) -> Span:
        """Where ``span`` of the part stands in the file."""
        ...

    def replace_value(self, node: Scalar, value: Plain, /) -> TextEdit:
        """The edit of the part that makes ``node`` worth ``value``. Raises EditRefused."""
        ...

    def insert_entry(self, mapping: Mapping, key: str, value: Plain, after: str | None, /) -> TextEdit:
        """The edit of the part that adds an entry. Raises EditRefused."""
        ...

    def delete_entry(self, mapping: Mapping, entry: Entry, /) -> TextEdit:
        """The edit of the part that takes an entry out. Raises EditRefused."""
        ...

    def read_again(self, text: str, /) -> Document:
        """The part as it reads with ``text``. Raises SourceError."""
        ...

    def carry(self, edits: list[TextEdit], /) -> Carried:
        """Edits of the part as edits of the file. Raises EditRefused where that cannot be exact."""
        ...


@dataclass(slots=True, eq=False)
class Document:
    """A read file: its text, its tree and what stands beside the tree.

    ``text`` is exactly the file without a byte-order mark: line ends are the file's own. ``root`` is the first YAML
    document, the JSON or TOML object, the module-level assignments of a Python file, or an empty mapping for shell.
    """

    path: str
    text: str
    syntax: Syntax
    root: Node
    bom: bool = False
    comments: list[Comment] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more_roots: list[Node] = field(default_factory=list)
    """Further documents of a multi-document YAML stream."""
    definitions: list[Definition] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    batch_directives: Mapping | None = None
    """``#SBATCH`` options of a job script."""
    host: Host | None = None
    """What holds this document, where it is no file of its own; its places count from the start of its own text."""
    _line_starts: list[int] = field(default_factory=list)

    @property
    def is_installed(self) -> bool:
        """Whether the file belongs to an installed package: it is read, and never edited."""
        return "site-packages/" in self.path or "dist-packages/" in self.path

    def position(self, offset: int) -> Position:
        """1-based line and column of a character offset. CR, LF and CRLF each end one line."""
        starts = self._starts()
        line = bisect.bisect_right(starts, offset)
        return Position(line, offset - starts[line - 1] + 1)

    def ends(self, span: Span) -> tuple[int, int, int, int]:
        """1-based line and column of where ``span`` starts, then of where it ends."""
        starts = self._starts()
        line = bisect.bisect_right(starts, span.start)
        line_start = starts[line - 1]
        if line == len(starts) or span.end < starts[line]:  # on one line, as nearly every value is
            return line, span.start - line_start + 1, line, span.end - line_start + 1
        return (line, span.start - line_start + 1, *self.position(span.end))

    def _starts(self) -> list[int]:
        """Where each line begins, found when the first position is asked for."""
        if not self._line_starts:
            self._line_starts.extend(_line_starts(self.text))
        return self._line_starts

    def mappings(self) -> Iterator[Mapping]:
        """Every mapping of the document once, outermost first; shared nodes are visited once."""
        seen: set[int] = set()
        pending: list[Node] = [self.root, *self.more_roots, *(found.members for found in self.definitions)]
        while pending:
            node = pending.pop(0)
            if isinstance(node, (Scalar, Unknown)) or id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, Mapping):
                yield node
                pending.extend(entry.value for entry in node.entries)
            else:
                pending.extend(node.items)


def position_in(text: str, offset: int) -> Position:
    """1-based line and column of a character offset, where no Document exists yet (for the errors of a reader)."""
    starts = _line_starts(text)
    line = bisect.bisect_right(starts, offset)
    return Position(line, offset - starts[line - 1] + 1)


_LINE_END = later(r"\r\n|\r|\n")
"""What ends a line. ``str.splitlines`` also splits at form feeds and Unicode separators, which no editor counts."""


def _line_starts(text: str) -> list[int]:
    if "\r" in text:
        return [0, *(end.end() for end in _LINE_END.finditer(text))]
    return [0, *itertools.accumulate(len(line) + 1 for line in text.split("\n")[:-1])]


class TextEdit(NamedTuple):
    """Replace the characters of ``span`` by ``text`` (an insertion has an empty span)."""

    span: Span
    text: str


class Carried(NamedTuple):
    """Edits of a file and the scalars of it that they change, each with what it says afterwards."""

    edits: tuple[TextEdit, ...]
    scalars: tuple[tuple[Scalar, Plain], ...]


def apply_edits(text: str, edits: list[TextEdit]) -> str:
    """``text`` with all ``edits`` made; they must not overlap.

    Raises ValueError for overlapping edits: that is a mistake of the caller, never of the user.
    """
    pieces: list[str] = []
    done = 0
    for edit in sorted(edits, key=lambda item: item.span):
        if edit.span.start < done:
            raise ValueError(f"overlapping edits at {edit.span}")
        pieces.append(text[done : edit.span.start])
        pieces.append(edit.text)
        done = edit.span.end
    pieces.append(text[done:])
    return "".join(pieces)
