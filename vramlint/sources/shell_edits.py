"""Exact edits of shell text: the value of a flag, one flag more, one flag less, in the script's own line style."""

from __future__ import annotations

import re
import shlex

from vramlint.errors import EditRefused, SourceError
from vramlint.sources.model import (
    Document,
    Entry,
    Mapping,
    Node,
    Plain,
    Scalar,
    Sequence,
    Span,
    Style,
    TextEdit,
    Unknown,
    apply_edits,
)
from vramlint.sources.shell_reader import parse

_LINE_END = re.compile(r"\r\n|\r|\n")
_CONTINUED = re.compile(r"[ \t]*\\")
_BLANK = re.compile(r"[ \t]*(?:#[^\r\n]*)?")


def replace_value(document: Document, node: Node, value: Plain) -> TextEdit:
    """The edit that makes the word ``node`` worth ``value``, quotes kept.

    ``$NAME`` is changed where NAME is set, if nothing else reads it. Raises EditRefused.
    """
    if isinstance(node, Unknown):
        raise EditRefused(f"the value cannot be known: {node.reason}", path=document.path)
    if isinstance(node, Mapping) or node.shared:
        raise EditRefused("the value is used in more than one place", path=document.path)
    if isinstance(node, Sequence):
        return _replace_words(document, node, value)
    target = _place_of(document, node)
    if target.style is Style.EMPTY:
        if value is False:
            raise EditRefused("a bare switch has no value", path=document.path, help="Delete the switch.")
        return _checked(document, TextEdit(target.span, f" {_word(value)}"))
    return _checked(document, TextEdit(target.span, _spell(value, target)))


def insert_entry(document: Document, mapping: Mapping, key: str, value: Plain, after: str | None) -> TextEdit:
    """The edit that adds a flag, a ``key=value`` word or a variable behind ``after`` (at the end where None).

    ``True`` is a bare switch. Raises EditRefused where the flag is already there or the place is in doubt.
    """
    if mapping.entry(key) is not None:
        raise EditRefused(f"{key} is already there", path=document.path)
    if mapping.style == "environment":
        at = mapping.span.start
        return _checked(document, TextEdit(Span(at, at), f"{key}={_word(value)} "))
    neighbour = _neighbour(mapping, after)
    item = _spell_item(document, mapping, neighbour, key, value)
    if neighbour is None:
        end = mapping.span.end
        return _checked(document, TextEdit(Span(end, end), f" {item}"))
    if document.text.startswith("#SBATCH", _line_start(document.text, neighbour.span.start)):
        end = _line_end(document.text, neighbour.span.end)
        return _checked(document, TextEdit(Span(end, end), f"{_newline(document.text)}#SBATCH {item}"))
    return _checked(document, _insert_behind(document.text, neighbour, item))


def delete_entry(document: Document, mapping: Mapping, entry: Entry) -> TextEdit:
    """The edit that takes a flag and its values out, its continuation line with it. Raises EditRefused."""
    text = document.text
    if entry not in mapping.entries:
        raise EditRefused(f"{entry.key} is not part of this command", path=document.path)
    start, end = _line_start(text, entry.span.start), _line_end(text, entry.span.end)
    leading, trailing = text[start : entry.span.start], text[entry.span.end : end]
    continued = _CONTINUED.fullmatch(text, entry.span.end, end)
    if not leading.strip() and continued:
        return _checked(document, TextEdit(Span(start, _next_line(text, end)), ""))
    if not leading.strip() and _BLANK.fullmatch(trailing):
        previous = _previous_line_content(text, start)
        if previous is None:
            return _checked(document, TextEdit(Span(start, _next_line(text, end)), ""))
        return _checked(document, TextEdit(Span(previous, entry.span.end), ""))
    if leading.startswith("#SBATCH") and not leading[7:].strip() and not trailing.strip():
        return _checked(document, TextEdit(Span(start, _next_line(text, end)), ""))
    gap = len(leading) - len(leading.rstrip(" \t"))
    if gap and leading.strip():
        return _checked(document, TextEdit(Span(entry.span.start - gap, entry.span.end), ""))
    after = len(trailing) - len(trailing.lstrip(" \t"))
    return _checked(document, TextEdit(Span(entry.span.start, entry.span.end + after), ""))


