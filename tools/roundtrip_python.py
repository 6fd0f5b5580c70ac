"""Edit real Python configs in every place, one place at a time; Python's own parser judges each edit.

    python tools/roundtrip_python.py .cache/wheels/mmdet-3.3.0-*.whl .cache/wheels/mmsegmentation-1.2.2-*.whl

For every config of the wheels: each scalar value is replaced by another of its kind, and a key is inserted into each
mapping. The edited file must parse with ``ast`` to the old tree with exactly that one constant changed, or that one
keyword (key, assignment) more; all bytes outside the edit are the old ones; and vramlint must read the new value there.
Prints the counts; exit 1 where an edit failed. ``--every N`` takes every Nth file.
"""

from __future__ import annotations

import argparse
import ast
import collections
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence

from tools.roundtrip import PROBE, other_value
from vramlint import sources
from vramlint.errors import EditRefused
from vramlint.sources.model import Document, Mapping, Node, Plain, Scalar, Span, TextEdit, apply_edits
from vramlint.sources.model import Sequence as Listed

_NAMES = re.compile(r"^.*(?= is (?:used|computed|not))", re.DOTALL)


def configs(wheels: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every Python config in the wheels."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(archive.namelist()):
                if "/.mim/configs/" in name and name.endswith(".py"):
                    yield name, archive.read(name)


def scalars(document: Document) -> list[Scalar]:
    """Every scalar of the document once, in lists too, in file order."""
    found: dict[int, Scalar] = {}
    for mapping in document.mappings():
        pending: list[Node] = [entry.value for entry in mapping.entries]
        while pending:
            node = pending.pop()
            if isinstance(node, Scalar):
                found[id(node)] = node
            elif isinstance(node, Listed):
                pending.extend(node.items)
    return sorted(found.values(), key=lambda scalar: scalar.span)


class Tree:
    """A Python text as its own parser sees it: the nodes in order, without places, and which node stands where."""

    def __init__(self, text: str) -> None:
        self._starts = [0]
        data = text.encode()
        for line in data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._characters = None if len(data) == len(text) else data
        self.root = ast.parse(text)

    def without(self, span: Span) -> str:
        """The tree with the expression at ``span`` left out; its value is in ``hole``."""
        self.hole: ast.expr | None = None
        outer = self

        class _Cut(ast.NodeTransformer):
            def visit(self, node: ast.AST) -> ast.AST:
                if isinstance(node, ast.expr) and outer._span(node) == span:
                    outer.hole = node
                    return ast.Name("HOLE")
                return super().visit(node)

        return ast.dump(_Cut().visit(self.root))

    def without_probe(self) -> tuple[str, Plain]:
        """The tree without the inserted key, and the value of that key."""
        found: list[ast.expr] = []

        class _Cut(ast.NodeTransformer):
            def visit_Call(self, node: ast.Call) -> ast.AST:
                found.extend(keyword.value for keyword in node.keywords if keyword.arg == PROBE)
                node.keywords = [keyword for keyword in node.keywords if keyword.arg != PROBE]
                return self.generic_visit(node)

            def visit_Dict(self, node: ast.Dict) -> ast.AST:
                pairs = list(zip(node.keys, node.values, strict=True))
                is_probe = [isinstance(key, ast.Constant) and key.value == PROBE for key, _ in pairs]
                found.extend(value for (_, value), probe in zip(pairs, is_probe, strict=True) if probe)
                node.keys = [key for (key, _), probe in zip(pairs, is_probe, strict=True) if not probe]
                node.values = [value for (_, value), probe in zip(pairs, is_probe, strict=True) if not probe]
                return self.generic_visit(node)

            def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
                if [getattr(target, "id", None) for target in node.targets] == [PROBE]:
                    found.append(node.value)
                    return None
                return self.generic_visit(node)

        dumped = ast.dump(_Cut().visit(self.root))
        return dumped, ast.literal_eval(found[0]) if len(found) == 1 else f"{len(found)} found"

    def _span(self, node: ast.expr) -> Span:
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        if self._characters is not None:
            start, end = len(self._characters[:start].decode()), len(self._characters[:end].decode())
        return Span(start, end)


def replace_all(name: str, document: Document, counts: collections.Counter[str], failed: list[str]) -> None:
    """Every scalar of one document."""
    for turn, scalar in enumerate(scalars(document)):
        value = other_value(scalar.value, turn)
        try:
            edit = sources.replace_value(document, scalar, value)
        except EditRefused as refusal:
            counts[f"replace refused: {_NAMES.sub('it', refusal.message)}"] += 1
            continue
        problem = _replaced(document, edit, value)
        counts["replace failed" if problem else "replace proven"] += 1
        if problem:
            failed.append(f"{name}: {scalar.text} -> {value!r}: {problem}")


def _replaced(document: Document, edit: TextEdit, value: Plain) -> str:
    text = apply_edits(document.text, [edit])
    place = Span(edit.span.start, edit.span.start + len(edit.text))
    old, new = Tree(document.text), Tree(text)
    if old.without(edit.span) != new.without(place):
        return "the tree differs elsewhere"
    if new.hole is None or old.hole is None:
        return "no expression stands there"
    if ast.literal_eval(new.hole) != value or type(ast.literal_eval(new.hole)) is not type(value):
        return f"Python reads {ast.literal_eval(new.hole)!r}"
    again = sources.read(document.path, text.encode())
    read = [scalar.value for scalar in scalars(again) if scalar.span == place]
    return "" if value in read else f"vramlint reads {read}"


def insert_all(name: str, document: Document, counts: collections.Counter[str], failed: list[str]) -> None:
    """One key into every mapping of one document, at the end and behind the first entry."""
    before = ast.dump(ast.parse(document.text))
    for turn, mapping in enumerate(document.mappings()):
        for after in (None, *(entry.key for entry in mapping.entries[:1])):
            value: Plain = (7, True, 1e-05, "some text", [1, 2])[turn % 5]
            try:
                edit = sources.insert_entry(document, mapping, PROBE, value, after)
            except EditRefused as refusal:
                counts[f"insert refused: {_NAMES.sub('it', refusal.message)}"] += 1
                continue
            problem = _inserted(document, mapping, edit, before, value)
            counts["insert failed" if problem else "insert proven"] += 1
            if problem:
                failed.append(f"{name}: mapping at {document.position(mapping.span.start)}: {problem}")


def _inserted(document: Document, mapping: Mapping, edit: TextEdit, before: str, value: Plain) -> str:
    text = apply_edits(document.text, [edit])
    tree, read = Tree(text).without_probe()
    if tree != before:
        return "the tree differs elsewhere"
    if read != value or type(read) is not type(value):
        return f"Python reads {read!r}"
    again = sources.read(document.path, text.encode())
    holders = [each.keys() - {PROBE} for each in again.mappings() if each.get(PROBE) is not None]
    if mapping.keys() not in holders:
        return "vramlint does not see the key in this mapping"
    # A comma goes in front of a comment and the new line behind it: the comment is in the edit, unchanged.
    return "" if document.text[edit.span.start : edit.span.end].rstrip() in edit.text else "other text was replaced"


def main(argv: Sequence[str] | None = None) -> int:
    """Run; exit 1 where an edit failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("wheels", nargs="+")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args(argv)
    counts: collections.Counter[str] = collections.Counter()
    failed: list[str] = []
    for name, data in list(configs(options.wheels))[:: options.every]:
        document = sources.read(name, data)
        counts["files"] += 1
        replace_all(name, document, counts, failed)
        insert_all(name, document, counts, failed)
    for what, number in sorted(counts.items()):
        print(f"{number:8,} {what}")
    print("\n".join(failed[:40]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
