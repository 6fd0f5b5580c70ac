"""One rank of a decoder LLM that several ranks share, outside Megatron-LM: its parameters and its step's bytes.

Tensor parallelism divides heads, MLP widths and the vocabulary; what is as wide as the residual stream is whole on
every rank, or divided along the sequence where sequence parallelism runs. Held against torch's own classes
(``parallelize_module``, ``fully_shard``, ``PipelineStage`` over a fake process group, tests/trace/test_divided.py).
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.arithmetic import Arithmetic, Saved, arithmetic
from vramlint.memory.division import Division, rank_config, rank_parameters
from vramlint.memory.implementations import Loss
from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.ledger import compiled_ledger, final_norm_bytes, layer_ledger
from vramlint.memory.parallel import ALL_FORWARD

if TYPE_CHECKING:
    from vramlint.memory.decoder import Decoder

LOSS_PARALLEL = Loss(forward_low=1, forward_fp32=3, backward_low=0, backward_fp32=3)
"""Cross entropy over a divided vocabulary: torch 2.13 ``distributed/tensor/parallel/loss.py`` ``_log_softmax`` holds
the fp32 logits, the shifted ones and the result; backward the result, its gradient and the exponential."""

STREAM = frozenset(
    {"norm inputs", "norm inputs in fp32", "normalised copies", "norm statistics", "norms in fp32"}
    | {"router's fp32 input"}
)
"""Terms of the ledger that sequence parallelism divides."""

DISPATCHED = frozenset({"tokens gathered by expert", "experts' outputs", "routing"})
"""Terms that follow the tokens which a rank's experts are sent."""


def divided_moments(decoder: Decoder, division: Division, workload: Workload) -> tuple[Moment, ...]:
    """The end of forward, the loss (on the last stage), and backward at the last and the first block."""
    return _RankStep(decoder, division, workload).moments()


def backward_bytes(decoder: Decoder, division: Division, workload: Workload) -> int:
    """What one block holds during its backward, and no longer when its gradients are reduced."""
    step = _RankStep(decoder, division, workload)
    return step.block + step.casts + step.transients()


