"""Hybrids from a Hugging Face ``config.json``: which blocks mix tokens with what (keys read in transformers 5.24)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.mixers import GatedDelta, ShortConv

Config = Mapping[str, Any]


def ffn(text: Config, kind: str) -> int | None:
    """Width of the MLP, which LFM2 makes of the one that is spelled (``Lfm2MLP``); with experts alone there is none."""
    width = text.get("intermediate_size", text.get("block_ff_dim"))
    if not isinstance(width, int):
        return 1 if text.get("moe_intermediate_size") else None
    if kind != "lfm2" or not text.get("block_auto_adjust_ff_dim", True):
        return width
    unit = int(text.get("block_multiple_of") or 256)
    return -(-int(float(text.get("block_ffn_dim_multiplier") or 1) * int(2 * width / 3)) // unit) * unit


def _qwen(text: Config, config: DecoderConfig) -> DecoderConfig | None:
    """Gated delta nets, and full attention in every fourth block."""
    mixer = GatedDelta(
        int(text["linear_num_key_heads"]),
        int(text["linear_num_value_heads"]),
        int(text["linear_key_head_dim"]),
        int(text["linear_value_head_dim"]),
        int(text.get("linear_conv_kernel_dim") or 4),
        joint=text.get("model_type") == "qwen3_next",
    )
    layers, every = config.shape.layers, int(text.get("full_attention_interval") or 4)
    linear = _listed(text, "linear_attention")
    number = layers - layers // every if linear is None else linear
    return config._replace(others=((number, config._replace(attention=False, mixer=mixer)),), first_at=every - 1)


def _lfm2(text: Config, config: DecoderConfig) -> DecoderConfig | None:
    """Short convolutions in most blocks."""
    attention = text.get("full_attn_idxs")
    number = _listed(text, "conv")
    if number is None:
        number = config.shape.layers - len(attention) if isinstance(attention, list) else None
    if number is None:
        return None
    biases = bool(text.get("conv_bias"))
    mixer = ShortConv(config.shape.hidden, int(text.get("conv_L_cache") or 3), biases)
    first = min(attention) if attention else 2
    return config._replace(others=((number, config._replace(attention=False, mixer=mixer)),), first_at=first)


def _listed(text: Config, kind: str) -> int | None:
    """How often ``layer_types`` names a kind of block; the catalogue holds a count of each."""
    kinds = text.get("layer_types")
    if isinstance(kinds, Mapping):
        return int(kinds.get(kind, 0))
    return kinds.count(kind) if isinstance(kinds, list) else None


READERS: dict[str, Callable[[Config, DecoderConfig], DecoderConfig | None]] = {
    "qwen3_next": _qwen,
    "qwen3_5_text": _qwen,
    "qwen3_5_moe_text": _qwen,
    "lfm2": _lfm2,
}
"""How each ``model_type`` spells the blocks that are not attention."""
