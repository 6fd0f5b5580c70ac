"""Edit real configs in every place, one place at a time, and prove each edit.

    python tools/roundtrip.py ../shared/corpus            every scalar, mapping and entry
    python tools/roundtrip.py --per-file 5 --parser ../shared/corpus   a sample, each edit read by a second parser too

For every file: each scalar is replaced by another of its kind, one key is inserted into each mapping (at the end and
behind its first entry), each entry is deleted. Every edit must leave all other bytes alone, re-read with exactly that
one value changed, and keep every comment (a deletion may take the comments of the deleted lines). Prints the counts.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import math
import re
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vramlint import sources
from vramlint.errors import EditRefused, SourceError
from vramlint.sources.model import (
    Document,
    Entry,
    Mapping,
    Node,
    Plain,
    Scalar,
    Syntax,
    TextEdit,
    Unknown,
    apply_edits,
    plain,
)
from vramlint.sources.scalars import yaml11, yaml11_floats

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
PROBE = "vramlint_probe"
PROBE_VALUES: tuple[Plain, ...] = (7, True, 1e-05, "some text", "no", [1, 2])

_QUOTED = re.compile(r" ('.*'|[*!]\S+)")
"""What a refusal quotes from the file: keys, aliases, tags."""

Leaf = tuple[tuple[str, ...], object]


class Counts(NamedTuple):
    """What happened to the edits of one operation: how many were made, which were refused (by reason), which failed."""

    made: collections.Counter[str]
    refused: collections.Counter[str]
    failed: list[str]


def empty_counts() -> Counts:
    return Counts(collections.Counter(), collections.Counter(), [])


def leaves(document: Document) -> list[tuple[tuple[str, ...], object, Node]]:
    """Every value and collection with its path, in file order; duplicate keys count up, aliases are followed once."""
    found: list[tuple[tuple[str, ...], object, Node]] = []
    roots = [document.root, *document.more_roots]
    pending: list[tuple[tuple[str, ...], Node]] = [((str(index),), root) for index, root in enumerate(roots)][::-1]
    seen: set[int] = set()
    while pending:
        path, node = pending.pop()
        if isinstance(node, Scalar):
            found.append((path, _comparable(node.value), node))
            continue
        if isinstance(node, Unknown):
            found.append((path, f"unknown: {node.text}", node))
            continue
        found.append((path, type(node).__name__, node))
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Mapping):
            pending.extend(list(_named(path, node))[::-1])
        else:
            pending.extend([((*path, f"[{index}]"), item) for index, item in enumerate(node.items)][::-1])
    return found


def _named(path: tuple[str, ...], mapping: Mapping) -> Iterator[tuple[tuple[str, ...], Node]]:
    counts: collections.Counter[str] = collections.Counter()
    for entry in mapping.entries:
        counts[entry.key] += 1
        yield (*path, f"{entry.key}#{counts[entry.key]}"), entry.value


def _comparable(value: object) -> object:
    """A value that compares as itself: NaN equal to NaN, True different from 1, 1 different from 1.0."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return (type(value).__name__, value) if isinstance(value, (bool, int, float)) else value


def other_value(value: None | bool | int | float | str, turn: int) -> Plain:
    """Another value of the same kind; an empty value becomes a number."""
    match value:
        case None:
            return 12345
        case bool():
            return not value
        case int():
            return value + 76_800
        case float():
            return (
                (0.25, 3e-05, 12.0)[turn % 3]
                if not math.isfinite(value) or value == 0
                else value * (1.5, 1e-3)[turn % 2]
            )
        case str():
            other = (f"{value}x", "no", "a: b, [c] #d", 'it\'s "so"', "1e-4", "fp16")[turn % 6]
            return other if other != value else f"{value}x"


class Planned(NamedTuple):
    """One edit to prove: where it is, what was made of it, the node it changes and the value it writes."""

    where: str
    edit: TextEdit | EditRefused
    node: Node
    value: Plain
    entry: Entry | None = None


