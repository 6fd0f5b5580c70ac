"""Words and numbers that every text format shares: colours, display width, GiB, counts."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from vramlint.hardware.model import GIB, MIB
from vramlint.memory.model import Interval
from vramlint.patterns import later

DEFAULT_WIDTH = 120
_TAB = 4
_ELLIPSIS = "…"
_RESET = "\x1b[0m"
_HIDDEN = {
    **{code: 0x2400 + code for code in range(0x20)},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys((*range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF), 0xFFFD),
}
"""Control and bidirectional characters and what is shown for them: a file under review must not steer the terminal."""


class View(NamedTuple):
    """How text is shown: with ANSI colours or not, and in how many columns."""

    colour: bool = False
    width: int = DEFAULT_WIDTH

    def paint(self, text: str, codes: str) -> str:
        """``text`` in the ANSI style ``codes`` (``1;31``), or as it is without colour."""
        return f"\x1b[{codes}m{text}{_RESET}" if self.colour and text else text

    def bold(self, text: str) -> str:
        return self.paint(text, "1")

    def dim(self, text: str) -> str:
        return self.paint(text, "2")


def printable(text: str) -> str:
    """``text`` with tabs expanded to the next multiple of four columns and control characters made visible."""
    if text.isascii() and text.isprintable():
        return text
    pieces: list[str] = []
    column = 0
    for character in text:
        piece = " " * (_TAB - column % _TAB) if character == "\t" else character.translate(_HIDDEN)
        pieces.append(piece)
        column += display_width(piece)
    return "".join(pieces)


def display_width(text: str) -> int:
    """Columns that ``text`` takes in a terminal: two for wide East Asian characters and emoji, none for marks."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: str, width: int) -> str:
    """``text`` cut to ``width`` columns, the cut marked by an ellipsis."""
    if display_width(text) <= width:
        return text
    kept = ""
    for character in text:
        if display_width(kept + character) > width - 1:
            break
        kept += character
    return kept + _ELLIPSIS


_TOGETHER = later(r"\([^()]{1,24}\)|\d (?:GiB|GPUs?|steps?|batches|tokens|px)\b")
"""What reads badly when a line breaks inside it: a short parenthesis, a number and its unit."""


def wrap(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns, broken at spaces; a longer word keeps a line for itself."""
    bound = _TOGETHER.sub(lambda match: match[0].replace(" ", "\0"), text.replace("\0", " "))
    return [line.replace("\0", " ") for line in _broken(bound, width)]


def _broken(text: str, width: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in text.split():
        candidate = f"{line} {word}" if line else word
        if line and display_width(candidate) > width:
            lines.append(line)
            line = word
        else:
            line = candidate
    return [*lines, line] if line else lines


def gib(count_bytes: int) -> str:
    """Bytes as GiB (2^30) with the digits that matter: ``0.034``, ``0.62``, ``6.9``, ``116.4``."""
    value = count_bytes / GIB
    size = abs(value)
    if size >= 0.95 or size == 0:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.095 else f"{value:.3f}"


def size(count_bytes: int) -> str:
    """Bytes with the unit that suits them: ``6.9 GiB``, ``16 MiB``, ``0.2 MiB``."""
    mib = count_bytes / MIB
    if abs(mib) >= 100:
        return f"{gib(count_bytes)} GiB"
    return f"{mib:.0f} MiB" if abs(mib) >= 9.95 else f"{mib:.1f} MiB"


def gib_range(interval: Interval) -> str:
    """The bounds of an interval in GiB: ``6.4 to 7.4``."""
    return f"{gib(interval.low)} to {gib(interval.high)}"


def percent(part: int, whole: int) -> str:
    """``part`` of ``whole`` in whole percent, ``88 %``; from ten times on as a factor, ``79x``."""
    if not whole:
        return "-"
    return f"{100 * part / whole:.0f} %" if part < 10 * whole else f"{part / whole:.0f}x"


def count(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: ``1 file``, ``3 files``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def bar(part: int, whole: int, width: int) -> str:
    """A bar of at most ``width`` columns, in eighths of a column; never empty for a positive ``part``."""
    eighths = round(8 * width * part / whole) if whole > 0 else 0
    eighths = min(max(eighths, 1 if part > 0 else 0), 8 * width)
    full, rest = divmod(eighths, 8)
    return "█" * full + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[rest]
