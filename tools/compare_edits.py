"""Change one value in each of 500 real YAML files with three programs, and count what else each of them changed.

    python tools/compare_edits.py ../shared/corpus > docs/edits.md

The programs: vramlint; ruamel.yaml's round trip (as it comes, and with quotes kept, long lines and the file's own
indent guessed); PyYAML's load and dump, which is what formatters that dump do. The edit is the same for all: the
whole number nearest to the middle of the file becomes another. What must come out is the old file with those digits
replaced; every other byte that differs is counted (deleted and added, by lines, without what changed lines share).
"""

from __future__ import annotations

import argparse
import copy
import difflib
import io
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tools.roundtrip import files_under
from vramlint import sources
from vramlint.errors import SourceError
from vramlint.sources.model import Document, Mapping, Node, Scalar, Style, apply_edits
from vramlint.sources.model import Sequence as Listed

FILES = 500
Path_ = tuple[str | int, ...]


class Task(NamedTuple):
    """One value of one file to change: where it is, what it becomes, and the text that must come out."""

    document: Document
    path: Path_
    node: Scalar
    value: int
    expected: str


class Outcome(NamedTuple):
    """What one program did to one file."""

    changed_bytes: int
    changed_lines: int
    comments_lost: int


def task_of(path: Path) -> Task | None:
    """The number nearest to the middle of a file; None where it has none, or several documents."""
    try:
        document = sources.read(str(path), path.read_bytes())
    except SourceError:
        return None
    if document.more_roots or document.bom or "\r" in document.text:
        return None  # the others cannot keep those; leaving them out favours the others
    numbers = [(found, place) for found, place in _numbers(document.root, ()) if found.text == str(found.value)]
    if not numbers:
        return None
    middle = len(document.text) / 2
    node, place = min(numbers, key=lambda found: abs(found[0].span.start - middle))
    value = int(node.value or 0) + 1
    expected = document.text[: node.span.start] + str(value) + document.text[node.span.end :]
    return Task(document, place, node, value, expected)


def _numbers(node: Node, place: Path_) -> list[tuple[Scalar, Path_]]:
    if isinstance(node, Scalar):
        plain = node.style is Style.PLAIN and type(node.value) is int and not node.shared and node.tag is None
        return [(node, place)] if plain else []
    if isinstance(node, Mapping) and not node.shared:
        own = [entry for entry in node.entries if not entry.merged]
        return [found for entry in own for found in _numbers(entry.value, (*place, entry.key))]
    if isinstance(node, Listed) and not node.shared:
        return [found for index, item in enumerate(node.items) for found in _numbers(item, (*place, index))]
    return []


def with_vramlint(task: Task) -> str:
    """One span edit."""
    edit = sources.replace_value(task.document, task.node, task.value)
    return apply_edits(task.document.text, [edit])


def with_ruamel(task: Task) -> str:
    """ruamel.yaml's round trip as it comes."""
    import ruamel.yaml

    return _ruamel(ruamel.yaml.YAML(), task)


def with_tuned_ruamel(task: Task) -> str:
    """ruamel.yaml's round trip with every setting that helps."""
    import ruamel.yaml
    import ruamel.yaml.util

    reader = ruamel.yaml.YAML()
    reader.preserve_quotes = True
    reader.width = 1_000_000  # type: ignore[assignment]
    _, indent, dash = ruamel.yaml.util.load_yaml_guess_indent(task.document.text)
    sequence, offset = indent or 2, dash or 0
    reader.indent(mapping=2 if sequence <= 4 else sequence - 2, sequence=max(sequence, offset + 2), offset=offset)
    return _ruamel(reader, task)


def _ruamel(reader: Any, task: Task) -> str:
    loaded = reader.load(task.document.text)
    _set(loaded, task)
    out = io.StringIO()
    reader.dump(loaded, out)
    return out.getvalue()


