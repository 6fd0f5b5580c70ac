"""Exact edits of Python text: one value, one new setting, one setting less, and every other character as it was.

Each edit is tried on the text before it is handed out: what no longer parses is refused.
"""

from __future__ import annotations

import ast
import re
import warnings

from vramlint.errors import EditRefused
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
from vramlint.sources.python_spelling import is_literal_expression, spell

_LINE_END = re.compile(r"\r\n|\r|\n")
_BLANK = re.compile(r"[ \t\f]*(?:#[^\r\n]*)?")
_COMMENT = re.compile(r"#[^\r\n]*")
_GAP = re.compile(r"(?:[ \t\f\r\n]|\\\r?\n|#[^\r\n]*)*")
"""What may stand between an item and the comma behind it."""
_TYPE_NAMES = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}


def replace_value(document: Document, node: Node, value: Plain) -> TextEdit:
    """The edit that makes ``node`` worth ``value``.

    A name that stands for one literal elsewhere is changed at that literal, if nothing else depends on it. Raises
    EditRefused for a shared or computed value, and for one of another file.
    """
    target = _place_of(node)
    text = document.text[target.span.start : target.span.end]
    if text != _text_of(document, target):
        raise EditRefused("the value is spelled in another file", path=document.path)
    like = "" if isinstance(target, Scalar) and target.style is Style.COMPUTED else text
    return _checked(document, TextEdit(target.span, spell(value, like)))


def insert_entry(document: Document, mapping: Mapping, key: str, value: Plain, after: str | None) -> TextEdit:
    """The edit that adds ``key`` to ``mapping`` behind ``after``: an attribute, an assignment, a keyword or a key.

    Raises EditRefused where the place is shared with other code or lies in another file.
    """
    if mapping.shared:
        raise EditRefused("the mapping is used in more than one place", path=document.path)
    if key in {entry.key for entry in _own(mapping)}:
        raise EditRefused(f"{key} is already there", path=document.path)
    neighbour = _neighbour(mapping, after)
    match mapping.style:
        case "class" | "module":
            edit = _insert_line(document, mapping, neighbour, key, value)
        case "call" | "flow":
            edit = _insert_item(document, mapping, neighbour, key, value)
        case _:
            raise EditRefused("nothing can be inserted here", path=document.path)
    return _checked(document, edit)


def delete_entry(document: Document, mapping: Mapping, entry: Entry) -> TextEdit:
    """The edit that takes ``entry`` out of ``mapping``, its line and comment with it where it has its own line.

    Raises EditRefused for an inherited entry or one that shares its line with other code.
    """
    if entry.merged or mapping.shared:
        raise EditRefused(f"{entry.key} is not spelled here", path=document.path)
    if mapping.style in ("class", "module"):
        return _delete_line(document, entry)
    if entry not in _own(mapping):
        raise EditRefused("a declared option is taken out by hand", path=document.path)
    return _checked(document, _delete_item(document, mapping, entry))


# The value in place


def _place_of(node: Node) -> Scalar | Sequence | Mapping:
    match node:
        case Unknown(reason=reason):
            raise EditRefused(f"the value cannot be known: {reason}")
        case Sequence() | Mapping():
            if node.shared:
                raise EditRefused("the value is used in more than one place")
            return node
        case Scalar():
            return _place_of_scalar(node)


def _place_of_scalar(scalar: Scalar) -> Scalar:
    if scalar.shared:
        raise EditRefused(f"{scalar.text or 'the value'} is used in more than one place", help="Change it by hand.")
    if scalar.style is Style.EMPTY:
        raise EditRefused("the value is implied, not written", help="Write it out by hand.")
    if scalar.definition is not None:
        return _place_of_scalar(scalar.definition)
    if scalar.style is Style.COMPUTED and not is_literal_expression(scalar.text):
        raise EditRefused(f"{scalar.text} is computed from other settings", help="Change those by hand.")
    return scalar


def _text_of(document: Document, node: Scalar | Sequence | Mapping) -> str:
    return node.text if isinstance(node, Scalar) else document.text[node.span.start : node.span.end]


# Lines: attributes and assignments


