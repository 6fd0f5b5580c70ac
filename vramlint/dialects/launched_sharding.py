"""What the YAML of ``accelerate launch --config_file`` says of sharding, for the run that is launched with it.

Sources: accelerate 1.15 ``commands/launch.py`` and ``utils/launch.py`` (the file's ``deepspeed_config`` and
``fsdp_config`` become the plugins of the run), ``accelerator.py`` (no autocast under DeepSpeed), ``state.py`` (FSDP
gets the precision of the run).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vramlint.dialects.language import STAGES
from vramlint.dialects.model import Reading
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, Origin, derived, rederive

_ON_HOST = (
    ("offload_optimizer", "deepspeed_config.offload_optimizer_device"),
    ("offload_parameters", "deepspeed_config.offload_param_device"),
)


def take_sharding(reading: Reading, config: Source) -> None:
    """Fill in the sharding of ``reading``'s plan, and what waits in host memory, where the run itself says nothing."""
    if reading.plan.sharding.known:
        return
    kind = config.find("distributed_type")
    found = _sharding(kind, config)
    if found is None:
        return
    extra: dict[str, Fact[Any]] = dict(reading.plan.extra)
    if found.value not in ("ddp", "none"):
        note = "the launcher's plugin casts the weights, not autocast"
        extra["low_precision_weights"] = derived(value=True, note=note)
    for name, key in _ON_HOST:
        place = config.find(key)
        if place is not None and found.value != "fsdp" and plain_value(place.node) in ("cpu", "nvme"):
            extra[name] = Fact(value=True, origin=Origin.LAUNCH, location=location(place))
    place = config.find("fsdp_config.fsdp_offload_params")
    if place is not None and found.value == "fsdp" and plain_value(place.node) is True:
        extra["cpu_offload"] = Fact(value=True, origin=Origin.LAUNCH, location=location(place))
    checkpointing = reading.plan.grad_checkpointing
    place = config.find("fsdp_config.fsdp_activation_checkpointing")
    if place is not None and found.value == "fsdp" and plain_value(place.node) is True and not checkpointing.value:
        checkpointing = Fact(value=True, origin=Origin.LAUNCH, location=location(place))
    reading.plan = rederive(replace(reading.plan, sharding=found, grad_checkpointing=checkpointing, extra=extra))


def _sharding(kind: Place | None, config: Source) -> Fact[str] | None:
    """None where the file leaves it to others: another kind, or a stage that stands in a DeepSpeed file."""
    if kind is None:
        return None
    match plain_value(kind.node):
        case "FSDP":
            return Fact("fsdp", Origin.LAUNCH, location(kind))
        case "MULTI_GPU":
            return Fact("ddp", Origin.LAUNCH, location(kind))
        case "DEEPSPEED":
            place = config.find("deepspeed_config.zero_stage")
            stage = plain_value(place.node) if place is not None else None
            known = STAGES.get(stage) if isinstance(stage, int) and not isinstance(stage, bool) else None
            return Fact(known, Origin.LAUNCH, location(place)) if known and place is not None else None
        case _:
            return None
