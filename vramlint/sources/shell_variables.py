"""What shell words are worth: variables set earlier in the script, defaults, arrays, strings that split into words."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from vramlint.sources.model import Scalar, Span, Style, Unknown
from vramlint.sources.shell_arithmetic import arithmetic
from vramlint.sources.shell_words import Lexer, Part, Piece, Word, here_document

MAX_WORDS = 5_000
"""Words of one array or split string; a script that doubles a variable in a loop stops there."""

MAX_CHARACTERS = 50_000
"""Length of one expanded word, for the same reason."""

_INTEGER = re.compile(r"[+-]?\d{1,4000}")
_FLOAT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?")
_BOOLS = {"true": True, "false": False}


@dataclass(slots=True, eq=False)
class Argument:
    """One word after expansion: ``node`` is what it is worth, ``head`` its leading literal text.

    ``tail`` is what stands behind the first ``=`` of the head, for ``--flag=value`` and ``key=value``.
    """

    span: Span
    head: str
    head_start: int
    text: str | None
    """The whole word as the program receives it; None where that is not known."""
    node: Scalar | Unknown
    tail: Scalar | Unknown | None = None


class Valued(NamedTuple):
    """What a stretch of shell text is worth, and its text as a program receives it."""

    node: Scalar | Unknown
    text: str | None


@dataclass(slots=True, eq=False)
class Binding:
    """A variable: its value, and its words where it is an array or splits into several."""

    value: Valued
    words: list[Argument] | None = None


@dataclass(slots=True)
class Variables:
    """Variables of one shell; a branch writes into its own and reads through to ``parent``."""

    parent: Variables | None = None
    values: dict[str, Binding] = field(default_factory=dict)

    def find(self, name: str) -> Binding | None:
        scope: Variables | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        return None


class Expander:
    """Expands the words of one text. ``uses`` counts how often each variable is read in it."""

    def __init__(self, text: str, uses: Counter[str], path: str) -> None:
        self._text = text
        self._uses = uses
        self._path = path

    def arguments(self, word: Word, variables: Variables) -> list[Argument]:
        """What ``word`` becomes: usually one argument; none or several for arrays and unquoted strings."""
        if len(word.pieces) == 1:
            piece = word.pieces[0]
            binding = variables.find(piece.text) if piece.part in (Part.LIST, Part.VARIABLE) else None
            splits = piece.part is Part.LIST or not piece.quote
            if binding is not None and binding.words is not None and splits:
                return binding.words
        return [self.argument(word, variables)]

    def argument(self, word: Word, variables: Variables) -> Argument:
        """``word`` as one argument."""
        node, text = self.value(word.pieces, word.span, variables)
        first = word.pieces[0] if word.pieces else None
        if first is None or not first.exact:
            return Argument(word.span, "", word.span.start, text, node)
        argument = Argument(word.span, first.text, first.start, text, node)
        equals = first.text.find("=")
        if equals >= 0:
            argument.tail = self._tail(word, first, first.start + equals + 1, variables)
        return argument

    def assignment(self, word: Word, start: int, variables: Variables) -> Binding:
        """What ``NAME=value`` binds; ``start`` is where the value begins."""
        first = word.pieces[0]
        rest = self._after(first, start)
        pieces = [*rest, *word.pieces[1:]]
        value = self.value(pieces, Span(start, word.span.end), variables)
        return Binding(value, self._split(pieces, value, variables))

    def value(self, pieces: list[Piece], span: Span, variables: Variables) -> Valued:
        """The value of ``pieces``, which fill ``span``."""
        text = self._text[span.start : span.end]
        if len(pieces) == 1 and pieces[0].part is Part.VARIABLE:
            return self._variable(pieces[0], span, text, variables)
        parts: list[str] = []
        for piece in pieces:
            known = self._piece_text(piece, variables)
            if known is None:
                return Valued(Unknown(span, text, _reason(piece)), None)
            parts.append(known)
        joined = "".join(parts)
        if len(joined) > MAX_CHARACTERS:
            return Valued(Unknown(span, text, "too long to work out"), None)
        return Valued(Scalar(span, text, typed(joined), _style(pieces, span)), joined)

    def _tail(self, word: Word, first: Piece, start: int, variables: Variables) -> Scalar | Unknown:
        rest = self._after(first, start)
        pieces = [*rest, *word.pieces[1:]]
        if first.quote and len(word.pieces) == 1:
            return self.value(pieces, Span(start, first.end), variables).node
        node = self.value(pieces, Span(start, word.span.end), variables).node
        if first.quote and isinstance(node, Scalar):
            node.style, node.definition = Style.COMPUTED, None  # half a quotation: not to be replaced on its own
        return node

    def _after(self, first: Piece, start: int) -> list[Piece]:
        if start >= first.end:
            return []
        return [Piece(Part.LITERAL, start, first.end, first.text[start - first.start :], first.quote)]

    def _piece_text(self, piece: Piece, variables: Variables) -> str | None:
        if piece.part is Part.LITERAL:
            return piece.text
        if piece.part is Part.OPAQUE:
            return self._worked_out(piece, variables)
        if piece.part is not Part.VARIABLE:
            return None
        binding = variables.find(piece.text)
        if binding is not None:
            return binding.value.text
        if piece.default is not None and piece.default.part is Part.LITERAL:
            return piece.default.text
        return None

    def _worked_out(self, piece: Piece, variables: Variables) -> str | None:
        """What ``$((...))`` comes to; None for every other substitution."""
        text = self._text[piece.start : piece.end]
        if not (text.startswith("$((") and text.endswith("))")):
            return None

        def lookup(name: str) -> str | None:
            binding = variables.find(name)
            return None if binding is None else binding.value.text

        value = arithmetic(text[3:-2], lookup)
        return None if value is None else str(value)

    def _variable(self, piece: Piece, span: Span, text: str, variables: Variables) -> Valued:
        binding = variables.find(piece.text)
        found: Valued | None = None
        if binding is not None:
            found = binding.value
        elif piece.default is not None and piece.default.part is Part.LITERAL:
            default = piece.default
            place = Span(default.start, default.end)
            found = Valued(Scalar(place, default.text, typed(default.text)), default.text)
        if found is None or found.text is None or isinstance(found.node, Unknown):
            unknown = found.node if found is not None else None
            reason = unknown.reason if isinstance(unknown, Unknown) else _reason(piece)
            return Valued(Unknown(span, text, reason), None)
        shared = self._uses[piece.text] > 1 or found.node.shared
        definition = found.node.definition or found.node
        node = Scalar(span, text, found.node.value, Style.COMPUTED, shared=shared, definition=definition)
        return Valued(node, found.text)

    def _split(self, pieces: list[Piece], value: Valued, variables: Variables) -> list[Argument] | None:
        """The words that an unquoted use of this value splits into; None where it is one word."""
        if len(pieces) == 1 and pieces[0].part in (Part.VARIABLE, Part.LIST):
            inner = variables.find(pieces[0].text)
            return inner.words if inner is not None else None
        if len(pieces) == 1 and pieces[0].part is Part.OPAQUE:
            body = here_document(self._text, pieces[0].start, pieces[0].end)
            return None if body is None else self.words_in(body, variables)
        if value.text == "":
            return []
        quotes = {piece.quote for piece in pieces}
        if len(quotes) != 1 or not pieces or quotes == {""}:
            return None
        start, end = pieces[0].start, pieces[-1].end
        if not any(character.isspace() for character in self._text[start:end]):
            return None
        return self.words_in(Span(start, end), variables)

    def words_in(self, text: Span, variables: Variables) -> list[Argument] | None:
        """The words of a stretch of text, split at white space; None where they are too many to be meant."""
        words: list[Argument] = []
        for word in Lexer(self._text, text.start, text.end, self._path).split_inside():
            words.extend(self.arguments(word, variables))
            if len(words) > MAX_WORDS:
                return None
        return words


def typed(text: str) -> bool | int | float | str:
    """A word as the option parsers of Python read it: an integer, a number, true or false, else the text."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _BOOLS.get(text.lower(), text)


def _reason(piece: Piece) -> str:
    if piece.part is Part.OPAQUE:
        return "a substitution that only the shell knows"
    return f"${piece.text} is not set in this script"


def _style(pieces: list[Piece], span: Span) -> Style:
    if any(piece.part is not Part.LITERAL for piece in pieces):
        return Style.COMPUTED
    if len(pieces) != 1 or not pieces[0].quote or pieces[0].start == span.start:
        return Style.PLAIN
    return Style.DOUBLE if pieces[0].quote == '"' else Style.SINGLE
