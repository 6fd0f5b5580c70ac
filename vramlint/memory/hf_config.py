"""A decoder's architecture from its Hugging Face ``config.json``, mixtures of experts and latent attention included.

What a ``model_type`` implies beyond its keys was read in transformers 5.24 (``models/<type>/configuration_*.py`` and
``modeling_*.py``); ``tools/count_parameters.py`` builds every catalogue entry's model on the meta device and compares.
A type that is not listed, or a config whose layers differ in kind (hybrids with state-space or linear attention), is
not answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vramlint.memory import hf_experts, hf_hybrids
from vramlint.memory.architecture import DecoderConfig, LatentAttention
from vramlint.plan import DecoderShape

Config = Mapping[str, Any]


class Traits(NamedTuple):
    """What a ``model_type`` implies. ``tied``, ``qkv_bias`` are its defaults where config.json does not say.

    ``bias_key`` names the key that gives every linear layer its bias (starcoder2 ``use_bias``); ``attention_bias_out``:
    with ``attention_bias`` the output projection has one too. The other fields are those of
    :class:`~vramlint.memory.architecture.DecoderConfig`.
    """

    norm: str = "rms"
    tied: bool = False
    gated: bool = True
    qkv_bias: bool = False
    qkv_bias_key: str = "attention_bias"
    attention_bias_out: bool = False
    norms_per_layer: int = 2
    qk_norm: bool = False
    full_qk_norm: bool = False
    soft_capped: bool = False
    fused_qkv: bool = False
    biases: bool = False
    norm_bias: bool = False
    parallel: bool = False
    shared_norm: bool = False
    head_bias: bool = False
    python_gelu: bool = False
    attention_sinks: bool = False
    post_norm: bool = False
    scaled_embedding: bool = False
    fused_gate: bool = False
    relu_squared: bool = False
    outer_norms: int = 0
    rotated_qk_norm: bool = False
    half_norms: bool = False
    output_gate: bool = False
    position_key: str = ""
    position_offset: int = 0
    sliding: bool = False
    """Whether ``sliding_window`` holds where it is given, without a key that switches it on."""


_GPT2 = Traits(
    norm="layer", tied=True, gated=False, biases=True, fused_qkv=True, python_gelu=True, position_key="n_positions"
)
_LLAMA = Traits(attention_bias_out=True)
_GRANITE = _LLAMA._replace(scaled_embedding=True)
_GEMMA = Traits(norm="gemma", tied=True)
_GEMMA3 = Traits(norm="gemma", tied=True, norms_per_layer=4, outer_norms=2, qk_norm=True, sliding=True)
_QWEN2 = Traits(qkv_bias=True, qkv_bias_key="")
_QWEN3 = Traits(qk_norm=True)
_QWEN3_5 = Traits(norm="gemma", qk_norm=True, output_gate=True)
_COHERE = Traits(norm="python", tied=True, shared_norm=True, parallel=True)
_MISTRAL = Traits(sliding=True)

TRAITS: dict[str, Traits] = {
    "llama": _LLAMA,
    "mistral": _MISTRAL,
    "ministral": _MISTRAL,
    "ministral3": _MISTRAL,
    "smollm3": _LLAMA._replace(tied=True),
    "granite": _GRANITE,
    "phi3": Traits(fused_qkv=True, fused_gate=True, sliding=True),
    "qwen2": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen3": _QWEN3,
    "qwen3_vl_text": _QWEN3,
    "gemma": _GEMMA,
    "gemma2": Traits(norm="gemma", tied=True, norms_per_layer=4, outer_norms=2, soft_capped=True, sliding=True),
    "gemma3_text": _GEMMA3,
    "olmo": Traits(norm="plain"),
    # OLMo 2 multiplies by a norm's weight in fp32, as Gemma does.
    "olmo2": Traits(norm="gemma", full_qk_norm=True, post_norm=True),
    "olmo3": Traits(norm="gemma", full_qk_norm=True, sliding=True, post_norm=True),
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2._replace(python_gelu=False),
    "gpt_neox": Traits(norm="layer", gated=False, biases=True, fused_qkv=True),
    "opt": Traits(
        norm="layer", tied=True, gated=False, biases=True, position_key="max_position_embeddings", position_offset=2
    ),
    "phi": Traits(
        norm="layer", gated=False, biases=True, shared_norm=True, parallel=True, head_bias=True, python_gelu=True
    ),
    "falcon": Traits(norm="layer", tied=True, gated=False, norm_bias=True, fused_qkv=True, parallel=True),
    "starcoder2": Traits(norm="layer", tied=True, gated=False, biases=True, sliding=True),
    "stablelm": Traits(norm="layer", norm_bias=True, qkv_bias_key="use_qkv_bias"),
    "cohere": _COHERE,
    "cohere2": _COHERE._replace(sliding=True),
    "glm": Traits(qkv_bias=True, fused_gate=True),
    "glm4": Traits(qkv_bias=True, norms_per_layer=4, outer_norms=2, fused_gate=True),
    "exaone4": Traits(qk_norm=True, sliding=True, post_norm=True, outer_norms=2),
    "seed_oss": Traits(qkv_bias=True),
    "nemotron": Traits(
        norm="layer", norm_bias=True, half_norms=True, gated=False, relu_squared=True, attention_bias_out=True
    ),
    "mixtral": _MISTRAL,
    "qwen2_moe": _QWEN2,
    "qwen3_moe": _QWEN3,
    "qwen3_vl_moe_text": _QWEN3,
    "deepseek_v2": Traits(),
    "deepseek_v3": Traits(),
    "kimi_k2": Traits(),
    "gpt_oss": Traits(norm="gemma", qkv_bias=True, attention_bias_out=True, attention_sinks=True, sliding=True),
    "llama4_text": Traits(),
    "olmoe": Traits(full_qk_norm=True),
    "glm4_moe": Traits(),
    "phimoe": Traits(norm="layer", norm_bias=True, attention_bias_out=True),
    "granitemoe": _GRANITE,
    "dots1": Traits(qk_norm=True),
    "ernie4_5": Traits(tied=True),
    "arcee": Traits(gated=False, relu_squared=True),
    "hunyuan_v1_dense": Traits(qk_norm=True, rotated_qk_norm=True),
    "internlm3": Traits(qkv_bias_key="qkv_bias"),
    "glm4_moe_lite": Traits(),
    "qwen3_next": _QWEN3_5,
    "qwen3_5_text": _QWEN3_5,
    "qwen3_5_moe_text": _QWEN3_5,
    "lfm2": Traits(tied=True, qk_norm=True),
    "nemotron_h": Traits(norm="gemma", gated=False, norms_per_layer=1, relu_squared=True),
    # Checkpoints that bring their own code: transformers has no class of this name.
    "qwen": Traits(qkv_bias=True, qkv_bias_key="", fused_qkv=True),
    "baichuan": Traits(fused_qkv=True),
    "internlm": Traits(qkv_bias=True, qkv_bias_key="bias", attention_bias_out=True),
    "internlm2": Traits(qkv_bias_key="bias", fused_qkv=True),
    "chatglm": Traits(qkv_bias=True, qkv_bias_key="add_qkv_bias", fused_qkv=True, fused_gate=True),
    "minicpm": Traits(tied=True, scaled_embedding=True),
    "minimax_m2": Traits(full_qk_norm=True),
}
"""What each ``model_type`` implies."""

WRAPPERS = {
    "qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text", "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text", "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text",
    "lfm2_vl": "lfm2", "gemma3": "gemma3_text", "llama4": "llama4_text", "llava": "llama",
    "llava_next": "llama", "paligemma": "gemma", "mistral3": "mistral", "pixtral": "mistral", "internvl": "qwen2",
    "idefics3": "llama", "smolvlm": "llama", "llava_onevision": "qwen2", "aya_vision": "cohere2",
}  # fmt: skip
"""Vision-language ``model_type``s and the type of the text model inside, where ``text_config`` does not say."""

_ALIASES = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer", "num_layers", "n_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads"),
    "intermediate_size": ("ffn_dim", "n_inner", "ffn_hidden_size"),
    "vocab_size": ("padded_vocab_size",),
}


def decoder_from_config(data: Config) -> DecoderConfig | None:
    """The architecture in a ``config.json``, of a vision-language model that of its text model; None if not known."""
    try:
        return _read(text_config(data))
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None  # a size that the count needs is missing or no number


def _read(text: Config) -> DecoderConfig | None:
    kind = str(text.get("model_type", ""))
    traits = TRAITS.get(kind)
    if traits is None or _hybrid(text):
        return None
    shape = _shape(text, kind, traits)
    config = None if shape is None else _architecture(text, kind, traits, shape)
    return config if config is None or kind not in hf_hybrids.READERS else hf_hybrids.READERS[kind](text, config)


def text_config(data: Config) -> Config:
    """The part of a config that describes the text model, with its ``model_type``."""
    kind = str(data.get("model_type", ""))
    inside = data.get("text_config", data.get("llm_config"))
    if isinstance(inside, Mapping):
        found = dict(inside)
        if kind in ("gemma3", "paligemma") and "text_config" in data:
            found = {**_SPARSE.get(kind, {}), **found}
        found.setdefault("model_type", WRAPPERS.get(kind, ""))
        if "tie_word_embeddings" in data:
            found.setdefault("tie_word_embeddings", data["tie_word_embeddings"])
        return found
    if kind in WRAPPERS:
        return {**data, "model_type": WRAPPERS[kind]}
    return data


_SPARSE: dict[str, dict[str, Any]] = {
    "gemma3": {"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256},
    "paligemma": {"vocab_size": 257152},
}
"""Defaults of ``Gemma3TextConfig`` that the hub's config.json files leave out (transformers 5.24)."""

