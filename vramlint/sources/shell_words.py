"""Splits shell text into words, operators, line ends and comments, each with its place.

POSIX shell grammar (IEEE 1003.1-2017, 2.2 Quoting, 2.3 Token Recognition) with what bash adds and training scripts use:
``$'…'``, ``&>``, ``<<<``, process substitution, ``((…))``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from vramlint.errors import SourceError
from vramlint.sources.model import Span


class Part(Enum):
    """What a piece of a word is."""

    LITERAL = auto()
    VARIABLE = auto()
    LIST = auto()
    """``${ARGS[@]}`` or ``$@``."""
    OPAQUE = auto()
    """A substitution whose text only a running shell knows."""


@dataclass(slots=True, eq=False)
class Piece:
    """A stretch of one word, quotes outside ``start`` and ``end``. ``text`` is literal text or a variable's name."""

    part: Part
    start: int
    end: int
    text: str
    quote: str = ""
    default: Piece | None = None

    @property
    def exact(self) -> bool:
        """Whether the text stands in the file character by character."""
        return self.part is Part.LITERAL and self.end - self.start == len(self.text)


@dataclass(slots=True, eq=False)
class Word:
    """One shell word before expansion."""

    span: Span
    text: str
    pieces: list[Piece]


@dataclass(slots=True, eq=False)
class Operator:
    """``;``, ``&&``, ``|``, ``(``, ``>`` …; a line end is the operator ``newline``."""

    span: Span
    text: str


class HereDocument(NamedTuple):
    """A here document that begins on the next line. In a ``quoted`` one, nothing is expanded."""

    operator: Operator
    delimiter: str
    quoted: bool


Token = Word | Operator
NEWLINE = "newline"

_SPACE = re.compile(r"(?:[ \t\f\v]|\\(?:\r\n|\r|\n))+")
_NEWLINE = re.compile(r"\r\n|\r|\n")
_COMMENT = re.compile(r"#[^\r\n]*")
_PLAIN = re.compile(r"[^\s\\'\"`$;&|<>()]+")
_OPERATOR = re.compile(r"\d*(?:<<<|<<-|<<|<&|<>|>>|>&|>\||&>>|&>)|\d+[<>]|;;&|;;|;&|&&|\|\||\|&|[;&|<>()]")
_CONTINUATION = re.compile(r"\\(?:\r\n|\r|\n)")
_CHANGED_IN_DOUBLE = re.compile(r"[$`\\]")
"""What a shell acts on in the double quotes around a quotation or an escape."""
_IN_DOUBLE = re.compile(r"[^\\\"`$]+")
_NAME = re.compile(r"\$(?:([A-Za-z_]\w*)|([0-9*@#?$!_-]))")
_BRACED = re.compile(r"\$\{([A-Za-z_]\w*|[0-9]+|[@*])(\[[@*]\])?(?:(:?[-=?])|(?=\}))")
_QUOTED_BRACE = '}"'
"""The closer of ``"${…}"``: between double quotes an apostrophe inside the braces is a plain character."""
_SPECIAL = re.compile(r"[\\'\"`(){}$#]")
_ANSI_QUOTED = re.compile(r"\$'((?:[^'\\]|\\.)*+)'", re.DOTALL)
_PLAIN_DEFAULT = re.compile(r"[^\s\\'\"`${}]*")