def with_pyyaml(task: Task) -> str:
    """PyYAML's load and dump, keys in the file's order."""
    loaded = yaml.load(task.document.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    _set(loaded, task)
    return str(yaml.safe_dump(copy.deepcopy(loaded), sort_keys=False, allow_unicode=True))


def _set(loaded: Any, task: Task) -> None:
    for key in task.path[:-1]:
        loaded = loaded[_key_in(loaded, key)]
    key = _key_in(loaded, task.path[-1])
    if loaded[key] != task.node.value:
        raise LookupError("another value stands there")
    loaded[key] = task.value


def _key_in(loaded: Any, key: str | int) -> Any:
    if isinstance(key, int):
        return key
    return next(found for found in loaded if str(found) == key)


def measure(expected: str, found: str) -> Outcome:
    """How far ``found`` is from ``expected``."""
    old, new = expected.splitlines(keepends=True), found.splitlines(keepends=True)
    changed_bytes = changed_lines = 0
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        changed_lines += max(b - a, d - c)
        pairs = zip(old[a:b], new[c:d], strict=True) if b - a == d - c else [("".join(old[a:b]), "".join(new[c:d]))]
        changed_bytes += sum(_apart(left, right) for left, right in pairs)
    return Outcome(changed_bytes, changed_lines, max(0, _comments(expected) - _comments(found)))


def _apart(left: str, right: str) -> int:
    """Bytes of both without what they begin and end with alike."""
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    end = 0
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    return len(left[start : len(left) - end].encode()) + len(right[start : len(right) - end].encode())


def _comments(text: str) -> int:
    try:
        return len(sources.read("x.yaml", text.encode()).comments)
    except SourceError:
        return 0


PROGRAMS: dict[str, Callable[[Task], str]] = {
    "vramlint": with_vramlint,
    "ruamel.yaml round trip, as it comes": with_ruamel,
    "ruamel.yaml round trip, quotes kept, no line width, indent guessed": with_tuned_ruamel,
    "PyYAML load and dump": with_pyyaml,
}

COLUMNS = (
    "program",
    "files with no other byte changed",
    "other bytes changed, all files",
    "median a file",
    "other lines changed",
    "comments lost",
    "files it could not write",
)
HEAD = """<!-- Made by tools/compare_edits.py from public configs; do not edit. -->
# What else changes when one value changes

One number is changed in each of {files} real YAML configs ({size:,} bytes, {comments:,} comments). The table counts
what else each program changed: a byte counts when it was deleted or added outside the edited value.
"""
TAIL = """
vramlint replaces the span of the value and dumps nothing. The others read the file into data and write the data out
again, so quotes, blank lines, indents and line breaks become their own; PyYAML also drops every comment. Files that a
program could not write are those whose tags, duplicate keys or values it refuses; they are left out of its row.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("corpus")
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    paths = [path for path in files_under([options.corpus]) if path.suffix in (".yaml", ".yml")]
    tasks = [task for path in paths if (task := task_of(path)) is not None]
    tasks = [tasks[index * len(tasks) // FILES] for index in range(min(FILES, len(tasks)))]
    size = sum(len(task.document.text.encode()) for task in tasks)
    comments = sum(len(task.document.comments) for task in tasks)
    print(HEAD.format(files=len(tasks), size=size, comments=comments))
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for name, program in PROGRAMS.items():
        outcomes: list[Outcome] = []
        for task in tasks:
            try:
                outcomes.append(measure(task.expected, program(task)))
            except Exception as error:  # noqa: BLE001 - the loaders' errors share no base
                print(f"{task.document.path}: {name}: {type(error).__name__}", file=sys.stderr)
        same = sum(found.changed_bytes == 0 for found in outcomes)
        total = sum(found.changed_bytes for found in outcomes)
        median = statistics.median(found.changed_bytes for found in outcomes)
        lines = sum(found.changed_lines for found in outcomes)
        lost = sum(found.comments_lost for found in outcomes)
        print(
            f"| {name} | {same} of {len(outcomes)} | {total:,} | {median:,.0f} | {lines:,} | {lost:,} "
            f"| {len(tasks) - len(outcomes)} |"
        )
    print(TAIL, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