_HYBRID_KEYS = ("linear_num_value_heads", "mamba_d_state", "ssm_state_size", "attn_layer_period", "index_topk")


def _hybrid(text: Config) -> bool:
    """Whether blocks of other kinds than attention stand between, which the ledger does not know."""
    kinds = text.get("layer_types")
    if text.get("model_type") in hf_hybrids.READERS:
        return False
    strange = isinstance(kinds, list) and not set(kinds) <= {"full_attention", "sliding_attention", "chunked_attention"}
    return strange or any(text.get(key) is not None for key in _HYBRID_KEYS)


def _value(text: Config, name: str) -> int | None:
    for key in (name, *_ALIASES.get(name, ())):
        value = text.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _shape(text: Config, kind: str, traits: Traits) -> DecoderShape | None:
    hidden, layers = _value(text, "hidden_size"), _value(text, "num_hidden_layers")
    listed = text.get("layers_block_type")
    layers = layers or (len(listed) if isinstance(listed, list) else 0) or None
    heads, vocabulary = _value(text, "num_attention_heads"), _value(text, "vocab_size")
    if hidden is None or layers is None or heads is None or vocabulary is None:
        return None
    ffn = _ffn(text, kind, hidden)
    if ffn is None or (text.get("word_embed_proj_dim") or hidden) != hidden:
        return None
    latent = text.get("kv_lora_rank")
    head_dim = int(text.get("head_dim") or hidden // heads)
    if latent:
        head_dim = int(text["qk_nope_head_dim"]) + int(text["qk_rope_head_dim"])
    return DecoderShape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=heads if latent else _kv_heads(text, kind, heads),
        head_dim=head_dim,
        ffn=ffn,
        vocabulary=vocabulary,
        tied=bool(text.get("tie_word_embeddings", traits.tied)),
        qkv_bias=not latent and bool(text.get(traits.qkv_bias_key, traits.qkv_bias)),
    )


