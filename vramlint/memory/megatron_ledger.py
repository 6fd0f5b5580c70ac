"""What one Megatron-LM block keeps for backward on one rank, tensor by tensor, in bytes per token.

Read in Megatron-LM 2026-08 (``core/transformer``, ``core/fusions``) and Transformer Engine 2.x
(``pytorch/module/layernorm_linear.py``, ``attention/dot_product_attention/backends.py``). h hidden width, a attention
width, kv key-value width, i MLP width, t tensor-parallel ranks; s = t where the sequence is divided too, else 1.
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.arithmetic import Saved
from vramlint.memory.parallel import Parallelism

HALF = 2
"""Bytes of a 16-bit number."""


class Recompute(NamedTuple):
    """Activation recomputation: ``granularity`` is ``none``, ``selective`` or ``full``.

    ``layers``: under ``uniform`` the blocks of one checkpointed group, under ``block`` the checkpointed blocks of a
    stage. ``modules``: what ``selective`` recomputes (``core_attn``, ``layernorm``, ``mlp``, ``moe``, ``moe_act`` …).
    """

    granularity: str = "none"
    method: str = "uniform"
    layers: int = 1
    modules: tuple[str, ...] = ("core_attn",)

    def drops(self, module: str) -> bool:
        return self.granularity == "selective" and module in self.modules


class MegatronOptions(NamedTuple):
    """Flags that change what is kept.

    ``attention``: ``flash`` (FlashAttention 2), ``fused`` (cuDNN) or ``unfused``. ``mask``: the loader makes a boolean
    mask of sequence x sequence for each sample. ``loss``: ``plain`` cross entropy, the compiled one of
    ``--cross-entropy-loss-fusion`` (``native``) or Transformer Engine's (``te``). ``fp8``: Transformer Engine's linear
    layers multiply in 8 bits; ``fp8_parameters``: their weights are held so (``--fp8-param-gather``). ``local``:
    Megatron's own layers instead of Transformer Engine's. ``deferred``: micro batches whose gradient of the head's
    weight waits for the end (``--wgrad-deferral-limit``; 0: all of them). ``overlapped``: products overlap with
    communication (``--tp-comm-overlap``), with a workspace for each of three streams.
    """

    @property
    def input_bytes(self) -> int:
        """Bytes of an element that a linear layer keeps of its input: in fp8 the transposed copy alone, which its
        weight's gradient reads (Transformer Engine 2.x ``module/linear.py``, ``layernorm_linear.py``)."""
        return 1 if self.fp8 else HALF

    attention: str = "flash"
    hidden_dropout: bool = True
    attention_dropout: bool = True
    fp32_residual: bool = False
    mask: bool = True
    loss: str = "plain"
    recompute: Recompute = Recompute()
    fp8: bool = False
    fp8_parameters: bool = False
    local: bool = False
    deferred: int | None = None
    overlapped: bool = False


def block_ledger(
    config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, keys: int, *, dense: bool = False
) -> tuple[Saved, ...]:
    """One block: attention over ``keys`` positions and MLP or experts (``dense``: the MLP in a model of experts)."""
    mlp = expert_layer if config.experts and not dense else mlp_layer
    return (*attention_layer(config, parallel, options, keys), *mlp(config, parallel, options))


def attention_layer(
    config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, keys: int
) -> tuple[Saved, ...]:
    """Self-attention behind its norm."""
    return (
        *norm_ledger("attention", config, parallel, options),
        *attention_ledger(config, parallel, options, keys),
    )


def mlp_layer(config: DecoderConfig, parallel: Parallelism, options: MegatronOptions) -> tuple[Saved, ...]:
    """An MLP behind its norm."""
    return (*norm_ledger("MLP", config, parallel, options), *_mlp(config, parallel, options))


def expert_layer(config: DecoderConfig, parallel: Parallelism, options: MegatronOptions) -> tuple[Saved, ...]:
    """Experts behind their norm."""
    return (*norm_ledger("MLP", config, parallel, options), *_experts(config, parallel, options))