def _place_of(document: Document, scalar: Scalar) -> Scalar:
    if scalar.definition is None:
        if scalar.style is Style.COMPUTED:
            raise EditRefused(f"{scalar.text} is put together from other values", path=document.path)
        return scalar
    if scalar.definition.shared:
        raise EditRefused(f"{scalar.text} is used in more than one place", path=document.path)
    return _place_of(document, scalar.definition)


def _replace_words(document: Document, node: Sequence, value: Plain) -> TextEdit:
    if not isinstance(value, list):
        raise EditRefused("several words are replaced by a list only", path=document.path)
    inside = document.text[node.span.start : node.span.end]
    if any(not isinstance(item, Scalar) or item.style is Style.COMPUTED for item in node.items) or "\n" in inside:
        raise EditRefused("the words are not spelled side by side", path=document.path)
    return _checked(document, TextEdit(node.span, " ".join(_word(item) for item in value)))


def _spell(value: Plain, like: Scalar) -> str:
    text = _plain_text(value, like.text)
    if like.style is Style.SINGLE and "'" not in text:
        return f"'{text}'"
    if like.style is Style.DOUBLE:
        return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'
    return shlex.quote(text) if text else "''"


def _plain_text(value: Plain, like: str = "") -> str:
    match value:
        case bool():
            word = str(value)
            return word.lower() if like.strip("\"'").islower() else word
        case None | dict() | list():
            raise EditRefused("a command line takes words only")
        case _:
            return str(value)


def _word(value: Plain) -> str:
    return shlex.quote(_plain_text(value))


def _spell_item(document: Document, mapping: Mapping, like: Entry | None, key: str, value: Plain) -> str:
    if mapping.style == "overrides":
        return f"{key}={_word(value)}"
    if value is True:
        return key
    words = " ".join(_word(item) for item in value) if isinstance(value, list) else _word(value)
    joined = like is not None and document.text[like.key_span.end : like.key_span.end + 1] == "="
    return f"{key}={words}" if joined and not isinstance(value, list) else f"{key} {words}"


def _insert_behind(text: str, neighbour: Entry, item: str) -> TextEdit:
    at = neighbour.span.end
    start, end = _line_start(text, neighbour.span.start), _line_end(text, at)
    indent = text[start : neighbour.span.start]
    continued = _CONTINUED.fullmatch(text, at, end)
    own_line = not indent.strip() and start > 0 and (continued or _BLANK.fullmatch(text, at, end))
    if not own_line:
        return TextEdit(Span(at, at), f" {item}")
    newline = _newline(text)
    if continued:
        return TextEdit(Span(at, at), f"{continued.group()}{newline}{indent}{item}")
    if _previous_line_content(text, start) is not None:
        return TextEdit(Span(at, at), f" \\{newline}{indent}{item}")
    # Items of an array stand on lines of their own without a backslash; a comment stays with its item.
    return TextEdit(Span(end, end), f"{newline}{indent}{item}")


def _previous_line_content(text: str, start: int) -> int | None:
    """Where the words of the previous line end, in front of its backslash; None where it does not continue."""
    if start == 0:
        return None
    end = start - 1
    if text[end - 1 : start] == "\r\n":
        end -= 1
    if text[end - 1 : end] != "\\":
        return None
    end -= 1
    while end > 0 and text[end - 1] in " \t":
        end -= 1
    return end


def _neighbour(mapping: Mapping, after: str | None) -> Entry | None:
    if after is not None and (entry := mapping.entry(after)) is not None:
        return entry
    own = [entry for entry in mapping.entries if mapping.span.start <= entry.span.start <= mapping.span.end]
    return max(own or mapping.entries, key=lambda entry: entry.span.end, default=None)


def _line_start(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def _line_end(text: str, offset: int) -> int:
    found = _LINE_END.search(text, offset)
    return found.start() if found else len(text)


def _next_line(text: str, line_end: int) -> int:
    found = _LINE_END.match(text, line_end)
    return found.end() if found else line_end


def _newline(text: str) -> str:
    found = _LINE_END.search(text)
    return found.group() if found else "\n"


def _checked(document: Document, edit: TextEdit) -> TextEdit:
    """``edit``, if the script still reads with it. Raises EditRefused."""
    try:
        edited = parse(apply_edits(document.text, [edit]), document.path)
    except SourceError as error:
        raise EditRefused(f"the edited text would not read: {error.message}", path=document.path) from None
    if len(edited.commands) != len(document.commands) and document.commands:
        raise EditRefused("the edit would change which commands run", path=document.path)
    return edit
