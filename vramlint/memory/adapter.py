"""An adapter on a decoder's linear layers: what it adapts, and how much it trains."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.adapters import Method
from vramlint.memory.architecture import DecoderConfig, Linear


class Adapter(NamedTuple):
    """LoRA or another PEFT method: rank, the adapted linear layers by name, and bytes per adapter weight.

    ``half`` adapters share the base model's dtype (litgpt, torchtune); PEFT keeps them in fp32 and casts the input.
    ``fused``: on a model with one projection for queries, keys and values (and one for gate and up), it is the joint
    layer that is adapted, as PEFT does. ``method``: None for LoRA. ``trained``: the number of trained parameters where
    it is spelled. ``virtual_tokens``: of prompt and prefix tuning.
    """

    rank: int
    targets: tuple[str, ...]
    weight_bytes: int
    dropout: bool = False
    head: bool = False
    fused: bool = False
    method: Method | None = None
    trained: int | None = None
    virtual_tokens: int = 0
    copied: tuple[str, ...] = ()
    """Modules that are trained whole, each in a copy beside the frozen one (peft ``modules_to_save``):
    ``embed_tokens``, ``lm_head``."""

    def copied_parameters(self, config: DecoderConfig) -> int:
        """Elements of the copies."""
        sizes = {"embed_tokens": config.shape.vocabulary * config.shape.hidden, "lm_head": config.head_parameters}
        return sum(sizes[name] for name in self.copied)

    @property
    def trains_norms(self) -> bool:
        return self.method is not None and self.method.trains == "norms"

    @property
    def trains_tokens(self) -> bool:
        """Whether rows of the embedding are trained, which is copied with them in place at each use."""
        return self.method is not None and self.method.trains == "tokens"

    @property
    def trains_input(self) -> bool:
        """Whether the first block's input needs a gradient: embeddings, or tokens before them, are trained."""
        copied = "embed_tokens" in self.copied
        return copied or (self.method is not None and self.method.trains in ("prompt", "tokens"))

    @property
    def added_tokens(self) -> int:
        """Tokens before each sequence; a prefix is added inside attention alone."""
        return self.virtual_tokens if self.method is not None and self.method.trains == "prompt" else 0

    def chosen(self, config: DecoderConfig) -> list[Linear]:
        """The adapted layers of one block."""
        found = [linear for linear in config.linears if linear.name in self.targets]
        joint = {"attention": "qkv_proj"} if config.fused_qkv else {}
        if config.fused_gate:
            joint["mlp"] = "gate_up_proj"
        if not (self.fused and joint):
            return found
        joined = [_joined(found, reads, name) for reads, name in joint.items()]
        return [*(each for each in joined if each), *(each for each in found if each.reads not in joint)]

    def parameters(self, config: DecoderConfig) -> int:
        """Trained parameters: the spelled number, else what the method's kind comes to; 0 where only that would say."""
        if self.trained is not None:
            return self.trained
        return self.low_rank_parameters(config) + self.copied_parameters(config)

    def low_rank_parameters(self, config: DecoderConfig) -> int:
        """Trained parameters of the adapters themselves."""
        shape = config.shape
        every = [(count, linear) for count, block in config.kinds for linear in self.chosen(block)]
        head = self.rank * (shape.hidden + shape.vocabulary) if self.head else 0
        kinds = {
            "low-rank": sum(count * self.rank * (linear.inputs + linear.outputs) for count, linear in every) + head,
            "outputs": sum(count * (linear.outputs + self.rank) for count, linear in every),
            "prompt": self.virtual_tokens * shape.hidden,
            "prefix": self.virtual_tokens * 2 * config.kv_width * shape.layers,
            "norms": (config.norms_per_layer * shape.layers + 1) * shape.hidden,
        }
        return kinds.get(self.method.trains if self.method else "low-rank", 0)

    def frozen_elements(self, config: DecoderConfig) -> int:
        """Elements that a method keeps beside the base's own, frozen and in its dtype."""
        kinds = {"osf": self._singular_vectors, "frod": self._joint_bases}
        count = kinds.get(self.method.name) if self.method is not None else None
        return 0 if count is None else count(config)

    def _singular_vectors(self, config: DecoderConfig) -> int:
        """OSF: the trained factors as they began, and the other singular vectors of sides that are not square."""
        found = 0
        for linear in self.chosen(config):
            least = min(linear.inputs, linear.outputs)
            longer = linear.inputs + linear.outputs - least if linear.inputs != linear.outputs else 0
            found += self.rank * (linear.inputs + linear.outputs + 1) + longer * max(0, least - self.rank)
        return config.shape.layers * found

    def _joint_bases(self, config: DecoderConfig) -> int:
        """FRoD: a basis as large as each weight, and one that all layers of a kind share (``frod_U``, ``frod_V``)."""
        each = sum(linear.inputs * linear.outputs for linear in self.chosen(config))
        return config.shape.layers * each + sum(linear.inputs**2 for linear in self.chosen(config))

    def block_bytes(self, config: DecoderConfig) -> int:
        """What a method keeps of one block whatever the batch: changes of weights that are built whole."""
        if self.method is None:
            return 0
        each = self.method
        sizes = (
            each.per_weight * linear.inputs * linear.outputs
            + each.per_square * linear.inputs**2
            + each.per_narrow_square * min(linear.inputs, linear.outputs) ** 2
            + each.per_factor * self.rank * (linear.inputs + linear.outputs)
            + each.per_rank_square * self.rank**2
            + each.per_width * linear.inputs
            for linear in self.chosen(config)
        )
        return round(sum(sizes) + each.per_trained * self.parameters(config) / config.shape.layers)

    def unsaved_block_bytes(self, config: DecoderConfig) -> int:
        """Of :meth:`block_bytes`, weights that serve their input's gradient alone: the first block keeps none."""
        if self.method is None:
            return 0
        weights = sum(linear.inputs * linear.outputs for linear in self.chosen(config))
        return round(min(4, self.method.per_weight) * weights)


def _joined(linears: list[Linear], reads: str, name: str) -> Linear | None:
    """Layers that read one input as the one layer they are in a fused model."""
    parts = [linear for linear in linears if linear.reads == reads]
    return Linear(name, parts[0].inputs, sum(part.outputs for part in parts), reads) if parts else None
