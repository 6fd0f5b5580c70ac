"""The second reading of Python: both syntax trees without what lies inside the edits must be the same."""

from __future__ import annotations

import ast
import re
from typing import Any

from vramlint.fix.edits import DocumentEdits
from vramlint.fix.second_yaml import shifted
from vramlint.sources.model import Span

_HOLE = ast.Name("edited", ast.Load())


def unintended(planned: DocumentEdits, text: str) -> str:
    """What differs in the edited Python besides the edits. Raises ValueError for a syntax error."""
    old = _Tree(planned.document.text, [edit.span for edit in planned.edits])
    new = _Tree(text, shifted(planned.edits))
    return "" if old.dump() == new.dump() else "other code"


class _Tree(ast.NodeTransformer):
    """The tree of a text with a hole for every expression, and without every statement, inside one of ``spans``."""

    def __init__(self, text: str, spans: list[Span]) -> None:
        self._spans = spans
        self._lines = [0, *(end.end() for end in re.finditer(r"\r\n|\r|\n", text))]
        self._text = text
        try:
            self._tree = ast.parse(text)
        except (SyntaxError, RecursionError) as error:
            raise ValueError(str(error)) from error

    def dump(self) -> str:
        """The tree in words, without positions."""
        return ast.dump(self.visit(self._tree))

    def generic_visit(self, node: ast.AST) -> Any:
        span = self._span(node)
        if span is not None and any(edit.start <= span.start and span.end <= edit.end for edit in self._spans):
            return _HOLE if isinstance(node, ast.expr) else None
        if isinstance(node, ast.Dict):
            self._forget_inserted(node)
        return super().generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> Any:
        return self.generic_visit(node)

    def _forget_inserted(self, node: ast.Dict) -> None:
        """Takes whole ``key: value`` pairs out that an edit wrote or removed."""
        pairs = [
            (key, value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is None or not self._is_edited(key) or not self._is_edited(value)
        ]
        node.keys = [key for key, _ in pairs]
        node.values = [value for _, value in pairs]

    def _is_edited(self, node: ast.AST) -> bool:
        span = self._span(node)
        return span is not None and any(edit.start <= span.start and span.end <= edit.end for edit in self._spans)

    def _span(self, node: ast.AST) -> Span | None:
        if not isinstance(node, (ast.expr, ast.stmt, ast.keyword)) or node.end_lineno is None:
            return None
        assert node.end_col_offset is not None
        return Span(self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset))

    def _offset(self, line: int, column: int) -> int:
        """Characters from the start of the text; ``ast`` counts UTF-8 bytes within a line."""
        start = self._lines[line - 1]
        piece = self._text[start : start + column]
        if piece.isascii():
            return start + column
        return start + len(self._text[start:].split("\n", 1)[0].encode()[:column].decode())
