"""From the nodes of a config's model section to the plain tree that the memory room builds layers from."""

from __future__ import annotations

from typing import Any

from vramlint.patterns import later
from vramlint.plan.tree import NOT_CONSTANT, ModelTree
from vramlint.sources.model import Mapping, Node, Scalar, Sequence, Unknown

_NAME = later(r"[A-Za-z_][\w.]*")
_NAME_KEYS = ("type", "_target_")
_MOST_DEEP = 40


def model_tree(section: Mapping, framework: str, scope: str) -> ModelTree:
    """``section`` as a tree; a class that a new-style config names counts as its name."""
    tree = ModelTree(_framework=framework, _scope=scope)
    tree.update((entry.key, _plain(entry.value, entry.key, _MOST_DEEP)) for entry in section.entries)
    return tree


def _plain(node: Node, key: str, depth: int) -> Any:
    match node:
        case Scalar():
            return node.value
        case Unknown():
            named = key in _NAME_KEYS and _NAME.fullmatch(node.text)
            return node.text if named else {NOT_CONSTANT: node.text[:80]}
        case Sequence():
            return [_plain(item, "", depth - 1) for item in node.items] if depth else []
        case Mapping():
            return {entry.key: _plain(entry.value, entry.key, depth - 1) for entry in node.entries} if depth else {}
