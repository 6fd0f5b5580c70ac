"""Inserting into and deleting from ``{a: 1, b: 2}``: YAML flow mappings, JSON objects, TOML inline tables."""

from __future__ import annotations

from vramlint.errors import EditRefused
from vramlint.sources.model import Document, Entry, Mapping, Span, TextEdit
from vramlint.sources.places import (
    after_break,
    is_blank,
    line_end,
    line_start,
    newline_near,
    next_token,
    previous_token,
)


def insert_in_braces(document: Document, mapping: Mapping, before: Entry | None, entry_text: str) -> TextEdit:
    """Add ``entry_text`` behind ``before`` (first where None), on its own line where ``before`` has one."""
    text = document.text
    require_braces(document, mapping)
    if before is None:
        return _insert_first(document, mapping, entry_text)
    end = before.span.end
    start_of_line = line_start(text, before.span.start)
    indent = text[start_of_line : before.span.start]
    comma = next_token(document, end)
    rest = line_end(text, end)
    if text[comma] != ",":
        if is_blank(indent) and rest <= comma:
            return TextEdit(Span(end, rest), f",{text[end:rest]}{newline_near(text, end)}{indent}{entry_text}")
        return TextEdit(Span(end, end), f"{_comma(document, before)}{entry_text}")
    following = next_token(document, comma + 1)
    rest = line_end(text, comma + 1)
    if is_blank(indent) and rest <= following and not _inside_comment(document, rest):
        return TextEdit(Span(rest, rest), f"{newline_near(text, comma)}{indent}{entry_text},")
    return TextEdit(Span(end, end), f"{_comma(document, before)}{entry_text}")


def delete_in_braces(document: Document, mapping: Mapping, entry: Entry) -> TextEdit:
    """Take out ``entry`` with one comma, and its line where it stands alone on it."""
    text = document.text
    require_braces(document, mapping)
    start, end = entry.span
    comma = next_token(document, end)
    if text[comma] == ",":
        following = next_token(document, comma + 1)
        rest = line_end(text, comma + 1)
        first = line_start(text, start)
        if rest <= following and is_blank(text[first:start]) and not _inside_comment(document, rest):
            return TextEdit(Span(first, after_break(text, rest)), "")
        kept = following if following < rest and not _has_comment(document, comma + 1, following) else comma + 1
        return TextEdit(Span(start, kept), "")
    previous = previous_token(document, start)
    if text[previous] != ",":
        return TextEdit(Span(start, end), "")
    between = text[previous + 1 : start]
    kept_text = between.rstrip() if not is_blank(between) else ""
    if kept_text and line_end(text, end) > comma:
        raise EditRefused("a comment before the entry would swallow the closing brace")
    return TextEdit(Span(previous, end), kept_text)


def require_braces(document: Document, mapping: Mapping) -> None:
    """Raise EditRefused for the one mapping without braces in flow style: ``[a: 1]``."""
    if document.text[mapping.span.start : mapping.span.start + 1] != "{":
        raise EditRefused("a single pair inside a list has no braces to add to")


def _insert_first(document: Document, mapping: Mapping, entry_text: str) -> TextEdit:
    inside = mapping.span.start + 1
    following = next_token(document, inside)
    if document.text[following] != "}":
        return TextEdit(Span(inside, inside), f"{entry_text}, ")
    gap = " " if document.text[inside] in "#/" else ""
    return TextEdit(Span(inside, inside), f"{entry_text}{gap}")


def _comma(document: Document, before: Entry) -> str:
    """``, `` or ``,``, as the neighbour before writes it."""
    previous = previous_token(document, before.span.start)
    written = document.text[previous : before.span.start]
    return written if written[:1] == "," and set(written[1:]) <= {" "} else ", "


def _inside_comment(document: Document, offset: int) -> bool:
    return any(comment.span.start < offset < comment.span.end for comment in document.comments)


def _has_comment(document: Document, start: int, end: int) -> bool:
    return any(start <= comment.span.start < end for comment in document.comments)
