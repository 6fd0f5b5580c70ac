"""Megatron-LM's flags that only the memory estimate needs: parallel degrees, kernels, dropout, experts, recomputation.

Defaults: Megatron-LM 2026-08 ``core/transformer/transformer_config.py`` and ``training/arguments.py``.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys
from vramlint.plan import derived

_STRATEGY = "trainer.strategy"


class ModelFlags(Schema):
    """Flags without dashes, as in ``megatron.Config``."""

    source: ClassVar[str] = "Megatron-LM 2026-08"

    tensor: Count | None = keys("tensor_model_parallel_size", f"{_STRATEGY}.tensor_model_parallel_size", default=1)
    pipeline: Count | None = keys(
        "pipeline_model_parallel_size", f"{_STRATEGY}.pipeline_model_parallel_size", default=1
    )
    expert_tensor: Count | None = keys("expert_tensor_parallel_size")
    layers: Count | None = keys("num_layers")
    chunk_layers: Count | None = keys("num_layers_per_virtual_pipeline_stage")
    chunks: Count | None = keys("num_virtual_stages_per_pipeline_rank")
    instances: Count | None = keys("num_distributed_optimizer_instances", default=1)

    position: Text | None = keys("position_embedding_type", default="learned_absolute")
    positions: Count | None = keys("max_position_embeddings")
    qk_norm: Flag | None = keys("qk_layernorm", default=False)
    hidden_dropout: float | None = keys("hidden_dropout", default=0.1)
    attention_dropout: float | None = keys("attention_dropout", default=0.1)
    backend: Text | None = keys("attention_backend", default="auto")
    implementation: Text | None = keys("transformer_impl", default="transformer_engine")
    flash: Flag | None = keys("use_flash_attn", default=False)
    fp32_residual: Flag | None = keys("fp32_residual_connection", default=False)
    no_mask: Flag | None = keys("no_create_attention_mask_in_dataloader", default=False)
    deterministic: Flag | None = keys("deterministic_mode", default=False)
    fused_loss: Flag | None = keys("cross_entropy_loss_fusion", default=False)
    fused_loss_by: Text | None = keys("cross_entropy_fusion_impl", default="native")

    fp8: Text | None = keys("fp8_format", "fp8")
    fp8_parameters: Flag | None = keys("fp8_param_gather", "fp8_param", default=False)
    deferred: Flag | None = keys("defer_embedding_wgrad_compute", default=False)
    deferral_limit: Natural | None = keys("wgrad_deferral_limit", default=0)
    spec: Text | None = keys("spec")
    overlap: Flag | None = keys("tp_comm_overlap", default=False)

    layout: Text | None = keys("pipeline_model_parallel_layout")
    first_layers: Count | None = keys("decoder_first_pipeline_num_layers")
    last_layers: Count | None = keys("decoder_last_pipeline_num_layers")
    counts_embedding: Flag | None = keys("account_for_embedding_in_pipeline_split", default=False)
    counts_loss: Flag | None = keys("account_for_loss_in_pipeline_split", default=False)

    pattern: Text | None = keys("hybrid_layer_pattern", "hybrid_override_pattern")
    state: Count | None = keys("mamba_state_dim", default=128)
    mamba_head: Count | None = keys("mamba_head_dim", default=64)
    mamba_groups: Count | None = keys("mamba_num_groups", default=8)
    mamba_heads: Count | None = keys("mamba_num_heads")
    predicted: Natural | None = keys("mtp_num_layers", default=0)

    recompute: Text | None = keys("recompute_granularity")
    recompute_attention: Flag | None = keys("recompute_activations", default=False)
    recompute_method: Text | None = keys("recompute_method", default="uniform")
    recompute_layers: Count | None = keys("recompute_num_layers", default=1)
    recompute_modules: Any = keys("recompute_modules")

    experts: Count | None = keys("num_experts")
    expert_ffn: Count | None = keys("moe_ffn_hidden_size")
    ffn: Count | None = keys("ffn_hidden_size")
    hidden: Count | None = keys("hidden_size")
    per_token: Count | None = keys("moe_router_topk", default=2)
    shared_ffn: Natural | None = keys("moe_shared_expert_intermediate_size", default=0)
    frequency: Any = keys("moe_layer_freq", default=1)

    latent: Flag | None = keys("multi_latent_attention", default=False)
    q_rank: Natural | None = keys("q_lora_rank", default=0)
    kv_rank: Count | None = keys("kv_lora_rank", default=32)
    nope_dim: Count | None = keys("qk_head_dim", default=128)
    rope_dim: Natural | None = keys("qk_pos_emb_head_dim", default=64)
    value_dim: Count | None = keys("v_head_dim", default=128)

    encoder_layers: Count | None = keys("encoder_num_layers")
    decoder_layers: Count | None = keys("decoder_num_layers")
    encoder_seq_len: Count | None = keys("encoder_seq_length")
    decoder_seq_len: Count | None = keys("decoder_seq_length")
    extra_ids: Natural | None = keys("vocab_extra_ids", default=0)


MODEL_SWITCHES = frozenset(
    {"qk_layernorm", "use_flash_attn", "fp32_residual_connection", "deterministic_mode", "fp8_param_gather"}
    | {"defer_embedding_wgrad_compute", "account_for_embedding_in_pipeline_split"}
    | {"account_for_loss_in_pipeline_split", "tp_comm_overlap"}
    | {"no_create_attention_mask_in_dataloader"}
)
"""Flags of :class:`ModelFlags` that take no value."""


def model_facts(draft: Draft, flags: Settings[ModelFlags]) -> None:
    """Put what the estimator reads from ``plan.extra`` for a Megatron-LM run; ``further_facts`` has the degrees."""
    values = flags.values
    if flags.doubts:
        return
    for name, degree in (
        ("expert_tensor_parallel", values.expert_tensor or values.tensor),
        ("pipeline_chunks", _chunks(values)),
        ("distributed_optimizer_instances", values.instances),
        ("learned_positions", values.positions if values.position == "learned_absolute" else 0),
        ("qk_norm", values.qk_norm),
        ("hidden_dropout", values.hidden_dropout),
        ("attention_dropout", values.attention_dropout),
        ("attention_kernel", _kernel(values)),
        ("fp32_residual", values.fp32_residual),
        ("attention_mask", not values.no_mask),
        ("deterministic", values.deterministic),
        ("recompute", _recompute(values)),
        ("expert_mixture", _experts(values)),
        ("latent_attention", _latent(values)),
        ("fp8_products", bool(values.fp8)),
        ("fp8_parameters", values.fp8_parameters if values.fp8 else None),
        ("local_layers", values.implementation == "local" or values.spec == "local"),
        ("deferred_gradients", values.deferral_limit if values.deferred else None),
        ("overlapped_products", values.overlap),
        ("stage_layers", stage_layers(values)),
        ("hybrid_layers", hybrid_layers(values)),
        ("mamba", _mamba(values) if values.pattern else None),
        ("predicted_tokens", values.predicted or None),
    ):
        if degree is not None:
            draft.put(name, derived(degree, "flags of Megatron-LM and its defaults"))
    if values.fused_loss:
        draft.put("megatron_loss", derived(values.fused_loss_by, "--cross-entropy-loss-fusion"))
    _encoder(draft, values)


def stage_layers(values: ModelFlags) -> tuple[int, ...] | None:
    """Blocks of each stage where the flags make them uneven, None where they are even or unknown; a rank has one stage
    of each round.

    ``transformer_block.py`` ``get_num_layers_to_build``: embedding and loss may count as a block each; first and last
    rank may have their own number; a layout spells every stage.
    """
    ranks, layers = values.pipeline or 1, values.layers
    if ranks == 1 or layers is None:
        return None
    if values.layout:
        return _laid_out(values.layout, ranks)
    chunks = _chunks(values) or 1
    if values.counts_embedding or values.counts_loss:
        first, last = int(bool(values.counts_embedding)), int(bool(values.counts_loss))
        each, rest = divmod(layers + first + last, ranks * chunks)
        between = [each] * (ranks * chunks - 2)
        return None if rest else (each - first, *between, each - last)
    given = [number for number in (values.first_layers, values.last_layers) if number is not None]
    if not given or chunks > 1 or ranks == len(given):
        return tuple(given) if given and chunks == 1 and sum(given) == layers else None
    each, rest = divmod(layers - sum(given), ranks - len(given))
    if rest or each < 0:
        return None
    first = values.first_layers if values.first_layers is not None else each
    last = values.last_layers if values.last_layers is not None else each
    return (first, *[each] * (ranks - 2), last)


def _laid_out(layout: str, ranks: int) -> tuple[int, ...] | None:
    """``Et*3|(tt|)*29,m|L``: ``t`` a block, ``E`` embedding, ``m`` multi-token prediction, ``L`` loss, ``|`` the next
    stage, ``x*n`` and ``(...)*n`` repeated (``pipeline_parallel_layer_layout.py``)."""
    text = re.sub(r"[,\s]", "", layout)
    text = re.sub(r"\(([^()]*)\)\*(\d+)", lambda part: part[1] * int(part[2]), text)
    text = re.sub(r"([a-zA-Z|])\*(\d+)", lambda part: part[1] * int(part[2]), text)
    parts = text.split("|")
    if re.search(r"[^EtmL|]", text) or len(parts) % ranks:
        return None
    return tuple(part.count("t") for part in parts)


def hybrid_layers(values: ModelFlags) -> tuple[str, ...] | None:
    """The letters of each rank's layers: ``M`` Mamba, ``*`` attention, ``-`` MLP, ``E`` experts; what follows ``/`` are
    the heads that predict further tokens (``hybrid_layer_allocation.py``)."""
    if not values.pattern:
        return None
    main, stages = values.pattern.partition("/")[0], values.pipeline or 1
    parts = main.split("|")
    if re.search(r"[^M*E|-]", main):
        return None
    if len(parts) == 1:
        each, rest = divmod(len(main), stages)
        return None if rest else tuple(main[rank * each : (rank + 1) * each] for rank in range(stages))
    return None if len(parts) % stages else tuple("".join(parts[rank::stages]) for rank in range(stages))


def _mamba(values: ModelFlags) -> tuple[int, int, int, int] | None:
    """Inner width, groups, state and heads of a Mamba-2 layer (``core/ssm/mamba_mixer.py``; it expands twice)."""
    head = values.mamba_head or 64
    heads = values.mamba_heads or 2 * (values.hidden or 0) // head
    return (heads * head, values.mamba_groups or 8, values.state or 128, heads) if heads else None


def head_width(flags: Settings[ModelFlags], width: int) -> int:
    """Of latent attention, queries and keys have a part without positions and a rotary part."""
    values = flags.values
    return (values.nope_dim or 0) + (values.rope_dim or 0) if values.latent else width


def _encoder(draft: Draft, values: ModelFlags) -> None:
    if values.encoder_layers is None or values.decoder_seq_len is None:
        return
    draft.put("encoder_layers", derived(values.encoder_layers, "--encoder-num-layers"))
    draft.put("decoder_seq_len", derived(values.decoder_seq_len, "--decoder-seq-length"))
    if not draft.plan.seq_len.known and values.encoder_seq_len is not None:
        draft.put("seq_len", derived(values.encoder_seq_len, "--encoder-seq-length"))


def _chunks(values: ModelFlags) -> int | None:
    if values.chunks is not None:
        return values.chunks
    if values.layout and (sizes := _laid_out(values.layout, values.pipeline or 1)) is not None:
        return len(sizes) // (values.pipeline or 1)
    if values.chunk_layers is None or values.layers is None:
        return 1
    return max(1, values.layers // ((values.pipeline or 1) * values.chunk_layers))


def _kernel(values: ModelFlags) -> str:
    """Megatron's own layers (``local``) attend unfused unless FlashAttention is asked for."""
    backend = str(values.backend).removeprefix("AttnBackend.")
    if backend in ("flash", "fused", "unfused"):
        return backend
    if values.implementation == "local" or backend == "local":
        return "flash" if values.flash else "unfused"
    return "auto"


