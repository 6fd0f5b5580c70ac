"""The annotated frame: a line of a file with a mark under the exact span and a few words beside it."""

from __future__ import annotations

import re
from collections.abc import Callable

from vramlint.plan import Location
from vramlint.report.text import View, display_width, printable, wrap

_LINE_END = re.compile(r"\r\n|\r|\n")
_GUTTER = 5
_LEAST_BESIDE = 30
"""Columns that must be free beside the mark for the label to stand there; otherwise it goes below."""

Texts = Callable[[str], str | None]
"""The text of a file by its path as findings spell it; None where it cannot be had."""


class Frames:
    """Draws frames; keeps the split lines of each file, since one file often has many findings."""

    def __init__(self, texts: Texts, view: View) -> None:
        self._texts = texts
        self._view = view
        self._lines: dict[str, list[str]] = {}

    def draw(self, location: Location, label: str, codes: str) -> list[str]:
        """The lines of a frame, marked in the ANSI style ``codes``; the label alone where the text is not to be had."""
        lines = self._of(location.path)
        if not 1 <= location.line <= len(lines):
            return [f"   {line}" for line in wrap(label, self._view.width - 3)]
        drawn: list[str] = []
        digits = _digits(location)
        if location.line > 1 and lines[location.line - 2].strip():
            before, _ = _window(lines[location.line - 2], 0, 0, self._view.width - digits - 3)
            drawn.append(self._view.dim(f"{location.line - 1:>{digits}} | ") + before)
        shown, place = self._marked(location, lines[location.line - 1])
        drawn.append(self._view.dim(f"{location.line:>{digits}} | ") + shown)
        gutter = self._view.dim(f"{'':>{digits}} | ")
        return [*drawn, *self._mark(gutter, digits + 3, place, label, codes)]

    def fits_beside(self, location: Location, label: str) -> bool:
        """Whether ``label`` fits on the line of the mark."""
        lines = self._of(location.path)
        if not 1 <= location.line <= len(lines):
            return True
        _, (left, length) = self._marked(location, lines[location.line - 1])
        return _digits(location) + 3 + left + length + 1 + display_width(label) <= self._view.width

    def _marked(self, location: Location, line: str) -> tuple[str, tuple[int, int]]:
        """What is shown of ``line``, and the column and length of the mark under it."""
        end = location.end_column - 1 if location.end_line == location.line else len(line)
        shown, (left, right) = _window(line, location.column - 1, end, self._view.width - _digits(location) - 3)
        return shown, (left, max(right - left, 1))

    def _mark(self, gutter: str, used: int, place: tuple[int, int], label: str, codes: str) -> list[str]:
        left, length = place
        mark = self._view.paint("^" * length, codes)
        free = self._view.width - used - left - length - 1
        if display_width(label) <= free:
            words = f" {self._view.paint(label, codes)}" if label else ""
            return [f"{gutter}{' ' * left}{mark}{words}"]
        if free >= _LEAST_BESIDE and display_width(label) <= 2 * free:
            first, *rest = wrap(label, free)
            indent = " " * (left + length + 1)
            below = [f"{gutter}{indent}{self._view.paint(line, codes)}" for line in rest]
            return [f"{gutter}{' ' * left}{mark} {self._view.paint(first, codes)}", *below]
        below = [f"{gutter}{self._view.paint(line, codes)}" for line in wrap(label, self._view.width - used)]
        return [f"{gutter}{' ' * left}{mark}", *below]

    def _of(self, path: str) -> list[str]:
        if path not in self._lines:
            text = self._texts(path)
            self._lines[path] = [] if text is None else _LINE_END.split(text)
        return self._lines[path]


def _digits(location: Location) -> int:
    return max(_GUTTER, len(str(location.line)))


def _window(line: str, start: int, end: int, width: int) -> tuple[str, tuple[int, int]]:
    """The part of ``line`` around ``[start, end)`` that fits ``width`` columns, and the columns of that span in it."""
    before, marked = printable(line[:start]), printable(line[:end])
    whole = printable(line)
    left, right = display_width(before), display_width(marked)
    if display_width(whole) <= width:
        return whole, (left, right)
    skip = 0 if right <= width - 1 else max(left - width // 3, 0)
    shown = _slice_columns(whole, skip, width)
    return shown, (min(left - skip, width - 1), min(right - skip, width - 1))


def _slice_columns(text: str, skip: int, width: int) -> str:
    """The columns ``[skip, skip + width)`` of ``text``, with an ellipsis in place of what is cut on either side.

    Marks without a width of their own leave no room for an ellipsis and go with the character they stand on.
    """
    pieces: list[str] = []
    column = 0
    for character in text:
        size = display_width(character)
        if column + size > skip + width:
            break
        if column >= skip:
            pieces.append(character)
        elif column + size > skip:
            pieces.append(" ")
        column += size
    while skip and pieces and not display_width(pieces[0]):
        pieces.pop(0)
    if skip and pieces:
        pieces[0] = _cut(pieces[0])
    if column < display_width(text) and pieces:
        cut = pieces.pop()
        while pieces and not display_width(cut):
            cut = pieces.pop()
        pieces.append(_cut(cut))
    return "".join(pieces)


def _cut(character: str) -> str:
    """An ellipsis in the columns of ``character``."""
    return "…" + " " * (display_width(character) - 1)
