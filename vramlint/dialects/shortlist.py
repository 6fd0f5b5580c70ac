"""Which rows of the table can claim a file at all: by its syntax and the names at its top, before any is tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from vramlint.dialects.rows import Row
from vramlint.dialects.signature import Keys, Signature
from vramlint.dialects.table import FRAMEWORKS
from vramlint.dialects.table_generic import GENERIC
from vramlint.sources.model import Document, Mapping, Syntax


class Listed(NamedTuple):
    """A row and those of its signatures that look at files of one syntax.

    Where any of them fits, one of the names ``needs`` stands at the top of the file; None where none is sure to.
    """

    row: Row
    signatures: tuple[Signature, ...]
    needs: frozenset[str] | None


def frameworks_for(document: Document) -> Iterator[Listed]:
    """The frameworks that can claim ``document`` or parts of it, most specific first."""
    return _possible(_listed(document.syntax)[0], document)


def generic_for(document: Document) -> Iterator[Listed]:
    """The generic dialects that can."""
    return _possible(_listed(document.syntax)[1], document)


def _possible(rows: Iterable[Listed], document: Document) -> Iterator[Listed]:
    top = document.root.keys() if isinstance(document.root, Mapping) else frozenset()
    return (listed for listed in rows if listed.needs is None or not top.isdisjoint(listed.needs))


@cache
def _listed(syntax: Syntax) -> tuple[tuple[Listed, ...], tuple[Listed, ...]]:
    """The frameworks and the generic dialects that are spelled in ``syntax``."""

    def chosen(table: tuple[Row, ...]) -> tuple[Listed, ...]:
        found = [(row, tuple(each for each in reversed(row.signatures) if syntax in each.syntaxes)) for row in table]
        return tuple(Listed(row, signatures, _needs(signatures)) for row, signatures in found if signatures)

    return chosen(FRAMEWORKS), chosen(GENERIC)


def _needs(signatures: Iterable[Signature]) -> frozenset[str] | None:
    needed: set[str] = set()
    for signature in signatures:
        firsts = _first_keys(signature)
        if firsts is None:
            return None
        needed |= firsts
    return frozenset(needed)


def _first_keys(signature: Signature) -> frozenset[str] | None:
    """Keys of which one is at the top wherever ``signature`` fits: one it always asks for, else all of a choice."""
    if not isinstance(signature, Keys):
        return None
    names = signature.names
    choices: list[tuple[str, ...]] = [(name,) for name in names.all_of]
    choices += [names.any_of] if names.min_any else []
    choices += [names.also] if names.min_also else []
    for choice in choices:
        firsts = frozenset(_first_key(pattern) for pattern in choice)
        if firsts and "*" not in firsts:
            return firsts
    return None


def _first_key(pattern: str) -> str:
    return pattern.partition("=")[0].partition(".")[0].removesuffix("[]").removesuffix("{}")
