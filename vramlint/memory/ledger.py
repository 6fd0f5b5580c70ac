"""What one block of a decoder keeps for backward, tensor by tensor, in bytes per token."""

from __future__ import annotations

from vramlint.memory.adapter import Adapter
from vramlint.memory.adapter_ledger import FUSED_LINEARS, adapter_inputs, shares_output
from vramlint.memory.architecture import LAYER_NORMS, DecoderConfig
from vramlint.memory.arithmetic import Arithmetic, Saved
from vramlint.memory.implementations import Implementation


def layer_ledger(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation, seq_len: int
) -> tuple[Saved, ...]:
    """What one block keeps for backward, in bytes per token.

    Sources: the saved tensors of each operation's autograd formula (torch 2.13, ``derivatives.yaml``) along the forward
    of transformers' ``LlamaDecoderLayer``; a frozen linear layer keeps no input, a frozen norm no normalised copy.
    """
    return (
        *_norms(config, numbers, adapter, implementation),
        *_linear_inputs(config, numbers, adapter, implementation),
        *_mixing(config, numbers, adapter, implementation, seq_len),
        *mlp_ledger(config, numbers, adapter, implementation),
        *adapter_inputs(config, numbers, adapter, implementation, seq_len),
    )


def mlp_ledger(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation
) -> list[Saved]:
    """What the MLP or the experts keep of it."""
    if config.experts:
        return _experts(config, numbers, adapter)
    return _mlp(config, numbers, adapter, implementation)


def compiled_ledger(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation, seq_len: int
) -> tuple[Saved, ...]:
    """The same where torch.compile fuses the block: what is recomputed cheaply is not kept.

    Norms keep the residual stream and their statistics, the MLP its two projections and, to train ``down_proj``, their
    product (torch 2.13 ``_functorch/partitioners.py`` recomputes elementwise operations). Held against torchtune's
    published ladder, whose step from eager to compiled blocks it explains within 1 %.
    """
    h, i, c = config.shape.hidden, config.shape.ffn, numbers.compute
    count = config.norms_per_layer - config.shared_norm
    projections = (2 if config.gated else 1) * c * i
    return (
        Saved("norm inputs", count * numbers.weight * h),
        Saved("norm statistics", count * 4),
        *_linear_inputs(config, numbers, adapter, implementation),
        *_attention(config, numbers, adapter, implementation, seq_len),
        Saved("gate and up", projections),
        Saved("input of down_proj", c * i if adapter is None else 0),
        *adapter_inputs(config, numbers, adapter, implementation, seq_len),
    )


def _norms(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation
) -> list[Saved]:
    h = config.shape.hidden
    count = config.norms_per_layer - config.shared_norm
    trains = adapter is None or adapter.trains_norms
    if config.norm in LAYER_NORMS:
        # LayerNorm keeps its input, which is the residual stream itself (OLMo's casts it to fp32), and mean and
        # reciprocal deviation in fp32.
        if config.norm == "python":
            # Twice the input less its mean, and what its weight multiplies: CohereLayerNorm.
            return [Saved("norms in fp32", count * (8 + (4 if trains else 0)) * h), Saved("norm statistics", count * 4)]
        inputs = 1 if config.parallel else count
        each = 4 if config.norm == "plain" else numbers.compute if config.half_norms else numbers.weight
        return [Saved("norm inputs", inputs * each * h), Saved("norm statistics", count * 8)]
    if implementation.fused_norm and config.norm == "rms":
        return [*_fused_norms(config, numbers, trains=trains), Saved("norm statistics", count * 4)]
    fp32_normalised = config.norm == "gemma" or implementation.fp32_norm_output
    inner = count - config.outer_norms
    copies = 4 * count if fp32_normalised else numbers.weight * inner + numbers.compute * config.outer_norms
    found = [
        Saved("norm inputs in fp32", count * 4 * h),
        Saved("normalised copies", copies * h if trains else 0),
        Saved("norm statistics", count * 4),
    ]
    if config.attention and (config.qk_norm or config.full_qk_norm):
        width = config.attention_width + config.kv_width
        each = 4 if fp32_normalised else numbers.weight if config.rotated_qk_norm else numbers.compute
        found.append(Saved("query and key norm", 4 * width + (each * width if trains else 0)))
    return found


def _fused_norms(config: DecoderConfig, numbers: Arithmetic, *, trains: bool) -> list[Saved]:
    """One kernel keeps its input alone, which for queries and keys is what the projection returned."""
    found = [Saved("norm inputs", (config.norms_per_layer - config.shared_norm) * numbers.weight * config.shape.hidden)]
    if config.qk_norm or config.full_qk_norm:
        width = config.attention_width + config.kv_width
        found.append(Saved("query and key norm", numbers.compute * width + (4 if trains else 0)))
    return found


