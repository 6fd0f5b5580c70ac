"""What a decoder LLM is: its architecture, its linear layers and parameter counts."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from vramlint.memory.linear import Linear
from vramlint.memory.mixers import Mixer
from vramlint.plan import DecoderShape

__all__ = ["LAYER_NORMS", "DecoderConfig", "Experts", "LatentAttention", "Linear"]

LAYER_NORMS = ("layer", "plain", "python")
"""Kinds of ``DecoderConfig.norm`` that are LayerNorm and not RMSNorm."""


class Experts(NamedTuple):
    """A mixture of experts in place of the MLP.

    ``number`` experts of width ``ffn``, ``per_token`` of them for each token. ``shared_ffn``: width of all shared
    experts together (DeepSeek ``n_shared_experts * moe_intermediate_size``, Qwen2 ``shared_expert_intermediate_size``),
    0 for none; ``shared_gate``: a sigmoid gate of one output before it (Qwen2). ``dense_layers``: blocks that keep the
    dense MLP of width ``DecoderShape.ffn`` (DeepSeek ``first_k_dense_replace``; Llama 4 every second; Qwen
    ``mlp_only_layers``). ``router_bias``: the router has a bias (gpt-oss); ``biases``: the experts do (gpt-oss).
    ``grouped``: transformers runs them as one grouped matrix product over the tokens sent to each (Llama 4 sends every
    token to every expert).
    """

    number: int
    per_token: int
    ffn: int
    shared_ffn: int = 0
    shared_gate: bool = False
    dense_layers: int = 0
    router_bias: bool = False
    biases: bool = False
    grouped: bool = True

    @property
    def fp32_router(self) -> bool:
        """Whether the router works in fp32: DeepSeek's and its kin's (GLM, Kimi), whose shared experts have no gate."""
        return self.shared_ffn > 0 and not self.shared_gate


class LatentAttention(NamedTuple):
    """Multi-head latent attention (DeepSeek V2, arXiv 2405.04434): widths of its projections.

    ``q_rank`` 0: queries are projected at once (V2-Lite). Per head, queries and keys have ``nope_dim`` elements without
    and ``rope_dim`` with rotary positions; values have ``value_dim``. ``DecoderShape.head_dim`` is
    ``nope_dim + rope_dim`` and ``kv_heads`` equals ``heads``. ``biases``: the down-projections and the output one have
    biases (``attention_bias``).
    """

    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    biases: bool = False


class DecoderConfig(NamedTuple):
    """A decoder LLM: its shape and what else of its architecture changes memory.

    ``norm``: ``rms`` (Llama), ``gemma`` (RMS whose weight is applied in fp32), ``layer`` (LayerNorm) ``plain``
    (LayerNorm without weights, in fp32, OLMo 1) or ``python`` (LayerNorm spelled out in Python, in fp32, Cohere).
    ``shared_norm``: attention and MLP read the same normalised input (Phi, Falcon-7B). ``soft_capped``: attention
    logits are capped, so attention runs eager and its score matrix is materialised (Gemma 2); the logits are capped
    too. ``parallel``: attention and MLP read the same residual stream (GPT-NeoX, Phi, Falcon). ``fused_qkv`` and
    ``python_gelu`` are how transformers implements it: one projection for queries, keys and values (Phi-3, GPT-NeoX),
    ``gelu_new`` written in Python (Phi). ``experts`` and ``latent``: mixture of experts, multi-head latent attention.
    ``positions``: rows of a learned position table (GPT-2, OPT). ``output_bias``: with ``qkv_bias`` the attention's
    output projection has a bias too (gpt-oss). ``full_qk_norm``: queries and keys are normalised over their whole
    width, not per head (OLMo 2, OLMoE). ``attention_sinks``: one learned logit per head (gpt-oss); attention is
    ``eager`` there unless a kernel that knows them is asked for. ``sliding_window``: tokens of the local attention's
    window, 0 for none; where longer sequences are trained, transformers builds a mask. ``norm_bias``: LayerNorms have a
    bias though the linear layers have none (Falcon, StableLM). ``partial_rotary``: rotary positions on a part of each
    head, so that queries and keys are joined from two tensors. ``post_norm``: norms stand behind attention and MLP, not
    before them (OLMo 2, EXAONE 4).
    ``scaled_embedding``: the model multiplies what its embedding returns (Granite).
    ``fused_gate``: one projection for gate and up (Phi-3, GLM). ``relu``: the MLP's activation is ReLU, whose output is
    all that its backward reads (OPT). ``relu_squared``: the square of ReLU, which autocast computes in fp32 (Arcee).
    ``outer_norms``: of ``norms_per_layer``, those that read what attention and MLP return, in half precision under
    autocast (Gemma 2, GLM-4). ``rotated_qk_norm``: queries and keys are normalised after their rotation, which autocast
    leaves in fp32 (Hunyuan). ``half_norms``: LayerNorms work in autocast's half precision (Nemotron).
    ``output_gate``: attention's output is gated by a second half of the queries' projection (Qwen3-Next, Qwen3.5).
    ``attention`` and ``mixer``: what a block mixes tokens with. ``others``: how many of the blocks are of another kind,
    and which (hybrids); the rest are as described here. ``first_at``: blocks of other kinds before the first of this.
    """

    shape: DecoderShape
    gated: bool = True
    norm: str = "rms"
    norms_per_layer: int = 2
    qk_norm: bool = False
    biases: bool = False
    shared_norm: bool = False
    soft_capped: bool = False
    head_bias: bool = False
    parallel: bool = False
    fused_qkv: bool = False
    python_gelu: bool = False
    experts: Experts | None = None
    latent: LatentAttention | None = None
    positions: int = 0
    output_bias: bool = False
    full_qk_norm: bool = False
    attention_sinks: bool = False
    sliding_window: int = 0
    norm_bias: bool = False
    partial_rotary: bool = False
    post_norm: bool = False
    scaled_embedding: bool = False
    fused_gate: bool = False
    relu: bool = False
    relu_squared: bool = False
    outer_norms: int = 0
    rotated_qk_norm: bool = False
    half_norms: bool = False
    output_gate: bool = False
    attention: bool = True
    mixer: Mixer | None = None
    others: tuple[tuple[int, DecoderConfig], ...] = ()
    first_at: int = 0
    eager: bool = False

    @property
    def kinds(self) -> tuple[tuple[int, DecoderConfig], ...]:
        """How many blocks there are of each kind."""
        dense = self.experts.dense_layers if self.experts else 0
        own = self.shape.layers - dense - sum(count for count, _ in self.others)
        plain = ((dense, self._replace(experts=None)),) if dense else ()
        sparse = self._replace(first_at=dense) if dense else self
        return ((own, sparse), *plain, *self.others)

    @property
    def attention_width(self) -> int:
        return self.shape.heads * self.shape.head_dim

    @property
    def kv_width(self) -> int:
        return self.shape.kv_heads * self.shape.head_dim

    @property
    def value_width(self) -> int:
        """Width of the attention's output before its projection."""
        return self.shape.heads * self.latent.value_dim if self.latent else self.attention_width

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers of one block; of one with experts, those of attention and the shared experts."""
        h, i = self.shape.hidden, self._dense_ffn
        gate = (Linear("gate_proj", h, i, "mlp"),) if self.gated and i else ()
        mlp = (Linear("up_proj", h, i, "mlp"), Linear("down_proj", i, h, "down")) if i else ()
        mixed = self.mixer.linears(h) if self.mixer else ()
        return (*self.attention_linears, *mixed, *gate, *mlp)

    @property
    def _dense_ffn(self) -> int:
        return self.experts.shared_ffn if self.experts else self.shape.ffn

    @property
    def attention_linears(self) -> tuple[Linear, ...]:
        """The projections of attention."""
        if not self.attention:
            return ()
        if self.latent is not None:
            return self._latent_linears(self.latent)
        h, a, kv = self.shape.hidden, self.attention_width, self.kv_width
        return (
            Linear("q_proj", h, a * (1 + self.output_gate), "attention"),
            Linear("k_proj", h, kv, "attention"),
            Linear("v_proj", h, kv, "attention"),
            Linear("o_proj", a, h, "output"),
        )

    def _latent_linears(self, latent: LatentAttention) -> tuple[Linear, ...]:
        h, a, heads = self.shape.hidden, self.attention_width, self.shape.heads
        queries = (
            (Linear("q_a_proj", h, latent.q_rank, "attention"), Linear("q_b_proj", latent.q_rank, a, "q_latent"))
            if latent.q_rank
            else (Linear("q_proj", h, a, "attention"),)
        )
        return (
            *queries,
            Linear("kv_a_proj_with_mqa", h, latent.kv_rank + latent.rope_dim, "attention"),
            Linear("kv_b_proj", latent.kv_rank, heads * (latent.nope_dim + latent.value_dim), "kv_latent"),
            Linear("o_proj", heads * latent.value_dim, h, "output"),
        )

    @property
    def layer_linear_parameters(self) -> int:
        """Weights of one block's linear layers, without experts, biases and norms."""
        return sum(linear.inputs * linear.outputs for linear in self.linears)

    @property
    def expert_matrices(self) -> int:
        """Weights of one block's routed experts."""
        if self.experts is None:
            return 0
        return self.experts.number * (3 if self.gated else 2) * self.shape.hidden * self.experts.ffn

    @property
    def expert_parameters(self) -> int:
        """One block's router and experts, shared ones left out."""
        if self.experts is None:
            return 0
        h, n, i = self.shape.hidden, self.experts.number, self.experts.ffn
        matrices = 3 if self.gated else 2
        biases = n * ((matrices - 1) * i + h) if self.experts.biases else 0
        gate = h if self.experts.shared_gate else 0
        return n * (matrices * h * i + h + self.experts.router_bias) + biases + gate

    @property
    def layer_parameters(self) -> int:
        """One block of the first kind: with experts where the model has them."""
        return _layer_parameters(self)

    @property
    def linear_parameters(self) -> int:
        """Weights of all blocks' linear layers, without experts."""
        return sum(count * block.layer_linear_parameters for count, block in self.kinds)

    @property
    def dense_layer_parameters(self) -> int:
        """One block of those that keep a dense MLP in a model with experts."""
        dense = self._replace(experts=None)
        return dense.layer_parameters

    @property
    def _norm_parameters(self) -> int:
        """Weights of one norm; a plain one has none."""
        if self.norm == "plain":
            return 0
        return self.shape.hidden * (2 if self.norm == "layer" and (self.biases or self.norm_bias) else 1)

    def _layer_extras(self, linears: tuple[Linear, ...]) -> int:
        """Norms and biases of one block."""
        per_norm = self._norm_parameters
        norms = self.norms_per_layer - self.shared_norm
        qkv_bias = self.shape.qkv_bias and self.attention
        biased = linears if self.biases else linears[: 3 + self.output_bias] if qkv_bias else ()
        return norms * per_norm + sum(linear.outputs for linear in biased) + self._attention_extras()

    def _attention_extras(self) -> int:
        """Norms inside attention, its sinks, biases of latent projections; what a mixer has beside its projections."""
        mixed = self.mixer.extras if self.mixer else 0
        return mixed + (self._plain_attention_extras() if self.attention else 0)

    def _plain_attention_extras(self) -> int:
        sinks = self.shape.heads if self.attention_sinks else 0
        if self.latent is not None:
            biases = self.latent.q_rank + self.latent.kv_rank + self.latent.rope_dim + self.shape.hidden
            return self.latent.q_rank + self.latent.kv_rank + (biases if self.latent.biases else 0)
        if self.full_qk_norm:
            return sinks + self.attention_width + self.kv_width
        return sinks + (2 * self.shape.head_dim if self.qk_norm else 0)

    @property
    def head_parameters(self) -> int:
        """The output projection, whether tied or not."""
        return self.shape.vocabulary * (self.shape.hidden + self.head_bias)

    @property
    def parameters(self) -> int:
        """All parameters, a tied embedding counted once."""
        embedding = self.shape.vocabulary * self.shape.hidden
        final_norm = self._norm_parameters
        head = 0 if self.shape.tied else self.head_parameters
        blocks = sum(count * block.layer_parameters for count, block in self.kinds)
        return blocks + embedding + self.positions * self.shape.hidden + head + final_norm

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through."""
        idle = sum(count * block.idle_parameters for count, block in self.kinds)
        return self.parameters - idle

    @property
    def idle_parameters(self) -> int:
        """Experts' weights of one block that a token does not pass through."""
        if self.experts is None:
            return 0
        matrices = 3 if self.gated else 2
        return (self.experts.number - self.experts.per_token) * matrices * self.shape.hidden * self.experts.ffn


@lru_cache(maxsize=64)
def _layer_parameters(config: DecoderConfig) -> int:
    """Counted once a shape: an estimate asks for them a hundred times, a search for the largest batch thousands."""
    return config.layer_linear_parameters + config._layer_extras(config.linears) + config.expert_parameters
