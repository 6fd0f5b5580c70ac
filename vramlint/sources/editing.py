"""The seam between the public functions of :mod:`vramlint.sources` and the modules of one syntax.

A reader is a module ``<syntax>_reader`` with ``parse``; an editor is a module ``<syntax>_edits`` with the three
functions of :class:`Editor`. Both are imported on first use, so that reading one YAML file costs no other syntax.
"""

from __future__ import annotations

from typing import Protocol

from vramlint.sources.model import Document, Entry, Mapping, Plain, Scalar, TextEdit


class Reader(Protocol):
    """A module that reads one syntax."""

    def parse(self, text: str, path: str) -> Document:
        """The document of ``text`` (no byte-order mark); raises SourceError with path, line and column."""
        ...


class Editor(Protocol):
    """A module that writes one syntax. Every function raises EditRefused with the reason when it cannot be exact."""

    def replace_value(self, document: Document, node: Scalar, value: Plain) -> TextEdit:
        """Spell ``value`` in the place and in the style of ``node``."""
        ...

    def insert_entry(self, document: Document, mapping: Mapping, key: str, value: Plain, after: str | None) -> TextEdit:
        """Add ``key`` to ``mapping`` behind the entry ``after``, or at the end where it is None."""
        ...

    def delete_entry(self, document: Document, mapping: Mapping, entry: Entry) -> TextEdit:
        """Take ``entry`` out of ``mapping``, its trailing comment included."""
        ...
