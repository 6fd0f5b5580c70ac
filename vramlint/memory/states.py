"""Bytes that live from the first step to the last: weights, optimizer states, copies; what sharding leaves of them."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.model import Component
from vramlint.memory.optimizers import Optimizer
from vramlint.plan import Precision

NF4_BYTES = 0.5 + 4 / 64
"""A 4-bit weight and its share of an fp32 scale per block of 64 (bitsandbytes 0.45, ``functional.quantize_4bit``)."""

NF4_DOUBLE_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""With double quantisation the scales are 8-bit, in blocks of 256 with an fp32 scale each."""


class WeightGroup(NamedTuple):
    """Parameters that share a storage: ``bytes_each`` may be fractional for 4-bit weights."""

    name: str
    elements: int
    bytes_each: float
    origin: str
    trainable: bool = False


class Sharding(NamedTuple):
    """By how much each kind of state is divided among the data-parallel ranks; 1: replicated."""

    kind: str
    parameters: int = 1
    gradients: int = 1
    optimizer: int = 1
    kept_gradients: int = 1
    """What divides the gradients while they accumulate: FSDP's ``no_sync``, which trainers use then, keeps them whole
    (torch 2.13 ``FullyShardedDataParallel.no_sync``); DeepSpeed reduces them at every micro step."""
    buckets: bool = False
    """DistributedDataParallel keeps one more copy of the gradients in its buckets."""
    master_weights: bool = False
    """DeepSpeed's half-precision optimizers keep fp32 master weights and states."""


class States(NamedTuple):
    """The states of one rank. ``gradient_bytes_each`` is what one gradient element takes on this rank."""

    components: tuple[Component, ...]
    paged: tuple[Component, ...]
    """Optimizer states in managed memory: on the card, but not in the caching allocator."""
    gradient_bytes_each: float
    step_bytes: int
    """Temporary bytes of the optimizer's step."""

    @property
    def bytes(self) -> int:
        return sum(component.bytes for component in self.components)


def sharding_of(kind: str | None, ranks: int) -> Sharding:
    """What ``kind`` (the plan's ``sharding``) divides among ``ranks`` data-parallel ranks.

    ZeRO 1, 2, 3: optimizer states; and gradients; and parameters (arXiv 1910.02054). FSDP full shard is as ZeRO 3.
    """
    match kind:
        case "zero1":
            return Sharding(kind, optimizer=ranks, master_weights=True)
        case "zero2":
            return Sharding(kind, gradients=ranks, optimizer=ranks, kept_gradients=ranks, master_weights=True)
        case "zero3":
            return Sharding(kind, ranks, ranks, ranks, kept_gradients=ranks, master_weights=True)
        case "fsdp":
            return Sharding(kind, ranks, ranks, ranks)
        case "ddp":
            return Sharding(kind, buckets=True)
        case _:
            return Sharding("none")


def weight_bytes(precision: Precision) -> int:
    """Bytes of a weight: autocast keeps weights in fp32, ``pure-*`` holds them in half precision."""
    return 2 if precision in (Precision.PURE_BF16, Precision.PURE_FP16) else 4


def states_of(
    groups: tuple[WeightGroup, ...],
    optimizer: Optimizer,
    sharding: Sharding,
    *,
    ema: bool = False,
    buffer_bytes: int = 0,
    gradients_kept: bool = False,
) -> States:
    """Every byte that lasts, as components with their formula."""
    trainable = [group for group in groups if group.trainable]
    elements = sum(group.elements for group in trainable)
    gradient_bytes = sum(group.elements * group.bytes_each for group in trainable)
    components = [
        Component(group.name, round(group.elements * group.bytes_each / sharding.parameters), group.origin)
        for group in groups
        if group.elements
    ]
    states = _optimizer_states(trainable, optimizer, sharding)
    if buffer_bytes:
        components.append(Component("buffers", buffer_bytes, "running statistics, queues and other buffers"))
    if states.bytes and not optimizer.paged:
        components.append(states)
    if sharding.master_weights and gradient_bytes < 4 * elements:
        master = 4 * elements // sharding.optimizer
        components.append(Component("master weights", master, "fp32 copies, 4 bytes (DeepSpeed bf16/fp16 optimizer)"))
    if ema:
        components.append(
            Component("EMA weights", sum(g.elements for g in groups) * 4, "a full fp32 copy of the model")
        )
    if sharding.buckets and elements:
        components.append(
            Component("DDP buckets", round(gradient_bytes), "one copy of the gradients (gradient_as_bucket_view=False)")
        )
    step = round(optimizer.step_copies * gradient_bytes / sharding.optimizer)
    shares = sharding.kept_gradients if gradients_kept else sharding.gradients
    each = gradient_bytes / elements / shares if elements else 0.0
    paged = (states,) if optimizer.paged and states.bytes else ()
    return States(tuple(components), paged, each, step)


def _optimizer_states(trainable: list[WeightGroup], optimizer: Optimizer, sharding: Sharding) -> Component:
    total = 0
    for group in trainable:
        bytes_each = 4.0 if sharding.master_weights else group.bytes_each
        total += optimizer.state_bytes(group.elements, bytes_each)
    name = f"{optimizer.name} states"
    return Component(name, total // sharding.optimizer, optimizer.source)
