"""Closed forms for decoder LLMs: parameters and the bytes alive during a training step, from the shape alone.

What each operation keeps for backward is listed in :func:`layer_ledger`. Checked against traces of whole training
steps (tests/memory/test_decoder.py holds the table): Llama, TinyLlama and Qwen2.5, 0.5B to 8B, bf16 and autocast, with
and without activation checkpointing, within 0.01 %. A trace sees no kernel-internal memory.
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.implementations import HUGGING_FACE, Implementation, Loss
from vramlint.memory.knowledge import Moment, Workload
from vramlint.plan import DecoderShape, Precision

SPREAD = 0.12
"""Half-width of the interval on a decoder's activations: the published runs of ``tools/score_memory.py`` lie inside."""

QUANTISED_SPREAD = 0.30
"""The same over a 4-bit base, where the library's own copies vary with its version."""


class DecoderConfig(NamedTuple):
    """A decoder LLM: its shape and what else of its architecture changes memory.

    ``norm``: ``rms`` (Llama), ``gemma`` (RMS with 1 + weight) or ``layer`` (LayerNorm). ``shared_norm``: attention and
    MLP read the same normalised input (Phi, Falcon-7B). ``soft_capped``: attention logits are capped, so attention runs
    eager and its score matrix is materialised (Gemma 2); the logits are capped too. ``parallel``: attention and MLP
    read the same residual stream (GPT-NeoX, Phi, Falcon). ``fused_qkv`` and ``python_gelu`` are how transformers implements
    it: one projection for queries, keys and values (Phi-3, GPT-NeoX), ``gelu_new`` written in Python (Phi).
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

    @property
    def attention_width(self) -> int:
        return self.shape.heads * self.shape.head_dim

    @property
    def kv_width(self) -> int:
        return self.shape.kv_heads * self.shape.head_dim

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers of one block."""
        h, a, kv, i = self.shape.hidden, self.attention_width, self.kv_width, self.shape.ffn
        attention = (
            Linear("q_proj", h, a, "attention"),
            Linear("k_proj", h, kv, "attention"),
            Linear("v_proj", h, kv, "attention"),
            Linear("o_proj", a, h, "output"),
        )
        gate = (Linear("gate_proj", h, i, "mlp"),) if self.gated else ()
        return (*attention, *gate, Linear("up_proj", h, i, "mlp"), Linear("down_proj", i, h, "down"))

    @property
    def layer_linear_parameters(self) -> int:
        """Weights of one block's linear layers, without biases and norms."""
        return sum(linear.inputs * linear.outputs for linear in self.linears)

    @property
    def layer_parameters(self) -> int:
        h = self.shape.hidden
        per_norm = 2 * h if self.norm == "layer" and self.biases else h
        norms = self.norms_per_layer - self.shared_norm
        biased = self.linears if self.biases else self.linears[:3] if self.shape.qkv_bias else ()
        qk_norm = 2 * self.shape.head_dim if self.qk_norm else 0
        return self.layer_linear_parameters + norms * per_norm + sum(linear.outputs for linear in biased) + qk_norm

    @property
    def head_parameters(self) -> int:
        """The output projection, whether tied or not."""
        return self.shape.vocabulary * (self.shape.hidden + self.head_bias)

    @property
    def parameters(self) -> int:
        """All parameters, a tied embedding counted once."""
        embedding = self.shape.vocabulary * self.shape.hidden
        final_norm = self.shape.hidden * (2 if self.norm == "layer" and self.biases else 1)
        head = 0 if self.shape.tied else self.head_parameters
        return self.shape.layers * self.layer_parameters + embedding + head + final_norm


class Linear(NamedTuple):
    """A linear layer: its name in Hugging Face models, widths, and which input tensor it shares with others."""

    name: str
    inputs: int
    outputs: int
    reads: str


class Adapter(NamedTuple):
    """LoRA: rank, the adapted linear layers by name, and bytes per adapter weight.

    ``half`` adapters share the base model's dtype (litgpt, torchtune); PEFT keeps them in fp32 and casts the input.
    """

    rank: int
    targets: tuple[str, ...]
    weight_bytes: int
    dropout: bool = False
    head: bool = False

    def parameters(self, config: DecoderConfig) -> int:
        chosen = [linear for linear in config.linears if linear.name in self.targets]
        per_layer = sum(self.rank * (linear.inputs + linear.outputs) for linear in chosen)
        head = self.rank * (config.shape.hidden + config.shape.vocabulary) if self.head else 0
        return config.shape.layers * per_layer + head


