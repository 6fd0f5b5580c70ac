"""Edits of YAML text: one value, one entry, nothing else."""

from __future__ import annotations

from vramlint.errors import EditRefused
from vramlint.sources.braces import delete_in_braces, insert_in_braces
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
)
from vramlint.sources.places import after_break, is_blank, line_end, line_start, newline_near
from vramlint.sources.yaml_spelling import is_bool, spell, spell_string

_MAX_KEY = 1024
"""Longer keys need the explicit ``? key`` form (YAML 1.1, simple keys)."""


def replace_value(document: Document, node: Scalar, value: Plain) -> TextEdit:
    """Spell ``value`` where ``node`` stands. Refuses aliases, shared anchors, tags, block scalars and several lines."""
    if node.definition is not None:
        raise EditRefused(f"the value is the alias {node.text}: changing it would part it from its anchor")
    if node.shared:
        raise EditRefused("the value has an anchor that is used elsewhere: changing it would change those places too")
    if node.tag is not None:
        raise EditRefused(f"the value has the tag {node.tag}")
    if node.style is Style.BLOCK:
        raise EditRefused("the value is a block scalar of several lines")
    if "\n" in node.text or "\r" in node.text:
        raise EditRefused("the value runs over several lines")
    if node.style is Style.EMPTY:
        return _fill_empty(document, node, value)
    return TextEdit(node.span, spell(value, node.text, node.style, _bool_like(document, value)))


def insert_entry(document: Document, mapping: Mapping, key: str, value: Plain, after: str | None) -> TextEdit:
    """Add ``key: value`` behind the entry ``after`` (last where None), spaced and quoted as its neighbours."""
    if mapping.shared:
        raise EditRefused("the mapping has an anchor that is used elsewhere: a new key would appear there too")
    if len(key) > _MAX_KEY or not key.isprintable():
        raise EditRefused("the key cannot be written on one line")
    own = spelled(mapping)
    if any(entry.key == key for entry in own):
        raise EditRefused(f"the key {key!r} is there already")
    before = next((entry for entry in reversed(own) if entry.key == after), own[-1] if own else None)
    if mapping.style == "flow":
        merges_only_or_first = None if after is None and len(own) < len(mapping.entries) else before
        name = _spell_key(key, own, document)
        text = f"{name}{_separator(document, before, own, name)}"
        return insert_in_braces(document, mapping, merges_only_or_first, text + _spell_new(document, value, own))
    return _insert_line(document, mapping, before if after is not None else None, (key, value))


def delete_entry(document: Document, mapping: Mapping, entry: Entry) -> TextEdit:
    """Take out the lines of ``entry``. Refuses merged entries, anchors used elsewhere and the only entry of a block."""
    if entry.merged:
        raise EditRefused(f"the key {entry.key!r} comes from a merge key (<<)")
    if mapping.shared or _holds_used_anchor(entry):
        raise EditRefused("the entry has an anchor that is used elsewhere")
    if mapping.style == "flow":
        return delete_in_braces(document, mapping, entry)
    own = spelled(mapping)
    if len(own) < 2:
        raise EditRefused("the entry is the only one: its mapping would become null")
    text = document.text
    first = line_start(text, entry.span.start)
    last = _line_rest(document, entry.span.end)
    prefix = text[first : entry.span.start]
    if is_blank(prefix):
        return TextEdit(Span(first, after_break(text, last)), "")
    following = next((other for other in own if other.span.start > entry.span.end), None)
    if set(prefix) - set(" -") or following is None:
        raise EditRefused("the entry shares its line with something else")
    if not is_blank(text[last : following.span.start]):
        raise EditRefused("comments stand between the first entry of a list item and the next")
    return TextEdit(Span(entry.span.start, following.span.start), "")


def spelled(mapping: Mapping) -> list[Entry]:
    """The entries that stand in this mapping's own text."""
    return [entry for entry in mapping.entries if not entry.merged]