class Lexer:
    """Reads ``text[start:end]``; ``comments`` fills while ``tokens`` runs."""

    def __init__(self, text: str, start: int, end: int, path: str) -> None:
        self._text = text
        self._at = start
        self._end = end
        self._path = path
        self._heredocs: list[HereDocument] = []
        self._awaits_delimiter: Operator | None = None
        self.comments: list[Span] = []
        self.read_before = False
        """Whether the text stands in double quotes: another shell takes the escapes off before this one reads it."""
        self.bodies: dict[int, Span] = {}
        """Here documents in which variables count, by where their ``<<`` stands."""

    def tokens(self) -> list[Token]:
        """Every token. Raises SourceError for a quote or substitution that is never closed."""
        found: list[Token] = []
        while True:
            self._skip(_SPACE)
            if self._at >= self._end:
                return found
            token = self._token()
            if token is not None:
                found.append(token)

    def _token(self) -> Token | None:
        text, at = self._text, self._at
        if newline := _NEWLINE.match(text, at, self._end):
            self._at = newline.end()
            self._skip_heredocs()
            return Operator(Span(at, newline.end()), NEWLINE)
        if comment := _COMMENT.match(text, at, self._end):
            self._at = comment.end()
            self.comments.append(Span(*comment.span()))
            return None
        if text.startswith(("<(", ">("), at):
            self._at = self._balanced(at + 1, ")", at + 2)
            return Word(Span(at, self._at), text[at : self._at], [Piece(Part.OPAQUE, at, self._at, "")])
        if text.startswith("((", at):
            self._at = self._balanced(at, ")", at + 1)
            return Word(Span(at, self._at), text[at : self._at], [Piece(Part.OPAQUE, at, self._at, "")])
        if operator := _OPERATOR.match(text, at, self._end):
            self._at = operator.end()
            found = Operator(Span(*operator.span()), operator.group())
            if found.text.lstrip("0123456789") in ("<<", "<<-"):
                self._awaits_delimiter = found
            return found
        return self._word()

    def _word(self) -> Word:
        start = end = self._at
        pieces: list[Piece] = []
        while self._at < self._end:
            before, known = self._at, len(pieces)
            self._piece(pieces)
            if self._at == before:
                break
            if len(pieces) > known:  # else a continued line, which is no part of the word when nothing follows
                end = self._at
        if self._at == start:  # a character that no rule takes: step over it, or the loop would stand still
            self._at += 1
            pieces.append(Piece(Part.OPAQUE, start, self._at, ""))
        end = max(end, self._at) if end == start else end
        word = Word(Span(start, end), self._text[start:end], pieces)
        if self._awaits_delimiter is not None:
            quoted = any(piece.quote for piece in pieces)
            self._heredocs.append(HereDocument(self._awaits_delimiter, "".join(each.text for each in pieces), quoted))
            self._awaits_delimiter = None
        return word

    def _piece(self, pieces: list[Piece]) -> None:
        text, at = self._text, self._at
        if plain := _PLAIN.match(text, at, self._end):
            self._at = plain.end()
            pieces.append(Piece(Part.LITERAL, at, plain.end(), plain.group()))
            return
        match text[at]:
            case "\\":
                self._escape(pieces)
            case "'":
                close = text.find("'", at + 1, self._end)
                if close < 0:
                    raise self._unclosed(at, "quote")
                self._at = close + 1
                pieces.append(Piece(self._part(text[at + 1 : close]), at + 1, close, text[at + 1 : close], "'"))
            case '"':
                self._at = at + 1
                self._double(pieces)
            case "`":
                self._at = self._backquote(at)
                pieces.append(Piece(Part.OPAQUE, at, self._at, ""))
            case "$":
                self._dollar(pieces, "")

    def _escape(self, pieces: list[Piece]) -> None:
        at = self._at
        if continued := _CONTINUATION.match(self._text, at, self._end):
            self._at = continued.end()
            return
        self._at = min(at + 2, self._end)
        part = self._part(self._text[at : self._at])
        pieces.append(Piece(part, at, self._at, self._text[at + 1 : self._at] or "\\"))

    def _part(self, quoted: str) -> Part:
        """What a quotation or an escape is: not its own text where the shell outside changes it first."""
        return Part.OPAQUE if self.read_before and _CHANGED_IN_DOUBLE.search(quoted) else Part.LITERAL

    def _double(self, pieces: list[Piece]) -> None:
        """The inside of ``"…"``; the opening quote is behind ``_at``."""
        opened = self._at - 1
        first = len(pieces)
        while self._at < self._end:
            at = self._at
            if inside := _IN_DOUBLE.match(self._text, at, self._end):
                self._at = inside.end()
                pieces.append(Piece(Part.LITERAL, at, inside.end(), inside.group(), '"'))
                continue
            match self._text[at]:
                case '"':
                    self._at = at + 1
                    if len(pieces) == first:
                        pieces.append(Piece(Part.LITERAL, at, at, "", '"'))
                    return
                case "\\":
                    self._escape_in_double(pieces)
                case "`":
                    self._at = self._backquote(at)
                    pieces.append(Piece(Part.OPAQUE, at, self._at, "", '"'))
                case _:
                    self._dollar(pieces, '"')
        raise self._unclosed(opened, "quote")

    def _escape_in_double(self, pieces: list[Piece]) -> None:
        at = self._at
        if continued := _CONTINUATION.match(self._text, at, self._end):
            self._at = continued.end()
            return
        self._at = min(at + 2, self._end)
        pair = self._text[at : self._at]
        literal = pair[1:] if pair[1:] in ("$", "`", '"', "\\") else pair
        pieces.append(Piece(Part.LITERAL, at, self._at, literal, '"'))

    def _dollar(self, pieces: list[Piece], quote: str) -> None:
        text, at = self._text, self._at
        if not quote and (ansi := _ANSI_QUOTED.match(text, at, self._end)):
            self._at = ansi.end()
            part = Part.OPAQUE if "\\" in ansi.group(1) else Part.LITERAL
            pieces.append(Piece(part, at + 2, ansi.end() - 1, ansi.group(1), "'"))
            return
        if not quote and text.startswith('$"', at):
            self._at = at + 2
            self._double(pieces)
            return
        if text.startswith("$(", at):
            self._at = self._balanced(at, ")", at + 2)
            pieces.append(Piece(Part.OPAQUE, at, self._at, "", quote))
            return
        if text.startswith("${", at):
            self._braced(pieces, quote)
            return
        if name := _NAME.match(text, at, self._end):
            self._at = name.end()
            part = Part.LIST if name.group(2) in ("@", "*") else Part.VARIABLE
            pieces.append(Piece(part, at, name.end(), name.group(1) or name.group(2), quote))
            return
        self._at = at + 1
        pieces.append(Piece(Part.LITERAL, at, at + 1, "$", quote))

    def _braced(self, pieces: list[Piece], quote: str) -> None:
        at = self._at
        self._at = self._balanced(at, _QUOTED_BRACE if quote else "}", at + 2)
        found = _BRACED.match(self._text, at, self._end)
        if found is None:
            pieces.append(Piece(Part.OPAQUE, at, self._at, "", quote))
            return
        name, listed, operator = found.groups()
        part = Part.LIST if listed or name in ("@", "*") else Part.VARIABLE
        default: Piece | None = None
        if operator and operator[-1] in "-=":
            start, end = found.end(), self._at - 1
            plain = _PLAIN_DEFAULT.fullmatch(self._text, start, end)
            default = Piece(Part.LITERAL if plain else Part.OPAQUE, start, end, self._text[start:end])
        pieces.append(Piece(part, at, self._at, name, quote, default))

    def _backquote(self, at: int) -> int:
        close = at + 1
        while close < self._end and self._text[close] != "`":
            close += 2 if self._text[close] == "\\" else 1
        if close >= self._end:
            raise self._unclosed(at, "backquote")
        return close + 1

    def _balanced(self, opened: int, closer: str, at: int) -> int:
        """The offset behind the ``closer`` that ends what began at ``opened``; quotes inside are respected."""
        text = self._text
        stack = [closer]
        while stack:
            found = _SPECIAL.search(text, at, self._end)
            if found is None:
                raise self._unclosed(opened, "substitution")
            at = self._step(stack, found.start(), found.group())
        return at

    def _step(self, stack: list[str], at: int, mark: str) -> int:
        """Take one special character inside a substitution; the offset to go on from."""
        mode = stack[-1]
        if mark == "\\":
            return at + 2
        if mark == mode[0]:
            stack.pop()
            return at + 1
        if mark == "`":
            return self._backquote(at)
        if mark == "$":
            return self._dollar_inside(stack, at)
        if mode == '"' or (mark, mode) == ("'", _QUOTED_BRACE):
            return at + 1
        return self._unquoted_step(stack, at, mark)

    def _dollar_inside(self, stack: list[str], at: int) -> int:
        following = self._text[at + 1 : at + 2]
        if following == "(":
            stack.append(")")
        elif following == "{":
            stack.append(_QUOTED_BRACE if stack[-1] in ('"', _QUOTED_BRACE) else "}")
        return at + 2 if following in ("(", "{", "#") else at + 1

    def _unquoted_step(self, stack: list[str], at: int, mark: str) -> int:
        text, mode = self._text, stack[-1]
        if mark == "'":
            close = text.find("'", at + 1, self._end)
            if close < 0:
                raise self._unclosed(at, "quote")
            return close + 1
        if mark == '"':
            stack.append('"')
        elif mark == "(" and mode == ")":
            stack.append(")")
        elif mark == "#" and mode == ")" and text[at - 1].isspace():
            comment = _COMMENT.match(text, at, self._end)
            return comment.end() if comment else at + 1
        return at + 1

    def _skip_heredocs(self) -> None:
        for begun in self._heredocs:
            indent = r"\t*" if begun.operator.text.endswith("-") else ""
            close = re.compile(rf"^{indent}{re.escape(begun.delimiter)}[ \t]*\r?$", re.MULTILINE).search(
                self._text, self._at, self._end
            )
            if close is not None and not begun.quoted:
                self.bodies[begun.operator.span.start] = Span(self._at, close.start())
            self._at = self._end if close is None else close.end()
        self._heredocs.clear()

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self._text, self._at, self._end):
            self._at = found.end()

    def _unclosed(self, at: int, what: str) -> SourceError:
        before = self._text[:at]
        line = len(_NEWLINE.findall(before)) + 1
        column = at - max(before.rfind("\n"), before.rfind("\r"))
        return SourceError(
            f"a {what} opens here and never closes", path=self._path, line=line, column=column, help="Close it."
        )

    def split_inside(self) -> list[Word]:
        """The words of the inside of a quoted string, split at white space as an unquoted ``$NAME`` splits it."""
        words: list[Word] = []
        pieces: list[Piece] = []
        start = self._at
        while self._at < self._end:
            at = self._at
            space = re.compile(r"(?:\s|\\(?:\r\n|\r|\n))+").match(self._text, at, self._end)
            if space is not None:
                if pieces:
                    words.append(Word(Span(start, at), self._text[start:at], pieces))
                pieces, self._at = [], space.end()
                start = self._at
                continue
            if plain := re.compile(r"[^\s\\`$]+").match(self._text, at, self._end):
                self._at = plain.end()
                pieces.append(Piece(Part.LITERAL, at, plain.end(), plain.group()))
            elif self._text[at] == "\\":
                self._escape(pieces)
            elif self._text[at] == "`":
                self._at = self._backquote(at)
                pieces.append(Piece(Part.OPAQUE, at, self._at, ""))
            else:
                self._dollar(pieces, "")
        if pieces:
            words.append(Word(Span(start, self._at), self._text[start : self._at], pieces))
        return words


_HERE_DOCUMENT = re.compile(r"\$\(\s*cat\s+<<-?[ \t]*(\w+)[ \t]*\r?\n(.*\n)[ \t]*\1\s*\)", re.DOTALL)


def here_document(text: str, start: int, end: int) -> Span | None:
    """The body of ``$(cat <<EOF … EOF)``, which is all of ``text[start:end]``; a quoted delimiter is none of these."""
    found = _HERE_DOCUMENT.fullmatch(text, start, end)
    return None if found is None else Span(*found.span(2))
