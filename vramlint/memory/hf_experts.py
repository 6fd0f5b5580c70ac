"""A mixture of experts from a Hugging Face ``config.json``; the keys were read in transformers 5.24."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vramlint.memory.architecture import Experts
from vramlint.plan import DecoderShape

Config = Mapping[str, Any]


def _mixtral(text: Config, shape: DecoderShape) -> Experts | None:
    number = text.get("num_local_experts", text.get("num_experts"))
    per_token = text.get("num_experts_per_tok")
    return Experts(int(number), int(per_token), shape.ffn) if number and per_token else None


def _qwen(text: Config, shape: DecoderShape) -> Experts | None:
    number = text.get("num_experts", text.get("num_local_experts"))  # the latter since transformers 5.24
    per_token, ffn = text.get("num_experts_per_tok"), text.get("moe_intermediate_size")
    if not (number and per_token and ffn):
        return None
    step = int(text.get("decoder_sparse_step") or 1)
    listed = set(text.get("mlp_only_layers") or ())
    dense = sum(layer in listed or (layer + 1) % step != 0 for layer in range(shape.layers))
    shared = int(text.get("shared_expert_intermediate_size") or 0)
    return Experts(int(number), int(per_token), int(ffn), shared, shared_gate=shared > 0, dense_layers=dense)


def _deepseek(text: Config, shape: DecoderShape) -> Experts | None:
    number, per_token, ffn = (
        text.get(key) for key in ("n_routed_experts", "num_experts_per_tok", "moe_intermediate_size")
    )
    if not (number and per_token and ffn) or int(text.get("moe_layer_freq") or 1) != 1:
        return None
    listed = text.get("mlp_layer_types")
    dense = listed.count("dense") if isinstance(listed, list) else int(text.get("first_k_dense_replace") or 0)
    dense = min(dense, shape.layers)
    shared = int(text.get("n_shared_experts") or 0) * int(ffn)
    return Experts(int(number), int(per_token), int(ffn), shared, dense_layers=dense)


def _gpt_oss(text: Config, shape: DecoderShape) -> Experts | None:
    found = _mixtral(text, shape)
    return None if found is None else found._replace(router_bias=True, biases=True)


def _llama4(text: Config, shape: DecoderShape) -> Experts | None:
    number, per_token, ffn = (
        text.get(key) for key in ("num_local_experts", "num_experts_per_tok", "intermediate_size")
    )
    if not (number and per_token and ffn):
        return None
    step = int(text.get("interleave_moe_layer_step") or 1)
    listed = text.get("moe_layers")
    sparse = len(listed) if isinstance(listed, list) else len(range(step - 1, shape.layers, step))
    return Experts(int(number), int(per_token), int(ffn), int(ffn), dense_layers=shape.layers - sparse)


READERS: dict[str, Callable[[Config, DecoderShape], Experts | None]] = {
    "mixtral": _mixtral,
    "phimoe": _mixtral,
    "granitemoe": _mixtral,
    "olmoe": _mixtral,
    "minimax_m2": _mixtral,
    "gpt_oss": _gpt_oss,
    "qwen2_moe": _qwen,
    "qwen3_moe": _qwen,
    "qwen3_vl_moe_text": _qwen,
    "qwen3_next": _qwen,
    "qwen3_5_moe_text": _qwen,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "kimi_k2": _deepseek,
    "glm4_moe": _deepseek,
    "glm4_moe_lite": _deepseek,
    "dots1": _deepseek,
    "llama4_text": _llama4,
}
"""How each ``model_type`` spells its experts."""