class _RankStep:
    """The terms of one rank's step, in bytes; T its tokens of one micro batch."""

    def __init__(self, decoder: Decoder, division: Division, workload: Workload) -> None:
        self.decoder, self.division, self.workload = decoder, division, workload
        self.parallel = parallel = division.parallel
        self.numbers: Arithmetic = arithmetic(workload.precision)
        self.local = rank_config(decoder.config, parallel)
        self.counted = rank_parameters(decoder.config, division)
        samples = division.pipeline_batch or workload.micro_batch
        self.micro_batches = max(1, workload.micro_batch // samples) if division.pipeline_batch else 1
        if parallel.pipeline > 1 and not division.pipeline_batch:
            self.micro_batches = division.micro_batches
        self.tokens = samples * ceil(workload.seq_len / parallel.context)
        self.entry = self.numbers.weight * decoder.config.shape.hidden * self.tokens // parallel.stream
        self.layers = self.local.shape.layers
        casts = self.numbers.compute if self.numbers.casts_weights else 0
        self.casts = casts * self.local.layer_linear_parameters
        self.head_cast = casts * decoder.config.head_parameters // parallel.tensor
        self.block = self._block(self.local)

    def _block(self, config: DecoderConfig) -> int:
        """One block of one micro batch without checkpointing."""
        parallel, workload = self.parallel, self.workload
        kept_by = compiled_ledger if workload.compiled else layer_ledger
        adapter, implementation = self.decoder.adapter, self.decoder.implementation
        ledger = kept_by(config, self.numbers, adapter, implementation, workload.seq_len)
        # Tokens are divided among tensor-parallel ranks too where whole experts lie on them.
        sent = parallel.tensor if parallel.expert > 1 and parallel.expert_tensor == 1 else 1
        own = adapter.block_bytes(config) if adapter else 0
        return own + sum(round(saved.bytes_per_token * self.tokens / self._shares(saved, sent)) for saved in ledger)

    def _shares(self, saved: Saved, sent: int) -> int:
        if saved.name in STREAM:
            return self.parallel.stream
        of_experts = saved.name in DISPATCHED or saved.name.startswith("experts'")
        return sent if of_experts else 1

    def moments(self) -> tuple[Moment, ...]:
        """Where gradients accumulate, all of them are there from the first moment on.

        Of a stage that stays gathered they are counted with its weights until they are reduced."""
        found = [self._last_block(), self._first_block(), self._end()]
        if self.parallel.last:
            found += [self._forward(), self._loss()]
        if self.division.stays_gathered and self.parallel.pipeline > 1:
            return tuple(moment._replace(gradient_elements=0) for moment in found)
        kept = self.workload.gradients_kept or (self.parallel.pipeline > 1 and self.micro_batches > 1)
        if not kept:
            return tuple(found)
        return tuple(moment._replace(gradient_elements=self._trainable) for moment in found)

    @property
    def _trainable(self) -> int:
        if self.decoder.adapter is not None:
            return self.decoder.trainable
        return self.counted.dense + self.counted.experts

    def _checkpointed(self) -> int:
        """What a checkpointed block keeps: its input, and of selective checkpointing some products.

        torchtitan 0.2.2 ``activation_checkpoint.py`` saves every second of a block's matrix products (queries, values,
        the MLP's first and last), attention's output and what tensor parallelism reduces.
        """
        if not self.division.saved_operations:
            return self.entry // (self.parallel.tensor if self.division.partitions else 1)
        experts, c, h = self.local.experts, self.numbers.compute, self.local.shape.hidden
        reduced = 2 * c * h // self.parallel.stream if self.parallel.tensor > 1 else 0
        outputs = c * h * (1 + (experts.per_token if experts else 0))
        return self.entry + (self._products() + outputs + reduced) * self.tokens

    def _stage(self) -> int:
        """One micro batch's kept tensors of all blocks of this rank."""
        dense = self.counted.dense_layers
        less = dense * (self.block - self._block(self.local._replace(experts=None))) if dense else 0
        if self.workload.activations_offloaded:
            return 2 * (self.entry if self.workload.checkpointing else self.block)
        if not self.workload.checkpointing:
            return self.layers * (self.block + self.casts) - less
        checkpointed = self.layers // self.division.checkpoint_every
        whole = (self.layers - checkpointed) * (self.block + self.casts)
        return checkpointed * self._checkpointed() + max(0, whole - (less if whole else 0))

    def _kept(self) -> int:
        """What all micro batches in flight keep, with the pipeline's buffers."""
        parallel, found = self.parallel, self._stage()
        if parallel.pipeline == 1:
            return found
        flying = parallel.in_flight(self.micro_batches)
        passed = self.numbers.compute * self.decoder.config.shape.hidden * self.tokens // parallel.stream
        arriving = parallel.chunks - parallel.first
        leaving = parallel.chunks - parallel.last
        if not self.division.torch_pipeline:
            return round(flying * found) + passed * leaving
        # A buffer for what arrives of each micro batch, which is the first block's input, and one for its gradient;
        # a stage's output waits for its backward (torch 2.13 pipelining/stage.py).
        buffers = self.micro_batches * passed * (arriving + leaving)
        return round(flying * (found + passed * (leaving - arriving))) + buffers

    def _forward(self) -> Moment:
        logits = self._logits(self._loss_terms.forward_bytes(self.numbers.compute))
        if self.workload.checkpointing and self.numbers.casts_weights and self.decoder.adapter is None:
            logits += self.layers * self.casts  # autocast's cached copies of weights
        if self.parallel.sequence:  # gathered along the sequence, and put in order, before there are logits
            logits = max(logits, 2 * self.numbers.compute * self.local.shape.hidden * self.tokens)
        return Moment("forward", self._kept() + self._final_norm() + self.head_cast + logits + self._ids, 0)

    def _loss(self) -> Moment:
        logits = self._logits(self._loss_terms.backward_bytes(self.numbers.compute))
        return Moment("loss", self._kept() + self._final_norm() + self.head_cast + logits + self._ids, 0)

    @property
    def _loss_terms(self) -> Loss:
        divided = self.division.loss_parallel and self.parallel.tensor > 1 and self.division.torch_pipeline
        return LOSS_PARALLEL if divided else self.decoder.implementation.loss

    @property
    def _ids(self) -> int:
        return 3 * 8 * self.tokens

    def _logits(self, bytes_per_logit: float) -> int:
        """Each rank's part of the vocabulary, or all of it gathered."""
        vocabulary, t = self.decoder.config.shape.vocabulary, self.parallel.tensor
        if self.decoder.implementation.fused_loss:
            return self._fused_loss()
        divided = t if self.division.loss_parallel else 1
        logits = self.tokens * ceil(vocabulary / divided)
        return round(bytes_per_logit * logits) + self._waiting_logits(logits)

    def _waiting_logits(self, logits: int) -> int:
        """torch's last stage keeps its output until its backward (``pipelining/stage.py`` ``fwd_cache``); where all
        micro batches go forward first, each keeps its logits and their fp32 log-softmax."""
        if self.parallel.pipeline == 1 or not self.division.torch_pipeline:
            return 0
        others = self.micro_batches - 1 if self.parallel.schedule in ALL_FORWARD else 0
        return logits * (self.numbers.compute + others * (self.numbers.compute + 4))

    def _fused_loss(self) -> int:
        """A chunk of logits at a time, as ``decoder.py`` has it."""
        shape = self.decoder.config.shape
        chunks = -(-shape.vocabulary // shape.hidden)
        chunk_tokens = min(self.tokens, 1 << (-(-self.tokens // chunks) - 1).bit_length())
        head = self.decoder.config.head_parameters if self.decoder.adapter is None else 0
        weight = self.numbers.weight
        return self.numbers.compute * chunk_tokens * shape.vocabulary + weight * (head + shape.hidden * self.tokens)

    def _final_norm(self) -> int:
        """The last norm's input, which is the residual stream, and the head's, which is gathered."""
        config, full = self.decoder.config, self.decoder.adapter is None
        if self.decoder.implementation.fused_norm:
            gathered = self.numbers.compute * config.shape.hidden * self.tokens if full else 0
            return self.entry + 4 * self.tokens // self.parallel.stream + gathered
        return self.tokens * final_norm_bytes(config, self.numbers, trains_norm=full, trains_head=full)

    def _last_block(self) -> Moment:
        recomputed = self.block + self.casts - self._taken() if self.workload.checkpointing else 0
        done = self._head if self.parallel.last else 0
        return Moment("backward", self._kept() + recomputed + self.transients() + self._ids, done)

    def _taken(self) -> int:
        """What recomputing takes from the products that were kept, instead of making it again."""
        if not self.division.saved_operations:
            return 0
        reduced = self.numbers.compute * self.local.shape.hidden // self.parallel.stream
        reduced *= self.parallel.tensor > 1
        return (self._products() + reduced) * self.tokens

    def _products(self) -> int:
        """Bytes per token of the products that selective checkpointing keeps and the block needs itself."""
        config, c = self.local, self.numbers.compute
        width = config.experts.shared_ffn if config.experts else config.shape.ffn
        if config.experts:
            width += config.experts.per_token * config.experts.ffn
        attention = config.attention_width + config.kv_width + config.value_width
        return c * (attention + width) + 4 * config.shape.heads

    @property
    def _head(self) -> int:
        return self.decoder.config.head_parameters // self.parallel.tensor if self.decoder.adapter is None else 0

    def _first_block(self) -> Moment:
        """Backward in the first block of the last micro batch: all gradients are there but its own and the embedding's.

        Of its own that of the MLP's last layer is."""
        block = self.block + self.casts
        return Moment("backward", block + self.transients() + self._ids, self._trainable - self._to_come())

    def _to_come(self) -> int:
        if self.decoder.adapter is not None:
            return 0
        config, counted = self.local, self.counted
        last = config.shape.ffn * config.shape.hidden if config.experts is None else 0
        own = counted.dense_block if counted.dense_layers else counted.block + counted.experts_of_block
        untied = self.parallel.first and not config.shape.tied
        return own - last + (counted.outside - self._last_outside if untied else 0)

    @property
    def _last_outside(self) -> int:
        """Head and last norm."""
        return self._head + self.decoder.config.shape.hidden if self.parallel.last else 0

    def _end(self) -> Moment:
        """Backward is done: every gradient is there; a tied one is made anew before it is added."""
        config = self.decoder.config
        again = self.numbers.weight * self._head if config.shape.tied and self.parallel.last else 0
        return Moment("backward", again + self.entry + self._ids, self._trainable)

    def transients(self) -> int:
        """Gradients inside a block: of what the MLP multiplies, less the product itself, and of the block's output."""
        config, c = self.local, self.numbers.compute
        experts = config.experts
        width = experts.per_token * experts.ffn if experts else config.shape.ffn
        return 2 * c * width * self.tokens + self.entry + self._ring()

    def _ring(self) -> int:
        """Keys and values of all ranks of a divided context, gathered for one block (torch 2.13
        ``context_parallel/_attention.py``, ``allgather`` by default), with the merged output in fp32 twice."""
        if self.parallel.context == 1:
            return 0
        gathered = 2 * self.numbers.compute * self.local.kv_width * self.tokens * self.parallel.context
        return gathered + 2 * 4 * self.local.value_width * self.tokens
