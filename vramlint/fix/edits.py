"""A repair of the plan as edits of the files: each change goes through the slot that a dialect gave for its fact."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from vramlint.dialects.model import Reading, Slot
from vramlint.errors import EditRefused
from vramlint.findings import FileEdit, Fix
from vramlint.plan import Location
from vramlint.rule import Change, Repair, Safety
from vramlint.sources import delete_entry, insert_entry, replace_value
from vramlint.sources.model import Document, Entry, Mapping, Plain, Scalar, Span, Style, Syntax, TextEdit

_LONGEST_CHAIN = 10
"""References from one constant to the next that are followed; more are a circle."""


class Replaced(NamedTuple):
    """The scalar ``node`` gets the value ``value``; ``via`` is the setting that refers to it, where one does."""

    node: Scalar
    value: Plain
    via: Scalar | None = None


class Inserted(NamedTuple):
    """``parent`` gets the entry ``key: value``."""

    parent: Mapping
    key: str
    value: Plain


class Deleted(NamedTuple):
    """``parent`` loses ``entry``."""

    parent: Mapping
    entry: Entry


Intent = Replaced | Inserted | Deleted


class DocumentEdits(NamedTuple):
    """All edits of one document, in order, and what they are meant to change (for the proof)."""

    document: Document
    edits: tuple[TextEdit, ...]
    intents: tuple[Intent, ...]
    inner: DocumentEdits | None = None
    """The same edits in the part of the file that holds the settings, a shell text in YAML."""


def plan_fix(repair: Repair, reading: Reading) -> Fix:
    """The repair with its edits; a repair that cannot be written exactly is only for display."""
    if repair.safety is Safety.DISPLAY:
        return Fix(Safety.DISPLAY, repair.title, (), repair)
    try:
        planned = plan_edits(repair, reading)
    except EditRefused:
        return Fix(Safety.DISPLAY, repair.title, (), repair)
    edits = tuple(FileEdit(location_of(each.document, edit.span), edit.text) for each in planned for edit in each.edits)
    bases = [each.document.path for each in planned if each.edits and _is_base(each.document, reading)]
    if bases:
        title = f"{repair.title} [in {bases[0]}, for all that inherit it]"
        return Fix(Safety.UNSAFE, title, edits, repair)
    return Fix(repair.safety if edits else Safety.DISPLAY, repair.title, edits, repair)


def _is_base(document: Document, reading: Reading) -> bool:
    """Whether a Python config takes settings over from ``document``: other configs do so too, and their experiments
    change with it."""
    return document is not reading.document and Syntax.PYTHON is document.syntax is reading.document.syntax


def plan_edits(repair: Repair, reading: Reading) -> tuple[DocumentEdits, ...]:
    """The edits of ``repair``, document by document. Raises EditRefused where one of its changes cannot be written."""
    planned: dict[int, tuple[Document, list[TextEdit], list[Intent]]] = {}
    added: dict[tuple[int, str], str | None] = {}
    for change in repair.changes:
        slot = reading.slots.get(change.fact)
        if slot is None:
            raise EditRefused(f"no file spells {change.fact}", path=reading.document.path)
        edit, intent = _edit(change, slot, added)
        if edit is None:
            continue
        _, edits, intents = planned.setdefault(id(slot.document), (slot.document, [], []))
        edits.append(edit)
        intents.append(intent)
    return tuple(
        _in_the_file(DocumentEdits(document, _joined(document, edits), tuple(intents)))
        for document, edits, intents in planned.values()
    )


def _in_the_file(planned: DocumentEdits) -> DocumentEdits:
    """Edits of a part as edits of the file that holds it. Raises EditRefused where that cannot be exact."""
    host = planned.document.host
    if host is None:
        return planned
    edits, scalars = host.carry(list(planned.edits))
    intents = tuple(Replaced(scalar, value, scalar) for scalar, value in scalars)
    inner = None if planned.document.text is host.document.text else planned
    return DocumentEdits(host.document, edits, intents, inner)


def is_editable(slot: Slot) -> bool:
    """Whether a repair can write this slot without changing other values with it: the editor is asked with a trial."""
    try:
        if slot.node is not None:
            node = _spelled(slot, slot.node)
            return _is_carried(slot.document, replace_value(slot.document, node, node.value))
        if slot.parent is None or slot.parent.shared:
            return False
        return _is_carried(slot.document, insert_entry(slot.document, slot.parent, slot.key, 1, slot.after))
    except EditRefused:
        return False


def _is_carried(document: Document, edit: TextEdit) -> bool:
    return document.host is None or bool(document.host.carry([edit]))


def location_of(document: Document, span: Span) -> Location:
    """``span`` with the lines and columns of both ends."""
    host = document.host
    if host is not None:
        document, span = host.document, host.place(span)
    start, end = document.position(span.start), document.position(span.end)
    return Location(document.path, span.start, span.end, start.line, start.column, end.line, end.column)


def _edit(change: Change, slot: Slot, added: dict[tuple[int, str], str | None]) -> tuple[TextEdit | None, Intent]:
    if slot.node is None:
        if slot.parent is None or change.value is None:
            raise EditRefused(f"there is no place to write {slot.name}", path=slot.document.path)
        value = slot.spell(change.value)
        # A key that this very repair inserts is no anchor yet: its own anchor is, and the order of changes decides.
        after = added.get((id(slot.parent), slot.after), slot.after) if slot.after else slot.after
        added[id(slot.parent), slot.key] = after
        edit = insert_entry(slot.document, slot.parent, slot.key, value, after)
        return edit, Inserted(slot.parent, slot.key, value)
    node = _spelled(slot, slot.node)
    if change.value is None:
        entry, parent = _entry_of(slot)
        return delete_entry(slot.document, parent, entry), Deleted(parent, entry)
    value = slot.spell(change.value)
    intent = Replaced(node, value, slot.node)
    if type(node.value) is type(value) and node.value == value:
        return None, intent
    return replace_value(slot.document, node, value), intent


def _spelled(slot: Slot, node: Scalar) -> Scalar:
    """The scalar that spells the value: ``node`` itself, or the one it refers to. Refused where others share it."""
    for _ in range(_LONGEST_CHAIN):
        if node.shared:
            raise EditRefused(f"{slot.name} is not spelled in a place of its own", path=slot.document.path)
        if node.style is not Style.COMPUTED or node.definition is None:
            return node
        node = node.definition
    raise EditRefused(f"{slot.name} refers to itself", path=slot.document.path)


def _entry_of(slot: Slot) -> tuple[Entry, Mapping]:
    for entry in slot.parent.entries if slot.parent is not None else ():
        if entry.value is slot.node and not entry.merged:
            assert slot.parent is not None
            return entry, slot.parent
    raise EditRefused(f"{slot.name} is not an entry of its own", path=slot.document.path)


def _joined(document: Document, edits: Sequence[TextEdit]) -> tuple[TextEdit, ...]:
    """``edits`` in file order. Insertions at one place become one, in the order of the changes."""
    joined: dict[Span, TextEdit] = {}
    for edit in edits:
        same = joined.get(edit.span)
        if same is None:
            joined[edit.span] = edit
        elif edit.span.start == edit.span.end:
            joined[edit.span] = TextEdit(edit.span, same.text + edit.text)
        elif same.text != edit.text:
            raise EditRefused("two changes of one repair want different values in one place", path=document.path)
    ordered = tuple(sorted(joined.values(), key=lambda edit: edit.span))
    for before, after in itertools.pairwise(ordered):
        if after.span.start < before.span.end:
            raise EditRefused("two changes of one repair overlap", path=document.path)
    return ordered
