"""The bytes of one training step of a decoder LLM that one rank holds whole: what is alive at each moment that can be
the peak. The ledger of a block is in ``ledger.py``, the parameters in ``decoder.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.arithmetic import arithmetic
from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.ledger import (
    final_norm_bytes,
    mlp_ledger,
    unsaved_in_first_block,
    unsaved_weights_in_first_block,
)

if TYPE_CHECKING:
    from vramlint.memory.decoder import Decoder

_GATE_GRADIENTS = 4.75
"""Widths of an expert alive in backward through gpt-oss's clamped gate (``GptOssExperts._apply_gate``), as traced."""


class _Kind(NamedTuple):
    """Blocks of one kind: how many, and of each what it keeps, autocast's copies of its weights, its transients."""

    number: int
    block: int
    casts: int
    transient: int
    config: DecoderConfig


class Step:
    """The terms of one training step, in bytes; T tokens, L layers, h hidden width, V vocabulary."""

    def __init__(self, decoder: Decoder, workload: Workload) -> None:
        config, shape = decoder.config, decoder.config.shape
        self.numbers = numbers = arithmetic(workload.precision)
        self.decoder = decoder
        self.workload = workload
        self.head = 0 if decoder.scores else config.head_parameters
        self.checkpointing = workload.checkpointing
        added = decoder.adapter.added_tokens if decoder.adapter else 0
        self.tokens = tokens = workload.micro_batch * (workload.seq_len + added)
        length = workload.seq_len + added
        self.scored = 0 if decoder.scores else workload.micro_batch * min(decoder.scored_tokens or length, length)
        self.kinds = [self._kind(count, block) for count, block in config.kinds]
        self.block = self.kinds[0].block
        self.casts = self.kinds[0].casts
        self.head_cast = numbers.compute * self.head if numbers.casts_weights else 0
        self.checkpoint = numbers.weight * shape.hidden * tokens
        self.layers = shape.layers
        self.embedding_leaf = self.checkpoint if self._keeps_embedding() else 0
        self.masks = self._masks() if workload.checkpointing else 0
        self.ids = 3 * 8 * tokens
        full = decoder.adapter is None
        norms = full or (decoder.adapter is not None and decoder.adapter.trains_norms)
        self.retied = decoder.adapter is not None and decoder.adapter.trains_tokens and shape.tied
        self.final_norm = tokens * final_norm_bytes(
            config, numbers, trains_norm=norms, trains_head=full or self.retied or self._copies_head()
        )
        self.first_block_unsaved = 0 if full or workload.checkpointing else self._unsaved_in_first_block()

    def _kind(self, count: int, config: DecoderConfig) -> _Kind:
        decoder, numbers = self.decoder.of_kind(config), self.numbers
        block = decoder.layer_bytes_per_token(self.workload) * self.tokens
        block += decoder.adapter.block_bytes(config) if decoder.adapter else 0
        block += numbers.compute * config.expert_matrices if decoder.quantised_experts else 0
        casts = numbers.compute * config.layer_linear_parameters if numbers.casts_weights else 0
        return _Kind(count, block, casts, self._transients(config), config)

    def _unsaved_in_first_block(self) -> int:
        """What frozen embeddings save in the first block, whose input needs no gradient."""
        decoder = self.decoder
        config = next((kind.config for kind in self.kinds if kind.config.first_at == 0), decoder.config)
        assert decoder.adapter is not None
        if decoder.adapter.trains_input:
            return 0
        each = unsaved_in_first_block(config, self.numbers, decoder.adapter, decoder.implementation)
        weights = unsaved_weights_in_first_block(config, self.numbers) + decoder.adapter.unsaved_block_bytes(config)
        return each * self.tokens + weights

    def _copies_head(self) -> bool:
        return self.decoder.adapter is not None and "lm_head" in self.decoder.adapter.copied

    def _keeps_embedding(self) -> bool:
        """Whether the embedding's output stays beside the first block's input, which is made from it.

        Checkpointed adapters need an input with a gradient, so peft's and transformers' hook
        (``enable_input_require_grads``) makes that output a leaf, which autograd holds.
        """
        config, transformers = self.decoder.config, self.decoder.implementation.name.startswith("transformers")
        changed = config.positions > 0 or config.scaled_embedding
        return changed and transformers and self.checkpointing and self.decoder.adapter is not None

    def _masks(self) -> int:
        """Masks that checkpointed eager blocks hold as arguments: one of full and one of local attention (Gemma 2)."""
        config, seq_len = self.decoder.config, self.workload.seq_len
        if not config.soft_capped or not self.decoder.implementation.name.startswith("transformers"):
            return 0
        kinds = 2 if config.sliding_window else 1
        return kinds * self.numbers.weight * self.workload.micro_batch * seq_len**2

    def moments(self) -> tuple[Moment, ...]:
        found = [self._forward(), self._loss(), self._last_block(), self._embedding()]
        found += [self._first_block(kind) for kind in self.kinds]
        if self.decoder.quantised and self.decoder.implementation.quantises_head:
            found.append(self._quantised_head())
        if self.decoder.generated:
            found.append(self._generation())
        if self.workload.gradients_kept:
            kept = self.decoder.trainable
            return tuple(
                each if each.phase == "generation" else each._replace(gradient_elements=kept) for each in found
            )
        if self.workload.gradients_freed:
            most = self.decoder.largest_weight
            return tuple(moment._replace(gradient_elements=min(moment.gradient_elements, most)) for moment in found)
        return tuple(found)

    def _generation(self) -> Moment:
        """The model's own writing, before a gradient is there: keys and values of every token of all sequences, those
        of one layer twice while the next token's are joined to them, and the last token's logits, in fp32 too.

        transformers 5.24 ``cache_utils.py#DynamicLayer.update`` (``torch.cat``) and ``generation/utils.py#_sample``
        (``next_token_logits.to(float32)``).
        """
        config, shape = self.decoder.config, self.decoder.config.shape
        width = 2 * config.kv_width
        if config.latent:  # transformers keeps what is projected up, for every head
            width = config.attention_width + shape.heads * config.latent.value_dim
        cache = self.numbers.compute * width * (self.layers + 1) * self.decoder.generated * self.workload.seq_len
        logits = (self.numbers.compute + 2 * 4) * self.decoder.generated * shape.vocabulary
        return Moment("generation", cache + logits, 0)

    def _forward(self) -> Moment:
        kept = self._kept()
        if self.checkpointing and self.numbers.casts_weights:
            kept += self._cached_casts()
        logits = self._logits(self.decoder.implementation.loss.forward_bytes(self.numbers.compute))
        return Moment("forward", kept + self.final_norm + self.head_cast + self._head_copy() + logits + self.ids, 0)

    def _cached_casts(self) -> int:
        """Autocast's cache of weight copies, which lives until autocast exits: of trained weights alone.

        ``cached_cast`` in torch 2.13 ``aten/src/ATen/autocast_mode.cpp`` caches leaves that require a gradient.
        """
        if self.decoder.adapter is not None:
            return self.numbers.compute * self.decoder.trainable
        return sum(kind.number * kind.casts for kind in self.kinds)

    def _loss(self) -> Moment:
        loss = self.decoder.implementation.loss
        logits = self._logits(loss.backward_bytes(self.numbers.compute))
        if self.decoder.adapter is None:
            logits += loss.head_copies * self.numbers.compute * self.head
        head = self.head_cast + self._head_copy()
        return Moment("loss", self._kept() + self.final_norm + head + logits + self.ids, 0)

    def _head_copy(self) -> int:
        """A tied head with trained tokens is a copy of the embedding with their rows in place."""
        return self.numbers.weight * self.head if self.retied else 0

    def _quantised_head(self) -> Moment:
        """Backward through a 4-bit head: the logits' gradient in fp32 and cast, the head dequantised and cast."""
        compute = self.numbers.compute
        gradient = (4 + compute) * self.tokens * self.decoder.config.shape.vocabulary
        head = (2 + compute) * self.head
        return Moment("backward", self._kept() + self.final_norm + gradient + head + self.ids, 0)

    def _embedding(self) -> Moment:
        """Backward ends at the embedding: every gradient is there; a tied one is made anew before it is added."""
        config = self.decoder.config
        if self.decoder.adapter is not None:
            rows = self.numbers.weight * self.head if self.decoder.adapter.trains_tokens else 0
            return Moment("backward", rows + self.ids, self.decoder.trainable)
        again = self.numbers.weight * self.head if config.shape.tied else 0
        return Moment("backward", again + self.checkpoint + self.ids, self.decoder.trainable)

    def _last_block(self) -> Moment:
        """Backward enters the last block: everything kept, the head's gradient done, the block's transients."""
        recomputed = [kind.block + kind.casts if self.checkpointing else 0 for kind in self.kinds]
        worst = max(again + kind.transient for again, kind in zip(recomputed, self.kinds, strict=True))
        done = self.head if self.decoder.adapter is None or self._copies_head() else 0
        return Moment("backward", self._kept() + worst + self.ids, done)

    def _first_block(self, kind: _Kind) -> Moment:
        """Backward in the first block of a kind: what comes after it is done, nothing kept but what comes before."""
        trainable = self.decoder.trainable
        done = trainable - trainable // max(1, self.layers) if self.decoder.adapter else self._without(kind)
        before = self.checkpoint if self.checkpointing else self._before(kind, lambda other: other.block + other.casts)
        kept = kind.block + kind.casts + (before if kind.config.first_at else 0)
        return Moment("backward", kept + kind.transient + self.ids, done)

    def _without(self, kind: _Kind) -> int:
        """All gradients but the embedding's and those of the blocks up to the first of this kind."""
        config = self.decoder.config
        embedding = 0 if config.shape.tied else config.shape.vocabulary * config.shape.hidden
        before = self._before(kind, lambda other: other.config.layer_parameters)
        return self.decoder.whole_parameters - kind.config.layer_parameters - embedding - before

    def _before(self, kind: _Kind, measure: Callable[[_Kind], int]) -> int:
        """What the blocks before the first of this kind come to; they are of the other kinds, in equal parts."""
        others = [(other.number, measure(other)) for other in self.kinds if other is not kind]
        blocks = sum(number for number, _ in others)
        return kind.config.first_at * sum(number * each for number, each in others) // max(1, blocks)

    def _kept(self) -> int:
        if self.workload.activations_offloaded:
            return 2 * (self.checkpoint if self.checkpointing else max(kind.block for kind in self.kinds))
        blocks = sum(kind.number * (kind.block + kind.casts) for kind in self.kinds)
        kept = self.layers * self.checkpoint if self.checkpointing else blocks
        return kept + self.embedding_leaf + self.masks - self.first_block_unsaved

    def _transients(self, config: DecoderConfig) -> int:
        """Gradients inside a block: of the product, gate and up, of the block's input; one dequantised weight."""
        shape, c, experts = config.shape, self.numbers.compute, config.experts
        width = experts.per_token * experts.ffn if experts else shape.ffn
        inside = (3 if config.gated else 2) * (self.numbers.weight if experts else c) * width
        if experts:
            # The outputs' gradient, spread over the experts' tokens, zeros to scatter it into, and the result.
            weighed = 4 if experts.fp32_router else self.numbers.weight
            # The gradient of the block's input is made after them; that of the shared experts' gate, before.
            before = 0 if experts.shared_gate else self.numbers.weight
            inside = max(inside, (3 * experts.per_token * weighed - before) * shape.hidden)
            if experts.biases:
                outputs = 0 if self.decoder.adapter else self.numbers.weight * experts.per_token * shape.hidden
                inside = max(inside, round(_GATE_GRADIENTS * self.numbers.weight * width) - outputs)
        if config.attention_sinks and config.eager:
            freed = mlp_ledger(config, self.numbers, self.decoder.adapter, self.decoder.implementation)
            scores = 3 * (4 if self.numbers.casts_weights else c) * shape.heads * self.workload.seq_len
            norm = (4 + (0 if self.decoder.adapter else self.numbers.weight)) * shape.hidden
            inside = max(inside, scores - norm - sum(each.bytes_per_token for each in freed))
        if config.mixer:
            freed = mlp_ledger(config, self.numbers, self.decoder.adapter, self.decoder.implementation)
            inside = max(inside, config.mixer.transient(c) - sum(each.bytes_per_token for each in freed))
        gradients = inside + 2 * self.numbers.weight * shape.hidden
        return gradients * self.tokens + (c * self.decoder.largest_block_weight if self.decoder.quantised else 0)

    def _logits(self, bytes_per_logit: float) -> int:
        if self.decoder.implementation.fused_loss:
            return self._fused_loss_bytes()
        if self.decoder.config.soft_capped:
            bytes_per_logit += self.numbers.compute  # the tanh of capped logits
        return round(bytes_per_logit * self.scored * self.decoder.config.shape.vocabulary)

    def _fused_loss_bytes(self) -> int:
        """Liger's fused linear cross entropy, read in liger-kernel 0.8.5 ``ops/fused_linear_cross_entropy.py``.

        One chunk of logits at a time, of ceil(T / ceil(V / h)) tokens rounded up to a power of two; the gradients of
        the input, and of the head where it trains, are made in the forward pass. Not checked against a trace.
        """
        shape, weight = self.decoder.config.shape, self.numbers.weight
        chunks = -(-shape.vocabulary // shape.hidden)
        chunk_tokens = min(self.tokens, 1 << (-(-self.tokens // chunks) - 1).bit_length())
        logits = self.numbers.compute * min(chunk_tokens, self.scored) * shape.vocabulary
        head = weight * self.head if self.decoder.adapter is None else 0
        return logits + head + weight * shape.hidden * self.tokens
