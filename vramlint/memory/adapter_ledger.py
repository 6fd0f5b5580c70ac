"""What adapters on one block keep for backward, in bytes per token."""

from __future__ import annotations

from vramlint.memory.adapter import Adapter
from vramlint.memory.adapters import Method
from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.arithmetic import Arithmetic, Saved
from vramlint.memory.implementations import Implementation

FUSED_LINEARS = 3
"""Queries, keys and values."""


def adapter_inputs(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation, seq_len: int
) -> list[Saved]:
    """What LoRA keeps: the input of A in the adapter's arithmetic, A's output, and a dropout mask.

    PEFT casts the input to the adapter's fp32 for every target anew; adapters of the base dtype share one input.
    """
    if adapter is None:
        return []
    if adapter.method is not None:
        return _method_inputs(config, numbers, adapter, adapter.method, seq_len)
    chosen = adapter.chosen(config)
    size = numbers.compute if numbers.casts_weights else adapter.weight_bytes
    widths = [linear.inputs for linear in chosen]
    padded = 0
    if implementation.fused_qkv:
        fused = [linear for linear in chosen if linear.reads == "attention"]
        widths = [linear.inputs for linear in chosen if linear.reads != "attention"] + [config.shape.hidden] * bool(
            fused
        )
        padded = sum(linear.outputs for linear in fused) if len(fused) < FUSED_LINEARS else 0
    if not _copies_inputs(numbers, adapter):
        kept = ("output",) * (not config.output_gate) + ("down",) * config.relu  # by attention and by ReLU themselves
        same = {"mlp": "attention"} if config.shared_norm else {}
        shared = {same.get(each.reads, each.reads): each.inputs for each in chosen if each.reads not in kept}
        widths = list(shared.values())
    masks = sum(widths) if adapter.dropout else 0
    return [
        Saved("inputs of the adapters", sum(widths) * size + masks),
        Saved("low-rank products", len(chosen) * size * adapter.rank),
        Saved("padded outputs of a partly adapted projection", padded * size),
    ]


def _method_inputs(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter, method: Method, seq_len: int
) -> list[Saved]:
    """What a method of ``adapters.METHODS`` keeps; IA3 scales the input of ``down_proj``, not its output."""
    if method.trains == "prefix":
        # A mask is needed, so the memory-efficient kernel runs, on keys and values repeated to all heads.
        repeated = 2 * numbers.compute * (config.attention_width - config.kv_width)
        added = 2 * numbers.compute * config.attention_width * adapter.virtual_tokens // max(1, seq_len)
        # That kernel takes a bias, which torch makes of the boolean mask in each block (``convert_boolean_attn_mask``).
        bias = numbers.compute * (seq_len + adapter.virtual_tokens)
        return [
            Saved("repeated keys and values, and the prefix", repeated + added),
            Saved("attention bias from the mask", bias),
        ]
    if method.name == "adaption_prompt":
        # Queries anew, and their scores on the prompt: softmax in fp32, its cast, and what the gate multiplies.
        scores = (4 + 2 * numbers.compute) * config.shape.heads * _prompt_tokens(config, adapter)
        return [Saved("queries and scores of the adaption prompt", numbers.compute * config.attention_width + scores)]
    chosen = adapter.chosen(config)
    distinct = {linear.reads: linear.inputs for linear in chosen if linear.reads != "output"}
    found = method.shared_input * sum(distinct.values())
    for linear in chosen:
        if method.name == "ia3" and linear.name == "down_proj":
            found += 4 * linear.inputs
            continue
        found += method.per_input * linear.inputs + method.per_output * linear.outputs + method.per_rank * adapter.rank
        found += method.per_narrow * min(linear.inputs, linear.outputs)
    return [Saved(f"tensors of {method.name}", round(found))]


def _prompt_tokens(config: DecoderConfig, adapter: Adapter) -> int:
    """Tokens of an adaption prompt: spelled, or by the trained parameters (a gate beside each block's prompt)."""
    return adapter.virtual_tokens or (adapter.trained or 0) // (config.shape.layers * config.shape.hidden)


def _copies_inputs(numbers: Arithmetic, adapter: Adapter) -> bool:
    """Whether each adapter reads a copy of its layer's input: cast to its own dtype, or under dropout."""
    return adapter.dropout or numbers.casts_weights or adapter.weight_bytes != numbers.compute


def shares_output(config: DecoderConfig, numbers: Arithmetic, adapter: Adapter) -> bool:
    """Whether an adapter on the output projection keeps attention's own output, not a cast or masked copy of it."""
    adapted = any(linear.reads == "output" for linear in adapter.chosen(config))
    return adapted and not _copies_inputs(numbers, adapter)


def quantised_inputs(config: DecoderConfig, numbers: Arithmetic) -> Saved:
    """Inputs of quantised layers where the library keeps them: each distinct input tensor once."""
    shared = 1 if config.shared_norm else 2
    down = sum(linear.inputs for linear in config.linears if linear.reads == "down")
    width = shared * config.shape.hidden + config.attention_width + down
    return Saved("inputs of the quantised layers", numbers.compute * width)
