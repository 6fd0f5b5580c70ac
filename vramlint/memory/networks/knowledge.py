"""A transformer by its ``config.json`` as a form of knowledge: the step is worked out for each workload."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.layers.tape import Tensor
from vramlint.memory.networks.stepping import Lora, Run, Way
from vramlint.memory.states import NF4_BYTES, WeightGroup, weight_bytes
from vramlint.plan import Precision

Config = Mapping[str, Any]

SPREAD = 0.08
"""Half-width of the interval as a share of the activations: traces agree within 0.5 %, but no run on a card was held
against these models, whose kernels and versions of transformers differ."""


_DINO_SIDE = 224
"""DINOv2's processor crops to this, whatever size its positions are for (``preprocessor_config.json``)."""


class Model(Protocol):
    """A model built on a run."""

    def loss(self, sizes: Mapping[str, int]) -> Tensor:
        """The loss of one forward pass over a batch of these sizes."""
        ...


class Family(NamedTuple):
    """Models of one way to read a config. ``build`` makes one; ``inputs``: ``pair``, ``speech``, ``text`` or ``image``.

    ``query_value`` are peft's targets where none are spelled.
    """

    build: Callable[[Run, Config], Model]
    inputs: str
    query_value: tuple[str, ...] = ("q_proj", "v_proj")
    masks: bool = True
    """Whether padded samples are masked in attention."""
    checkpoints: bool = True
    """Whether transformers lets the model be checkpointed."""


class Step(NamedTuple):
    """What one training step showed; counts are of the whole model, adapters included."""

    parameters: int
    trainable: int
    adapters: int
    linear: int
    moments: tuple[Moment, ...]
    held_bytes: int
    """Alive after backward: the batch, and activations that were made leaves."""


