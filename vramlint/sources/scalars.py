"""What a scalar means to each loader: ``1e-4`` is a string to PyYAML and a number to OmegaConf.

The readings follow PyYAML 6.0.3, OmegaConf 2.3, yacs 0.1.8, jsonargparse 4.53, HyperPyYAML 1.2.3, ruamel.yaml 0.18
(YAML 1.2), tomllib 3.11 and hjson 3.1; ``tests/sources/test_scalars.py`` compares them with those that are installed.
Dates stay text: no training setting is a date.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache

from yaml.resolver import Resolver

from vramlint.sources.model import Plain, Scalar, Style

MAX_NUMBER = 400
"""Characters of the longest number; reading ``1:59:59:…`` takes quadratic time."""

MAX_TUPLE = 10_000
"""Characters of the longest text that is read as a tuple or literal."""

Value = None | bool | int | float | str


class Loader(StrEnum):
    """The loaders of ``dialects.yaml``; the ``pyyaml_*`` ones read as PyYAML and coerce later, by declared type."""

    PYYAML = "pyyaml"
    PYYAML_ARGPARSE = "pyyaml_argparse"
    PYYAML_PYDANTIC = "pyyaml_pydantic"
    PATCHED_PYYAML = "patched_pyyaml"
    OMEGACONF = "omegaconf"
    YACS = "yacs"
    JSONARGPARSE = "jsonargparse"
    HYPERPYYAML = "hyperpyyaml"
    RUAMEL12 = "ruamel12"
    TOML = "toml"
    HJSON = "hjson"


def read_as(text: str, style: Style, loader: Loader | str) -> Plain:
    """The value that ``loader`` makes of a scalar with the content ``text`` (quotes and escapes already undone).

    A quoted or block scalar is a string to every loader but yacs, which evaluates strings as Python literals. yacs does
    so for the values of mappings only: the items of a list stay as PyYAML read them.
    """
    chosen = Loader(loader)
    if style in (Style.SINGLE, Style.DOUBLE, Style.BLOCK):
        return python_literal(text) if chosen is Loader.YACS else text
    return _READERS[chosen](text)


def read_node_as(node: Scalar, loader: Loader | str) -> Plain:
    """The value that ``loader`` makes of ``node``; an alias reads as its anchor, a tagged scalar by its tag."""
    source = node.definition or node
    if source.tag is not None or source.style is Style.COMPUTED:
        return source.value
    if isinstance(source.value, str):
        return read_as(source.value, source.style, loader)
    return read_as(source.text, source.style, loader)


def yaml11(text: str) -> Value:
    """A plain scalar as PyYAML's SafeLoader reads it (YAML 1.1). Beyond ``MAX_NUMBER`` characters it stays text."""
    return text if len(text) > MAX_NUMBER or text[:1] not in _RESOLVERS else _resolved(text)


@lru_cache(maxsize=4096)
def _resolved(text: str) -> Value:
    """A short text whose first character may begin a number, a boolean or null; a project repeats the same few."""
    for tag, pattern in _RESOLVERS[text[:1]]:
        if pattern.match(text):
            construct = _CONSTRUCT.get(tag)
            return text if construct is None else construct(text)
    return text


def resolved_tag(text: str) -> str:
    """The tag PyYAML gives a plain scalar: ``int``, ``timestamp``, ``str``, …"""
    for tag, pattern in _RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            return tag.rsplit(":", 1)[-1]
    return "str"


def yaml11_floats(text: str) -> Value:
    """YAML 1.1 with the float pattern that OmegaConf, jsonargparse and ai-toolkit add: ``1e-4`` is a number.

    Source: omegaconf/_utils.py#get_yaml_loader 2.3.0; the same pattern stands in jsonargparse/_loaders_dumpers.py.
    """
    value = yaml11(text)
    if isinstance(value, str) and text[:1] in _NUMBER_STARTS and _patterns().float_11.match(text):
        return _float(text)
    return value


def yaml12(text: str) -> Value:
    """A plain scalar as ruamel.yaml reads it by default (YAML 1.2): ``no`` is a string, ``017`` is 17."""
    first = text[:1]
    if first in _NUMBER_STARTS and first:
        patterns = _patterns()
        if patterns.float_12.match(text):
            return _float(text)
        if patterns.int_12.match(text):
            return _int_12(text)
        return text
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    return text


def hyperpyyaml(text: str) -> Plain:
    """ruamel.yaml's YAML 1.2, and ``(16, 32)`` as a flat tuple, here a list (hyperpyyaml/core.py#_make_tuple 1.2.3)."""
    if not (text[:1] == "(" and text[-1:] == ")" and len(text) < MAX_TUPLE) or any(sign in text for sign in "[{\n"):
        return yaml12(text)
    import yaml

    try:
        items = yaml.load(f"[{text[1:-1]}]", Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return text
    return _as_plain(items, text)


def toml(text: str) -> Value:
    """A bare TOML value; text that is no valid bare value stays text."""
    import tomllib

    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, (bool, int, float, str)) else text


