"""Where settings are spelled: a key looked up in a mapping, a command line or a class, with its exact place."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.dialects.signature import normal_flag
from vramlint.plan import Location, Origin
from vramlint.sources.model import Command, Document, Entry, Mapping, Node, Scalar, Span, Style


class Source:
    """A mapping of a document in which a dialect looks its keys up. ``note`` is given to every fact read from it."""

    def __init__(self, document: Document, mapping: Mapping, origin: Origin = Origin.FILE, note: str = "") -> None:
        self.document = document
        self.mapping = mapping
        self.origin = origin
        self.note = note

    @property
    def editable(self) -> bool:
        """Whether the user's own settings stand here, rather than a program's defaults."""
        return self.origin is not Origin.DEFAULT

    def find(self, dotted: str) -> Place | None:
        """The place that spells ``dotted`` (``a.b.c`` through nested mappings), None where it is absent."""
        parent = self.mapping
        if "." not in dotted:
            entry = parent.entry(dotted)
            return None if entry is None else Place(self, dotted, entry, parent)
        *outer, last = dotted.split(".")
        for key in outer:
            inner = parent.get(key)
            if not isinstance(inner, Mapping):
                return None
            parent = inner
        entry = parent.entry(last)
        return None if entry is None else Place(self, dotted, entry, parent)


class FlagSource(Source):
    """The flags of a command line. ``--batch-size`` and ``--batch_size`` are the same; ``--no-x`` is x = False."""

    def __init__(
        self,
        document: Document,
        mapping: Mapping,
        origin: Origin = Origin.LAUNCH,
        note: str = "",
        same: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        """``same`` gives the other names of a flag as its script declares them (``-b`` is ``--batch-size``)."""
        super().__init__(document, mapping, origin, note)
        self._by_flag: dict[str, Entry] = {}
        for entry in mapping.entries:
            for name in (normal_flag(entry.key), *(same or {}).get(entry.key, ())):
                self._by_flag[name] = entry

    def find(self, dotted: str) -> Place | None:
        """The place of a flag, its dashes left out of ``dotted``."""
        name = dotted.replace("-", "_")
        entry = self._by_flag.get(name)
        if entry is not None:
            return Place(self, entry.key, entry, self.mapping)
        negated = self._by_flag.get(f"no_{name}")
        if negated is None or not _is_bare(negated.value):
            return None
        off = Scalar(negated.key_span, negated.key, value=False, style=Style.COMPUTED)
        return Place(self, negated.key, Entry(negated.key, negated.key_span, off, negated.span), self.mapping)


class Place(NamedTuple):
    """One spelled setting: the key as the user knows it, its entry and the mapping that holds the entry."""

    source: Source
    name: str
    entry: Entry
    parent: Mapping

    @property
    def node(self) -> Node:
        return self.entry.value


def flags(document: Document, command: Command, same: dict[str, tuple[str, ...]] | None = None) -> list[Source]:
    """The sources of a command line: its flags, then its ``key=value`` words."""
    return [FlagSource(document, command.options, same=same), Source(document, command.overrides, Origin.LAUNCH)]


def location(place: Place) -> Location:
    """Where the value stands; a bare switch or an empty value stands where its key is."""
    span = place.node.span
    if span.start == span.end:
        span = place.entry.key_span
    return locate(place.source.document, span)


def locate(document: Document, span: Span) -> Location:
    """``span`` with the lines and columns of both ends."""
    host = document.host
    if host is not None:
        document, span = host.document, host.place(span)
    return Location(document.path, span.start, span.end, *document.ends(span))


def _is_bare(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is True
