"""A plan's memory-relevant facts with every gap filled by an assumption, and the other readings that the gaps allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from vramlint.memory.decoder import Decoder
from vramlint.memory.division import Division, rank_parameters
from vramlint.memory.knowledge import ModelKnowledge, Workload
from vramlint.memory.matrix_states import Matrices, Matrix, split
from vramlint.memory.megatron import MegatronModel
from vramlint.memory.optimizers import Optimizer
from vramlint.memory.states import NF4_BYTES, NF4_DOUBLE_BYTES, Sharding, WeightGroup, int8_bytes, weight_bytes


@dataclass(slots=True, frozen=True)
class Setting:
    """Everything one evaluation needs, nothing unknown left."""

    knowledge: ModelKnowledge
    workload: Workload
    optimizer: Optimizer
    sharding: Sharding
    ema: bool
    ranks: int
    old_stack: bool = False
    """Whether torch is older than 2.0: kernels are loaded eagerly, and ``zero_grad`` keeps gradients alive."""
    lengths_vary: bool = False
    """Whether each batch has its own length, so that the allocator's cached blocks seldom fit."""

    def weight_groups(self) -> tuple[WeightGroup, ...]:
        """Parameters by storage."""
        each = 4 if self.sharding.fp32_shards else weight_bytes(self.workload.precision)
        model = self.knowledge
        if isinstance(model, Decoder) and model.adapter is not None:
            return self._adapted_groups(model, each)
        if isinstance(model, MegatronModel):
            return self._megatron_groups(model, each)
        own = getattr(model, "weight_groups", None)
        if own is not None:
            groups: tuple[WeightGroup, ...] = own(each)
            return groups
        if isinstance(model, Decoder) and model.division is not None and model.config.experts is not None:
            return self._divided_groups(model, model.division, each)
        if isinstance(model, Decoder) and self.optimizer.matrices is not None:
            return self._groups_by_shape(model, self.optimizer.matrices, each)
        frozen = model.parameters - model.trainable
        origin = f"{each} bytes x parameters; {model.source}"
        wide = self._embeddings_apart(model)
        return (
            WeightGroup("parameters", model.trainable - wide, each, origin, trainable=True),
            WeightGroup(
                "embeddings", wide, each, f"{each} bytes; 32-bit states, as transformers asks of bitsandbytes",
                trainable=True, state_bytes=4 * self.optimizer.states,
            ),
            WeightGroup("frozen parameters", frozen, each, origin),
        )  # fmt: skip

    def _groups_by_shape(self, model: Decoder, kept: Matrices, each: int) -> tuple[WeightGroup, ...]:
        """Weights of the blocks' linear layers, whose states follow their shape, apart from the rest."""
        matrices = [
            Matrix(linear.name, linear.outputs, linear.inputs, count)
            for count, block in model.config.kinds
            for linear in block.linears
        ]
        elements, state_bytes = split(matrices, kept, each)
        frozen = model.parameters - model.trainable
        return (
            WeightGroup(
                "linear layers", elements, each, f"{each} bytes; {model.source}; their states follow their shape",
                trainable=True, state_bytes=state_bytes / max(1, elements),
            ),
            WeightGroup("other parameters", model.trainable - elements, each, f"{each} bytes", trainable=True),
            WeightGroup("frozen parameters", frozen, each, f"{each} bytes"),
        )  # fmt: skip

    def _embeddings_apart(self, model: ModelKnowledge) -> int:
        """Embedding weights whose states stay 32-bit under 8-bit optimizers: transformers 5.24 ``Trainer`` overrides
        them for every ``nn.Embedding`` (``GlobalOptimManager.register_module_override``)."""
        if not (isinstance(model, Decoder) and model.implementation.name.startswith("transformers")):
            return 0
        division, shape = model.division, model.config.shape
        if not self.optimizer.overridden or (division is not None and not division.parallel.first):
            return 0
        shares = division.parallel.tensor if division is not None and division.vocabulary else 1
        return (shape.vocabulary // shares + model.config.positions) * shape.hidden

    def _megatron_groups(self, model: MegatronModel, each: int) -> tuple[WeightGroup, ...]:
        """Experts are held by fewer data-parallel ranks, among which their optimizer states divide."""
        parallel, divides = model.parallel, self.sharding.optimizer > 1
        held = self.sharding.optimizer * parallel.tensor // (parallel.expert * parallel.expert_tensor)
        copied = model.linear_parameters if model.options.fp8 and not model.options.fp8_parameters else 0
        return (
            WeightGroup(
                "fp8 weights", copied, 2, "8-bit copies and their transposes, kept from micro batch to micro batch "
                "(Transformer Engine 2.x module/base.py get_weight_workspace)",
            ),
            WeightGroup("parameters", model.dense_parameters, each, f"{each} bytes; {model.source}", trainable=True),
            WeightGroup(
                "experts", model.expert_parameters, each, "routed experts of this rank", trainable=True,
                ranks=max(1, held) if divides else None,
            ),
        )  # fmt: skip

    def _divided_groups(self, model: Decoder, division: Division, each: int) -> tuple[WeightGroup, ...]:
        """Routed experts apart: fewer data-parallel ranks hold the same ones."""
        counted, expert = rank_parameters(model.config, division), division.parallel.expert
        apart = self.sharding.optimizer > 1 and not division.fully_sharded
        among = self.sharding.optimizer // expert if apart else None
        origin = f"{each} bytes x parameters; {model.source}"
        return (
            WeightGroup("parameters", model.trainable - counted.experts, each, origin, trainable=True),
            WeightGroup(
                "experts", counted.experts, each, f"routed experts, shared by {expert} ranks", trainable=True,
                ranks=None if among is None else max(1, among),
            ),
            WeightGroup("frozen parameters", model.parameters - model.trainable, each, origin),
        )  # fmt: skip

    def _adapted_groups(self, model: Decoder, each: int) -> tuple[WeightGroup, ...]:
        assert model.adapter is not None
        linear = model.local_config.linear_parameters
        whole = model.parameters - model.trainable - model.tower_parameters
        if model.quantised and model.implementation.quantises_head:
            linear += model.config.head_parameters
        stored = NF4_DOUBLE_BYTES if model.double_quantised else NF4_BYTES
        if model.eight_bit:
            stored = int8_bytes(model.config.shape.hidden)
        every = sum(count * block.expert_matrices for count, block in model.local_config.kinds)
        experts = every if model.quantised_experts else 0
        own = 4 if model.implementation.adapter_weight_bytes else each
        copied = min(model.trainable, model.adapter.copied_parameters(model.config))
        return (
            WeightGroup("base linear layers", linear, stored if model.quantised else each, "frozen base model"),
            WeightGroup("quantised experts", experts, stored, "frozen base model"),
            WeightGroup("embeddings and norms", whole - linear - experts, each, "frozen base model"),
            WeightGroup("vision tower", model.tower_parameters, each, "frozen encoder and projector"),
            WeightGroup("frozen bases", model.adapter.frozen_elements(model.local_config), each, "bases of the method"),
            WeightGroup("modules trained whole", copied, each, "copies: peft modules_to_save", trainable=True),
            WeightGroup("adapters", model.trainable - copied, own, f"LoRA rank {model.adapter.rank}", trainable=True),
        )


@dataclass(slots=True, eq=False)
class Settings:
    """The setting for the value, the other readings for the interval, and what was assumed, in words.

    ``others`` are alternatives of which one holds, so that the interval spans them; ``lengths`` bound what varies
    from batch to batch, an uncertainty beside the others.
    """

    chosen: Setting
    others: list[Setting] = field(default_factory=list)
    lengths: list[Setting] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)

    def assume(self, text: str) -> None:
        self.assumptions.append(text)

    def also(self, **changes: Any) -> None:
        """Another reading of the plan: the chosen setting with these parts different."""
        workload: dict[str, Any] = {name: changes.pop(name) for name in tuple(changes) if name in Workload._fields}
        changed = self.chosen.workload._replace(**workload)
        self.others.append(replace(self.chosen, workload=changed, **changes))

    def up_to(self, *seq_lens: int) -> None:
        """Batches may be as short and as long as this, in tokens."""
        self.lengths = [replace(self.chosen, workload=cut_to(self.chosen.workload, length)) for length in seq_lens]


def cut_to(workload: Workload, seq_len: int) -> Workload:
    """The workload with sequences of ``seq_len`` tokens, and targets cut in the same measure."""
    target = round(workload.target_len * seq_len / workload.seq_len) if workload.seq_len else workload.target_len
    return workload._replace(seq_len=seq_len, target_len=target)


def readings(settings: Settings) -> Iterator[Setting]:
    """The chosen setting first, then the others."""
    yield settings.chosen
    yield from settings.others
