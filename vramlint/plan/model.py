"""The training plan: what one run will really do, in one vocabulary for every framework."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from vramlint.plan.facts import Fact, unknown

_UNKNOWN: Fact[Any] = unknown()


class Precision(StrEnum):
    """Arithmetic of the run. ``fp16``/``bf16`` are autocast over fp32 weights; ``pure-*`` holds the weights so too."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    FP8 = "fp8"
    PURE_FP16 = "pure-fp16"
    PURE_BF16 = "pure-bf16"

    @property
    def mixed(self) -> bool:
        """Whether matrix products run below 32 bits."""
        return self is not Precision.FP32


class ImageSize(NamedTuple):
    """Training image size in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


class DecoderShape(NamedTuple):
    """Shape of a decoder LLM as its ``config.json`` gives it.

    ``hidden`` width, ``layers``, attention ``heads`` and ``kv_heads`` of ``head_dim`` each, ``ffn`` width and
    ``vocabulary``; ``tied`` input and output embeddings; ``qkv_bias`` as in Qwen2. ``gated``: the MLP has a gate
    (SwiGLU). ``norm``: ``rms`` or ``layer``. ``biases``: every linear layer and norm has one (GPT-2).
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int
    tied: bool
    qkv_bias: bool = False
    gated: bool = True
    norm: str = "rms"
    biases: bool = False


class BatchInputs(NamedTuple):
    """The numbers a batch policy works on; None where unknown. ``data_parallel`` counts data-parallel ranks."""

    micro_batch: int | None
    accumulation: int | None
    data_parallel: int | None
    nominal_batch: int | None = None


class BatchResult(NamedTuple):
    """What a batch policy derives, each None where it cannot be known, with the formula in numbers."""

    accumulation: int | None
    effective_batch: int | None
    accumulation_note: str
    effective_note: str


class BatchPolicy(Protocol):
    """How a framework turns its batch settings into an effective batch (see ``vramlint.plan.batch``)."""

    def derive(self, inputs: BatchInputs) -> BatchResult: ...


@dataclass(slots=True)
class TrainingPlan:
    """The normalised facts of one run. Batches count samples (``batch_unit``) and ``micro_batch`` is always per rank.

    A fact that no file, default or rule gives stays UNKNOWN. ``extra`` holds facts that only some dialects have,
    under the names of ``docs/plan.md``.
    """

    dialect: str
    path: str
    title: str = ""
    """What tells this run from others in the same file: a class name, a line of a script."""
    policy: BatchPolicy | None = None

    micro_batch: Fact[int] = _UNKNOWN
    accumulation: Fact[int] = _UNKNOWN
    nominal_batch: Fact[int] = _UNKNOWN
    """The batch that accumulation aims at, where a framework has one (Ultralytics ``nbs``)."""
    global_batch: Fact[int] = _UNKNOWN
    """The batch over all ranks as spelled, in dialects whose key is global."""
    world_size: Fact[int] = _UNKNOWN
    nodes: Fact[int] = _UNKNOWN
    data_parallel: Fact[int] = _UNKNOWN
    effective_batch: Fact[int] = _UNKNOWN
    batch_unit: Fact[str] = _UNKNOWN

    precision: Fact[Precision] = _UNKNOWN
    grad_checkpointing: Fact[bool] = _UNKNOWN
    optimizer: Fact[str] = _UNKNOWN
    ema: Fact[bool] = _UNKNOWN
    sharding: Fact[str] = _UNKNOWN
    """``none``, ``ddp``, ``zero1``, ``zero2``, ``zero3`` or ``fsdp``."""
    adapter: Fact[str] = _UNKNOWN
    """``none``, ``lora``, ``qlora``."""
    adapter_rank: Fact[int] = _UNKNOWN

    workers_per_rank: Fact[int] = _UNKNOWN
    prefetch_factor: Fact[int] = _UNKNOWN
    persistent_workers: Fact[bool] = _UNKNOWN
    pin_memory: Fact[bool] = _UNKNOWN

    model: Fact[str] = _UNKNOWN
    model_shape: Fact[DecoderShape] = _UNKNOWN
    task: Fact[str] = _UNKNOWN
    """``detect``, ``segment``, ``landmarks``, ``self-supervised``, ``causal-lm``, …"""
    image_size: Fact[ImageSize] = _UNKNOWN
    multi_scale: Fact[bool] = _UNKNOWN
    num_classes: Fact[int] = _UNKNOWN
    num_queries: Fact[int] = _UNKNOWN
    seq_len: Fact[int] = _UNKNOWN
    queue_size: Fact[int] = _UNKNOWN
    extra: dict[str, Fact[Any]] = field(default_factory=dict)

    def facts(self) -> Iterator[tuple[str, Fact[Any]]]:
        """Every fact with its name, fields first, then ``extra``."""
        for name in FACT_NAMES:
            yield name, getattr(self, name)
        yield from self.extra.items()

    def fact(self, name: str) -> Fact[Any]:
        """The fact called ``name``; UNKNOWN where the plan has none of that name."""
        if name in PLAN_FACTS:
            found: Fact[Any] = getattr(self, name)
            return found
        return self.extra.get(name, unknown())


_NOT_FACTS = ("dialect", "path", "title", "policy", "extra")
FACT_NAMES: tuple[str, ...] = tuple(item.name for item in fields(TrainingPlan) if item.name not in _NOT_FACTS)
"""The names of the plan's facts, in the order reports show them."""
PLAN_FACTS = frozenset(FACT_NAMES)
"""The same names, to ask whether one is among them."""
