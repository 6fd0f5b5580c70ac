"""Hybrids from a Hugging Face ``config.json``: which blocks mix tokens with what (keys read in transformers 5.24)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vramlint.memory.architecture import DecoderConfig, Experts
from vramlint.memory.mixers import GatedDelta, Mamba2, ShortConv

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


def _nemotron_h(text: Config, config: DecoderConfig) -> DecoderConfig | None:
    """Blocks of one part each, by letter: Mamba 2, attention, an MLP or experts."""
    listed = text.get("layers_block_type")
    names = {"linear_attention": "M", "mamba": "M", "full_attention": "*", "attention": "*", "mlp": "-", "moe": "E"}
    spelled = "".join(names.get(each, "?") for each in listed) if isinstance(listed, list) else ""
    pattern = str(text.get("hybrid_override_pattern") or spelled)
    if not pattern or set(pattern) - set("M*-E") or "*" not in pattern or text.get("moe_latent_size"):
        return None
    alone = config._replace(shape=config.shape._replace(ffn=0))
    mixer = Mamba2(
        int(text["mamba_num_heads"]),
        int(text["mamba_head_dim"]),
        int(text["n_groups"]),
        int(text["ssm_state_size"]),
        int(text.get("conv_kernel") or 4),
        conv_bias=bool(text.get("use_conv_bias", True)),
    )
    parts = {
        "M": alone._replace(attention=False, mixer=mixer),
        "-": config._replace(attention=False),
        "E": alone._replace(attention=False, experts=_nemotron_experts(text)),
    }
    others = tuple(
        (pattern.count(letter), block._replace(first_at=pattern.index(letter)))
        for letter, block in parts.items()
        if letter in pattern
    )
    shape = alone.shape._replace(layers=len(pattern))
    others = tuple(
        (number, block._replace(shape=block.shape._replace(layers=len(pattern)))) for number, block in others
    )
    return alone._replace(shape=shape, others=others, first_at=pattern.index("*"))


def _nemotron_experts(text: Config) -> Experts | None:
    number, per_token, width = (
        text.get(key) for key in ("n_routed_experts", "num_experts_per_tok", "moe_intermediate_size")
    )
    if not (number and per_token and width):
        return None
    shared = int(text.get("moe_shared_expert_intermediate_size") or 0) * int(text.get("n_shared_experts") or 1)
    return Experts(int(number), int(per_token), int(width), shared)


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
    "nemotron_h": _nemotron_h,
}
"""How each ``model_type`` spells the blocks that are not attention."""
