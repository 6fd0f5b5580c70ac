"""Where each row's framework says so: ``tests/rules/row_sources/<framework>.yaml``.

``archive`` names a published archive (``.cache/wheels``), or ``repository`` and ``commit`` the place of a framework
that is in no package index. A row has the ``file``, and a ``quote`` of it: the words of the error with ``{}`` where a
value stands, or the statement that raises it; ``line`` where the file is not at hand to be searched. ``error`` has the
words of an error that somebody else words.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml

FOLDER = Path(__file__).parents[1] / "row_sources"


class Quoted(NamedTuple):
    """A place in a framework's source. ``archive`` is empty where ``repository`` and ``commit`` say where it is."""

    archive: str
    repository: str
    commit: str
    file: str
    line: int
    quote: str
    error: str
    """The words of the error where they are not the framework's own: pydantic's, or Python's about an unknown name."""


def quotes_of(framework: str) -> Mapping[str, Quoted]:
    """The quoted source of every row of ``framework``, by the row's name."""
    table = yaml.safe_load((FOLDER / f"{framework}.yaml").read_text(encoding="utf-8"))
    shared = {key: value for key, value in table.items() if key != "rows"}
    return {name: _quoted({**shared, **row}) for name, row in table["rows"].items()}


def _quoted(row: Mapping[str, object]) -> Quoted:
    unknown = row.keys() - set(Quoted._fields)
    assert not unknown, unknown
    words = {name: str(row.get(name, "")) for name in Quoted._fields if name != "line"}
    return Quoted(**words, line=int(str(row.get("line", 0))))


def says(text: str, lines: str, quoted: Quoted) -> bool:
    """Whether an error with this text, raised by these lines, is the quoted one."""
    quote = quoted.error or quoted.quote
    parts = [part for part in _bare(quote).split("{}") if part]
    at = 0
    for part in parts:
        at = _bare(text).find(part, at)
        if at < 0:
            return _bare(quote) in _bare(lines)
        at += len(part)
    return bool(parts)


def stands_in(quote: str, source: str) -> bool:
    """Whether a Python file holds the quote: in one of its texts, or as code."""
    wanted = _bare(quote)
    return wanted in _bare(source) or any(wanted in text for text in _texts(source))


@lru_cache(maxsize=64)
def _texts(source: str) -> tuple[str, ...]:
    return tuple(_bare(text) for node in ast.walk(ast.parse(source)) for text in _text(node))


def _text(node: ast.AST) -> Iterator[str]:
    """A literal's text, adjacent literals joined, ``{}`` where an f-string has a value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = [*_text(node.left)], [*_text(node.right)]
        yield "".join((*left[-1:], *right[-1:]))


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
