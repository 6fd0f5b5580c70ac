"""Lines, tokens and line ends around an offset: what an edit must know of the text besides the tree."""

from __future__ import annotations

import bisect

from vramlint.sources.model import Document


def line_start(text: str, offset: int) -> int:
    """The first character of the line that holds ``offset``."""
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def line_end(text: str, offset: int) -> int:
    """The line break at or behind ``offset`` (or the end of the text)."""
    ends = [found for found in (text.find("\n", offset), text.find("\r", offset)) if found >= 0]
    return min(ends, default=len(text))


def after_break(text: str, offset: int) -> int:
    """The character behind the line break that stands at ``offset``; ``offset`` itself where none does."""
    if text.startswith("\r\n", offset):
        return offset + 2
    return offset + 1 if text[offset : offset + 1] in ("\n", "\r") else offset


def newline_near(text: str, offset: int) -> str:
    """The line break to write at ``offset``: that of its own line, else of the line before, else ``\\n``."""
    end = line_end(text, offset)
    if end == len(text):
        start = line_start(text, offset)
        end = start - (2 if text[:start].endswith("\r\n") else 1)
    return text[end : after_break(text, end)] or "\n" if end >= 0 else "\n"


def is_blank(text: str) -> bool:
    """Whether ``text`` is white space or nothing."""
    return not text or text.isspace()


def next_token(document: Document, offset: int) -> int:
    """The first character at or behind ``offset`` that is neither white space nor comment."""
    text, comments = document.text, document.comments
    index = bisect.bisect_left(comments, offset, key=lambda comment: comment.span.start)
    while offset < len(text):
        if index < len(comments) and comments[index].span.start == offset:
            offset = comments[index].span.end
            index += 1
        elif text[offset].isspace():
            offset += 1
        else:
            break
    return offset


def previous_token(document: Document, offset: int) -> int:
    """The last character before ``offset`` that is neither white space nor comment; -1 where there is none."""
    text, comments = document.text, document.comments
    index = bisect.bisect_left(comments, offset, key=lambda comment: comment.span.end + 1) - 1
    position = offset - 1
    while position >= 0:
        if index >= 0 and comments[index].span.end == position + 1:
            position = comments[index].span.start - 1
            index -= 1
        elif text[position].isspace():
            position -= 1
        else:
            break
    return position