class Saved(NamedTuple):
    """A tensor kept for backward: bytes per token of one block."""

    name: str
    bytes_per_token: int


class Arithmetic(NamedTuple):
    """Bytes per element: of weights and residual stream, and of what matrix products work on."""

    weight: int
    compute: int

    @property
    def casts_weights(self) -> bool:
        """Whether autocast makes low-precision copies of the weights."""
        return self.weight > self.compute


def arithmetic(precision: Precision) -> Arithmetic:
    match precision:
        case Precision.FP32:
            return Arithmetic(4, 4)
        case Precision.FP16 | Precision.BF16 | Precision.FP8:
            return Arithmetic(4, 2)
        case Precision.PURE_BF16 | Precision.PURE_FP16:
            return Arithmetic(2, 2)


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
        *_attention(config, numbers, implementation, seq_len),
        *_mlp(config, numbers, adapter, implementation),
        *_adapter_inputs(config, numbers, adapter, implementation),
    )


def quantised_inputs(config: DecoderConfig, numbers: Arithmetic) -> Saved:
    """Inputs of 4-bit layers where the library keeps them: each distinct input tensor once."""
    shared = 1 if config.shared_norm else 2
    return Saved("inputs of the 4-bit layers", numbers.compute * (shared * config.shape.hidden + config.shape.ffn))


def _norms(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation
) -> list[Saved]:
    h = config.shape.hidden
    count = config.norms_per_layer - config.shared_norm
    trains = adapter is None
    if config.norm == "layer":
        # LayerNorm keeps its input, which is the residual stream itself, and mean and reciprocal deviation in fp32.
        inputs = 1 if config.parallel else count
        return [Saved("norm inputs", inputs * numbers.weight * h), Saved("norm statistics", count * 8)]
    fp32_normalised = config.norm == "gemma" or implementation.fp32_norm_output
    normalised = (4 if fp32_normalised else numbers.weight) * h if trains else 0
    found = [
        Saved("norm inputs in fp32", count * 4 * h),
        Saved("normalised copies", count * normalised),
        Saved("norm statistics", count * 4),
    ]
    if config.qk_norm:
        width = config.attention_width + config.kv_width
        found.append(Saved("query and key norm", 4 * width + (numbers.compute * width if trains else 0)))
    return found


def _linear_inputs(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation
) -> list[Saved]:
    """Inputs of trained linear layers: one shared tensor, or under autocast one low-precision copy for each."""
    if adapter is not None:
        return []
    h = config.shape.hidden
    if numbers.casts_weights:
        fused = config.fused_qkv or implementation.fused_qkv
        readers = sum(linear.reads in ("attention", "mlp") for linear in config.linears)
        if fused:
            readers -= (_FUSED_LINEARS - 1) + config.gated
        return [Saved("low-precision inputs of the linear layers", readers * numbers.compute * h)]
    shared = 1 if config.shared_norm else 2
    return [Saved("inputs of the linear layers", shared * numbers.weight * h)]


def _attention(config: DecoderConfig, numbers: Arithmetic, implementation: Implementation, seq_len: int) -> list[Saved]:
    a, kv, heads = config.attention_width, config.kv_width, config.shape.heads
    c = numbers.compute
    # Flash attention takes grouped keys and values as they are; the fp32 kernel and some codebases repeat them first.
    repeated = c == 4 or implementation.repeats_kv or config.soft_capped
    keys_values = 2 * c * (a if repeated else kv)
    found = [
        Saved("query and attention output", 2 * c * a),
        Saved("keys and values", keys_values),
        Saved("attention log-sum-exp", 4 * heads),
    ]
    if implementation.fused_qkv and kv == a:
        found.append(Saved("queries and keys under the values' view", 2 * c * a))
    elif config.fused_qkv and not implementation.fused_qkv:
        found.append(Saved("fused queries, keys and values", c * (a + 2 * kv)))
    if config.soft_capped:
        # Eager attention: the cap's tanh, softmax in fp32 and its cast, each heads x seq_len a token.
        found.append(Saved("attention scores", (c + 4 + c) * heads * seq_len))
    return found


