"""How a value is written in Python, in the manner of the text it replaces."""

from __future__ import annotations

import ast
import re

from vramlint.errors import EditRefused
from vramlint.sources.model import Plain

_QUOTED = re.compile(r"(?P<prefix>[a-zA-Z]{0,2})(?P<quote>\"{3}|'{3}|\"|')")
_SCIENTIFIC = re.compile(r"[+-]?[\d._]+[eE][+-]?\d+")


def spell(value: Plain, like: str = "") -> str:
    """``value`` as a Python literal; digits grouped, hexadecimal, scientific and quoted as ``like`` is.

    Raises EditRefused for a number that Python cannot spell (NaN, infinity).
    """
    match value:
        case bool() | None:
            return str(value)
        case int():
            return _integer(value, like)
        case float():
            return _float(value, like)
        case str():
            return _string(value, like)
        case list():
            return _list(value, like)
        case dict():
            items = ", ".join(f"{_string(key, like)}: {spell(item, like)}" for key, item in value.items())
            return f"{{{items}}}"


def is_literal_expression(text: str) -> bool:
    """Whether ``text`` is made of literals and operators only (``1024 * 64``), so that it can be replaced whole."""
    try:
        tree = ast.parse(f"({text}\n)", mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    allowed = (ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)
    return all(isinstance(node, allowed) for node in ast.walk(tree))


def _integer(value: int, like: str) -> str:
    body = like.lstrip("+-").lower()
    if body.startswith("0x"):
        return f"{value:#X}".replace("X", "x") if any(letter in like for letter in "ABCDEF") else hex(value)
    if "_" in body:
        return f"{value:_d}"
    return str(value)


def _float(value: float, like: str) -> str:
    text = repr(value)
    if "n" in text:
        raise EditRefused(f"{text} has no literal in Python", help="Write it by hand, for example as float('inf').")
    if not _SCIENTIFIC.fullmatch(like) and "e" not in text:
        return text
    digits = next(n for n in range(18) if float(f"{value:.{n}e}") == value)
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    if _SCIENTIFIC.fullmatch(like) and "." in like and "." not in mantissa:
        mantissa += ".0"
    return f"{mantissa}e{int(exponent)}"


def _string(value: str, like: str) -> str:
    found = _QUOTED.match(like)
    quote = found["quote"] if found else '"'
    prefix = found["prefix"] if found else ""
    if "f" in prefix.lower() or "b" in prefix.lower():
        prefix = ""
    plainly = not any(mark in value for mark in ("\\", "\n", "\r", quote[0]))
    if "r" in prefix.lower() and plainly:
        return f"{prefix}{quote}{value}{quote}"
    escaped = "".join(_escape(character, quote[0]) for character in value)
    return f"{quote}{escaped}{quote}"


def _escape(character: str, quote: str) -> str:
    if character in ("\\", quote):
        return f"\\{character}"
    return character if character.isprintable() else repr(character)[1:-1]


def _list(value: list[Plain], like: str) -> str:
    inside = ", ".join(spell(item) for item in value)
    if like.startswith("("):
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return f"[{inside}]"
