"""Operators on known values, with bounds: a config that says ``9 ** 9 ** 9`` must not cost a minute."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable

Known = None | bool | int | float | str

MAX_BITS = 4096
MAX_CHARACTERS = 10_000


class NotKnown(Exception):
    """The operation has no value here; the text says why."""


_BINARY: dict[type[ast.operator], Callable[..., object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
}
_COMPARE: dict[type[ast.cmpop], Callable[..., object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_UNARY: dict[type[ast.unaryop], Callable[..., object]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
_FUNCTIONS: dict[str, Callable[..., object]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "abs": abs,
    "round": round,
    "max": max,
    "min": min,
    "len": len,
    "sum": lambda *numbers: sum(numbers),
}
KNOWN_FUNCTIONS = frozenset(_FUNCTIONS)


def unary(operation: ast.unaryop, value: Known) -> Known:
    """``-value`` and its kin. Raises NotKnown."""
    return _apply(_UNARY[type(operation)], value)


def binary(operation: ast.operator, left: Known, right: Known) -> Known:
    """``left + right`` and its kin. Raises NotKnown."""
    function = _BINARY.get(type(operation))
    if function is None:
        raise NotKnown("an operator that is not worked out")
    _guard(operation, left, right)
    return _apply(function, left, right)


def compare(operation: ast.cmpop, left: Known, right: Known) -> bool:
    """``left < right`` and its kin. Raises NotKnown."""
    function = _COMPARE.get(type(operation))
    if function is None:
        raise NotKnown("a comparison that is not worked out")
    return bool(_apply(function, left, right))


def call(name: str, arguments: list[Known]) -> Known:
    """``int("8")``, ``max(4, 8)`` and the like. Raises NotKnown."""
    return _apply(_FUNCTIONS[name], *arguments)


def _guard(operation: ast.operator, left: Known, right: Known) -> None:
    """Refuse what would be large before it is computed."""
    match operation:
        case ast.Pow() | ast.LShift():
            if not isinstance(right, (int, float)) or abs(right) > 1024 or _bits(left) * max(1, abs(right)) > MAX_BITS:
                raise NotKnown("a number too large to work out")
        case ast.Mult():
            repeated = (isinstance(left, str), isinstance(right, str))
            if any(repeated):
                text, times = (left, right) if repeated[0] else (right, left)
                if not isinstance(text, str) or not isinstance(times, int) or len(text) * times > MAX_CHARACTERS:
                    raise NotKnown("a text too long to work out")
        case ast.Mod():
            if isinstance(left, str):
                raise NotKnown("%-formatting")


def _bits(value: Known) -> int:
    return value.bit_length() if isinstance(value, int) else 64


def _apply(function: Callable[..., object], *arguments: Known) -> Known:
    try:
        result = function(*arguments)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise NotKnown(str(error)) from None
    if isinstance(result, int) and result.bit_length() > MAX_BITS:
        raise NotKnown("a number too large to work out")
    if isinstance(result, str) and len(result) > MAX_CHARACTERS:
        raise NotKnown("a text too long to work out")
    if result is None or isinstance(result, (bool, int, float, str)):
        return result
    raise NotKnown(f"a {type(result).__name__} is no value of a setting")