class Network(NamedTuple):
    """A model by its config, whole or behind adapters: a form of :class:`~vramlint.memory.knowledge.ModelKnowledge`.

    ``base_bytes``: of a frozen linear weight where the base is quantised. ``kernel`` is that of attention.
    """

    name: str
    config: Config
    family: Family
    read_in: str
    lora: Lora | None = None
    base_bytes: float | None = None
    kernel: str = "sdpa"
    frozen: tuple[str, ...] = ()
    padded: bool = True
    generation: tuple[int, int, int] | None = None
    """Samples, tokens and beams of an evaluation that generates; None where none does."""
    upcast: bool = True
    """Whether the weights beside a quantised base's are fp32 (peft ``prepare_model_for_kbit_training``); else 16-bit,
    as bitsandbytes has them loaded."""

    @property
    def inputs(self) -> str:
        """What a sample is: ``pair`` of texts, ``speech``, ``text`` or ``image``."""
        return self.family.inputs

    @property
    def source(self) -> str:
        return f"worked out block by block from {self.read_in}"

    @property
    def side(self) -> int:
        """Side of the images that the processor makes, 0 where the config names none."""
        if str(self.config.get("model_type")).startswith("dinov2"):
            return _DINO_SIDE
        data = self.config.get("vision_config") or self.config
        size = data.get("image_size") or (224 if self.config.get("model_type") == "clip" else 0)
        return int(size[0] if isinstance(size, (list, tuple)) else size)

    @property
    def longest_target(self) -> int:
        """Tokens of the longest target of speech, from the table of positions."""
        return int(self.config.get("max_target_positions", 0))

    @property
    def spread(self) -> float:
        """Half-width of the interval as a share of the activations."""
        return SPREAD

    @property
    def workspace_share(self) -> float:
        """Nothing for convolutions: attention is all these models do."""
        return 0.0

    @property
    def buffer_bytes(self) -> int:
        return 0

    @property
    def parameters(self) -> int:
        return self._counts[0]

    @property
    def trainable(self) -> int:
        return self._counts[1]

    @property
    def _counts(self) -> tuple[int, int, int, int]:
        return _counted(self.family, _Hashed(self.config), self.lora, self.frozen)

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The moments that can be the peak; empty where a size is missing or the config's numbers make no step."""
        sizes = self.sizes(workload)
        if not workload.micro_batch or 0 in sizes.values() or (workload.checkpointing and not self.family.checkpoints):
            return ()
        try:
            step = self.step(self.way(workload), {"batch": workload.micro_batch, **sizes}, kept=workload.gradients_kept)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return ()  # ``dropout: null``, no heads: a folder's config may say anything
        moments = step.moments
        if workload.gradients_kept:
            moments = tuple(moment._replace(gradient_elements=step.trainable) for moment in moments)
        return (*moments, *self._generating(workload, sizes))

    def _generating(self, workload: Workload, sizes: Mapping[str, int]) -> tuple[Moment, ...]:
        """Keys and values of every decoder layer, of what is written and of the source, for each beam; logits in fp32.

        Not traced: transformers' ``EncoderDecoderCache`` as 5.24 fills it, a copy of the trained weights that autocast
        keeps, and the logits of a step with their scores.
        """
        if self.generation is None:
            return ()
        samples, tokens, beams = self.generation
        config, way = self.config, self.way(workload)
        each = 2 if way.half else way.weight_bytes
        layers = int(config.get("decoder_layers") or config.get("num_decoder_layers") or config.get("num_layers") or 0)
        width = int(config.get("d_kv", 0)) * int(config.get("num_heads", 0)) or int(config["d_model"])
        source = int(config.get("max_source_positions", 0)) if self.inputs == "speech" else sizes.get("source", 0)
        keys = 2 * layers * samples * beams * width * each * (source + tokens)
        logits = 8 * samples * beams * int(config["vocab_size"])
        casts = 2 * self.trainable if way.half else 0
        return (Moment("evaluation", keys + logits + casts, 0),)

    def sizes(self, workload: Workload) -> dict[str, int]:
        """Lengths or image sides of a sample."""
        match self.family.inputs:
            case "pair":
                return {"source": workload.seq_len, "target": workload.target_len or workload.seq_len}
            case "speech":
                return {"target": workload.target_len or workload.seq_len}
            case "image":
                return {"height": workload.height or self.side, "width": workload.width or self.side}
            case _:
                return {"length": workload.seq_len}

    def way(self, workload: Workload) -> Way:
        """How the workload runs it."""
        held = weight_bytes(workload.precision)
        half = workload.precision in (Precision.FP16, Precision.BF16)
        if self.base_bytes is not None and not self.upcast:
            held, half = 2, False
        return Way(
            held, half, workload.checkpointing, self.kernel, self.lora, self.frozen,
            quantised=self.base_bytes is not None, padded=self.padded and self.family.masks,
        )  # fmt: skip

    def step(self, way: Way, sizes: Mapping[str, int], *, kept: bool = False) -> Step:
        """Runs one step on the tape."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            run = Run(way, gradients_kept=kept)
            moments = run.finish(self.family.build(run, self.config).loss(sizes))
        finally:
            if collecting:
                gc.enable()
        return Step(run.parameters, run.trainable, run.adapters, run.linear, moments, run.held_bytes)

    def weight_groups(self, each: int) -> tuple[WeightGroup, ...]:
        """Parameters by storage, of ``each`` bytes where they are not quantised."""
        parameters, trainable, adapters, linear = self._counts
        if self.lora is None:
            origin = f"{each} bytes; {self.source}"
            return (
                WeightGroup("parameters", trainable, each, origin, trainable=True),
                WeightGroup("frozen parameters", parameters - trainable, each, origin),
            )
        base = parameters - adapters
        each = 2 if self.base_bytes is not None and not self.upcast else each
        quantised = linear if self.base_bytes is not None else 0
        stored = NF4_BYTES if self.base_bytes is None else self.base_bytes
        return (
            WeightGroup("base linear layers", quantised, stored, "frozen base model, quantised"),
            WeightGroup("frozen parameters", base - quantised, each, "frozen base model"),
            WeightGroup("adapters", adapters, self.lora.weight_bytes, f"LoRA rank {self.lora.rank}", trainable=True),
        )


class _Hashed:
    """A config as a key: the same object is the same config."""

    __slots__ = ("config",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def __hash__(self) -> int:
        return id(self.config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and other.config is self.config


@lru_cache(maxsize=256)
def _counted(family: Family, config: _Hashed, lora: Lora | None, frozen: tuple[str, ...]) -> tuple[int, int, int, int]:
    """Parameters, trainable ones, adapters' and those of linear layers; nothing is run."""
    run = Run(Way(lora=lora, frozen=frozen))
    family.build(run, config.config)
    return run.parameters, run.trainable, run.adapters, run.linear