def _fill_empty(document: Document, node: Scalar, value: Plain) -> TextEdit:
    place = node.span.start
    before = document.text[:place].rstrip(" \t")[-1:]
    if before not in (":", "-"):
        raise EditRefused("the key has no colon behind it")
    if value is None:
        return TextEdit(node.span, "")
    text = spell(value, bool_like=_bool_like(document, value))
    rest = document.text[place : line_end(document.text, place)]
    if rest.startswith(" ") and is_blank(rest):  # "key: " with its space at the line's end
        return TextEdit(Span(place + 1, place + 1), text)
    return TextEdit(node.span, text if document.text[place - 1] in " \t" else f" {text}")


def _insert_line(document: Document, mapping: Mapping, before: Entry | None, entry: tuple[str, Plain]) -> TextEdit:
    text = document.text
    own = spelled(mapping)
    indent = _indent(document, mapping, own)
    neighbour = before or (own[-1] if own else None)
    end = before.span.end if before is not None else mapping.span.end
    newline = newline_near(text, end)
    lines = _block_lines(document, entry, indent, neighbour, own)
    if end and text[end - 1] in "\r\n":
        return TextEdit(Span(end, end), "".join(line + newline for line in lines))
    place = _behind_deeper_comments(document, _line_rest(document, end), len(indent))
    if not text:
        return TextEdit(Span(0, 0), newline.join(lines) + newline)
    if place == len(text) and _ends_in_open_block(before.value if before is not None else mapping):
        raise EditRefused("the file ends in a block scalar without a line break: a break would become part of it")
    return TextEdit(Span(place, place), newline + newline.join(lines))


def _ends_in_open_block(node: Node) -> bool:
    """Whether the last scalar of ``node`` is a block scalar that would take in one more line break."""
    while isinstance(node, (Mapping, Sequence)):
        children = node.items if isinstance(node, Sequence) else [entry.value for entry in spelled(node)]
        if not children:
            return False
        node = children[-1]
    return isinstance(node, Scalar) and node.style is Style.BLOCK and "-" not in node.text.splitlines()[0]


def _block_lines(
    document: Document, entry: tuple[str, Plain], indent: str, before: Entry | None, own: list[Entry]
) -> list[str]:
    key, value = entry
    name = _spell_key(key, own, document)
    if isinstance(value, dict) and value:
        step = _indent_step(document)
        lines = [f"{indent}{name}:"]
        for inner in value.items():
            lines.extend(_block_lines(document, inner, indent + " " * step, None, own))
        return lines
    return [f"{indent}{name}{_separator(document, before, own, name)}{_spell_new(document, value, own)}"]


def _indent(document: Document, mapping: Mapping, own: list[Entry]) -> str:
    """The spaces before a new key. The first key may stand behind ``- ``: dashes count as spaces."""
    text = document.text
    if not mapping.entries:
        return ""
    for start in (mapping.span.start, *(entry.span.start for entry in own)):
        prefix = text[line_start(text, start) : start]
        if not set(prefix) - set(" -"):
            return " " * len(prefix)
    raise EditRefused("no entry of the mapping begins a line")


def _indent_step(document: Document) -> int:
    """Spaces a level of the file, from its first nested block mapping; 2 where there is none."""
    text = document.text
    for outer in document.mappings():
        for entry in outer.entries:
            inner = entry.value
            if not isinstance(inner, Mapping) or inner.style != "block" or outer.style != "block" or entry.merged:
                continue
            step = inner.span.start - line_start(text, inner.span.start)
            step -= entry.span.start - line_start(text, entry.span.start)
            if 0 < step <= 8:
                return step
    return 2


def _line_rest(document: Document, end: int) -> int:
    """The end of the line behind ``end``, where only a comment may follow."""
    rest = line_end(document.text, end)
    behind = document.text[end:rest].strip()
    if behind and not behind.startswith("#"):
        raise EditRefused("something else follows on the same line")
    return rest


def _behind_deeper_comments(document: Document, place: int, column: int) -> int:
    """Pass comment lines indented deeper than the new key: they belong to the value above."""
    text = document.text
    while place < len(text):
        start = after_break(text, place)
        end = line_end(text, start)
        line = text[start:end]
        body = line.lstrip(" ")
        if not body.startswith("#") or len(line) - len(body) <= column:
            break
        place = end
    return place


