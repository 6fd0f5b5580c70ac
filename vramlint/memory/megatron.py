"""Megatron-LM's models: one rank's parameters and the bytes alive during its step, in closed form.

Checked against the golden peaks of Megatron-LM's own functional tests (``tools/score_memory.py``).
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.arithmetic import Saved
from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.megatron_hybrid import Hybrid, hybrid_ledger
from vramlint.memory.megatron_ledger import (
    HALF,
    MegatronOptions,
    Recompute,
    block_ledger,
    cross_attention_ledger,
    dropout_mask,
)
from vramlint.memory.parallel import Parallelism
from vramlint.plan import Precision

SPREAD = 0.08
"""Half-width of the interval on a Megatron rank's activations, set on the golden peaks (``tools/score_memory.py``):
the allocator leaves up to 1 MiB unsplit behind each block, which counts as allocated."""

ROUTED_SPREAD = 0.16
"""The same where experts lie on several ranks, which are sent more or fewer tokens than their share: the golden peaks
of eight experts on eight ranks lie 4 to 14 % over balanced routing."""


class EncoderPart(NamedTuple):
    """The encoder before a T5 decoder: its blocks. The workload's ``seq_len`` is its input's length."""

    layers: int
    decoder_seq_len: int


class MegatronModel(NamedTuple):
    """One rank of a Megatron-LM GPT or T5: a form of :class:`~vramlint.memory.knowledge.ModelKnowledge`.

    ``config`` is the whole model's; ``parallel`` says what of it this rank holds. ``encoder`` makes it a T5, whose
    decoder blocks attend to it. ``micro_batches``: of one step, for the pipeline.
    """

    name: str
    config: DecoderConfig
    source: str
    parallel: Parallelism = Parallelism()
    options: MegatronOptions = MegatronOptions()
    encoder: EncoderPart | None = None
    micro_batches: int = 1
    hybrid: Hybrid | None = None
    predicted: int = 0
    """Further tokens that are predicted, each by a block and a pass through the head of its own (``--mtp-num-layers``,
    ``core/transformer/multi_token_prediction.py``)."""

    @property
    def spread(self) -> float:
        """Half-width of the interval as a share of the activations."""
        return ROUTED_SPREAD if self.parallel.expert > 1 else SPREAD

    @property
    def parameters(self) -> int:
        """Parameters of this rank."""
        return self.dense_parameters + self.expert_parameters

    @property
    def trainable(self) -> int:
        return self.parameters

    @property
    def buffer_bytes(self) -> int:
        return 0

    @property
    def expert_parameters(self) -> int:
        """Routed experts of this rank, whose optimizer states divide among other ranks than the rest."""
        experts = self.config.experts
        if experts is None:
            return 0
        matrices = 3 if self.config.gated else 2
        sparse = self._sparse_layers + self._predicted
        here = experts.number * matrices * self.config.shape.hidden * experts.ffn
        return sparse * here // (self.parallel.expert * self.parallel.expert_tensor)

    @property
    def dense_parameters(self) -> int:
        """Everything else of this rank: blocks, embeddings, head. A tied head on another stage is a copy."""
        config, shape, t = self.config, self.config.shape, self.parallel.tensor
        embedding = shape.vocabulary * shape.hidden // t
        found = self._block_parameters
        if self.parallel.first:
            found += embedding + config.positions * shape.hidden
        if self.parallel.last:
            alone = not shape.tied or not self.parallel.first
            bias = shape.vocabulary // t if self.encoder else 0
            found += (embedding if alone else 0) + bias + self._norm * (2 if self.encoder else 1)
        return found + self._predicting_parameters

    @property
    def _predicted(self) -> int:
        """Further tokens that this stage predicts: the last one predicts all."""
        return self.predicted if self.parallel.last else 0

    @property
    def _predicting_parameters(self) -> int:
        """Blocks that predict further tokens, each with a projection of hidden state and embedding and three norms; a
        copy of the embedding where the first stage has it."""
        if not self._predicted:
            return 0
        h = self.config.shape.hidden
        block = self._one_block(self.config) + self._router
        copied = 0 if self.parallel.first else self.config.shape.vocabulary * h // self.parallel.tensor
        return copied + self._predicted * (block + 2 * h * h // self.parallel.tensor + 3 * self._norm)

    @property
    def _router(self) -> int:
        experts = self.config.experts
        if experts is None:
            return 0
        return self.config.shape.hidden * (experts.number + (1 if experts.shared_gate else 0))

    @property
    def linear_parameters(self) -> int:
        """Weights of this rank's linear layers in the blocks, which fp8 products copy."""
        return self._block_parameters + self.expert_parameters

    @property
    def outside_and_block(self) -> tuple[int, int]:
        """Parameters outside the blocks, and of one block, as sharded data parallelism gathers them."""
        block = self._block_parameters // max(1, self._layers)
        return self.parameters - self._layers * block, block

    @property
    def _norm(self) -> int:
        return self.config.shape.hidden * (2 if self.config.norm == "layer" else 1)

    @property
    def _layers(self) -> int:
        return self.parallel.layers_of(self.config.shape.layers)

    @property
    def _sparse_layers(self) -> int:
        """Blocks with experts on this stage; the dense ones come first."""
        experts = self.config.experts
        if experts is None:
            return 0
        if self.hybrid is not None:
            return self.hybrid.layers(self.parallel.stage).count("E")
        before = sum(
            self.parallel._replace(stage=stage).layers_of(self.config.shape.layers)
            for stage in range(self.parallel.stage)
        )
        return self._layers - min(self._layers, max(0, experts.dense_layers - before))

    @property
    def _block_parameters(self) -> int:
        if self.hybrid is not None:
            return sum(self._hybrid_layer(letter, self.hybrid) for letter in self.hybrid.layers(self.parallel.stage))
        sparse, config = self._sparse_layers, self.config
        dense = (self._layers - sparse) * self._one_block(config._replace(experts=None))
        dense += sparse * (self._one_block(config) + self._router)
        if self.encoder is None:
            return dense
        crossed = self._layers * (self._attention_block(config) + self._norm)
        return dense + crossed + self.encoder.layers * self._one_block(config)

    def _hybrid_layer(self, letter: str, hybrid: Hybrid) -> int:
        """One layer of a hybrid model behind its norm."""
        match letter:
            case "*":
                return self._attention_block(self.config) + self._norm
            case "E":
                return self._mlp_block(self.config) + self._router + self._norm
            case "M":
                return hybrid.mamba.parameters(self.config.shape.hidden, self.parallel.tensor) + self._norm
            case _:
                return self._mlp_block(self.config._replace(experts=None)) + self._norm

    def _one_block(self, config: DecoderConfig) -> int:
        return self._attention_block(config) + self._mlp_block(config) + 2 * self._norm

    def _mlp_block(self, config: DecoderConfig) -> int:
        """Linear layers divided by tensor parallelism, the biases of row-parallel layers whole."""
        mlp = [linear for linear in config.linears if linear.reads in ("mlp", "down")]
        weights = sum(linear.inputs * linear.outputs for linear in mlp) // self.parallel.tensor
        biases = 0
        if config.biases:
            column = sum(linear.outputs for linear in mlp if linear.reads == "mlp")
            biases = column // self.parallel.tensor + config.shape.hidden
        return weights + biases

    def _attention_block(self, config: DecoderConfig) -> int:
        t, linears = self.parallel.tensor, config.attention_linears
        whole = [linear for linear in linears if linear.name in ("q_a_proj", "kv_a_proj_with_mqa")]
        divided = sum(linear.inputs * linear.outputs for linear in linears if linear not in whole) // t
        found = divided + sum(linear.inputs * linear.outputs for linear in whole)
        if config.latent:
            return found + config.latent.q_rank + config.latent.kv_rank
        if config.biases or config.shape.qkv_bias:
            found += (config.attention_width + 2 * config.kv_width) // t
        found += config.shape.hidden if config.biases else 0
        norm = (2 if config.norm == "layer" else 1) * 2 * config.shape.head_dim
        return found + (norm if config.qk_norm else 0)

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The end of the loss, and backward in a recomputed block; () where seq_len or precision are not covered."""
        if not workload.seq_len or not workload.micro_batch or workload.precision not in _SIXTEEN_BITS:
            return ()
        tokens = workload.micro_batch * self._length(workload) // self.parallel.context
        options = self._options(workload)
        whole = self._blocks(workload, options)
        kept, one = self._recomputed(whole, tokens, options, workload)
        held = self.parallel.in_flight(self.micro_batches)
        kept += self._predicting(workload, tokens, options)
        always = self._inputs(workload, tokens, options) + self._waiting(workload, tokens, options)
        found = [Moment("backward", round(held * kept) + one + always, 0)]
        if self.parallel.last:
            found.append(Moment("loss", round(held * kept) + self._loss(workload, tokens, options) + always, 0))
        return tuple(found)

    def _waiting(self, workload: Workload, tokens: int, options: MegatronOptions) -> int:
        """Megatron's own attention has one buffer for scores (``core/utils.py`` ``GlobalMemoryBuffer``, "mpu").
        Deferred gradients of the head's weight wait as its inputs and its outputs' gradients
        (``tensor_parallel/layers.py``).
        """
        found = 0
        if options.local and options.attention == "unfused":
            heads = self.config.shape.heads // self.parallel.tensor
            found += HALF * heads * tokens * workload.seq_len
        if options.deferred is not None and self.parallel.last and self.parallel.pipeline > 1:
            waiting = options.deferred or self.micro_batches
            shape, t = self.config.shape, self.parallel.tensor
            found += HALF * waiting * tokens * (shape.vocabulary // t + shape.hidden)
        return found

    def _length(self, workload: Workload) -> int:
        """Tokens of one sequence that the decoder works on."""
        return self.encoder.decoder_seq_len if self.encoder else workload.seq_len

    def _options(self, workload: Workload) -> MegatronOptions:
        """``auto`` attention is FlashAttention below Hopper, cuDNN's from there on (Transformer Engine's own order)."""
        if self.options.attention != "auto":
            return self.options
        newer = workload.capability is not None and workload.capability >= (9, 0)
        return self.options._replace(attention="fused" if newer else "flash")

    def _blocks(self, workload: Workload, options: MegatronOptions) -> int:
        """All blocks of this stage for one micro batch."""
        length = self._length(workload)
        if self.hybrid is not None:
            return self._hybrid_blocks(workload, options, self.hybrid)
        tokens, sparse = workload.micro_batch * length // self.parallel.context, self._sparse_layers
        found = sparse * _total(block_ledger(self.config, self.parallel, options, length)) * tokens
        if self._layers > sparse:
            dense = block_ledger(self.config, self.parallel, options, length, dense=True)
            found += (self._layers - sparse) * _total(dense) * tokens
        return found + self._encoder_blocks(workload, options)

    def _hybrid_blocks(self, workload: Workload, options: MegatronOptions, hybrid: Hybrid) -> int:
        length, letters = workload.seq_len, hybrid.layers(self.parallel.stage)
        tokens = workload.micro_batch * length // self.parallel.context
        kinds = {
            letter: _total(hybrid_ledger(letter, hybrid, self.config, self.parallel, options, length))
            for letter in set(letters)
        }
        return sum(kinds[letter] for letter in letters) * tokens

    def _predicting(self, workload: Workload, tokens: int, options: MegatronOptions) -> int:
        """What predicting further tokens keeps: norms and projection of hidden state and embedding, its block, and the
        loss's fp32 copy of its logits."""
        if not self._predicted:
            return 0
        block = _total(block_ledger(self.config, self.parallel, options, self._length(workload)))
        joined = 8 * HALF * self.config.shape.hidden // self.parallel.stream
        logits = _LOGITS_KEPT.get(options.loss, 4) * self.config.shape.vocabulary // self.parallel.tensor
        return self._predicted * tokens * (block + joined + logits)

    def _encoder_blocks(self, workload: Workload, options: MegatronOptions) -> int:
        """The encoder's blocks, and what the decoder's keep to attend to them."""
        if self.encoder is None:
            return 0
        tokens, encoder_tokens = (workload.micro_batch * each for each in (self._length(workload), workload.seq_len))
        own = self.encoder.layers * _total(block_ledger(self.config, self.parallel, options, workload.seq_len))
        queries = _total(cross_attention_ledger(self.config, self.parallel, options, workload.seq_len))
        keys_values = 2 * HALF * self.config.kv_width // self.parallel.tensor
        return own * encoder_tokens + self._layers * (queries * tokens + keys_values * encoder_tokens)

    def _recomputed(self, whole: int, tokens: int, options: MegatronOptions, workload: Workload) -> tuple[int, int]:
        """Bytes kept of one micro batch, and bytes recomputed at a time."""
        recompute = options.recompute
        if workload.checkpointing and recompute.granularity == "none":
            recompute = Recompute("full")
        if recompute.granularity != "full" or not self._layers:
            return whole, 0
        layers, group = self._layers, max(1, recompute.layers)
        entry = HALF * self.config.shape.hidden * tokens // self.parallel.stream
        if recompute.method == "block":
            chosen = min(layers, group)
            return whole - chosen * (whole // layers - entry), whole // layers if chosen else 0
        groups = -(-layers // group)
        return groups * entry, min(layers, group) * (whole // layers)

    def _inputs(self, workload: Workload, tokens: int, options: MegatronOptions) -> int:
        """Tokens, labels, positions and loss mask; the attention mask; dropout of the embeddings."""
        pairs = self._length(workload) ** 2
        if self.encoder is not None:
            pairs += workload.seq_len * (workload.seq_len + self._length(workload))
        mask = workload.micro_batch * pairs // self.parallel.context if options.mask else 0
        embedded = (tokens if self.parallel.first else 0) + self._encoder_tokens(workload)
        return 28 * tokens + mask + dropout_mask(self.config, self.parallel, options) * embedded

    def _encoder_tokens(self, workload: Workload) -> int:
        return workload.micro_batch * workload.seq_len if self.encoder else 0

    def _loss(self, workload: Workload, tokens: int, options: MegatronOptions) -> int:
        """The last norm and the logits: in 16 bits, and in fp32 as they become the softmax and then the gradient.

        Megatron-LM ``core/tensor_parallel/cross_entropy.py`` works in place on one fp32 copy, its compiled form
        (``core/fusions/fused_cross_entropy.py``) writes a second; Transformer Engine's works on the 16-bit logits.
        """
        logits = _LOGIT_BYTES.get(options.loss, 6) * self.config.shape.vocabulary // self.parallel.tensor
        last_norm = 2 * HALF * self.config.shape.hidden // self.parallel.stream
        return last_norm * (tokens + self._encoder_tokens(workload)) + logits * tokens


def _total(ledger: tuple[Saved, ...]) -> int:
    return sum(saved.bytes_per_token for saved in ledger)


_LOGITS_KEPT = {"plain": 4, "native": 4, "te": HALF}
"""Bytes of a logit that wait for the loss's backward."""
_LOGIT_BYTES = {"plain": HALF + 4, "native": HALF + 4 + 4, "te": HALF}
_SIXTEEN_BITS = (Precision.PURE_BF16, Precision.PURE_FP16)
