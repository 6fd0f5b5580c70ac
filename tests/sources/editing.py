"""Bytes in, bytes out: one edit on one file, found by the dotted path of its value."""

from __future__ import annotations

from vramlint import sources
from vramlint.sources.model import Document, Mapping, Plain, Scalar, Sequence, apply_edits, plain


def find(document: Document, dotted: str) -> object:
    """The node at ``a.b.0.c`` (numbers index lists); the root for an empty path."""
    node: object = document.root
    for part in dotted.split(".") if dotted else []:
        if isinstance(node, Sequence):
            node = node.items[int(part)]
        elif isinstance(node, Mapping):
            node = node.get(part)
        else:
            raise LookupError(dotted)
    return node


def replaced(name: str, data: bytes, dotted: str, value: Plain) -> bytes:
    document = sources.read(name, data)
    node = find(document, dotted)
    assert isinstance(node, Scalar)
    return _edited(document, sources.replace_value(document, node, value))


def inserted(name: str, data: bytes, dotted: str, key: str, value: Plain, after: str | None = None) -> bytes:
    document = sources.read(name, data)
    mapping = find(document, dotted)
    assert isinstance(mapping, Mapping)
    return _edited(document, sources.insert_entry(document, mapping, key, value, after))


def deleted(name: str, data: bytes, dotted: str, key: str) -> bytes:
    document = sources.read(name, data)
    mapping = find(document, dotted)
    assert isinstance(mapping, Mapping)
    entry = mapping.entry(key)
    assert entry is not None
    return _edited(document, sources.delete_entry(document, mapping, entry))


def values(name: str, data: bytes) -> Plain:
    return plain(sources.read(name, data).root)


def _edited(document: Document, edit: sources.TextEdit) -> bytes:
    return sources.encode(document, apply_edits(document.text, [edit]))