def _mlp(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation
) -> list[Saved]:
    i, c = config.shape.ffn, numbers.compute
    down = 1 if adapter is None else 0
    if config.gated:
        return [Saved("gate, its activation and up", 3 * c * i), Saved("input of down_proj", down * c * i)]
    found = [Saved("input of the activation", c * i), Saved("input of down_proj", down * c * i)]
    if config.python_gelu and implementation.python_gelu:
        # transformers' NewGELUActivation keeps half x, 1 + tanh and tanh, in fp32 under autocast (as pow runs), and
        # PhiDecoderLayer two dropout masks even with p = 0.
        found.append(Saved("terms of gelu_new", 3 * numbers.weight * i))
        found.append(Saved("residual dropout masks", 2 * config.shape.hidden))
    return found


def _adapter_inputs(
    config: DecoderConfig, numbers: Arithmetic, adapter: Adapter | None, implementation: Implementation
) -> list[Saved]:
    """What LoRA keeps: the input of A in the adapter's arithmetic, A's output, and a dropout mask.

    PEFT casts the input to the adapter's fp32 for every target anew; adapters of the base dtype share one input.
    """
    if adapter is None:
        return []
    chosen = [linear for linear in config.linears if linear.name in adapter.targets]
    size = numbers.compute if numbers.casts_weights else adapter.weight_bytes
    own_copies = adapter.dropout or size != numbers.compute or numbers.casts_weights
    widths = [linear.inputs for linear in chosen]
    padded = 0
    if implementation.fused_qkv:
        fused = [linear for linear in chosen if linear.reads == "attention"]
        widths = [linear.inputs for linear in chosen if linear.reads != "attention"] + [config.shape.hidden] * bool(
            fused
        )
        padded = sum(linear.outputs for linear in fused) if len(fused) < _FUSED_LINEARS else 0
    if not own_copies:
        widths = list({linear.reads: linear.inputs for linear in chosen if linear.reads != "output"}.values())
    masks = sum(widths) if adapter.dropout else 0
    return [
        Saved("inputs of the adapters", sum(widths) * size + masks),
        Saved("low-rank products", len(chosen) * size * adapter.rank),
        Saved("padded outputs of a partly adapted projection", padded * size),
    ]


_FUSED_LINEARS = 3
"""Queries, keys and values."""


class Decoder(NamedTuple):
    """A decoder LLM's memory by formula: a form of :class:`~vramlint.memory.knowledge.ModelKnowledge`.

    ``quantised``: the linear layers hold 4-bit weights (QLoRA), dequantised one at a time.
    """

    name: str
    config: DecoderConfig
    source: str
    adapter: Adapter | None = None
    quantised: bool = False
    implementation: Implementation = HUGGING_FACE

    @property
    def spread(self) -> float:
        """Half-width of the interval as a share of the activations."""
        return QUANTISED_SPREAD if self.quantised else SPREAD

    @property
    def parameters(self) -> int:
        return self.config.parameters + (self.adapter.parameters(self.config) if self.adapter else 0)

    @property
    def trainable(self) -> int:
        return self.adapter.parameters(self.config) if self.adapter else self.config.parameters

    @property
    def buffer_bytes(self) -> int:
        """Rotary frequencies: a few kilobytes, left out."""
        return 0

    def layer_bytes_per_token(self, workload: Workload) -> int:
        """Bytes that one block keeps for backward per token."""
        numbers = arithmetic(workload.precision)
        ledger = layer_ledger(self.config, numbers, self.adapter, self.implementation, workload.seq_len)
        copies = self.implementation.quantised_input_copies if self.quantised else 0
        kept = copies * quantised_inputs(self.config, numbers).bytes_per_token
        return kept + sum(saved.bytes_per_token for saved in ledger)

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """Forward end, loss, and backward at the last and the first block; see :class:`_Step` for the terms."""
        if not workload.seq_len or not workload.micro_batch:
            return ()
        return _Step(self, workload).moments()


