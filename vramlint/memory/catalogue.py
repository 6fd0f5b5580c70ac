"""Decoder LLMs by name and by ``config.json``: names as people write them, to architectures."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from vramlint.memory.architecture import DecoderConfig
from vramlint.plan import DecoderShape

_DATA = os.path.join(os.path.dirname(__file__), "data", "decoders.json")
_SHAPE_COLUMNS = 9
_SUFFIXES = re.compile(
    r"(bnb4bit|unslothbnb4bit|4bit|8bit|gptqint4|gptqint8|gptq|awq|gguf|fp8|int4|int8|hf|mlx|bf16|fp16|dynamic)+$"
)
"""Words at the end of a repository's name that change its storage, not its shape."""
_PREFIXES = re.compile(r"^(metallama|meta)(?=llama)|^(?=llama\d)meta")


class NamedDecoder(NamedTuple):
    """A catalogue entry: the checkpoint's name and its architecture."""

    name: str
    config: DecoderConfig


def decoders() -> tuple[NamedDecoder, ...]:
    """Every decoder of the catalogue, by name."""
    return _catalogue()[0]


def find_decoder(name: str) -> NamedDecoder | None:
    """The decoder called ``name``: a hub name, a re-upload of it, or its last part (``llama-3-8b-bnb-4bit``)."""
    by_key = _catalogue()[1]
    key = _key(name)
    if key in by_key:
        return by_key[key]
    shorter = re.sub(r"(instruct|chat|it|base)(v\d[\d.]*)?$", "", key)
    return by_key.get(shorter)


def decoder_from_config(data: Mapping[str, Any]) -> DecoderConfig | None:
    """The architecture in a Hugging Face ``config.json``; None for one that is not a dense decoder known here.

    Keys and their meaning: transformers 5.23, ``LlamaConfig``, ``Qwen2Config``, ``Qwen3Config``, ``MistralConfig``,
    ``GemmaConfig``, ``Gemma2Config``, ``Phi3Config``, ``OlmoConfig``.
    """
    kind = str(data.get("model_type", ""))
    traits = _MODEL_TYPES.get(kind)
    required = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    if traits is None or not all(isinstance(data.get(name), int) and data[name] > 0 for name in required):
        return None
    heads = int(data["num_attention_heads"])
    shape = DecoderShape(
        hidden=int(data["hidden_size"]),
        layers=int(data["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(data.get("num_key_value_heads") or heads),
        head_dim=int(data.get("head_dim") or data["hidden_size"] // heads),
        ffn=int(data["intermediate_size"]),
        vocabulary=int(data["vocab_size"]),
        tied=bool(data.get("tie_word_embeddings", traits.tied)),
        qkv_bias=bool(data.get("attention_bias", traits.qkv_bias)),
    )
    return DecoderConfig(
        shape,
        norm=traits.norm,
        norms_per_layer=traits.norms_per_layer,
        qk_norm=traits.qk_norm,
        soft_capped=traits.soft_capped and data.get("attn_logit_softcapping", 50.0) is not None,
        fused_qkv=traits.fused_qkv,
    )


class _Traits(NamedTuple):
    """What a ``model_type`` implies. ``tied`` and ``qkv_bias`` are its defaults where config.json does not say."""

    norm: str = "rms"
    tied: bool = False
    qkv_bias: bool = False
    norms_per_layer: int = 2
    qk_norm: bool = False
    soft_capped: bool = False
    fused_qkv: bool = False


_MODEL_TYPES = {
    "llama": _Traits(),
    "mistral": _Traits(),
    "phi3": _Traits(fused_qkv=True),
    "qwen2": _Traits(qkv_bias=True),
    "qwen3": _Traits(qk_norm=True),
    "gemma": _Traits(norm="gemma", tied=True),
    "gemma2": _Traits(norm="gemma", tied=True, norms_per_layer=4, soft_capped=True),
    "olmo": _Traits(norm="layer"),
    "olmo2": _Traits(qk_norm=True),
}


def _key(name: str) -> str:
    """The last part of a name without separators and storage words: ``unsloth/llama-3-8b-bnb-4bit`` -> ``llama38b``."""
    last = name.strip().rstrip("/").replace("\\", "/").rsplit("/", 1)[-1].lower()
    key = re.sub(r"[^a-z0-9.]+", "", last)
    key = _SUFFIXES.sub("", key)
    key = re.sub(r"^meta(?=llama)", "", key)
    return key.replace(".", "")


@lru_cache(maxsize=1)
def _catalogue() -> tuple[tuple[NamedDecoder, ...], dict[str, NamedDecoder]]:
    with open(_DATA, "rb") as file:
        data = json.load(file)
    entries = tuple(_entry(row) for row in data["models"])
    by_key: dict[str, NamedDecoder] = {}
    for entry in entries:
        by_key.setdefault(_key(entry.name), entry)
    for entry in entries:
        key = _key(entry.name)
        by_key.setdefault(re.sub(r"(instruct|chat|it|base)$", "", key), entry)
    return entries, by_key


def _entry(row: list[Any]) -> NamedDecoder:
    name, *values = row
    shape = DecoderShape(*values[:_SHAPE_COLUMNS])
    return NamedDecoder(name, DecoderConfig(shape, *values[_SHAPE_COLUMNS:]))