def _spell_key(key: str, own: list[Entry], document: Document) -> str:
    quotes = {document.text[entry.key_span.start : entry.key_span.start + 1] for entry in own}
    if quotes == {'"'}:
        return spell_string(key, style=Style.DOUBLE)
    if quotes == {"'"}:
        return spell_string(key, style=Style.SINGLE)
    return spell_string(key)


def _separator(document: Document, before: Entry | None, own: list[Entry], name: str) -> str:
    """What stands between key and value: the neighbour's, with the values' common column kept where there is one."""
    text = document.text
    gaps = [(entry, gap) for entry in own if (gap := _gap(text, entry)) is not None]
    if not gaps:
        return ": "
    chosen = next((gap for entry, gap in gaps if entry is before), gaps[-1][1])
    if chosen.endswith(":"):  # {"a":1}: only after a quoted key
        return chosen if name.startswith('"') else ": "
    columns = {entry.value.span.start - line_start(text, entry.span.start) for entry, _gap_text in gaps}
    widths = {len(gap) for _entry, gap in gaps}
    head = chosen[: chosen.index(":") + 1]
    if len(gaps) < 2 or len(columns) > 1 or len(widths) == 1:
        return head + " " if len(widths) > 1 else chosen
    indent = gaps[-1][0].span.start - line_start(text, gaps[-1][0].span.start)
    column = columns.pop()
    if head == ":":
        return ":" + " " * max(1, column - indent - len(name) - 1)
    return " " * max(1, column - indent - len(name) - 2) + ": "


def _gap(text: str, entry: Entry) -> str | None:
    """The text between key and value where the value stands on the key's line; None where it does not."""
    value = entry.value
    if isinstance(value, Scalar) and value.style is Style.EMPTY:
        return None
    gap = text[entry.key_span.end : value.span.start] if value.span.start >= entry.key_span.end else ""
    return gap if gap.strip(" ") == ":" else None


def _spell_new(document: Document, value: Plain, own: list[Entry]) -> str:
    """A value without a predecessor: bools as the file's, strings quoted as the neighbours'."""
    if isinstance(value, str):
        styles = [entry.value.style for entry in own if isinstance(entry.value, Scalar) and _is_text(entry.value)]
        if styles and all(style is Style.SINGLE for style in styles):
            return spell_string(value, style=Style.SINGLE)
        if styles and all(style is Style.DOUBLE for style in styles):
            return spell_string(value, style=Style.DOUBLE)
        return spell_string(value, quote="'" if Style.SINGLE in styles and Style.DOUBLE not in styles else '"')
    return spell(value, bool_like=_bool_like(document, value))


def _is_text(node: Scalar) -> bool:
    return isinstance(node.value, str) and node.style in (Style.PLAIN, Style.SINGLE, Style.DOUBLE)


def _bool_like(document: Document, value: Plain) -> str:
    """The first bool of the file as it is spelled (``true``, ``True``, ``yes``), where ``value`` may need one."""
    if not isinstance(value, (bool, list, dict)):
        return "true"
    for mapping in document.mappings():
        for entry in mapping.entries:
            found = entry.value
            if isinstance(found, Scalar) and found.style is Style.PLAIN and is_bool(found.text):
                return found.text
    return "true"


def _holds_used_anchor(entry: Entry) -> bool:
    """Whether something under ``entry`` is named by an alias elsewhere (aliases inside it are only uses)."""
    pending: list[Node] = [entry.value]
    while pending:
        node = pending.pop()
        inside = entry.span.start <= node.span.start < entry.span.end
        if isinstance(node, Unknown) or not inside:
            continue
        if node.shared and not (isinstance(node, Scalar) and node.definition is not None):
            return True
        if isinstance(node, Mapping):
            pending.extend(inner.value for inner in node.entries)
        elif isinstance(node, Sequence):
            pending.extend(node.items)
    return False