def _ffn(text: Config, kind: str, hidden: int) -> int | None:
    if kind == "llama4_text":
        return _value(text, "intermediate_size_mlp")
    if kind in hf_hybrids.READERS:
        return hf_hybrids.ffn(text, kind)
    if kind == "opt":
        return _value(text, "ffn_dim") or _value(text, "intermediate_size")
    if kind == "qwen":
        return (_value(text, "intermediate_size") or 0) // 2 or None  # the width of w1 and w2 together
    return _value(text, "intermediate_size") or (4 * hidden if kind in ("gpt2", "gpt_bigcode", "falcon") else None)


def _kv_heads(text: Config, kind: str, heads: int) -> int:
    if kind == "falcon" and not text.get("new_decoder_architecture"):
        return 1 if text.get("multi_query", True) else heads
    if kind == "falcon":
        return int(text.get("num_kv_heads") or heads)
    if kind == "gpt_bigcode":
        return 1 if text.get("multi_query", True) else heads
    if kind == "chatglm":
        return int(text.get("multi_query_group_num") or heads) if text.get("multi_query_attention") else heads
    return int(text.get("num_key_value_heads") or heads)


def _architecture(text: Config, kind: str, traits: Traits, shape: DecoderShape) -> DecoderConfig | None:
    read = hf_experts.READERS.get(kind)
    experts = read(text, shape) if read else None
    if read is not None and experts is None:
        return None
    if experts is not None:
        experts = experts._replace(grouped=kind != "llama4_text")
    capped = traits.soft_capped and text.get("attn_logit_softcapping", 50.0) is not None
    rank = text.get("kv_lora_rank")
    parallel = bool(text.get("use_parallel_residual", text.get("parallel_attn", traits.parallel or kind == "gpt_neox")))
    falcon_shared = kind == "falcon" and parallel and not text.get("new_decoder_architecture")
    return DecoderConfig(
        shape,
        gated=traits.gated,
        norm=traits.norm,
        norms_per_layer=traits.norms_per_layer,
        qk_norm=bool(text.get("use_qk_norm", traits.qk_norm)) and not traits.full_qk_norm and kind not in _FULL_OR_NONE,
        biases=_biases(text, kind, traits),
        shared_norm=traits.shared_norm or falcon_shared or (kind == "stablelm" and parallel),
        soft_capped=capped,
        head_bias=bool(text.get("lm_head_bias", traits.head_bias)),
        parallel=parallel,
        fused_qkv=traits.fused_qkv,
        python_gelu=traits.python_gelu,
        experts=experts,
        latent=_latent(text) if rank else None,
        positions=int(text.get(traits.position_key) or 0) + traits.position_offset if traits.position_key else 0,
        output_bias=traits.attention_bias_out and shape.qkv_bias,
        full_qk_norm=traits.full_qk_norm or (kind == "cohere" and bool(text.get("use_qk_norm"))),
        attention_sinks=traits.attention_sinks,
        sliding_window=_window(text, traits),
        norm_bias=traits.norm_bias,
        partial_rotary=_partial_rotary(text, kind),
        post_norm=traits.post_norm,
        scaled_embedding=traits.scaled_embedding,
        fused_gate=traits.fused_gate,
        relu=kind == "opt" and text.get("activation_function", "relu") == "relu",
        relu_squared=traits.relu_squared,
        outer_norms=traits.outer_norms,
        rotated_qk_norm=traits.rotated_qk_norm,
        half_norms=traits.half_norms,
        output_gate=traits.output_gate,
    )


