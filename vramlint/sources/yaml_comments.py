"""The comments of a YAML text: every ``#`` that stands in no scalar."""

from __future__ import annotations

import bisect
import re

from vramlint.sources.model import Comment, Span

_LINE_REST = re.compile(r"[^\r\n\x85\u2028\u2029]*")
_MAY_PRECEDE = " \t\r\n\x85\u2028\u2029,[]{}\"'"


def find_comments(text: str, starts: list[int], ends: list[int], block_starts: set[int]) -> list[Comment]:
    """All comments in order. ``starts`` and ``ends`` are the scalars' places in order, keys included.

    A block scalar's place begins at its ``|``: a comment on that header line is one, a ``#`` below is content.
    """
    comments: list[Comment] = []
    position = text.find("#")
    while position >= 0:
        inside = bisect.bisect_right(starts, position) - 1
        if inside >= 0 and position < ends[inside] and not _on_header(text, starts[inside], position, block_starts):
            position = text.find("#", ends[inside])
            continue
        if position and text[position - 1] not in _MAY_PRECEDE:  # part of an anchor, a tag or a directive
            position = text.find("#", position + 1)
            continue
        rest = _LINE_REST.match(text, position)
        end = rest.end() if rest is not None else len(text)
        comments.append(Comment(Span(position, end), text[position:end]))
        position = text.find("#", end)
    return comments


def _on_header(text: str, start: int, position: int, block_starts: set[int]) -> bool:
    rest = _LINE_REST.match(text, start)
    return start in block_starts and rest is not None and position < rest.end()
