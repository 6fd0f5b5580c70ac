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


def int8_bytes(row: int) -> float:
    """Bytes of an 8-bit weight and its share of an fp32 scale for each row of ``row`` weights (LLM.int8: bitsandbytes
    0.50 ``backends/default/ops.py#int8_vectorwise_quant``)."""
    return 1 + 4 / row


_PAGED = "managed memory, which the driver moves to the host where the card is full"


BESIDE = "frozen beside it"
"""Origin of a frozen model that is no part of the one that trains."""


class WeightGroup(NamedTuple):
    """Parameters that share a storage: ``bytes_each`` may be fractional for 4-bit weights."""

    name: str
    elements: int
    bytes_each: float
    origin: str
    trainable: bool = False
    ranks: int | None = None
    """What divides this group's optimizer states, where it differs from ``Sharding.optimizer`` (experts)."""
    state_bytes: float | None = None
    """Bytes of optimizer states per element where they are not the optimizer's own (embeddings under 8-bit states)."""


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
    bucket_elements: int = 0
    """Elements of DeepSpeed's reduction buffers, of the gradients' dtype, held in backward; stage 3 keeps its one."""
    live_elements: int = 0
    """Parameters that ZeRO 3 leaves gathered (half of ``stage3_max_reuse_distance``)."""
    fp32_shards: bool = False
    """FSDP's mixed precision: each rank's shards, gradients and states are fp32, gathered weights alone 16 bits wide
    (torch 2.13 ``fully_shard`` ``MixedPrecisionPolicy.param_dtype``, FSDP1 ``MixedPrecision``)."""
    states_on_host: bool = False
    """Whether optimizer states, fp32 copies and reduced gradients live in host memory, where the step runs (DeepSpeed
    ``offload_optimizer``, Megatron-LM ``--optimizer-cpu-offload``, FSDP with its parameters)."""
    parameters_on_host: bool = False
    """Whether each rank's shard of the parameters does too; they are gathered onto the card block by block."""
    main_gradients: bool = False
    """Megatron-LM keeps all gradients in one fp32 buffer from the first step to the last
    (``core/distributed/param_and_grad_buffer.py``)."""


class States(NamedTuple):
    """The states of one rank. ``gradient_bytes_each`` is what one gradient element takes on this rank."""

    components: tuple[Component, ...]
    paged: tuple[Component, ...]
    """Optimizer states in managed memory: on the card while it has room, and not in the caching allocator."""
    gradient_bytes_each: float
    step_bytes: int
    """Temporary bytes of the optimizer's step."""

    @property
    def bytes(self) -> int:
        return sum(component.bytes for component in self.components)


