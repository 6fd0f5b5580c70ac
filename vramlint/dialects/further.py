"""Facts that only some rules ask for, read for every dialect from one table (``further_facts``).

A dialect reads what decides batch and memory itself. Warm-up, checkpoints, attention kernels, parallel degrees and the
like are spelled by a key each and need no thought: a row of the table says which key, in which framework and version,
and this module reads it from the very places the dialect looked at. A fact that the dialect has set stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from vramlint.dialects import spelling_out
from vramlint.dialects.further_facts import groups_of
from vramlint.dialects.further_row import Group, Row
from vramlint.dialects.model import Slot
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, default, unknown
from vramlint.sources.model import Document, Mapping, Scalar, Unknown

_REFERENCES = ("${", "{{", "???", "!ref")
"""What an interpolation and a mandatory value look like before they are resolved."""


class Found(NamedTuple):
    """A further fact, with the slot that writes it where somebody spelled it in a place of its own."""

    name: str
    fact: Fact[Any]
    slot: Slot | None = None


def further_facts(
    dialect: str, sources: Iterable[Source], documents: Iterable[Document], is_known: Callable[[str], bool]
) -> Iterator[Found]:
    """Every fact of the table that ``sources`` spell or the framework has a default for, each once.

    ``documents`` are all files of the run: a DeepSpeed file among them has facts of its own. Facts that the dialect has
    read itself (``is_known``) are not looked for.
    """
    seen: set[str] = set()
    places = list(sources)
    beside = [Source(each, root) for each in documents if (root := _deepspeed(each)) is not None]
    searches = [(group, places) for group in groups_of(dialect)]
    searches += [(group, beside) for group in groups_of("deepspeed") if beside and dialect != "deepspeed"]
    for group, where in searches:
        for row in group.rows:
            found = None if row.fact in seen or is_known(row.fact) else _found(row, group, where)
            if found is not None:
                seen.add(row.fact)
                yield found


def _deepspeed(document: Document) -> Mapping | None:
    """The settings of a DeepSpeed file, None where the document is none."""
    root = document.root
    return root if isinstance(root, Mapping) and isinstance(root.get("zero_optimization"), Mapping) else None


def _found(row: Row, group: Group, sources: list[Source]) -> Found | None:
    place = _first_place(row.keys, sources)
    if place is None:
        return None if row.default is None else Found(row.fact, default(row.default, f"default of {group.source}"))
    where, node = location(place), place.node
    if isinstance(node, Unknown):
        return Found(row.fact, unknown(node.reason, where))
    value = plain_value(node)
    if value is None:
        return None
    if isinstance(value, str) and any(mark in value for mark in _REFERENCES):
        return Found(row.fact, unknown("a reference to another value", where))
    try:
        read = row.read(value)
    except (TypeError, ValueError):
        return Found(row.fact, unknown(f"{place.name} = {value!r} is not readable here", where))
    return None if read is None else Found(row.fact, Fact(read, place.source.origin, where), _slot(place, value))


def _first_place(keys: tuple[str, ...], sources: list[Source]) -> Place | None:
    for key in keys:
        for source in sources:
            place = source.find(key)
            if place is not None:
                return place
    return None


def _slot(place: Place, value: object) -> Slot | None:
    """A switch or a whole number can be written back; other spellings are left to their authors."""
    if not isinstance(place.node, Scalar) or not place.source.editable:
        return None
    is_word = isinstance(value, str) and not value.strip().lstrip("+-").isdecimal()
    spell = spelling_out.switch(value) if isinstance(value, bool) or is_word else spelling_out.number
    return Slot(place.source.document, place.entry.key, place.node, place.parent, place.entry.key, None, spell)
