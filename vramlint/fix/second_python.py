"""The second reading of Python, by ``ast`` alone.

Both syntax trees must be the same once the values that the edits replace are holes, and the entries that they insert or
delete are taken out; there may be no more of those than intended, and they must say what is intended.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from vramlint.fix.edits import Deleted, DocumentEdits, Inserted, Replaced
from vramlint.fix.outline import means
from vramlint.fix.spans import is_inside, shifted
from vramlint.sources.model import Plain, Span


def unintended(planned: DocumentEdits, text: str) -> str:
    """What differs in the edited Python besides the edits. Raises ValueError for a syntax error."""
    intents = planned.intents
    deleted = [intent.entry.key for intent in intents if isinstance(intent, Deleted)]
    inserted = [intent.key for intent in intents if isinstance(intent, Inserted)]
    values = [intent.value for intent in intents if isinstance(intent, Replaced)]
    old = _Tree(planned.document.text, [edit.span for edit in planned.edits], deleted)
    new = _Tree(text, shifted(planned.edits), inserted)
    if old.dump() != new.dump() or len(new.holes) > len(values):
        return "other code"
    if sorted(old.taken) != sorted(deleted) or sorted(new.taken) != sorted(inserted):
        return "other code"
    return "" if all(_says_one_of(hole, values) for hole in new.holes) else "the value itself"


def _says_one_of(hole: ast.expr, values: Sequence[Plain]) -> bool:
    try:
        actual = ast.literal_eval(hole)
    except ValueError:
        return False
    return any(means(value, tuple(actual) if isinstance(actual, list) else actual) for value in values)


class _Tree(ast.NodeTransformer):
    """The tree of ``text`` with a hole for every expression inside ``spans``, without the entries ``names`` there."""

    def __init__(self, text: str, spans: Sequence[Span], names: Sequence[str]) -> None:
        self._spans = spans
        self._names = names
        self._lines = [0, *(end.end() for end in re.finditer(r"\r\n|\r|\n", text))]
        self._text = text
        self.holes: list[ast.expr] = []
        """The expressions that the holes stand for."""
        self.taken: list[str] = []
        """The names of the entries that were taken out."""
        try:
            self._tree = ast.parse(text)
        except (SyntaxError, RecursionError) as error:
            raise ValueError(str(error)) from error

    def dump(self) -> str:
        """The tree in words, without positions."""
        return ast.dump(self.visit(self._tree))

    def visit(self, node: ast.AST) -> Any:
        if self._is_edited(node):
            name = _entry_name(node)
            if name in self._names and len(self.taken) < len(self._names):
                self.taken.append(str(name))
                return None
            if isinstance(node, ast.expr):
                self.holes.append(node)
                return ast.Name("edited", ast.Load())
        if isinstance(node, ast.Dict):
            self._take_pairs(node)
        return super().generic_visit(node)

    def _take_pairs(self, node: ast.Dict) -> None:
        """Takes the ``key: value`` pairs out of a dictionary that an edit wrote or removed whole."""
        kept = []
        for key, value in zip(node.keys, node.values, strict=True):
            name = key.value if isinstance(key, ast.Constant) else None
            if key is not None and name in self._names and self._is_edited(key) and self._is_edited(value):
                self.taken.append(str(name))
            else:
                kept.append((key, value))
        node.keys = [key for key, _ in kept]
        node.values = [value for _, value in kept]

    def _is_edited(self, node: ast.AST) -> bool:
        if not isinstance(node, (ast.expr, ast.stmt, ast.keyword)) or node.end_lineno is None:
            return False
        end = self._offset(node.end_lineno, node.end_col_offset or 0)
        return is_inside(Span(self._offset(node.lineno, node.col_offset), end), self._spans)

    def _offset(self, line: int, column: int) -> int:
        """Characters from the start of the text; ``ast`` counts UTF-8 bytes within a line."""
        start = self._lines[line - 1]
        piece = self._text[start : start + column]
        if piece.isascii():
            return start + column
        return start + len(self._text[start : start + column].encode()[:column].decode(errors="ignore"))


def _entry_name(node: ast.AST) -> str | None:
    """The name that a keyword argument or a plain assignment gives a value to."""
    if isinstance(node, ast.keyword):
        return node.arg
    target: ast.expr | None = node.target if isinstance(node, ast.AnnAssign) else None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    return target.id if isinstance(target, ast.Name) else None
