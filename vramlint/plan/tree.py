"""A model's section of a config as plain data: the value of the fact ``architecture``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NOT_CONSTANT = "_not_constant_"
"""The one key of the mapping that stands for an expression which only running the config would tell."""

_NAMED = ("type", "_target_", "META_ARCHITECTURE")
_FIRST = ("backbone", "neck")
_SHOWN_PARTS = 4


class ModelTree(dict[str, Any]):
    """Nested mappings, lists and scalars. As text it is its parts in a line: a report has no room for the whole.

    ``_framework`` is ``openmmlab`` or ``detectron2``, ``_scope`` the registry that bare type names are looked up in.
    """

    def __str__(self) -> str:
        keys = sorted(self, key=lambda key: _FIRST.index(key) if key in _FIRST else len(_FIRST))
        named = [_name(self), *(_name(self[key]) for key in keys if isinstance(self[key], dict))]
        parts = list(dict.fromkeys(name for name in named if name))
        shown = ", ".join(parts[:_SHOWN_PARTS])
        return f"{shown}, …" if len(parts) > _SHOWN_PARTS else shown or "a model"


def not_constant(value: object) -> str:
    """The expression that ``value`` stands for, empty where the value is known."""
    return str(value[NOT_CONSTANT]) if isinstance(value, dict) and NOT_CONSTANT in value else ""


def open_places(value: object, path: str = "") -> Iterator[str]:
    """Dotted paths of the expressions in ``value`` that nobody can know from the files."""
    if not_constant(value):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from open_places(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from open_places(item, f"{path}[{number}]")


def _name(part: dict[str, Any]) -> str:
    found = next((part[key] for key in _NAMED if isinstance(part.get(key), str)), "")
    return str(found).rsplit(".", 1)[-1]