def _linear_inputs(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation
) -> list[Saved]:
    """Inputs of trained linear layers: one shared tensor, or under autocast one low-precision copy for each."""
    if adapter is not None:
        return []
    h = config.shape.hidden
    if numbers.casts_weights and not config.half_norms:
        readers = sum(linear.reads in ("attention", "mlp") for linear in config.linears) - config.fused_gate
        if config.fused_qkv or implementation.fused_qkv:
            readers -= FUSED_LINEARS - 1
        return [Saved("low-precision inputs of the linear layers", readers * numbers.compute * h)]
    shared = 1 if config.shared_norm else min(2, config.norms_per_layer)
    return [Saved("inputs of the linear layers", shared * numbers.compute * h)]


def _mixing(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation, seq_len: int
) -> list[Saved]:
    """Attention of the model's kind, a mixer in its place or beside it."""
    mixed = config.mixer.kept(numbers.weight, numbers.compute, trains=adapter is None) if config.mixer else []
    if not config.attention:
        return mixed
    if config.latent:
        return mixed + _latent_attention(config, numbers, adapter)
    return mixed + _attention(config, numbers, adapter, implementation, seq_len)


def _attention(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation, seq_len: int
) -> list[Saved]:
    a, kv, heads = config.attention_width, config.kv_width, config.shape.heads
    c = numbers.compute
    # Flash attention takes grouped keys and values as they are; the fp32 kernel and some codebases repeat them first.
    repeated = c == 4 or implementation.repeats_kv or config.soft_capped
    keys_values = 2 * c * (a if repeated else kv)
    if config.fused_qkv and not implementation.fused_qkv and (adapter is not None or (c == 4 and kv == a)):
        keys_values -= c * kv  # the values stay a view of the joint projection
    found = [
        Saved("query and attention output", 2 * c * a),
        Saved("keys and values", keys_values),
        Saved("attention log-sum-exp", 4 * heads),
    ]
    if implementation.fused_qkv and kv == a:
        found.append(Saved("queries and keys under the values' view", 2 * c * a))
    elif config.fused_qkv and not implementation.fused_qkv:
        found.append(Saved("fused queries, keys and values", c * (a + 2 * kv)))
    if config.fused_qkv and config.positions and not implementation.fused_qkv:
        # Without rotary positions queries, keys and values stay views of their one projection.
        return [
            Saved("fused queries, keys and values", c * (a + 2 * kv)),
            Saved("attention output", c * a),
            Saved("attention log-sum-exp", 4 * heads),
        ]
    if config.output_gate:
        # The gate multiplies a copy of attention's output, token by token; both are kept, and the product that is read.
        found.append(Saved("gated attention output", (2 + (adapter is None)) * c * a))
    elif adapter is None and c != 4 and implementation.python_gelu and (config.partial_rotary or config.python_gelu):
        # Queries joined by torch.cat lie head by head, and so does attention's output: the projection reads a copy.
        found.append(Saved("attention output, token by token", c * a))
    if config.attention_sinks and config.eager:
        # Probabilities with the sink's column; autocast has softmax in fp32 and casts them. Keys and values repeated.
        each = 4 + c if numbers.casts_weights else c
        found.append(Saved("attention probabilities", each * heads * (seq_len + 1) - 4 * heads))
        found.append(Saved("repeated keys and values", 0 if repeated else 2 * c * (a - kv)))
        if adapter is not None and not shares_output(config, numbers, adapter):
            found[0] = Saved("query", c * a)  # a frozen projection keeps no input
    if config.soft_capped:
        # Eager attention: the cap's tanh, softmax in fp32 and its cast, each heads x seq_len a token.
        found.append(Saved("attention scores", (c + 4 + (c if c != 4 else 0)) * heads * seq_len))
        if adapter is not None and not shares_output(config, numbers, adapter):
            found[0] = Saved("query", c * a)  # a frozen projection keeps no input
    return found


def _mlp(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation
) -> list[Saved]:
    i, c = config.shape.ffn, numbers.compute
    down = 1 if adapter is None else 0
    if config.gated:
        return [Saved("gate, its activation and up", 3 * c * i), Saved("input of down_proj", down * c * i)]
    if config.relu:
        return [Saved("output of ReLU, which down_proj reads", c * i)]
    found = [Saved("input of the activation", c * i), Saved("input of down_proj", down * c * i)]
    if config.relu_squared and numbers.casts_weights:
        found.append(Saved("ReLU in fp32, which autocast squares", 4 * i))
    if config.python_gelu and implementation.python_gelu:
        # transformers' NewGELUActivation keeps half x, 1 + tanh and tanh, in fp32 under autocast (as pow runs).
        found.append(Saved("terms of gelu_new", 3 * numbers.weight * i))
    return found


