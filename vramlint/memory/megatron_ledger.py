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
    ``--cross-entropy-loss-fusion`` (``native``) or Transformer Engine's (``te``).
    """

    attention: str = "flash"
    hidden_dropout: bool = True
    attention_dropout: bool = True
    fp32_residual: bool = False
    mask: bool = True
    loss: str = "plain"
    recompute: Recompute = Recompute()


HALF = 2
"""Bytes of a 16-bit number."""


def block_ledger(
    config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, keys: int, *, dense: bool = False
) -> tuple[Saved, ...]:
    """One block: attention over ``keys`` positions and MLP or experts (``dense``: the MLP in a model of experts)."""
    mlp = _experts(config, parallel, options) if config.experts and not dense else _mlp(config, parallel, options)
    return (
        *_norm("attention", config, parallel, options),
        *attention_ledger(config, parallel, options, keys),
        *_norm("MLP", config, parallel, options),
        *mlp,
    )


def attention_ledger(
    config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, keys: int
) -> tuple[Saved, ...]:
    """Self-attention without its norm, and the dropout after it."""
    t, a, kv = parallel.tensor, config.attention_width, config.kv_width
    projected = _latent_ledger(config, parallel) if config.latent else ()
    width = 2 * a + config.value_width if config.latent else a + 2 * kv
    norm = 2 * (a + kv) * HALF if config.qk_norm else 0
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
        *_norm("cross attention", config, parallel, options),
        Saved("queries", HALF * config.attention_width // parallel.tensor),
        *_core_attention(config, parallel, options, keys),
        Saved("dropout mask", dropout_mask(config, parallel, options)),
    )


def dropout_mask(config: DecoderConfig, parallel: Parallelism, options: MegatronOptions) -> int:
    """One byte an element; the fused bias, dropout and addition keep nothing else."""
    return config.shape.hidden // parallel.stream if options.hidden_dropout else 0


def _norm(place: str, config: DecoderConfig, parallel: Parallelism, options: MegatronOptions) -> tuple[Saved, ...]:
    """The norm that Transformer Engine fuses with the linear layer behind it: its input, output and statistics."""
    h, s = config.shape.hidden, parallel.stream
    residual = 4 if options.fp32_residual else HALF
    output = 0 if options.recompute.drops("layernorm") else HALF * h
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
    if options.attention == "unfused":
        if not options.recompute.drops("core_attn"):
            each = HALF + (1 + HALF if options.attention_dropout else 0)
            found.append(Saved("attention probabilities", round(each * heads * keys)))
    else:
        found.append(Saved("attention log-sum-exp", round(4 * heads)))
        if options.attention == "flash" and parallel.context == 1:
            found.append(Saved("batch-first attention output", output))
    if parallel.context > 1:
        found.append(Saved("keys and values of the ring", HALF * 2 * config.kv_width // t))
    return tuple(found)


def _mlp(
    config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, width: int | None = None
) -> tuple[Saved, ...]:
    """The first layer's output (twice as wide with a gate) and the activation's, and a dropout mask."""
    i = (config.shape.ffn if width is None else width) // parallel.tensor
    return (
        Saved("first MLP layer's output", (2 if config.gated else 1) * HALF * i),
        Saved("activation's output", HALF * i),
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
    activated = 0 if options.recompute.drops("moe_act") else HALF * i
    found = [
        Saved("router logits and scores", round(3 * 4 * experts.number / parallel.stream)),
        Saved("tokens sent to experts", round(arriving * HALF * h)),
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