def hjson(text: str) -> Value:
    """A bare Hjson value: JSON's own words and numbers, everything else a string without quotes.

    ``5e8`` is an int here (hjson/decoder.py#scantfnns 3.1.0 does that below 1e10), where ``json`` makes a float.
    """
    stripped = text.strip()
    if stripped in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[stripped]
    matched = _patterns().number_json.fullmatch(stripped)
    if matched is None:
        return stripped
    if not matched["fraction"] and not matched["exponent"]:
        return int(stripped)
    number = float(stripped)
    return int(number) if abs(number) < 1e10 and number.is_integer() else number


def python_literal(text: str) -> Plain:
    """Text as ``ast.literal_eval`` reads it, tuples as lists; text that is no literal stays text (yacs/config.py)."""
    if len(text) > MAX_TUPLE:
        return text
    from ast import literal_eval

    try:
        return _as_plain(literal_eval(text), text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def yacs(text: str) -> Plain:
    """PyYAML first, then a Python literal where that left a string (yacs/config.py#_decode_cfg_value)."""
    value = yaml11(text)
    return python_literal(value) if isinstance(value, str) else value


_READERS: dict[Loader, Callable[[str], Plain]] = {
    Loader.PYYAML: yaml11,
    Loader.PYYAML_ARGPARSE: yaml11,
    Loader.PYYAML_PYDANTIC: yaml11,
    Loader.PATCHED_PYYAML: yaml11_floats,
    Loader.OMEGACONF: yaml11_floats,
    Loader.JSONARGPARSE: yaml11_floats,
    Loader.YACS: yacs,
    Loader.HYPERPYYAML: hyperpyyaml,
    Loader.RUAMEL12: yaml12,
    Loader.TOML: toml,
    Loader.HJSON: hjson,
}


def _as_plain(value: object, text: str) -> Plain:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_as_plain(item, text) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_plain(item, text) for key, item in value.items()}
    return text


def _bool(text: str) -> Value:
    return text.lower() in ("yes", "true", "on")


def _null(_text: str) -> Value:
    return None


def _int(text: str) -> Value:
    """PyYAML's ``construct_yaml_int``: underscores, 0b, 0x, a leading 0 for octal, ``1:30`` in base 60."""
    digits = text.replace("_", "")
    sign = -1 if digits[0] == "-" else 1
    digits = digits.lstrip("+-")
    try:
        if digits.startswith("0b"):
            return sign * int(digits[2:], 2)
        if digits.startswith("0x"):
            return sign * int(digits[2:], 16)
        if digits[:1] == "0" and digits != "0":
            return sign * int(digits, 8)
        if ":" in digits:
            return sign * int(_base_60(digits, int))
        return sign * int(digits)
    except ValueError:  # "0x_" matches the pattern; PyYAML itself fails on it
        return text


def _int_12(text: str) -> Value:
    digits = text.replace("_", "")
    sign = -1 if digits[:1] == "-" else 1
    digits = digits.lstrip("+-")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 10)
    try:
        return sign * int(digits[2:] if base != 10 else digits, base)
    except ValueError:
        return text


def _float(text: str) -> Value:
    """PyYAML's ``construct_yaml_float``."""
    digits = text.replace("_", "").lower()
    sign = -1.0 if digits[0] == "-" else 1.0
    digits = digits.lstrip("+-")
    try:
        if digits == ".inf":
            return sign * float("inf")
        if digits == ".nan":
            return float("nan")
        if ":" in digits:
            return sign * _base_60(digits, float)
        return sign * float(digits)
    except ValueError:  # "._" matches the pattern; PyYAML itself fails on it
        return text


def _base_60(digits: str, number: Callable[[str], float]) -> float:
    total = number("0")
    for part in digits.split(":"):
        total = total * 60 + number(part)
    return total


_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = Resolver.yaml_implicit_resolvers
"""PyYAML's own patterns by first character: already compiled, and never out of step with the loader."""

_CONSTRUCT: dict[str, Callable[[str], Value]] = {
    "tag:yaml.org,2002:bool": _bool,
    "tag:yaml.org,2002:int": _int,
    "tag:yaml.org,2002:float": _float,
    "tag:yaml.org,2002:null": _null,
}

_NUMBER_STARTS = "+-.0123456789"


class _Patterns:
    """Patterns that most files never need, compiled on first use."""

    def __init__(self) -> None:
        number = r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        special = r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        self.float_11 = re.compile(
            rf"^(?:{number}|\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|{special})$"
        )
        self.float_12 = re.compile(rf"^(?:{number}|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|{special})$")
        self.int_12 = re.compile(r"^(?:[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+)$")
        self.number_json = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<fraction>\.[0-9]+)?(?P<exponent>[eE][-+]?[0-9]+)?")


@lru_cache(maxsize=1)
def _patterns() -> _Patterns:
    return _Patterns()
