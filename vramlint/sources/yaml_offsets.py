"""Where each character of a YAML string stands in the file: through indents, folded lines, escapes and quotes.

A shell script inside a job file is a YAML string; an error in its third flag is to be shown, and edited, at its own
place. The string is laid over the source character by character; where that does not work out to the last one, the
answer is None and never a guess.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vramlint.sources.model import Scalar, Span, Style

_BREAK = re.compile(r"[ \t]*(?:\r\n|\r|\n)")
_SPACES = re.compile(r"[ \t]*")
_LINE_END = re.compile(r"\r\n|\r|\n")
_INDENT = re.compile(r" *")
_HEADER = re.compile(r"[|>][-+0-9]*[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n|$)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}
_ESCAPES |= {"N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"}
_WIDE = {"x": 2, "u": 4, "U": 8}


class Offsets(NamedTuple):
    """``starts[i]`` to ``ends[i]`` is the source of character i; each line of a block begins with ``indent``."""

    starts: list[int]
    ends: list[int]
    indent: str = ""

    def place(self, span: Span) -> Span:
        """The source of the characters ``span`` of the string; an empty span stands where its next character does."""
        if not self.starts:
            return Span(0, 0)
        if span.start >= len(self.starts):
            return Span(self.ends[-1], self.ends[-1])
        start = self.starts[span.start]
        return Span(start, start if span.end <= span.start else self.ends[span.end - 1])

    def place_of_edit(self, span: Span) -> Span:
        """The source that an edit of ``span`` replaces: behind a line end also the indent of the line that follows."""
        found = self.place(span)
        follows = span.start < span.end < len(self.starts) and bool(self.indent)
        return Span(found.start, max(found.end, self.starts[span.end])) if follows else found


def offsets(text: str, scalar: Scalar, value: str) -> Offsets | None:
    """The places of the characters of ``value``, which is what ``scalar`` of the YAML file ``text`` says."""
    walk = _Walk(text, scalar, value)
    fits = walk.block() if scalar.style is Style.BLOCK else walk.flow()
    return Offsets(walk.starts, walk.ends, walk.indent) if fits else None


class _Walk:
    """Lays the string over the source. ``at`` is the place in the source; what is laid is ``value[:len(starts)]``."""

    def __init__(self, text: str, scalar: Scalar, value: str) -> None:
        self.text, self.value = text, value
        self.at, self.end = scalar.span.start, scalar.span.end
        self.style = scalar.style
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.indent = ""

    def block(self) -> bool:
        """A literal or folded block. The last line end, which ``|-`` strips, may be missing on either side."""
        header = _HEADER.match(self.text, self.at)
        if header is None:
            return False
        folded = self.text[self.at] == ">"
        lines = self._lines(header.end())
        self.indent = self._indent_of(header.group(), lines)
        width = len(self.indent)
        for number, (start, content_end, end) in enumerate(lines):
            self._characters(min(start + width, content_end), content_end)
            if len(self.starts) >= len(self.value):
                break
            joined = folded and number + 1 < len(lines)
            if not self._line_end(content_end, end, folded=joined):
                return False
        return self._complete()

    def _lines(self, start: int) -> list[tuple[int, int, int]]:
        """Start, end of the content and end of each line of the block; one line more than the span, for ``|+``."""
        found: list[tuple[int, int, int]] = []
        stop = min(len(self.text), max(self.end, start))
        while start < len(self.text) and (start <= stop and len(found) < len(self.value) + 2):
            line_end = _LINE_END.search(self.text, start)
            content_end, end = line_end.span() if line_end else (len(self.text), len(self.text))
            found.append((start, content_end, end))
            start = end
        return found

    def _indent_of(self, header: str, lines: list[tuple[int, int, int]]) -> str:
        """The indent of the first line with content. Of a block that states its indent none fits: no places then."""
        if re.search(r"[0-9]", header.split("#", 1)[0]):
            return ""
        for start, content_end, _end in lines:
            spaces = _INDENT.match(self.text, start, content_end)
            if spaces is not None and spaces.end() < content_end:
                return spaces.group()
        return ""

    def _characters(self, start: int, end: int) -> None:
        """Lay the characters of the source as they stand."""
        for place in range(start, end):
            self.starts.append(place)
            self.ends.append(place + 1)

    def _line_end(self, start: int, end: int, *, folded: bool) -> bool:
        """Lay the end of a line: a line feed, or a space where lines are folded, or nothing beside blank lines."""
        following = self.value[len(self.starts) : len(self.starts) + 1]
        if following == "\n" or (folded and following == " "):
            self.starts.append(start)
            self.ends.append(end)
            return True
        return folded  # blank lines between folded ones: one line end fewer than there are

    def flow(self) -> bool:
        """A plain or quoted string, perhaps over several lines."""
        if self.style in (Style.SINGLE, Style.DOUBLE):
            self.at, self.end = self.at + 1, self.end - 1
        while self.at < self.end:
            line_end = _BREAK.match(self.text, self.at, self.end)
            if line_end is not None:
                self._fold(line_end.start())
            elif self.style is Style.DOUBLE and self.text[self.at] == "\\":
                if not self._escape():
                    return False
            else:
                width = 2 if self.style is Style.SINGLE and self.text[self.at] == "'" else 1
                self._lay(width)
        return self._complete()

    def _lay(self, width: int, count: int = 1) -> None:
        """The next ``count`` characters of the string come from ``width`` characters of the source."""
        for _ in range(count):
            self.starts.append(self.at)
            self.ends.append(self.at + width)
        self.at += width

    def _fold(self, start: int) -> None:
        """One line end is a space; of more, the first counts nothing and each other is a line feed."""
        breaks: list[tuple[int, int]] = []
        while (found := _BREAK.match(self.text, self.at, self.end)) is not None:
            breaks.append(found.span())
            self.at = found.end()
        spaces = _SPACES.match(self.text, self.at, self.end)
        self.at = spaces.end() if spaces is not None else self.at
        if len(breaks) == 1:
            self.starts.append(start)
            self.ends.append(self.at)
            return
        for left, right in breaks[1:]:
            self.starts.append(left)
            self.ends.append(right)

    def _escape(self) -> bool:
        sign = self.text[self.at + 1 : self.at + 2]
        if sign in _WIDE:
            self._lay(2 + _WIDE[sign])
            return True
        line_end = _BREAK.match(self.text, self.at + 1, self.end)
        if line_end is None:
            self._lay(2)
            return bool(sign)
        spaces = _SPACES.match(self.text, line_end.end(), self.end)
        self.at = spaces.end() if spaces is not None else line_end.end()
        return True

    def _complete(self) -> bool:
        """Whether every character found its place, and it is the right one."""
        if len(self.starts) < len(self.value):
            return False
        del self.starts[len(self.value) :], self.ends[len(self.value) :]
        return all(map(self._agrees, self.value, self.starts, self.ends))

    def _agrees(self, character: str, start: int, end: int) -> bool:
        source = self.text[start:end]
        if source == character or (source == "''" and self.style is Style.SINGLE):
            return source == character or character == "'"
        if source[:1] == "\\" and self.style is Style.DOUBLE:
            sign = source[1:2]
            if sign in _WIDE:
                return chr(int(source[2:], 16)) == character
            return _ESCAPES.get(sign, sign) == character
        return character in " \n" and not source.strip()
