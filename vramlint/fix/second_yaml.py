"""The second reading of YAML, by ruamel.yaml's own scanner and composer in pure Python.

Nodes are compared and not objects: tags need no constructor, YAML 1.1 and 1.2 readings of a scalar do not matter, and
an alias stays an alias.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from vramlint.fix.edits import Deleted, DocumentEdits, Inserted, Replaced
from vramlint.fix.outline import means
from vramlint.fix.spans import is_inside, shifted
from vramlint.sources.model import Plain, Span


class _Leaf(NamedTuple):
    """A key, a scalar or the beginning of a container: where it hangs, its kind, tag and text, its place."""

    path: str
    kind: str
    tag: str
    text: str
    span: Span


class _Written(NamedTuple):
    """What an edit is to write, in the order of the file."""

    kind: str
    value: Plain


def unintended(planned: DocumentEdits, text: str) -> str:
    """What differs in the edited YAML besides the edits. Raises ValueError where ruamel.yaml cannot read it."""
    before, after = _leaves(planned.document.text), _leaves(text)
    old_spans, new_spans = [edit.span for edit in planned.edits], shifted(planned.edits)
    if planned.inner is not None:  # edits within a script: the whole string counts as edited, and nothing else
        old_spans, new_spans = _strings_around(before, old_spans), _strings_around(after, new_spans)
    kept_before = [leaf[:4] for leaf in before if not is_inside(leaf.span, old_spans)]
    kept_after = [leaf[:4] for leaf in after if not is_inside(leaf.span, new_spans)]
    if kept_before != kept_after:
        pairs = zip(kept_before, kept_after, strict=False)
        return next((str(old[0]) for old, new in pairs if old != new), "the structure")
    gone = [leaf.text for leaf in before if leaf.kind == "key" and is_inside(leaf.span, old_spans)]
    if sorted(gone) != sorted(intent.entry.key for intent in planned.intents if isinstance(intent, Deleted)):
        return "the keys"
    return _compare([leaf for leaf in after if is_inside(leaf.span, new_spans)], list(_wanted(planned)))


def _strings_around(leaves: list[_Leaf], spans: list[Span]) -> list[Span]:
    """The places of the strings that ``spans`` lie in."""
    strings = [leaf.span for leaf in leaves if leaf.kind == "scalar"]
    return [each for each in strings if any(each.start <= span.start and span.end <= each.end for span in spans)]


def _wanted(planned: DocumentEdits) -> Iterator[_Written]:
    for intent in planned.intents:
        if isinstance(intent, Inserted):
            yield _Written("key", intent.key)
        if isinstance(intent, (Inserted, Replaced)):
            yield from _flat(intent.value)


def _flat(value: Plain) -> Iterator[_Written]:
    if isinstance(value, dict):
        yield _Written("container", None)
        for key, inner in value.items():
            yield _Written("key", key)
            yield from _flat(inner)
    elif isinstance(value, list):
        yield _Written("container", None)
        for item in value:
            yield from _flat(item)
    else:
        yield _Written("scalar", value)


def _compare(leaves: list[_Leaf], wanted: list[_Written]) -> str:
    """Each leaf that the edits wrote is one that was wanted, and none is missing; the changes' order is their own."""
    for leaf in leaves:
        match = next((each for each in wanted if each.kind == leaf.kind and _says(leaf.text, each)), None)
        if match is None:
            return leaf.path
        wanted.remove(match)
    return "the value itself" if wanted else ""


def _says(text: str, wanted: _Written) -> bool:
    value = wanted.value
    if wanted.kind == "container":
        return True
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
    return [leaf for number, root in enumerate(roots) for leaf in _below(root, str(number), "scalar", seen)]


def _below(node: Any, path: str, kind: str, seen: set[int]) -> Iterator[_Leaf]:
    span = Span(node.start_mark.index, node.end_mark.index)
    if id(node) in seen:
        yield _Leaf(path, "alias", "", "", Span(-1, -1))
        return
    seen.add(id(node))
    if not isinstance(node.value, list):
        yield _Leaf(path, kind, str(node.tag) if kind == "key" else _group(node), str(node.value), span)
        return
    yield _Leaf(path, "container", str(node.tag), type(node).__name__, span)
    for index, inner in enumerate(node.value):
        if isinstance(inner, tuple):
            key, value = inner
            name = f"[{index}]" if isinstance(key.value, list) else str(key.value)
            yield from _below(key, f"{path}.{name}", "key", seen)
            yield from _below(value, f"{path}.{name}", "scalar", seen)
        else:
            yield from _below(inner, f"{path}[{index}]", "scalar", seen)


def _group(node: Any) -> str:
    """The tag with the quoting: ``'yes'`` and ``yes`` are different values to a loader."""
    return f"{node.tag} {node.style or 'plain'}"
