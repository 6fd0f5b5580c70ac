"""From the plan's values back to the file's: how a slot spells a new value in the manner of the old one.

Each function returns a ``spell`` for a :class:`~vramlint.dialects.model.Slot`; it raises EditRefused where the key
cannot hold the value (a switch named ``bf16`` cannot ask for fp16).
"""

from __future__ import annotations

from collections.abc import Callable

from vramlint.dialects.values import FALSE_WORDS, TRUE_WORDS
from vramlint.errors import EditRefused
from vramlint.plan import ImageSize, Precision
from vramlint.sources.model import Plain

Spell = Callable[[object], Plain]

_WORDS: dict[Precision, Plain] = {
    Precision.FP32: "no",
    Precision.FP16: "fp16",
    Precision.BF16: "bf16",
    Precision.FP8: "fp8",
}
_SWITCH_TYPES = {"fp16": Precision.FP16, "bf16": Precision.BF16}


def number(value: object) -> Plain:
    """Counts are spelled as they are."""
    if isinstance(value, int):
        return value
    raise EditRefused(f"{value!r} is no number")


def scaled(factor: int) -> Spell:
    """A count that the file gives ``factor`` times as large (a GLOBAL batch for ``factor`` ranks)."""

    def spell(value: object) -> Plain:
        if not isinstance(value, int):
            raise EditRefused(f"{value!r} is no number")
        return value * factor

    return spell


def switch(current: object = True) -> Spell:
    """A switch, spelled with the words or digits of ``current``."""

    def spell(value: object) -> Plain:
        on = bool(value)
        if isinstance(current, bool) or current is None:
            return on
        if isinstance(current, (int, float)):
            return int(on)
        return _alike(str(current), on)

    return spell


def image_size(current: object = 0) -> Spell:
    """A square size as one number; a height and width stay a pair only where the old value was one."""

    def spell(value: object) -> Plain:
        if not isinstance(value, ImageSize):
            raise EditRefused(f"{value!r} is no image size")
        if isinstance(current, (list, tuple)):
            return [value.height, value.width]
        if value.height != value.width:
            raise EditRefused(f"{value} is not square and the key holds one number")
        return str(value.height) if isinstance(current, str) and not current.strip().isdecimal() else value.height

    return spell


def precision(key: str, current: object = None, words: dict[Precision, Plain] | None = None) -> Spell:
    """A precision under ``key``: a switch, or one of ``words`` where a framework has its own."""
    name = key.lstrip("-").replace("-", "_").rsplit(".", 1)[-1].lower()
    named_type = next((kind for word, kind in _SWITCH_TYPES.items() if word in name), None)
    is_switch = named_type is not None or _is_switch(name, current)

    def spell(value: object) -> Plain:
        if not isinstance(value, Precision):
            raise EditRefused(f"{value!r} is no precision")
        if words is not None:
            return _in_words(words, value, key)
        if not is_switch:
            return _in_words(_WORDS, value, key)
        wanted = named_type or Precision.FP16
        if value not in (wanted, Precision.FP32):
            raise EditRefused(f"{key} cannot ask for {value}")
        return switch(current)(value is wanted)

    return spell


def _is_switch(name: str, current: object) -> bool:
    if isinstance(current, (bool, int)):
        return True
    if isinstance(current, str):
        return current.strip().lower() in (TRUE_WORDS | FALSE_WORDS) - {"no"}
    return "amp" in name and "dtype" not in name


def _in_words(words: dict[Precision, Plain], value: Precision, key: str) -> Plain:
    if value not in words:
        raise EditRefused(f"{key} has no word for {value}")
    return words[value]


_PAIRS = (("true", "false"), ("yes", "no"), ("on", "off"), ("1", "0"), ("y", "n"), ("t", "f"))


def _alike(current: str, on: bool) -> str:
    """``True`` for ``False``, ``ON`` for ``OFF``: the same pair of words in the same case."""
    word = current.strip().lower()
    yes, no = next(((yes, no) for yes, no in _PAIRS if word in (yes, no)), ("true", "false"))
    spelled = yes if on else no
    if current.strip().isupper() and word not in ("1", "0"):
        return spelled.upper()
    return spelled.capitalize() if current.strip()[:1].isupper() else spelled
