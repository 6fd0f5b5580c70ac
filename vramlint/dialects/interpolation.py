"""OmegaConf's interpolations: ``${model.hidden_size}`` stands for the value that another key of the file spells.

A value that is referred to is a fact of the place that spells it, and no repair writes there: other keys share it.
Absolute (``${a.b}``) and relative (``${.b}``, ``${..b}``) references are followed; a resolver (``${oc.env:X}``,
``${multiply:a,b}``) or a reference inside a longer text is UNKNOWN. Source: OmegaConf 2.3, "Variable interpolation".
"""

from __future__ import annotations

import re

from vramlint.dialects.places import Place, Source
from vramlint.sources.model import Document, Entry, Mapping, Node, Scalar, Unknown, lookup

_REFERENCE = re.compile(r"^\$\{(?P<dots>\.*)(?P<path>[\w\-]+(?:\.[\w\-]+)*)\}$")
_MISSING = "???"
"""OmegaConf's mark of a mandatory value; to read it, or a reference to it, is an error there."""
_MOST_STEPS = 8
"""References that refer to references; a longer chain is taken for a circle."""


class Interpolated(Source):
    """A mapping whose references are followed before a value is handed out.

    ``root`` is what absolute references start from: the file's root where ``mapping`` is a part of it.
    """

    def __init__(self, document: Document, mapping: Mapping, root: Mapping | None = None) -> None:
        super().__init__(document, mapping)
        self._root = mapping if root is None else root
        self._referred = _Referred(document, mapping)

    def find(self, dotted: str) -> Place | None:
        """The place that spells ``dotted``, or the one that its reference leads to."""
        place = super().find(dotted)
        home = dotted.split(".")[:-1]
        for _ in range(_MOST_STEPS):
            if place is None or not _refers(place.node):
                return place
            assert isinstance(place.node, Scalar)
            found = _REFERENCE.match(str(place.node.value).strip())
            if found is None:
                return _unknown(place, "a reference that is worked out at run time")
            path = self._target(home, found["dots"], found["path"])
            parent: Node | None = self._root if "." not in path else lookup(self._root, path.rpartition(".")[0])
            entry = parent.entry(path.rpartition(".")[2]) if isinstance(parent, Mapping) else None
            if entry is None or not isinstance(parent, Mapping):
                return _unknown(place, f"{place.node.value} leads nowhere in this file")
            place = Place(self._referred, dotted, entry, parent)
            if isinstance(entry.value, Scalar) and entry.value.value == _MISSING:
                return _unknown(place, f"{path} is still to be given")
            home = path.split(".")[:-1]
        return None if place is None else _unknown(place, "references that lead in a circle")

    def _target(self, home: list[str], dots: str, path: str) -> str:
        """One dot is the mapping that holds the reference, each further dot the mapping around it."""
        if not dots:
            return path
        outer = home[: len(home) - (len(dots) - 1)]
        return ".".join([*outer, path])


class _Referred(Source):
    """Where a reference leads: good for reading, not for writing."""

    @property
    def editable(self) -> bool:
        return False


def interpolated(document: Document, at: str = "") -> list[Source]:
    """The file's root (or the mapping ``at`` in it) as a source whose references are followed."""
    root = document.root
    inner = lookup(root, at) if at else root
    return [Interpolated(document, inner)] if isinstance(inner, Mapping) else []


def _refers(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, str) and "${" in node.value


def _unknown(place: Place, reason: str) -> Place:
    node = place.node
    assert isinstance(node, Scalar)
    entry = place.entry
    return place._replace(
        entry=Entry(entry.key, entry.key_span, Unknown(node.span, node.text, reason), entry.span, entry.merged)
    )
