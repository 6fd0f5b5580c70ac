"""Gives names their values, and follows the statements that change a list or a mapping where it stands."""

from __future__ import annotations

import ast

from vramlint.sources.model import Entry, Mapping, Node, Scalar, Sequence, Span, Unknown
from vramlint.sources.python_arithmetic import NotKnown
from vramlint.sources.python_places import Places
from vramlint.sources.python_scope import Frame, Kind
from vramlint.sources.python_values import Evaluator

MAX_ITEMS = 100_000
"""Size of one container; a file that lets a list grow into itself stops there."""


class Binder:
    """Writes values into the frames of one file."""

    def __init__(self, evaluator: Evaluator, places: Places) -> None:
        self._evaluator = evaluator
        self._places = places
        self._merging: dict[int, Mapping] = {}

    def merges(self, value: Node) -> None:
        """``update`` merges mappings inside ``value`` too: base files' are mmengine 0.10 ``ConfigDict``s, which do."""
        if isinstance(value, Mapping) and id(value) not in self._merging:
            self._merging[id(value)] = value
            for entry in value.entries:
                self.merges(entry.value)

    def bind(self, target: ast.expr, value: Node, span: Span, frame: Frame) -> None:
        """``target = value``; ``span`` is the whole statement."""
        match target:
            case ast.Name(id=name):
                frame.scope.values[name] = value
                frame.scope.callees.pop(name, None)
                if frame.kind is not Kind.FUNCTION:
                    key_span = self._places.span(target)
                    frame.add(Entry(name, key_span, value, Span(key_span.start, span.end)))
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner == frame.self_name:
                key_span = self._attribute_name(target)
                frame.add(Entry(name, key_span, value, Span(key_span.start, span.end)))
            case ast.Attribute() | ast.Subscript():
                self._set_inside(target, value, span, frame)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                self._unpack(targets, value, span, frame)
            case ast.Starred(value=inner):
                self.bind(inner, self._evaluator.unknown(inner, "unpacked"), span, frame)
            case _:
                return

    def _unpack(self, targets: list[ast.expr], value: Node, span: Span, frame: Frame) -> None:
        plainly = isinstance(value, Sequence) and len(value.items) == len(targets)
        for index, target in enumerate(targets):
            item: Node = Unknown(span, "", "unpacked from something unknown")
            if plainly and isinstance(value, Sequence) and not isinstance(target, ast.Starred):
                item = value.items[index]
            self.bind(target, item, span, frame)

    def _set_inside(self, target: ast.Attribute | ast.Subscript, value: Node, span: Span, frame: Frame) -> None:
        """``config["a"]["b"] = value`` or ``config.a.b = value``: the mapping gains an entry that counts from here."""
        owner = self._evaluator.container(target.value, frame.scope)
        key, key_span = self._inner_key(target, frame)
        if isinstance(owner, Mapping) and owner.style == "class":
            self.forget(target, frame)  # one instance changes, not its class
        elif isinstance(owner, Mapping) and key is not None and frame.blocks == 0:
            owner.entries.append(Entry(key, key_span, value, Span(key_span.start, span.end)))
        elif isinstance(owner, Mapping) and key is not None:
            unsure = Unknown(value.span, self._places.text[value.span.start : value.span.end], "set under a condition")
            owner.entries.append(Entry(key, key_span, unsure, Span(key_span.start, span.end)))
        else:
            self.forget(target, frame)

    def _inner_key(self, target: ast.Attribute | ast.Subscript, frame: Frame) -> tuple[str | None, Span]:
        if isinstance(target, ast.Attribute):
            return target.attr, self._attribute_name(target)
        try:
            key = self._evaluator.known(target.slice, frame.scope)
        except NotKnown:
            key = None
        return (None if key is None else str(key)), self._places.span(target.slice)

    def _attribute_name(self, target: ast.Attribute) -> Span:
        end = self._places.span(target).end
        return Span(end - len(target.attr), end)

    def forget(self, target: ast.expr, frame: Frame) -> None:
        """``target`` changes in a way that is not followed: the variable it belongs to is unknown from here on."""
        while isinstance(target, (ast.Attribute, ast.Subscript, ast.Call)):
            target = target.func if isinstance(target, ast.Call) else target.value
        if not isinstance(target, ast.Name) or target.id == "_base_":
            return
        old = frame.scope.find(target.id)
        if old is None or isinstance(old, Unknown):
            return
        unsure = Unknown(old.span, self._places.text[old.span.start : old.span.end], "changed in place")
        _spoil(old, unsure)
        frame.scope.values[target.id] = unsure
        for entry in frame.by_value.pop(id(old), ()):
            entry.value = unsure

    def mutated(self, owner: Node, call: ast.Call, method: str, frame: Frame) -> bool:
        """Carry out ``owner.method(...)`` where that is plain; False where it is not."""
        if frame.blocks > 0:
            return False
        try:
            given = self._evaluator.arguments(call, frame.scope)
        except NotKnown:
            return False
        only = given.entries[0].value if len(given.entries) == 1 else None
        match owner, method, only:
            case Mapping(style="class"), _, _:
                return False
            case Mapping(), "update", _:
                return self._updated(owner, given)
            case Mapping(), "pop", Scalar(value=key):
                owner.entries[:] = [entry for entry in owner.entries if entry.key != key]
            case Sequence(), "append", Scalar() | Sequence() | Mapping():
                owner.items.append(only)
            case Sequence(), "extend", Sequence():
                owner.items.extend(only.items)
            case _:
                return False
        return isinstance(owner, Mapping) or len(owner.items) < MAX_ITEMS

    def _updated(self, owner: Mapping, given: Mapping) -> bool:
        taken: list[Entry] = []
        for entry in given.entries:
            if entry.key_span.start != entry.key_span.end:
                taken.append(entry)
            elif isinstance(entry.value, Mapping):
                taken.extend(entry.value.entries)
            else:
                return False
        for entry in taken:
            inside = owner.get(entry.key) if id(owner) in self._merging else None
            if not isinstance(inside, Mapping) or not isinstance(entry.value, Mapping):
                owner.entries.append(entry)
            elif not self._updated(inside, entry.value):
                return False
        return len(owner.entries) < MAX_ITEMS

    def forget_name(self, target: ast.Name, frame: Frame) -> None:
        """``del name``: no setting any more."""
        frame.scope.values[target.id] = self._evaluator.unknown(target, "deleted")
        if frame.kind is not Kind.FUNCTION and frame.latest.pop(target.id, None) is not None:
            frame.entries[:] = [entry for entry in frame.entries if entry.key != target.id]

    def delete_inside(self, target: ast.Attribute | ast.Subscript, frame: Frame) -> None:
        """``del config["a"]``, ``del _base_.model``."""
        owner = self._evaluator.container(target.value, frame.scope)
        key, _ = self._inner_key(target, frame)
        if isinstance(owner, Mapping) and owner.style != "class" and key is not None and frame.blocks == 0:
            owner.entries[:] = [entry for entry in owner.entries if entry.key != key]
        else:
            self.forget(target, frame)


def _spoil(node: Node, unsure: Unknown) -> None:
    """``node`` changes in a way that is not followed: wherever it is seen, what it holds is unknown from here on."""
    if isinstance(node, Sequence):
        node.items[:] = [unsure] * len(node.items)
    elif isinstance(node, Mapping) and node.style != "class":
        for entry in node.entries:
            entry.value = unsure
