"""The second reading of YAML, by ruamel.yaml's own scanner and composer in pure Python.

Nodes are compared and not objects: tags need no constructor, YAML 1.1 and 1.2 readings of a scalar do not matter, and
an alias stays an alias.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from vramlint.fix.edits import Deleted, DocumentEdits
from vramlint.fix.outline import means
from vramlint.sources.model import Plain, Span, TextEdit


class _Leaf(NamedTuple):
    """An end of the tree: where it hangs, its tag and text, and its place in the text."""

    path: str
    tag: str
    text: str
    span: Span


def unintended(planned: DocumentEdits, text: str) -> str:
    """What differs in the edited YAML besides the edits. Raises ValueError where ruamel.yaml cannot read it."""
    before = _leaves(planned.document.text)
    after = _leaves(text)
    new_spans = shifted(planned.edits)
    old_spans = [edit.span for edit in planned.edits]
    kept_before = [leaf[:3] for leaf in before if not _touched(leaf.span, old_spans)]
    kept_after = [leaf[:3] for leaf in after if not _touched(leaf.span, new_spans)]
    if kept_before != kept_after:
        pairs = zip(kept_before, kept_after, strict=False)
        return next((str(a[0]) for a, b in pairs if a != b), "the structure")
    written = [leaf for leaf in after if _touched(leaf.span, new_spans) and not leaf.path.endswith("?")]
    values = [intent.value for intent in planned.intents if not isinstance(intent, Deleted)]
    return "" if len(written) >= len(values) and _all_written(values, written) else "the value itself"


def shifted(edits: tuple[TextEdit, ...]) -> list[Span]:
    """Where the texts of ``edits`` stand in the edited text."""
    spans, shift = [], 0
    for edit in sorted(edits, key=lambda item: item.span):
        start = edit.span.start + shift
        spans.append(Span(start, start + len(edit.text)))
        shift += len(edit.text) - (edit.span.end - edit.span.start)
    return spans


def _touched(span: Span, edited: list[Span]) -> bool:
    """Whether a leaf lies inside an edit; an empty value lies in an insertion at its own place."""
    return any(edit.start <= span.start and span.end <= edit.end for edit in edited)


def _all_written(values: list[Plain], leaves: list[_Leaf]) -> bool:
    """Whether each intended scalar is among the leaves that the edits wrote, in the order of the file or any other."""
    texts = [leaf.text for leaf in leaves]
    return all(any(_says(text, value) for text in texts) for value in values if not isinstance(value, (list, dict)))


def _says(text: str, value: Plain) -> bool:
    if isinstance(value, bool):
        return text.lower() in (("true", "yes", "on") if value else ("false", "no", "off"))
    if value is None:
        return text.lower() in ("", "~", "null")
    return means(value, text.replace("_", "") if isinstance(value, (int, float)) else text)


def _leaves(text: str) -> list[_Leaf]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        roots = list(YAML(typ="safe", pure=True).compose_all(text))
    except YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise ValueError("too deep") from error
    seen: set[int] = set()
    return [leaf for number, root in enumerate(roots) for leaf in _below(root, str(number), seen)]


def _below(node: Any, path: str, seen: set[int]) -> Iterator[_Leaf]:
    if isinstance(node.value, list):
        if id(node) in seen:
            yield _Leaf(path, "alias", "", Span(-1, -1))
            return
        seen.add(id(node))
        yield _Leaf(path, str(node.tag), type(node).__name__, Span(-1, -1))
        for index, inner in enumerate(node.value):
            if isinstance(inner, tuple):
                key, value = inner
                name = str(key.value) if not isinstance(key.value, list) else f"[{index}]"
                yield from _below(key, f"{path}.{name}?", seen)
                yield from _below(value, f"{path}.{name}", seen)
            else:
                yield from _below(inner, f"{path}[{index}]", seen)
        return
    yield _Leaf(path, str(node.tag), str(node.value), Span(node.start_mark.index, node.end_mark.index))
