"""``$((GPUS * NODES))``: whole numbers, names, ``+ - * / %`` and brackets, as POSIX shells work them out.

Source: POSIX.1-2017, Shell Command Language, section 2.6.4 "Arithmetic Expansion".
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(r"\s*(?:(\d{1,18})|\$?\{?([A-Za-z_]\w*)\}?|([-+*/%()]))")
_MOST_TOKENS = 100

Lookup = Callable[[str], str | None]


class _NotKnown(Exception):
    """The expression has no value here."""


def arithmetic(text: str, lookup: Lookup) -> int | None:
    """The value of what stands between ``$((`` and ``))``; None for unknown names and anything beyond these signs."""
    try:
        return _Reader(list(_tokens(text, lookup))).whole()
    except _NotKnown:
        return None


def _tokens(text: str, lookup: Lookup) -> list[int | str]:
    found: list[int | str] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(found) >= _MOST_TOKENS:
            raise _NotKnown
        number, name, sign = match.groups()
        if name is not None:
            number = lookup(name)
            if number is None or not re.fullmatch(r"\d{1,18}", number):
                raise _NotKnown
        found.append(sign if sign is not None else int(number))
        at = match.end()
    return found


class _Reader:
    """Sums of products of signed numbers and brackets."""

    def __init__(self, tokens: list[int | str]) -> None:
        self._tokens = tokens
        self._at = 0

    def whole(self) -> int:
        """The value of all tokens."""
        value = self._sum()
        if self._at != len(self._tokens):
            raise _NotKnown
        return value

    def _take(self, *signs: str) -> str | None:
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if not isinstance(token, str) or token not in signs:
            return None
        self._at += 1
        return token

    def _sum(self) -> int:
        value = self._product()
        while (sign := self._take("+", "-")) is not None:
            other = self._product()
            value = value + other if sign == "+" else value - other
        return value

    def _product(self) -> int:
        value = self._factor()
        while (sign := self._take("*", "/", "%")) is not None:
            other = self._factor()
            if sign == "*":
                value *= other
                continue
            if other == 0:
                raise _NotKnown
            quotient = abs(value) // abs(other) * (1 if (value < 0) == (other < 0) else -1)  # towards zero, as in C
            value = quotient if sign == "/" else value - quotient * other
        return value

    def _factor(self) -> int:
        if (sign := self._take("+", "-")) is not None:
            return self._factor() * (1 if sign == "+" else -1)
        if self._take("(") is not None:
            value = self._sum()
            if self._take(")") is None:
                raise _NotKnown
            return value
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if not isinstance(token, int):
            raise _NotKnown
        self._at += 1
        return token
