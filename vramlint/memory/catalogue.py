"""Decoder LLMs by name: the shipped catalogue, read when first asked, and found under any usual spelling."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.hf_config import decoder_from_config
from vramlint.memory.names import key_of, plain_key_of
from vramlint.memory.towers import Tower, tower_from_config

__all__ = ["NamedDecoder", "decoder_from_config", "decoders", "find_decoder", "named_decoder"]

_DATA = os.path.join(os.path.dirname(__file__), "data", "decoders.json")
_VISION = os.path.join(os.path.dirname(__file__), "data", "vision_language.json")


class NamedDecoder(NamedTuple):
    """A decoder with its name: architecture, vision tower where it has one, and where its shape was read."""

    name: str
    config: DecoderConfig
    tower: Tower | None = None
    source: str = ""
    raw: Mapping[str, Any] = {}
    """The shape in the words of ``config.json``."""

    @property
    def parameters(self) -> int:
        return self.config.parameters + (self.tower.parameters if self.tower else 0)


def decoders() -> tuple[NamedDecoder, ...]:
    """Every decoder of the catalogue, by name."""
    return tuple(_entry(name) for name in _rows())


def find_decoder(name: str) -> NamedDecoder | None:
    """The decoder called ``name``: a hub name, a re-upload of it, or its last part (``llama-3-8b-bnb-4bit``).

    None where the name is not that of an entry to the last word: what a fine-tune or a distilled model is called
    beyond that may mean another size. A name without the version that entries have (``mistral-7b``) is found where all
    its versions are of one size.
    """
    found = _called(key_of(name)) or _called(plain_key_of(name)) or _BUILDERS.get(key_of(name))
    return _versioned(plain_key_of(name)) if found is None else _entry(found)


_BUILDERS = {"phi-3-mini": "microsoft/Phi-3-mini-4k-instruct", "phi-4-14-b": "microsoft/phi-4"}
"""Names of torchtune's model builders (0.6.1, ``torchtune.models``) that are no checkpoint's."""

_SAME_SIZE = 1.005
"""Versions of one model differ by some tokens of their vocabulary (Mistral-7B v0.1 and v0.3: 0.1 %)."""


def _versioned(key: str) -> NamedDecoder | None:
    """The first version of a model called without one; None where versions differ in size."""
    versions = [_entry(name) for found, name in sorted(_plain_keys().items()) if found.startswith(f"{key}-v-")]
    sizes = [each.config.parameters for each in versions]
    return versions[0] if sizes and max(sizes) <= _SAME_SIZE * min(sizes) else None


def _called(key: str) -> str | None:
    """The entry under ``key``; an entry's own key goes before one that lost its role."""
    return _own_keys().get(key) or _plain_keys().get(key)


def find_related(name: str) -> NamedDecoder | None:
    """The decoder that a fine-tune's name says it was made from: ``Skywork-Reward-V2-Qwen3-8B`` holds ``Qwen3-8B``.

    The longest entry whose words, a size among them, stand together in the name. None where other words say that the
    shape is another one (a draft head, a merge into experts, a pruned model, a vision model), or a second size does.
    """
    words = key_of(name).split("-")
    if _RESHAPED & set(words) or len(_sizes(words)) != 1:
        return None
    keys = _plain_keys()
    for length in range(len(words), 2, -1):
        for start in range(len(words) - length + 1):
            part = words[start : start + length]
            if not _sizes(part):
                continue
            found = keys.get("-".join(part))
            entry = _versioned("-".join(part)) if found is None else _entry(found)
            if entry is not None:
                return entry
    return None


_RESHAPED = frozenset(
    {
        *("draft", "eagle", "medusa", "speculator", "mtp", "moe", "merge", "x", "expanded", "upscaled"),
        *("pruned", "prune", "minitron", "shortgpt", "distill", "distilled", "lite", "nano", "mini", "small", "tiny"),
        *("embed", "embedding", "vl", "vlm", "vision", "visual", "llava", "audio", "omni", "speech", "ocr"),
    }
)
"""Words after which a name's size may not be the shape's."""


def _sizes(words: Sequence[str]) -> list[str]:
    """The sizes among a name's words: a number before ``b`` or ``m``."""
    return [one for one, unit in pairwise(words) if one.isdigit() and unit in ("b", "m")]


def named_decoder(name: str, data: Mapping[str, Any], source: str) -> NamedDecoder | None:
    """The decoder in a ``config.json``'s ``data``; None for a model that is no decoder known here."""
    config = decoder_from_config(data)
    if config is None:
        return None
    return NamedDecoder(name, config, tower_from_config(data, config.shape.hidden), source, data)


@cache
def _entry(name: str) -> NamedDecoder:
    source, data = _rows()[name]
    found = named_decoder(name, data, _document()["sources"][source])
    if found is None:
        raise ValueError(f"{_DATA}: {name} is no decoder")
    return found


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    """Entries of both files; those with towers come last."""
    with open(_DATA, "rb") as file:
        document: dict[str, Any] = json.load(file)
    with open(_VISION, "rb") as file:
        towered = json.load(file)
    first = len(document["sources"])
    document["sources"] += towered["sources"]
    document["models"] += [[name, first + source, data] for name, source, data in towered["models"]]
    return document


@lru_cache(maxsize=1)
def _rows() -> dict[str, tuple[int, dict[str, Any]]]:
    return {name: (source, data) for name, source, data in _document()["models"]}


@lru_cache(maxsize=1)
def _own_keys() -> dict[str, str]:
    return _by_key(key_of)


@lru_cache(maxsize=1)
def _plain_keys() -> dict[str, str]:
    return _by_key(plain_key_of)


def _by_key(key: Callable[[str], str]) -> dict[str, str]:
    """Entries by their keys, the first where several share one."""
    keys: dict[str, str] = {}
    for name, _, _ in _document()["models"]:
        keys.setdefault(key(name), name)
    return keys