class _Step:
    """The terms of one training step, in bytes; T tokens, L layers, h hidden width, V vocabulary."""

    def __init__(self, decoder: Decoder, workload: Workload) -> None:
        config, shape = decoder.config, decoder.config.shape
        self.numbers = numbers = arithmetic(workload.precision)
        self.decoder = decoder
        self.tokens = tokens = workload.micro_batch * workload.seq_len
        self.block = decoder.layer_bytes_per_token(workload) * tokens
        self.casts = numbers.compute * config.layer_linear_parameters if numbers.casts_weights else 0
        self.head_cast = numbers.compute * config.head_parameters if numbers.casts_weights else 0
        self.checkpoint = numbers.weight * shape.hidden * tokens
        self.layers = shape.layers
        self.checkpointing = workload.checkpointing
        self.gradients_kept = workload.gradients_kept
        self.ids = 3 * 8 * tokens
        full = decoder.adapter is None
        self.final_norm = _final_norm_bytes(config, numbers, trains=full) * tokens
        self.first_block_unsaved = 0
        if not full and not workload.checkpointing:
            self.first_block_unsaved = _unsaved_in_first_block(decoder, numbers) * tokens

    def moments(self) -> tuple[Moment, ...]:
        found = [self._forward(), *self._loss(), self._last_block(), self._first_block()]
        if not self.gradients_kept:
            return tuple(found)
        return tuple(moment._replace(gradient_elements=self.decoder.trainable) for moment in found)

    def _forward(self) -> Moment:
        kept = self._kept()
        if self.checkpointing and self.numbers.casts_weights:
            kept += self.layers * self.casts  # autocast's cache of weight copies lives until autocast exits
        logits = self._logits(self.decoder.implementation.loss.forward_bytes(self.numbers.compute))
        return Moment("forward", kept + self.final_norm + self.head_cast + logits + self.ids, 0)

    def _loss(self) -> list[Moment]:
        logits = self._logits(self.decoder.implementation.loss.backward_bytes(self.numbers.compute))
        return [Moment("loss", self._kept() + self.final_norm + self.head_cast + logits + self.ids, 0)]

    def _last_block(self) -> Moment:
        """Backward enters the last block: everything kept, the head's gradient done, the block's transients."""
        recomputed = self.block + self.casts if self.checkpointing else 0
        done = 0 if self.decoder.adapter else self.decoder.config.head_parameters
        return Moment("backward", self._kept() + recomputed + self._transients() + self.ids, done)

    def _first_block(self) -> Moment:
        """Backward in the first block: all other gradients done, nothing kept but this block's tensors."""
        trainable = self.decoder.trainable
        done = trainable - trainable // max(1, self.layers) if self.decoder.adapter else self._without_first_block()
        return Moment("backward", self.block + self.casts + self._transients() + self.ids, done)

    def _without_first_block(self) -> int:
        config = self.decoder.config
        embedding = 0 if config.shape.tied else config.shape.vocabulary * config.shape.hidden
        return config.parameters - config.layer_parameters - embedding

    def _kept(self) -> int:
        per_layer = self.checkpoint if self.checkpointing else self.block + self.casts
        return self.layers * per_layer - self.first_block_unsaved

    def _transients(self) -> int:
        """Gradients inside a block: of the product, gate and up, of the block's input; one dequantised weight."""
        shape, c = self.decoder.config.shape, self.numbers.compute
        gradients = (3 if self.decoder.config.gated else 2) * c * shape.ffn + 2 * self.numbers.weight * shape.hidden
        largest = max(linear.inputs * linear.outputs for linear in self.decoder.config.linears)
        return gradients * self.tokens + (c * largest if self.decoder.quantised else 0)

    def _logits(self, bytes_per_logit: float) -> int:
        if self.decoder.config.soft_capped:
            bytes_per_logit += self.numbers.compute  # the tanh of capped logits
        return round(bytes_per_logit * self.tokens * self.decoder.config.shape.vocabulary)


def _final_norm_bytes(config: DecoderConfig, numbers: Arithmetic, *, trains: bool) -> int:
    """Bytes per token of the last norm and the head's input: RMS norm's fp32 input, normalised copy and output."""
    h, low = config.shape.hidden, 2 * config.shape.hidden if numbers.casts_weights else 0
    if config.norm == "layer":
        return numbers.weight * h + (low or numbers.weight * h if trains else 0)
    if not trains:
        return 4 * h
    return (10 if config.norm == "gemma" or numbers.casts_weights else 8) * h


def _unsaved_in_first_block(decoder: Decoder, numbers: Arithmetic) -> int:
    """Bytes per token that the first block does not keep where embeddings are frozen: its input needs no gradient."""
    config, adapter = decoder.config, decoder.adapter
    norm_input = numbers.weight if config.norm == "layer" else 4
    found = norm_input * config.shape.hidden
    if adapter is None or not adapter.dropout:
        return found
    readers = [linear for linear in config.linears if linear.name in adapter.targets and linear.reads == "attention"]
    masks = min(1, len(readers)) if decoder.implementation.fused_qkv else len(readers)
    return found + masks * config.shape.hidden


__all__ = ["SPREAD", "Adapter", "Arithmetic", "Decoder", "DecoderConfig", "Linear", "Loss", "Saved", "layer_ledger"]