def _recompute(values: ModelFlags) -> tuple[str, str, int, tuple[str, ...]] | None:
    granularity = values.recompute or ("selective" if values.recompute_attention else None)
    if granularity not in ("full", "selective"):
        return None
    modules = values.recompute_modules or ("core_attn",)
    listed = tuple(re.findall(r"\w+", modules)) if isinstance(modules, str) else tuple(str(each) for each in modules)
    return granularity, values.recompute_method or "uniform", values.recompute_layers or 1, listed


def _experts(values: ModelFlags) -> tuple[int, int, int, int, bool, int] | None:
    if values.experts is None or values.per_token is None:
        return None
    width = values.expert_ffn or values.ffn or 4 * (values.hidden or 0)
    dense = _dense_layers(values)
    return (values.experts, values.per_token, width, values.shared_ffn or 0, False, dense)


def _dense_layers(values: ModelFlags) -> int:
    """``--moe-layer-freq`` is every n-th layer, or a Python list such as ``([0]*1+[1]*26)``."""
    layers, spelled = values.layers or 0, values.frequency
    if isinstance(spelled, int):
        return layers - -(-layers // spelled) if spelled > 1 else 0
    parts = re.findall(r"\[\s*([01])\s*\]\s*\*\s*(\d+)", str(spelled))
    return sum(int(count) for kind, count in parts if kind == "0")


def _latent(values: ModelFlags) -> tuple[int, int, int, int, int] | None:
    if not values.latent:
        return None
    return (
        values.q_rank or 0,
        values.kv_rank or 0,
        values.nope_dim or 0,
        values.rope_dim or 0,
        values.value_dim or 0,
    )
