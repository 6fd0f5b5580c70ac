"""The real loaders, each reading a whole file, and vramlint's reading of the same file for the same loader."""

from __future__ import annotations

import datetime
import io
import math
import re
import tomllib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from vramlint.sources.model import Document, Entry, Node, Scalar, Sequence, Style, Syntax, Unknown
from vramlint.sources.scalars import Loader, read_as, read_node_as

TAGGED = "<tagged>"
"""Stands for what only the framework's own constructors can make (``!new:torch.optim.Adam``), on both sides."""


class Disagreement(NamedTuple):
    """Where two readings part, and both of them."""

    where: str
    ours: object
    theirs: object


def ours(document: Document, node: Node, loader: Loader) -> object:
    """A node of a document as vramlint says that ``loader`` reads it."""
    if isinstance(node, Unknown):
        return TAGGED
    if isinstance(node, Scalar):
        return read_node_as(node, loader)
    if node.tag is not None:
        return TAGGED
    if isinstance(node, Sequence):
        # yacs evaluates the values of mappings and leaves everything in a list as PyYAML read it.
        within = Loader.PYYAML if loader is Loader.YACS else loader
        return [ours(document, item, within) for item in node.items]
    return {_key(document, each, loader): ours(document, each.value, loader) for each in node.entries}


def _key(document: Document, entry: Entry, loader: Loader) -> str:
    """A key as text; what is not quoted is read as a value would be (``on:`` is the key True to PyYAML)."""
    if document.syntax is not Syntax.YAML or document.text[entry.key_span.start] in "'\"":
        return entry.key
    return str(read_as(entry.key, Style.PLAIN, Loader.PYYAML if loader is Loader.YACS else loader))


def differences(mine: object, theirs: object, where: str = "") -> list[Disagreement]:
    """Every place where two readings part. Dates are text to vramlint; keys compare as text."""
    if TAGGED in (mine, theirs) or isinstance(theirs, (datetime.date, datetime.time)):
        agree = mine == theirs or (isinstance(mine, str) and mine != TAGGED)
        return [] if agree else [Disagreement(where, mine, theirs)]
    if isinstance(mine, dict) and isinstance(theirs, dict):
        named = {str(key): value for key, value in theirs.items()}
        if mine.keys() != named.keys():
            return [Disagreement(where, sorted(mine.keys() - named.keys()), sorted(named.keys() - mine.keys()))]
        return [found for key in mine for found in differences(mine[key], named[key], f"{where}/{key}")]
    if isinstance(mine, list) and isinstance(theirs, (list, tuple)) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [found for index, pair in pairs for found in differences(*pair, f"{where}[{index}]")]
    if isinstance(mine, float) and isinstance(theirs, float) and math.isnan(mine) and math.isnan(theirs):
        return []
    same = type(mine) is type(theirs) and mine == theirs
    return [] if same else [Disagreement(where, mine, theirs)]


class _Tolerant(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader; a tag it does not know makes TAGGED instead of an error."""


def _tagged(_loader: object, _suffix: str, _node: object) -> str:
    return TAGGED


_Tolerant.add_multi_constructor("!", _tagged)
_Tolerant.add_multi_constructor("tag:yaml.org,2002:python", _tagged)


def pyyaml(text: str) -> object:
    return list(yaml.load_all(text, Loader=_Tolerant))


def omegaconf(text: str) -> object:
    from omegaconf import OmegaConf

    return [OmegaConf.to_container(OmegaConf.create(text), resolve=False)]


def yacs(text: str) -> object:
    """yacs decodes a value when it is merged over a default; here every key of the file has the default None."""
    from yacs.config import CfgNode

    loaded = CfgNode.load_cfg(text)
    defaults = _without_values(loaded)
    defaults.merge_from_other_cfg(loaded)
    return [defaults]


def _without_values(node: dict[str, object]) -> Any:
    from yacs.config import CfgNode

    made = CfgNode()
    for key, value in node.items():
        made[key] = _without_values(value) if isinstance(value, CfgNode) else None
    return made


def ruamel12(text: str) -> object:
    import ruamel.yaml

    reader = ruamel.yaml.YAML(typ="safe", pure=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(reader.load_all(text))


def jsonargparse(text: str) -> object:
    from jsonargparse._loaders_dumpers import yaml_load

    return [yaml_load(text)]


def hyperpyyaml(text: str) -> object:
    from hyperpyyaml import load_hyperpyyaml

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [load_hyperpyyaml(text)]


def without_tags(text: str) -> str:
    """Text without tags: HyperPyYAML would import and call what ``!new:…`` and ``!!python/…`` name.

    Keys such as ``__set_seed`` get another name: HyperPyYAML leaves them out of its result.
    """
    text = re.sub(r"(?m)^__", "x__", text)
    return re.sub(r"(?<=[\s\[,])![\w:./!-]*", "", text)


def toml(text: str) -> object:
    return [tomllib.loads(text)]


def hjson(text: str) -> object:
    import hjson as library

    return [library.load(io.StringIO(text), object_pairs_hook=dict)]


REAL: dict[Loader, Callable[[str], object]] = {
    Loader.PYYAML: pyyaml,
    Loader.OMEGACONF: omegaconf,
    Loader.YACS: yacs,
    Loader.JSONARGPARSE: jsonargparse,
    Loader.RUAMEL12: ruamel12,
    Loader.HYPERPYYAML: hyperpyyaml,
    Loader.TOML: toml,
    Loader.HJSON: hjson,
}


def count(node: object) -> int:
    """Values in a reading."""
    if isinstance(node, dict):
        return sum(count(value) for value in node.values())
    return sum(count(value) for value in node) if isinstance(node, list) else 1