def attention_ledger(
    config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, keys: int
) -> tuple[Saved, ...]:
    """Self-attention without its norm, and the dropout after it."""
    t, a, kv = parallel.tensor, config.attention_width, config.kv_width
    projected = _latent_ledger(config, parallel) if config.latent else ()
    width = 2 * a + config.value_width if config.latent else a + 2 * kv
    if config.latent and options.recompute.drops("mla_up_proj"):
        width = 0
    # Latent attention normalises what it projects up instead.
    norm = 2 * (a + kv) * HALF if config.qk_norm and not config.latent else 0
    return (
        *projected,
        Saved("queries, keys and values", HALF * width // t),
        Saved("query and key norms", norm // t),
        *_core_attention(config, parallel, options, keys),
        Saved("dropout mask", dropout_mask(config, parallel, options)),
    )


def cross_attention_ledger(
    config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, keys: int
) -> tuple[Saved, ...]:
    """Attention to an encoder's ``keys`` positions, per decoder token; keys and values belong to encoder tokens."""
    return (
        *norm_ledger("cross attention", config, parallel, options),
        Saved("queries", HALF * config.attention_width // parallel.tensor),
        *_core_attention(config, parallel, options, keys),
        Saved("dropout mask", dropout_mask(config, parallel, options)),
    )


def dropout_mask(config: DecoderConfig, parallel: Parallelism, options: MegatronOptions) -> int:
    """One byte an element; the fused bias, dropout and addition keep nothing else."""
    return config.shape.hidden // parallel.stream if options.hidden_dropout else 0


def norm_ledger(
    place: str, config: DecoderConfig, parallel: Parallelism, options: MegatronOptions
) -> tuple[Saved, ...]:
    """The norm that Transformer Engine fuses with the linear layer behind it: its input, output and statistics."""
    h, s = config.shape.hidden, parallel.stream
    residual = 4 if options.fp32_residual else HALF
    output = 0 if options.recompute.drops("layernorm") else options.input_bytes * h
    return (
        Saved(f"{place} norm's input", residual * h // s),
        Saved(f"{place} norm's output", output // s),
        Saved(f"{place} norm's statistics", 8 // s),
    )


def _core_attention(
    config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, keys: int
) -> tuple[Saved, ...]:
    """Scores and output. FlashAttention works on batch-first copies, so its own output stays beside the projection's
    input; unfused attention keeps the softmax and, with dropout, a mask and its product; ring attention over a divided
    context keeps keys and values once more, joined."""
    t, heads = parallel.tensor, config.shape.heads / parallel.tensor
    output = HALF * config.value_width // t
    found = [Saved("attention output", output)]
    if options.fp8:  # what the projection reads; fused kernels keep their own output too
        kept = 0 if options.attention == "unfused" else output
        found = [Saved("attention output", kept), Saved("attention output in fp8", output // HALF)]
    if options.attention == "unfused":
        if not options.recompute.drops("core_attn"):
            each = HALF + (1 + HALF if options.attention_dropout else 0)
            found.append(Saved("attention probabilities", round(each * heads * keys)))
    else:
        found.append(Saved("attention log-sum-exp", round(4 * heads)))
        if options.attention == "flash" and parallel.context == 1 and not options.fp8:
            found.append(Saved("batch-first attention output", output))
    if parallel.context > 1:
        found.append(Saved("keys and values of the ring", HALF * 2 * config.kv_width // t))
    return tuple(found)


def _mlp(
    config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, width: int | None = None
) -> tuple[Saved, ...]:
    """The first layer's output (twice as wide with a gate) and the activation's, and a dropout mask."""
    i = (config.shape.ffn if width is None else width) // parallel.tensor
    dropped = "mlp" if width is None else "shared_experts"
    if options.recompute.drops(dropped):
        return (Saved("dropout mask", dropout_mask(config, parallel, options)),)
    return (
        Saved("first MLP layer's output", (2 if config.gated else 1) * HALF * i),
        Saved("activation's output", options.input_bytes * i),
        Saved("dropout mask", dropout_mask(config, parallel, options)),
    )


def _experts(config: DecoderConfig, parallel: Parallelism, options: MegatronOptions) -> tuple[Saved, ...]:
    """Dropless experts with balanced routing: what is computed for the tokens that arrive, as many as leave.

    The permuted tokens, the expert layers' outputs, and in fp32 the router's logits, scores and their product.
    """
    assert config.experts is not None
    experts, h = config.experts, config.shape.hidden
    # Experts that are divided among tensor-parallel ranks see all of their tokens.
    arriving = experts.per_token / (1 if parallel.expert_tensor > 1 else parallel.stream)
    i = experts.ffn / parallel.expert_tensor
    first = (2 if config.gated else 1) * HALF * i
    activated = 0 if options.recompute.drops("moe_act") else options.input_bytes * i
    found = [
        Saved("router logits and scores", round(3 * 4 * experts.number / parallel.stream)),
        Saved("tokens sent to experts", round(arriving * options.input_bytes * h)),
        Saved("experts' first outputs", round(arriving * first)),
        Saved("experts' activations", round(arriving * activated)),
        # Gated experts weigh by the router's probability inside one fused kernel; others keep the factor's partner.
        Saved("experts' weighted activations", 0 if config.gated else round(arriving * HALF * i)),
        Saved("experts' outputs", round(arriving * HALF * h)),
        Saved("dropout mask", dropout_mask(config, parallel, options)),
    ]
    if experts.shared_ffn:
        found += _mlp(config, parallel, options._replace(hidden_dropout=False), experts.shared_ffn)
    if options.recompute.drops("moe"):
        return tuple(found[-1:])
    return tuple(found)


def _latent_ledger(config: DecoderConfig, parallel: Parallelism) -> tuple[Saved, ...]:
    """Low-rank queries, keys and values before they are projected up, with their norms: input and output of each."""
    latent = config.latent
    assert latent is not None
    low_rank = HALF * (latent.q_rank + latent.kv_rank) * 2 + HALF * latent.rope_dim
    return (Saved("low-rank queries, keys and values", low_rank // parallel.stream),)