def edits_of(document: Document, operation: str) -> Iterator[Planned]:
    """Every edit of one ``operation`` (replace, insert or delete) on a document, or why there is none."""
    if operation == "replace":
        for turn, (path, _value, node) in enumerate(leaves(document)):
            if isinstance(node, Scalar):
                value = other_value(node.value, turn)
                yield Planned("/".join(path), _try(sources.replace_value, document, node, value), node, value)
        return
    for turn, mapping in enumerate(document.mappings()):
        where = f"mapping {turn} at {document.position(mapping.span.start)}"
        if operation == "insert":
            value = PROBE_VALUES[turn % len(PROBE_VALUES)]
            for after in (None, *(entry.key for entry in mapping.entries[:1])):
                yield Planned(where, _try(sources.insert_entry, document, mapping, PROBE, value, after), mapping, value)
            continue
        for entry in mapping.entries:
            yield Planned(where, _try(sources.delete_entry, document, mapping, entry), mapping, None, entry)


def _try(make: Callable[..., TextEdit], *arguments: object) -> TextEdit | EditRefused:
    try:
        return make(*arguments)
    except EditRefused as refusal:
        return refusal


def check_file(
    path: str, data: bytes, operation: str, counts: Counts, per_file: int = 0, *, second: bool = False
) -> None:
    """Make and prove the edits of one file, at most ``per_file`` spread over it (0 for all)."""
    try:
        document = sources.read(path, data)
    except SourceError as error:
        counts.refused[f"unreadable: {type(error).__name__}"] += 1
        return
    before = Before(document)
    all_planned = list(edits_of(document, operation))
    step = max(1, len(all_planned) // per_file) if per_file else 1
    for planned in all_planned[::step]:
        edit = planned.edit
        if isinstance(edit, EditRefused):
            counts.refused[f"{document.syntax} {operation}: {_QUOTED.sub('', edit.message)}"] += 1
            continue
        try:
            prove(before, planned, operation)
            if second:
                prove_with_second_parser(document, apply_edits(document.text, [edit]))
        except Exception as error:  # noqa: BLE001 - every way to fail is a failed edit, and is printed
            counts.failed.append(f"{path}: {operation} {planned.where} -> {planned.value!r}: {error!s:.300}")
            continue
        counts.made[f"{document.syntax} {operation}"] += 1


class Before:
    """A document before the edit, with its leaves read once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.leaves: list[Leaf] = []
        self.place: dict[int, int] = {}
        for index, (path, value, node) in enumerate(leaves(document)):
            self.leaves.append((path, value))
            self.place.setdefault(id(node), index)
        self.comments = [comment.text for comment in document.comments]

    def path_of(self, node: Node) -> tuple[str, ...]:
        return self.leaves[self.place[id(node)]][0]


def prove(before: Before, planned: Planned, operation: str) -> None:
    """Raise AssertionError unless the edited text re-reads as the old one with exactly this change."""
    document, edit, value = before.document, planned.edit, planned.value
    assert isinstance(edit, TextEdit)
    text = apply_edits(document.text, [edit])
    data = sources.encode(document, text)
    again = sources.read(document.path, data, document.syntax)
    assert sources.encode(again, again.text) == data
    new: list[Leaf] = [(path, read) for path, read, _node in leaves(again)]
    old = before.leaves
    if operation == "replace":
        place = before.place[id(planned.node)]
        expected = [*old[:place], (old[place][0], _comparable(value)), *old[place + 1 :]]
        assert new == expected, _difference(expected, new)
    elif operation == "insert":
        inserted = (*before.path_of(planned.node), f"{PROBE}#1")
        added = [leaf for leaf in new if leaf[0][: len(inserted)] == inserted]
        assert added, "the key is not there"
        assert isinstance(value, list) or added == [(inserted, _comparable(value))], added
        rest = [leaf for leaf in new if leaf[0][: len(inserted)] != inserted]
        assert rest == old, _difference(old, rest)
    else:
        gone = _path_of_entry(before, planned)
        kept = [(_first_of(path), read) for path, read in old if path[: len(gone)] != gone]
        found = [(_first_of(path), read) for path, read in new]
        if document.syntax is Syntax.TOML:  # dotted keys name their table where the first of them stands
            kept, found = sorted(kept, key=repr), sorted(found, key=repr)
        assert found == kept, _difference(kept, found)
    if operation != "delete":
        assert [comment.text for comment in again.comments] == before.comments, "the comments changed"


def _path_of_entry(before: Before, planned: Planned) -> tuple[str, ...]:
    mapping, entry = planned.node, planned.entry
    assert isinstance(mapping, Mapping)
    assert entry is not None
    number = sum(1 for other in mapping.entries[: mapping.entries.index(entry) + 1] if other.key == entry.key)
    return (*before.path_of(mapping), f"{entry.key}#{number}")


def _first_of(path: tuple[str, ...]) -> tuple[str, ...]:
    """A path without the counts of duplicate keys, which a deletion shifts."""
    return tuple(part.rsplit("#", 1)[0] for part in path)


def _difference(expected: Sequence[object], found: Sequence[object]) -> str:
    for left, right in zip(expected, found, strict=False):
        if left != right:
            return f"expected {left}, found {right}"
    return f"expected {len(expected)} values, found {len(found)}"


def prove_with_second_parser(document: Document, text: str) -> None:
    """Raise AssertionError where an independent parser reads ``text`` differently than vramlint does."""
    again = sources.read(document.path, sources.encode(document, text), document.syntax)
    found = [plain(root) for root in (again.root, *again.more_roots)]
    if again.problems or _has_unknown(again):
        return
    match document.syntax:
        case Syntax.TOML:
            assert same_value(found[0], tomllib.loads(text)), "tomllib reads it differently"
        case Syntax.JSON:
            assert same_value(found[0], json.loads(text)), "json reads it differently"
        case Syntax.YAML:
            import ruamel.yaml
            from ruamel.yaml.error import MantissaNoDotYAML1_1Warning

            warnings.simplefilter("ignore", MantissaNoDotYAML1_1Warning)
            reader = ruamel.yaml.YAML(typ="safe", pure=True)
            reader.version = (1, 1)  # type: ignore[assignment] # accepts a tuple (ruamel/yaml/main.py)
            expected = list(reader.load_all(text))
            assert len(expected) in (len(found), 0), "ruamel sees another number of documents"
            assert all(map(same_value, found, expected)), "ruamel reads it differently"


def same_value(ours: object, theirs: object) -> bool:
    """Whether two readings agree. Dates are text here; ruamel reads 1e-4 as a number and y and n as bools."""
    match theirs:
        case dict():
            names = {str(key): value for key, value in theirs.items()}
            same = isinstance(ours, dict) and len(ours) == len(theirs)
            return same and all(same_value(value, names.get(_key_as_read(key, names))) for key, value in ours.items())
        case list() | tuple():
            return isinstance(ours, list) and len(ours) == len(theirs) and all(map(same_value, ours, theirs))
        case datetime.date() | datetime.time():
            return isinstance(ours, str)
        case float() if isinstance(ours, str):
            return yaml11_floats(ours) == theirs
        case bool() if isinstance(ours, str):
            return ours.lower() == ("y" if theirs else "n")
        case _:
            return _comparable(ours) == _comparable(theirs) or (theirs is None and ours == {})


def _key_as_read(key: str, names: dict[str, object]) -> str:
    if key in names:
        return key
    return {"y": "True", "n": "False"}.get(key.lower()) or str(yaml11(key))


def _has_unknown(document: Document) -> bool:
    return any(isinstance(node, Unknown) or getattr(node, "tag", None) for _path, _value, node in leaves(document))


def files_under(roots: Sequence[str]) -> list[Path]:
    """Config files under the given folders, sorted."""
    found: list[Path] = []
    for root in map(Path, roots):
        found.extend([root] if root.is_file() else [path for path in root.rglob("*") if path.suffix in SUFFIXES])
    return sorted(path for path in found if path.is_file())


def main(argv: Sequence[str] | None = None) -> int:
    """Run over folders; exit 1 where any edit failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("roots", nargs="+")
    parser.add_argument("--per-file", type=int, default=0, help="edits of each operation a file, 0 for all")
    parser.add_argument("--parser", action="store_true", help="read every edited file with a second parser too")
    parser.add_argument("--operation", choices=("replace", "insert", "delete"), action="append")
    options = parser.parse_args(argv)
    counts = empty_counts()
    for path in files_under(options.roots):
        data = path.read_bytes()
        for operation in options.operation or ("replace", "insert", "delete"):
            check_file(str(path), data, operation, counts, options.per_file, second=options.parser)
    for name, number in sorted(counts.made.items()):
        print(f"{number:8,} {name}: proven")
    for reason, number in counts.refused.most_common():
        print(f"{number:8,} refused: {reason}")
    print(f"{len(counts.failed):8,} failed")
    for line in counts.failed[:60]:
        print(line)
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
