"""YAML values as text: in the style of what stood there, and read alike by every YAML loader."""

from __future__ import annotations

import math
import re

from vramlint.errors import EditRefused
from vramlint.sources.model import Plain, Style
from vramlint.sources.scalars import resolved_tag, yaml11, yaml11_floats, yaml12
from vramlint.sources.spelling import spell_float, spell_int, spell_quoted

_PLAIN_START = re.compile(r"[^\W]|[/.+$(<^~=;\\]|-(?=[\w-])")
_NOT_PLAIN = re.compile(r":(?:\s|$)|\s#|[,\[\]{}]:?")
_COLON_OR_COMMENT = re.compile(r":(?:\s|$)|\s#")
_BOOLS = (("true", "false"), ("yes", "no"), ("on", "off"))
_NULLS = ("null", "Null", "NULL", "~")


def spell(value: Plain, old: str = "", style: Style = Style.PLAIN, bool_like: str = "true") -> str:
    """``value`` as YAML on one line, of exactly its type: an int is never quoted, even where ``old`` was.

    ``old`` and ``style`` are the text it replaces, ``bool_like`` a bool as the file spells it.
    """
    match value:
        case None:
            text = old if old in _NULLS else "null"
        case bool():
            text = spell_bool(value, old if is_bool(old) else bool_like)
        case int():
            text = spell_int(value, old)
        case float():
            text = _spell_float(value, old)
        case str():
            text = spell_string(value, old, style)
        case list():
            text = "[" + ", ".join(spell(item, bool_like=bool_like) for item in value) + "]"
        case dict():
            pairs = (f"{spell_string(key)}: {spell(item, bool_like=bool_like)}" for key, item in value.items())
            text = "{" + ", ".join(pairs) + "}"
    return text


def spell_bool(value: bool, like: str) -> str:
    """True or false in the words and the case of ``like``: ``yes`` gives ``no``, ``True`` gives ``False``."""
    words = next(pair for pair in _BOOLS if like.lower() in pair)
    word = words[0] if value else words[1]
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word


def is_bool(text: str) -> bool:
    """Whether YAML 1.1 reads ``text`` as a bool."""
    return isinstance(yaml11(text), bool)


def spell_string(value: str, old: str = "", style: Style = Style.PLAIN, quote: str = '"') -> str:
    """A string that every loader reads as this string: plain where that is safe and usual, else quoted."""
    if style is Style.SINGLE or (style is not Style.DOUBLE and quote == "'"):
        quoted = "'" + value.replace("'", "''") + "'" if value.isprintable() else spell_quoted(value)
    else:
        quoted = spell_quoted(value)
    if style in (Style.SINGLE, Style.DOUBLE):
        return quoted
    return value if _is_plain(value, old) else quoted


def _is_plain(value: str, old: str) -> bool:
    if not value.isprintable() or value != value.strip() or _PLAIN_START.match(value) is None:
        return False
    if value in ("y", "Y", "n", "N"):  # bools to ruamel.yaml's YAML 1.1, strings to PyYAML
        return False
    # Brackets and commas end a plain scalar inside [ ] and { } only; text that had one stands outside of them.
    forbidden = _COLON_OR_COMMENT if re.search(r"[,\[\]{}]", old) else _NOT_PLAIN
    if forbidden.search(value):
        return False
    return _readings(value) == _readings(old if old and yaml11(old) == old else "text")


def _readings(text: str) -> tuple[str, type, type]:
    return resolved_tag(text), type(yaml11_floats(text)), type(yaml12(text))


def _spell_float(value: float, old: str) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    if ":" in old:
        raise EditRefused("the old value counts in base 60")
    return spell_float(value, old)