def _insert_line(document: Document, mapping: Mapping, neighbour: Entry | None, key: str, value: Plain) -> TextEdit:
    if not key.isidentifier():
        raise EditRefused(f"{key} is no name in Python", path=document.path)
    text = document.text
    if neighbour is None:
        return _insert_first_line(document, mapping, key, value)
    start, end = _line_start(text, neighbour.key_span.start), _line_end(text, neighbour.span.end)
    prefix = text[start : neighbour.key_span.start]
    if prefix.strip() not in ("", "self.") or not _BLANK.fullmatch(text, neighbour.span.end, end):
        raise EditRefused("the line holds other code too", path=document.path)
    between = text[neighbour.key_span.end : neighbour.span.end]
    annotation = _annotation(value, document) if between.lstrip().startswith(":") else ""
    equals = "=" if re.match(r"=\S", between) else " = "
    return TextEdit(Span(end, end), f"{_newline(text)}{prefix}{key}{annotation}{equals}{spell(value)}")


def _insert_first_line(document: Document, mapping: Mapping, key: str, value: Plain) -> TextEdit:
    """Into a class or module without settings: behind the docstring, else in front of the first statement."""
    text, newline = document.text, _newline(document.text)
    body, is_class = _body_at(document, mapping)
    line = f"{key}{_annotation(value, document) if is_class else ''} = {spell(value)}"
    if not body:
        return TextEdit(Span(len(text), len(text)), f"{line}{newline}")
    first = body[0]
    starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
    start = starts[first.lineno - 1]
    indent = re.match(r"[ \t\f]*", text[start:])
    docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    if docstring:
        end = _line_end(text, starts[(first.end_lineno or first.lineno) - 1])
        return TextEdit(Span(end, end), f"{newline}{indent.group() if indent else ''}{line}")
    return TextEdit(Span(start, start), f"{indent.group() if indent else ''}{line}{newline}")


def _body_at(document: Document, mapping: Mapping) -> tuple[list[ast.stmt], bool]:
    tree = ast.parse(document.text)
    if mapping.style == "module":
        return tree.body, False
    line = document.position(mapping.span.start).line
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.lineno == line:
            return node.body, True
    raise EditRefused("the class is not in this file", path=document.path)


def _annotation(value: Plain, document: Document) -> str:
    if value is None:
        raise EditRefused("the type of None cannot be guessed", path=document.path)
    return f": {_TYPE_NAMES[type(value)]}"


def _delete_line(document: Document, entry: Entry) -> TextEdit:
    text = document.text
    start, end = _line_start(text, entry.span.start), _line_end(text, entry.span.end)
    if text[start : entry.key_span.start].strip() not in ("", "self.") or not _BLANK.fullmatch(
        text, entry.span.end, end
    ):
        raise EditRefused("the line holds other code too", path=document.path)
    newline = _LINE_END.match(text, end)
    whole = TextEdit(Span(start, newline.end() if newline else end), "")
    try:
        return _checked(document, whole)
    except EditRefused:
        # The only statement of a body: something must stay there.
        prefix = text[start : entry.span.start]
        statement = start + len(prefix) - len(prefix.lstrip())
        return _checked(document, TextEdit(Span(statement, entry.span.end), "pass"))


# Items: keyword arguments and dictionary keys


def _insert_item(document: Document, mapping: Mapping, neighbour: Entry | None, key: str, value: Plain) -> TextEdit:
    text = document.text
    own = _own(mapping)
    item = _spell_item(document, mapping, own[0] if neighbour is None and own else neighbour, key, value)
    if neighbour is None:
        end = mapping.span.end - 1
        return TextEdit(Span(end, end), item)
    value_end = _item_end(text, neighbour)
    if value_end >= mapping.span.end:
        raise EditRefused("a lone generator takes no second argument", path=document.path)
    gap = _GAP.match(text, value_end)
    behind = gap.end() if gap else value_end
    comma = behind if text[behind : behind + 1] == "," else None
    if not _has_own_line(text, mapping, neighbour):
        at = value_end if comma is None else comma
        return TextEdit(Span(at, at), f", {item}")
    indent = _indent(text, neighbour.span.start)
    newline = _newline(text)
    if comma is None:
        line_end = _line_end(text, value_end)
        rest = text[value_end:line_end]
        if not _BLANK.fullmatch(rest):
            return TextEdit(Span(value_end, value_end), f",{newline}{indent}{item}")
        return TextEdit(Span(value_end, line_end), f",{rest}{newline}{indent}{item}")
    line_end = _line_end(text, comma)
    if not _BLANK.fullmatch(text, comma + 1, line_end):
        return TextEdit(Span(comma, comma), f", {item}")
    return TextEdit(Span(line_end, line_end), f"{newline}{indent}{item},")


