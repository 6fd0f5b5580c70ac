"""Names and what they stand for while a Python text is followed, and small helpers on nodes and names."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import Enum, auto

from vramlint.sources.model import Definition, Entry, Mapping, Node, Sequence, Unknown


@dataclass(slots=True, eq=False)
class Scope:
    """Names with their present values; a branch or a function writes into its own and reads through to ``parent``."""

    parent: Scope | None = None
    values: dict[str, Node] = field(default_factory=dict)
    classes: dict[str, Definition] = field(default_factory=dict)
    callees: dict[str, str] = field(default_factory=dict)
    """Names bound to the result of a call, with the dotted name of what was called."""

    def find(self, name: str) -> Node | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        return None

    def find_class(self, name: str) -> Definition | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.classes:
                return scope.classes[name]
            scope = scope.parent
        return None

    def find_callee(self, name: str) -> str | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.callees.get(name)
            scope = scope.parent
        return None


class Kind(Enum):
    """Whose statements run: only a module's and a class's names are settings."""

    MODULE = auto()
    CLASS = auto()
    FUNCTION = auto()


@dataclass(slots=True, eq=False)
class Frame:
    """Where statements run. ``entries`` is what becomes visible as settings; ``self_name`` is set in ``__init__``."""

    scope: Scope = field(default_factory=Scope)
    kind: Kind = Kind.MODULE
    function: str | None = None
    self_name: str | None = None
    blocks: int = 0
    entries: list[Entry] = field(default_factory=list)
    latest: dict[str, Entry] = field(default_factory=dict)
    by_value: dict[int, list[Entry]] = field(default_factory=dict)

    def branch(self) -> Frame:
        """A frame for statements that may not run: it reads this one and writes beside it."""
        return Frame(Scope(self.scope), self.kind, self.function, self.self_name, self.blocks + 1)

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.latest[entry.key] = entry
        self.by_value.setdefault(id(entry.value), []).append(entry)


def last_name(function: ast.expr) -> str:
    """``train`` of ``model.train``; empty where the callee is no name."""
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def dotted_name(expression: ast.expr) -> str:
    """``a.b.c`` as written; a call inside reads ``YOLO().train``; empty where it is nothing of the kind."""
    parts: list[str] = []
    while True:
        match expression:
            case ast.Name(id=name):
                parts.append(name)
                return ".".join(reversed(parts))
            case ast.Attribute(attr=name):
                parts.append(name)
                expression = expression.value
            case ast.Call() if isinstance(expression.func, ast.Name) and parts:
                parts.append(f"{expression.func.id}()")
                return ".".join(reversed(parts))
            case _:
                return ".".join(reversed(parts))


def inherited(mapping: Mapping) -> list[Entry]:
    """The entries of ``mapping`` as they appear in another mapping that takes them over."""
    return [Entry(entry.key, entry.key_span, entry.value, entry.span, merged=True) for entry in mapping.entries]


def item_of(node: Node | None, key: str | int) -> Node | None:
    """``node[key]`` or ``node.key``; None where there is no such thing."""
    if isinstance(node, Mapping):
        return node.get(str(key))
    if isinstance(node, Sequence) and isinstance(key, int) and -len(node.items) <= key < len(node.items):
        return node.items[key]
    return None


def share(node: Node) -> None:
    """Mark everything in ``node``: it stands in more than one place."""
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, Unknown) or current.shared:
            continue
        current.shared = True
        if isinstance(current, Sequence):
            pending.extend(current.items)
        elif isinstance(current, Mapping):
            pending.extend(entry.value for entry in current.entries)
