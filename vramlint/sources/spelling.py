"""Numbers and strings spelled the way the value they replace was spelled, in text every loader reads alike."""

from __future__ import annotations

import math

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def spell_int(value: int, old: str = "") -> str:
    """``value`` in decimal digits, grouped by underscores where ``old`` is (``65_536`` becomes ``76_800``)."""
    grouped = "_" in old and old.replace("_", "").lstrip("+-").isdigit()
    return f"{value:_}" if grouped else str(value)


def spell_float(value: float, old: str = "") -> str:
    """A finite ``value`` with a point and, in scientific notation, a signed exponent: ``1.0e-04``, never ``1e-4``.

    YAML 1.1 reads a number without a point or without the sign as a string (yaml/resolver.py 6.0.3). Notation, exponent
    width and the case of the ``e`` follow ``old`` where it is a number. Raises ValueError for infinities and NaN.
    """
    if not math.isfinite(value):
        raise ValueError("an infinity or NaN has a spelling of its own in every syntax")
    mantissa, mark, exponent = old.strip("'\"").lower().partition("e")
    old_is_scientific = bool(mark) and bool(exponent) and _is_number(mantissa) and _is_number(exponent)
    magnitude = abs(value)
    if old_is_scientific:
        return _scientific(value, "E" if "E" in old else "e", len(exponent.lstrip("+-")))
    smallest = 1e-6 if _is_number(old) else 1e-4
    if value == 0 or smallest <= magnitude < 1e16:
        from decimal import Decimal  # its import takes 1.5 ms, and few repairs write a float

        text = format(Decimal(repr(value)), "f")
        return text if "." in text else f"{text}.0"
    return _scientific(value, "e", 2)


def spell_quoted(value: str) -> str:
    """``value`` in double quotes with escapes that YAML and TOML share; everything printable stands as it is."""
    pieces = [_ESCAPES.get(letter) or (letter if letter.isprintable() else _unicode_escape(letter)) for letter in value]
    return '"' + "".join(pieces) + '"'


def _scientific(value: float, mark: str, width: int) -> str:
    from decimal import Decimal

    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = exponent + len(digits) - 1
    fraction = "".join(str(digit) for digit in digits[1:]) or "0"
    power_text = str(abs(power)).rjust(width, "0")
    return f"{'-' if sign else ''}{digits[0]}.{fraction}{mark}{'-' if power < 0 else '+'}{power_text}"


def _is_number(text: str) -> bool:
    try:
        float(text.replace("_", ""))
    except ValueError:
        return False
    return True


def _unicode_escape(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
