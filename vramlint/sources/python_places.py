"""From the positions of :mod:`ast` to characters of the text.

``ast`` counts lines (CR, LF and CRLF each end one) and, inside a line, bytes of UTF-8. Everything else in vramlint
counts characters of the whole text.
"""

from __future__ import annotations

import ast
import re
from array import array
from bisect import bisect_left

from vramlint.patterns import later
from vramlint.sources.model import Comment, Span

_LINE_END = later(r"\r\n|\r|\n")

_STRING_OR_COMMENT = later(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+"""'
    r"|'''(?:[^'\\]++|\\.|'(?!''))*+'''"
    r'|"(?:[^"\\\r\n]++|\\(?:\r\n|.))*+"'
    r"|'(?:[^'\\\r\n]++|\\(?:\r\n|.))*+'"
    r"|#[^\r\n]*+",
    re.DOTALL,
)
"""Strings are matched only to be stepped over. A raw string ends where a plain one of the same text would."""


class Places:
    """Spans of the nodes of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
        self._ascii = text.isascii()
        self._bytes_before: dict[int, array[int]] = {}

    def span(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> Span:
        """The characters of ``node``."""
        end_line = node.end_lineno or node.lineno
        end_column = node.end_col_offset or node.col_offset
        return Span(self.offset(node.lineno, node.col_offset), self.offset(end_line, end_column))

    def offset(self, line: int, byte_column: int) -> int:
        """The character at byte ``byte_column`` (0-based) of ``line`` (1-based)."""
        start = self._starts[line - 1]
        if self._ascii:
            return start + byte_column
        return start + bisect_left(self._byte_table(line), byte_column)

    def _byte_table(self, line: int) -> array[int]:
        """Bytes in front of each character of ``line``; kept, since a one-line file asks for it once per node."""
        table = self._bytes_before.get(line)
        if table is None:
            end = self._starts[line] if line < len(self._starts) else len(self.text)
            table = array("L", [0])
            total = 0
            for character in self.text[self._starts[line - 1] : end]:
                code = ord(character)
                total += 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
                table.append(total)
            self._bytes_before[line] = table
        return table


def comments(text: str) -> list[Comment]:
    """Every comment of a Python text that parses."""
    if "#" not in text:
        return []
    return [
        Comment(Span(*found.span()), found.group())
        for found in _STRING_OR_COMMENT.finditer(text)
        if found.group().startswith("#")
    ]
