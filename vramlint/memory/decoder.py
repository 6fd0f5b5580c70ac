"""Closed forms for decoder LLMs: the bytes alive during a training step, from the shape alone.

What a block keeps for backward is listed in ``ledger.py``. Checked against traces of whole training steps: ten
architectures, bf16 and autocast, with and without activation checkpointing, LoRA, within 0.2 %
(tests/memory/test_decoder.py). A trace sees no kernel-internal memory.
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.adapter import Adapter
from vramlint.memory.adapter_ledger import quantised_inputs
from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.arithmetic import arithmetic
from vramlint.memory.decoder_step import Step
from vramlint.memory.divided import divided_moments
from vramlint.memory.division import Division, rank_config, rank_parameters
from vramlint.memory.implementations import HUGGING_FACE, Implementation
from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.ledger import compiled_ledger, layer_ledger
from vramlint.memory.towers import Tower

SPREAD = 0.12
"""Half-width of the interval on a decoder's activations: with ``peak.LANGUAGE_FLOOR`` it holds the published runs
of litgpt, torchtune and the PEFT comparison (``tools/score_memory.py`` prints the share inside, pooled and with each
repository left out)."""

QUANTISED_SPREAD = 0.18
"""The same over a 4-bit base, where the library's own copies vary with its version, and for unsloth, of which no
published run was held against the formula."""

DIVIDED_SPREAD = 0.18
"""The same where ranks share a model outside Megatron-LM: held against torch's own classes, but against no published
run, and communication buffers are left out."""


class Decoder(NamedTuple):
    """A decoder LLM's memory by formula: a form of :class:`~vramlint.memory.knowledge.ModelKnowledge`.

    ``quantised``: the linear layers hold 4-bit weights (QLoRA), dequantised one at a time; where ``eight_bit`` too,
    8-bit ones, each of which keeps its input (bitsandbytes 0.50 ``autograd/_functions.py#MatMul8bitLt``).
    """

    name: str
    config: DecoderConfig
    source: str
    adapter: Adapter | None = None
    quantised: bool = False
    eight_bit: bool = False
    double_quantised: bool = False
    """Whether the 4-bit blocks' scales are quantised too, which the checkpoint's name may say where no config does."""
    quantised_experts: bool = False
    """Whether experts are stored quantised too: one block's are unpacked whole, for backward too."""
    implementation: Implementation = HUGGING_FACE
    tower: Tower | None = None
    """The vision encoder of a vision-language model; frozen, it runs without a graph and only its weights count."""
    tower_trains: bool = False
    sequences: int = 1
    """Sequences of a sample that go through one forward pass: pairs under DPO."""
    scored_tokens: int = 0
    """Tokens of a sequence whose logits are made, where not all are: completions under GRPO."""
    scores: bool = False
    """Whether a head of one number a token takes the place of the vocabulary's (reward models)."""
    generated: int = 0
    """Sequences that the model itself writes at a time between steps, with keys and values of all of them."""
    beside: int = 0
    """Parameters of other frozen models on the card, in the weights' own dtype: a teacher."""
    reference: bool = False
    """Whether a frozen copy of the model stands beside it; behind adapters the model without them serves."""
    division: Division | None = None
    """How ranks share the model; then everything here is said of one of them."""

    @property
    def spread(self) -> float:
        """Half-width of the interval as a share of the activations."""
        if self.division is not None and self.division.divides:
            return DIVIDED_SPREAD
        return QUANTISED_SPREAD if self.quantised or self.implementation.name.startswith("unsloth") else SPREAD

    @property
    def parameters(self) -> int:
        adapters = self._adapters if self.adapter else 0
        copies = 2 if self.reference else 1
        if self.division is not None:
            counted = rank_parameters(self.config, self.division)
            return copies * (counted.dense + counted.experts + self.tower_parameters) + adapters + self.beside
        return copies * (self.whole_parameters + self.tower_parameters) + adapters + self.beside

    @property
    def whole_parameters(self) -> int:
        """Parameters of the language model once: a reward model has no head but a score, and its embedding is its
        own."""
        if not self.scores:
            return self.config.parameters
        head = 0 if self.config.shape.tied else self.config.head_parameters
        return self.config.parameters - head + self.config.shape.hidden

    @property
    def tower_parameters(self) -> int:
        return self.tower.parameters if self.tower else 0

    @property
    def trainable(self) -> int:
        if self.adapter:
            return self._adapters
        tower = self.tower_parameters if self.tower_trains else 0
        if self.division is not None:
            counted = rank_parameters(self.config, self.division)
            return counted.dense + counted.experts + tower
        return self.whole_parameters + tower

    @property
    def _adapters(self) -> int:
        assert self.adapter is not None
        return self.adapter.parameters(self.local_config)

    @property
    def local_config(self) -> DecoderConfig:
        """The architecture as this rank has it."""
        return self.config if self.division is None else rank_config(self.config, self.division.parallel)

    @property
    def largest_weight(self) -> int:
        """Elements of the largest single weight: of a block, or the head's."""
        return max(self.largest_block_weight, self.config.head_parameters // self._shares)

    @property
    def _shares(self) -> int:
        """Ranks that share the vocabulary."""
        return 1 if self.division is None else self.division.parallel.tensor

    @property
    def head_elements(self) -> int:
        """Weights of the head on this rank, none on a stage that has no head."""
        here = self.division is None or self.division.parallel.last
        return self.config.head_parameters // self._shares if here else 0

    @property
    def largest_block_weight(self) -> int:
        """Elements of the largest weight of a block."""
        blocks = (block for _, block in self.local_config.kinds)
        return max(linear.inputs * linear.outputs for block in blocks for linear in block.linears)

    @property
    def outside_and_block(self) -> tuple[int, int]:
        """Parameters outside the blocks, and of one block, as sharded data parallelism gathers them."""
        if self.division is not None:
            counted = rank_parameters(self.config, self.division._replace(fully_sharded=False))
            return counted.outside, counted.block + counted.experts_of_block
        config = self.config
        largest = max(block.layer_parameters for _, block in config.kinds)
        return config.parameters - sum(count * block.layer_parameters for count, block in config.kinds), largest

    @property
    def buffer_bytes(self) -> int:
        """Rotary frequencies: a few kilobytes, left out."""
        return 0

    def layer_bytes_per_token(self, workload: Workload) -> int:
        """Bytes that one block keeps for backward per token."""
        numbers = arithmetic(workload.precision)
        kept_by = compiled_ledger if workload.compiled else layer_ledger
        ledger = kept_by(self.config, numbers, self.adapter, self.implementation, workload.seq_len)
        copies = self.implementation.quantised_input_copies if self.quantised else 0
        copies = max(copies, int(self.eight_bit))
        kept = copies * quantised_inputs(self.config, numbers).bytes_per_token
        return kept + sum(saved.bytes_per_token for saved in ledger)

    def _covers(self, workload: Workload) -> bool:
        """Experts and latent attention were traced as transformers runs them, and not compiled."""
        config, name = self.config, self.implementation.name
        if config.experts and not config.experts.grouped:
            return False
        if config.experts is None and config.latent is None and not config.others:
            return True
        half = arithmetic(workload.precision).weight == 2
        known = name.startswith("transformers") or (name.startswith("torchtitan") and half)
        return known and not workload.compiled

    def of_kind(self, block: DecoderConfig) -> Decoder:
        """The same with every block of this kind."""
        return self._replace(config=block)

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """Forward end, loss, and backward at the last and the first block; ``decoder_step.py`` has the terms."""
        if not workload.seq_len or not workload.micro_batch or not self._covers(workload):
            return ()
        workload = workload._replace(micro_batch=self.sequences * workload.micro_batch)
        if self.division is not None:
            moments = divided_moments(self, self.division, workload)
        else:
            moments = Step(self, workload).moments()
        if self.tower is None or not self.tower_trains:
            return moments
        kept = self.tower.kept_bytes(workload)
        return tuple(moment._replace(activation_bytes=moment.activation_bytes + kept) for moment in moments)