def _experts(config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None) -> list[Saved]:
    """Routed and shared experts, dropless: every token goes through ``per_token`` of them.

    transformers 5.24 ``integrations/moe.py`` ``grouped_mm_experts_forward``: the tokens gathered by expert, both
    outputs of the first product, its activation, their product, and the second product's output, which the router
    weighs. Autocast does not know grouped products: they work in the weights' type.
    """
    assert config.experts is not None
    experts, h, c, e = config.experts, config.shape.hidden, numbers.compute, numbers.weight
    k, i = experts.per_token, experts.ffn
    inner = 3 if config.gated else 1  # gate, its activation and up; of a squared ReLU its output alone
    found = [
        Saved("tokens gathered by expert", k * e * h),
        Saved("experts' gate, its activation and up", inner * k * e * i),
        Saved("experts' products", k * e * i if adapter is None else 0),
        Saved("experts' outputs", k * e * h if adapter is None else 0),
        Saved("routing", 4 * experts.number + 36 * k),
    ]
    if experts.biases:
        # gpt-oss clamps both halves, which keeps what it clamps, and multiplies them as gate, its sigmoid and up + 1.
        found.append(Saved("clamped gate, its activation and up", 3 * k * e * i))
    if numbers.casts_weights and adapter is None:
        found.append(Saved("low-precision inputs of router and gate", (1 + experts.shared_gate) * c * h))
    elif experts.fp32_router and adapter is None and e != 4:
        found.append(Saved("router's fp32 input", 4 * h))
    if experts.shared_ffn:
        width = experts.shared_ffn
        squared = 4 * width if config.relu_squared and numbers.casts_weights else 0
        found.append(Saved("shared experts", inner * c * width + (c * width if adapter is None else 0) + squared))
    if experts.shared_gate:
        found.append(Saved("shared experts' output under its gate", c * h))
    return found


def _latent_attention(config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None) -> list[Saved]:
    """Multi-head latent attention as transformers 5.24 runs it: keys and values are projected up for every head.

    Norms of both latents in fp32 with their normalised copies; queries and keys joined from their two parts; values
    a view of the up-projection's output, which stays; attention's output as the kernel lays it out, and copied for the
    trained output projection.
    """
    latent, c, heads = config.latent, numbers.compute, config.shape.heads
    assert latent is not None
    ranks = latent.q_rank + latent.kv_rank
    trained = 2 * c * ranks if adapter is None else 0
    return [
        Saved("latents' norms", 4 * ranks + 8),
        Saved("normalised latents and inputs of the up-projections", trained),
        Saved("queries and keys", 2 * c * config.attention_width),
        Saved("up-projection's output", c * heads * (latent.nope_dim + latent.value_dim)),
        Saved("attention output", c * config.value_width),
        Saved("attention output, token by token", c * config.value_width if adapter is None and c != 4 else 0),
        Saved("attention log-sum-exp", 4 * heads),
    ]


def final_norm_bytes(config: DecoderConfig, numbers: Arithmetic, *, trains_norm: bool, trains_head: bool) -> int:
    """Bytes per token of the last norm and the head's input: RMS norm's fp32 input, normalised copy and output."""
    h = config.shape.hidden
    head = numbers.compute * h if trains_head else 0
    if config.norm in LAYER_NORMS:
        if config.norm == "python":
            return 8 * h + (4 * h if trains_norm else 0) + head
        return (4 if config.norm == "plain" else numbers.compute if config.half_norms else numbers.weight) * h + head
    normalised = (4 if config.norm == "gemma" else numbers.weight) * h if trains_norm else 0
    return 4 * h + normalised + head


def unsaved_in_first_block(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation
) -> int:
    """Bytes per token that the first block does not keep where embeddings are frozen: its input needs no gradient.

    A norm behind attention reads what the adapters made, and keeps its input in the first block too.
    """
    layer = numbers.compute if config.half_norms else numbers.weight
    norm_input = {"layer": layer, "python": 8}.get(config.norm, 4)
    found = 0 if config.post_norm else norm_input * config.shape.hidden
    if adapter is not None and adapter.method is not None and adapter.method.name == "adaption_prompt":
        # Its prompt joins behind attention, which nothing trained comes before in the first block.
        found += sum(saved.bytes_per_token for saved in _attention(config, numbers, adapter, implementation, 0))
    if adapter is None or not adapter.dropout:
        return found
    readers = [linear for linear in config.linears if linear.name in adapter.targets and linear.reads == "attention"]
    masks = min(1, len(readers)) if implementation.fused_qkv else len(readers)
    return found + masks * config.shape.hidden


def unsaved_weights_in_first_block(config: DecoderConfig, numbers: Arithmetic) -> int:
    """Bytes of autocast's weight copies that the first block does not keep where embeddings are frozen.

    A linear layer keeps its weight for its input's gradient alone, which the block's own input does not need; the MLP
    of a parallel block reads that input too.
    """
    if not numbers.casts_weights:
        return 0
    reads = ("attention", "mlp") if config.parallel else ("attention",)
    return numbers.compute * sum(each.inputs * each.outputs for each in config.linears if each.reads in reads)