def sharding_of(kind: str | None, ranks: int) -> Sharding:
    """What ``kind`` (the plan's ``sharding``) divides among ``ranks`` data-parallel ranks.

    ZeRO 1, 2, 3: optimizer states; and gradients; and parameters (arXiv 1910.02054). FSDP full shard is as ZeRO 3.
    Megatron-LM keeps fp32 main gradients and parameters in every case, its distributed optimizer is ZeRO 1, its own
    FSDP with ``optim_grads_params`` ZeRO 3.
    """
    megatron = {"master_weights": True, "main_gradients": True}
    known = {
        "zero1": Sharding("zero1", optimizer=ranks, master_weights=True),
        "zero2": Sharding("zero2", gradients=ranks, optimizer=ranks, kept_gradients=ranks, master_weights=True),
        "zero3": Sharding("zero3", ranks, ranks, ranks, kept_gradients=ranks, master_weights=True),
        "fsdp": Sharding("fsdp", ranks, ranks, ranks),
        "ddp": Sharding("ddp", buckets=True),
        "megatron": Sharding("megatron", **megatron),
        "megatron-distributed": Sharding("megatron-distributed", optimizer=ranks, **megatron),
        "megatron-fsdp": Sharding("megatron-fsdp", ranks, ranks, ranks, **megatron),
    }
    return known.get(kind or "none", Sharding("none"))


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
        if group.elements and not sharding.parameters_on_host
    ]
    states = _optimizer_states(trainable, optimizer, sharding)
    if buffer_bytes:
        components.append(Component("buffers", buffer_bytes, "running statistics, queues and other buffers"))
    if ema and not sharding.parameters_on_host:
        components.append(_averaged(groups))
    if sharding.states_on_host:
        return _offloaded(components, trainable, sharding)
    if states.bytes and not optimizer.paged:
        components.append(states)
    if sharding.main_gradients and elements:
        main = Component("main gradients", 4 * elements // sharding.gradients, "fp32 gradient buffer (Megatron-LM)")
        return States((*components, main, *_master(trainable, sharding)), (), 0.0, 0)
    if sharding.master_weights and gradient_bytes < 4 * elements:
        master = 4 * elements // sharding.optimizer
        components.append(Component("master weights", master, "fp32 copies, 4 bytes (DeepSpeed bf16/fp16 optimizer)"))
    if sharding.buckets and elements:
        components.append(
            Component("DDP buckets", round(gradient_bytes), "one copy of the gradients (gradient_as_bucket_view=False)")
        )
    step = round(optimizer.step_copies * gradient_bytes / sharding.optimizer)
    shares = sharding.kept_gradients if gradients_kept else sharding.gradients
    each = gradient_bytes / elements / shares if elements else 0.0
    paged = (states._replace(origin=f"{states.origin}; {_PAGED}"),) if optimizer.paged and states.bytes else ()
    return States(tuple(components), paged, each, step)


def _averaged(groups: tuple[WeightGroup, ...]) -> Component:
    """Averages are of the whole model, but of the adapters alone where those are what trains."""
    adapters = [group for group in groups if group.name == "adapters"]
    elements = sum(group.elements for group in adapters or groups if group.origin != BESIDE)
    return Component("EMA weights", 4 * elements, f"an fp32 copy of the {'adapters' if adapters else 'model'}")


def _offloaded(components: list[Component], trainable: list[WeightGroup], sharding: Sharding) -> States:
    """Weights and buffers alone: the step runs in host memory. Megatron-LM's gradient buffer stays; stage 2 and 3 move
    each gradient off the card once it is reduced (DeepSpeed 0.18 ``stage_1_and_2.py``), stage 1 after backward."""
    elements = sum(group.elements for group in trainable)
    gradient_bytes = sum(group.elements * group.bytes_each for group in trainable)
    if sharding.main_gradients and elements:
        components.append(Component("main gradients", 4 * elements // sharding.gradients, "fp32 gradient buffer"))
        return States(tuple(components), (), 0.0, 0)
    moved = sharding.gradients > 1
    return States(tuple(components), (), gradient_bytes / elements if elements and not moved else 0.0, 0)


def _master(trainable: list[WeightGroup], sharding: Sharding) -> tuple[Component, ...]:
    """fp32 main parameters beside 16-bit ones, divided as the optimizer states are."""
    if not sharding.master_weights or any(group.bytes_each >= 4 for group in trainable):
        return ()
    total = sum(4 * group.elements // (group.ranks or sharding.optimizer) for group in trainable)
    return (Component("master weights", total, "fp32 main parameters, 4 bytes (Megatron-LM core/optimizer)"),)


def _optimizer_states(trainable: list[WeightGroup], optimizer: Optimizer, sharding: Sharding) -> Component:
    total = 0
    for group in trainable:
        bytes_each = 4.0 if sharding.master_weights else group.bytes_each
        own = None if group.state_bytes is None else round(group.elements * group.state_bytes)
        states = optimizer.state_bytes(group.elements, bytes_each) if own is None else own
        total += states // (group.ranks or sharding.optimizer)
    name = f"{optimizer.name} states"
    return Component(name, total, optimizer.source)