def _spell_item(document: Document, mapping: Mapping, like: Entry | None, key: str, value: Plain) -> str:
    text = document.text
    if mapping.style == "call":
        if not key.isidentifier():
            raise EditRefused(f"{key} is no keyword in Python", path=document.path)
        spaced = like is not None and text[like.key_span.end : like.key_span.end + 1].isspace()
        return f"{key} = {spell(value)}" if spaced else f"{key}={spell(value)}"
    key_like = text[like.key_span.start : like.key_span.end] if like is not None else '"'
    return f"{spell(key, key_like)}: {spell(value, key_like if isinstance(value, str) else '')}"


def _delete_item(document: Document, mapping: Mapping, entry: Entry) -> TextEdit:
    text = document.text
    own = _own(mapping)
    index = own.index(entry)
    value_end = _item_end(text, entry)
    gap = _GAP.match(text, value_end)
    behind = gap.end() if gap else value_end
    comma_end = behind + 1 if text[behind : behind + 1] == "," else None
    line_start = _line_start(text, entry.span.start)
    line_end = _line_end(text, comma_end or value_end)
    alone = not text[line_start : entry.span.start].strip() and bool(
        _BLANK.fullmatch(text, comma_end or value_end, line_end)
    )
    if alone:
        newline = _LINE_END.match(text, line_end)
        return TextEdit(Span(line_start, newline.end() if newline else line_end), "")
    if comma_end is not None and index + 1 < len(own):
        next_start = own[index + 1].span.start
        if "#" in text[comma_end:next_start]:
            raise EditRefused("a comment would go with it", path=document.path)
        return TextEdit(Span(entry.span.start, next_start), "")
    if index == 0:
        return TextEdit(Span(entry.span.start, comma_end or value_end), "")
    start = _item_end(text, own[index - 1])
    if "#" in text[start : entry.span.start]:
        raise EditRefused("a comment would go with it", path=document.path)
    return TextEdit(Span(start, value_end), "")


def _item_end(text: str, entry: Entry) -> int:
    """The end of an item, a parenthesis around the value of a dictionary included (``ast`` leaves it out)."""
    opened = _COMMENT.sub("", text[entry.key_span.end : _value_start(entry)]).count("(")
    opened -= text.count(")", _value_end(entry), entry.span.end)
    end = entry.span.end
    while opened > 0:
        found = text.find(")", end)
        if found < 0:
            break
        end, opened = found + 1, opened - 1
    return end


def _value_end(entry: Entry) -> int:
    value = entry.value.span
    return value.end if entry.span.start <= value.start and value.end <= entry.span.end else entry.span.end


def _value_start(entry: Entry) -> int:
    value = entry.value.span
    return value.start if entry.span.start <= value.start <= entry.span.end else entry.key_span.end


def _has_own_line(text: str, mapping: Mapping, entry: Entry) -> bool:
    """Whether items stand one a line here, judged by ``entry``."""
    start = _line_start(text, entry.span.start)
    if not text[start : entry.span.start].strip():
        return True
    others = [other for other in _own(mapping) if other is not entry]
    shares = any(start <= other.span.start < _line_end(text, entry.span.end) for other in others)
    spread = any(other.span.start > _line_end(text, entry.span.end) for other in others)
    return spread and not shares


def _indent(text: str, offset: int) -> str:
    """White space as wide as what stands in front of ``offset`` on its line."""
    start = _line_start(text, offset)
    return "".join(character if character == "\t" else " " for character in text[start:offset])


# Common


def _own(mapping: Mapping) -> list[Entry]:
    """The entries spelled inside ``mapping``: not inherited, not set from outside later on."""
    span = mapping.span
    return [
        entry
        for entry in mapping.entries
        if not entry.merged and span.start <= entry.span.start and entry.span.end <= span.end
    ]


def _neighbour(mapping: Mapping, after: str | None) -> Entry | None:
    own = _own(mapping)
    if after is not None:
        for entry in reversed(own):
            if entry.key == after:
                return entry
    return max(own, key=lambda entry: entry.span, default=None)


def _line_start(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def _line_end(text: str, offset: int) -> int:
    found = _LINE_END.search(text, offset)
    return found.start() if found else len(text)


def _newline(text: str) -> str:
    found = _LINE_END.search(text)
    return found.group() if found else "\n"


def _checked(document: Document, edit: TextEdit) -> TextEdit:
    """``edit``, if the text still parses with it. Raises EditRefused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(apply_edits(document.text, [edit]))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise EditRefused(f"the edited text would not parse: {error}", path=document.path) from None
    return edit
