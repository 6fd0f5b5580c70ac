"""Anchors, aliases and merge keys: what one place in the text means in several."""

from __future__ import annotations

from collections.abc import Iterable

from vramlint.errors import OversizeSource
from vramlint.sources.model import Entry, Mapping, Node, Problem, Scalar, Sequence, Unknown

MAX_EXPANDED = 1_000_000
"""Values after writing out every alias. PyYAML shares them in memory; whoever walks the tree would not."""

MAX_MERGED = 100_000
"""Entries that the merge keys of one file bring in, all together."""


def mark_shared(targets: Iterable[Node]) -> None:
    """Mark every value under an anchor that is used again: an edit there changes each place that names it."""
    pending = list(targets)
    while pending:
        node = pending.pop()
        if isinstance(node, Unknown) or node.shared:
            continue
        node.shared = True
        if isinstance(node, Mapping):
            pending.extend(entry.value for entry in node.entries)
        elif isinstance(node, Sequence):
            pending.extend(node.items)


def expand_merges(mapping: Mapping, merges: Iterable[Node], problems: list[Problem]) -> int:
    """Put the entries that ``<<`` brings in before the mapping's own and say how many they are.

    Own keys win, then the first source named.
    """
    known = mapping.keys()
    merged: list[Entry] = []
    for node in merges:
        for source in node.items if isinstance(node, Sequence) else [node]:
            if not isinstance(source, Mapping):
                problems.append(Problem("merge-not-a-mapping", source.span, "<< takes a mapping or a list of mappings"))
                continue
            for entry in {entry.key: entry for entry in source.entries}.values():
                if entry.key not in known:
                    known.add(entry.key)
                    merged.append(Entry(entry.key, entry.key_span, entry.value, entry.span, merged=True))
    mapping.entries[:0] = merged
    return len(merged)


def refuse_explosion(roots: Iterable[Node], path: str) -> None:
    """Raise OversizeSource where aliases of aliases write out to more than ``MAX_EXPANDED`` values."""
    sizes: dict[int, int] = {}
    for root in roots:
        if _expanded(root, sizes) > MAX_EXPANDED:
            raise OversizeSource(
                f"aliases expand to more than {MAX_EXPANDED:,} values",
                path=path,
                line=1,
                column=1,
                help="Write the values out, or exclude the file.",
            )


def _expanded(root: Node, sizes: dict[int, int]) -> int:
    """Values under ``root`` with aliases written out. Post-order without recursion; every node is counted once."""
    pending: list[tuple[Node, bool]] = [(root, False)]
    while pending:
        node, children_done = pending.pop()
        if id(node) in sizes:
            continue
        children = _children(node)
        if children_done or not children:
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
            continue
        pending.append((node, True))
        pending.extend((child, False) for child in children if id(child) not in sizes)
    return sizes[id(root)]


def _children(node: Node) -> list[Node]:
    match node:
        case Scalar() | Unknown():
            return []
        case Sequence():
            return node.items
        case Mapping():
            return [entry.value for entry in node.entries]