def _biases(text: Config, kind: str, traits: Traits) -> bool:
    """Whether every linear layer has a bias; InternLM's ``bias`` is that of attention alone."""
    if kind == "phi" or kind.startswith("internlm"):
        return traits.biases
    return bool(text.get("use_bias", text.get("bias", traits.biases)))


def _partial_rotary(text: Config, kind: str) -> bool:
    """Whether a part of each head has no positions; in GPT-NeoX the fused projection already stands for the copy."""
    if kind == "gpt_neox":
        return False
    spelled = text.get("partial_rotary_factor")
    rope = text.get("rope_parameters")
    if spelled is None and isinstance(rope, Mapping):
        spelled = rope.get("partial_rotary_factor")
    return float(spelled) < 1 if isinstance(spelled, (int, float)) else kind in _PARTIAL_ROTARY


_PARTIAL_ROTARY = (
    *("phi", "stablelm", "glm", "glm4", "glm4_moe", "nemotron"),
    *("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"),
)
"""Types whose default ``partial_rotary_factor`` is below 1."""


_FULL_OR_NONE = ("cohere", "llama4_text")
"""Types whose ``use_qk_norm`` is no norm of one head's width: Cohere's has a weight for every head's element, Llama 4's
has none."""


def _window(text: Config, traits: Traits) -> int:
    window = text.get("sliding_window")
    on = traits.sliding if "use_sliding_window" not in text else bool(text["use_sliding_window"])
    return window if on and isinstance(window, int) and not isinstance(window, bool) else 0


_Q_RANK = 1536
"""Default of ``DeepseekV2Config`` and ``DeepseekV3Config``; a null in config.json means no latent queries."""


def _latent(text: Config) -> LatentAttention:
    return LatentAttention(
        q_rank=int(text.get("q_lora_rank", _Q_RANK) or 0),
        kv_rank=int(text["kv_lora_rank"]),
        nope_dim=int(text["qk_nope_head_dim"]),
        rope_dim=int(text["qk_rope_head_dim"]),
        value_dim=int(text["v_head_dim"]),
        biases=bool(text.get("attention_bias", False)),
    )
