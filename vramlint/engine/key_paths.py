"""Where in a file's data a place is: ``train.batch_size``, ``Config.queue_size``, ``train.py --batch_size``."""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.sources.model import Document, Entry, Mapping, Node, Sequence, Span


def key_path(document: Document, offset: int) -> str:
    """The keys that lead to the character at ``offset``, innermost last; empty where no key does.

    Items of a list are ``[]`` without their number, so that a new item does not rename those behind it.
    """
    for command in document.commands:
        if _holds(command.span, offset):
            mappings = (command.options, command.overrides, *(each.options for each in command.launchers))
            keys = (path for mapping in mappings if (path := _path(mapping, offset)))
            return f"{command.program} {next(keys, '')}".rstrip()
    for definition in document.definitions:
        inside = _path(definition.members, offset)
        if inside:
            return f"{definition.name}.{inside}"
    return next((path for root in (document.root, *document.more_roots) if (path := _path(root, offset))), "")


def _path(root: Node, offset: int) -> str:
    words: list[str] = []
    node: Node | None = root
    while node is not None:
        word, node = _step(node, offset)
        words.extend([word] if word else [])
    return ".".join(words).replace(".[]", "[]")


def _step(node: Node, offset: int) -> tuple[str, Node | None]:
    match node:
        case Mapping():
            for entry in _spelled(node):
                if _holds(entry.span, offset):
                    return entry.key, entry.value
        case Sequence():
            for item in node.items:
                if _holds(item.span, offset):
                    return "[]", item
        case _:
            pass
    return "", None


def _spelled(mapping: Mapping) -> Iterator[Entry]:
    return (entry for entry in mapping.entries if not entry.merged)


def _holds(span: Span, offset: int) -> bool:
    return span.start <= offset < max(span.end, span.start + 1)
