"""The share of the card that an inference engine takes in the same process or beside it, between training steps.

vLLM takes ``gpu_memory_utilization`` of the whole card: weights, work space and, with what is left, keys and values
(vLLM 0012cf6 ``v1/worker/gpu_worker.py#determine_available_memory``). Awake it stays there through training (TRL
``vllm_mode: colocate``); asleep (TRL ``vllm_enable_sleep_mode``, verl ``free_cache_engine``) it gives weights and cache
back, and the larger of both phases counts.
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.hardware.model import Gpu
from vramlint.memory.intervals import shifted
from vramlint.memory.model import Component, Estimate, Interval


class Rollout(NamedTuple):
    """An engine on the training card: its share of it; whether it sleeps while training; whether the trained model's
    weights and states wait in host memory while it is awake."""

    name: str
    share: float
    sleeps: bool
    offloads: bool
    certain: bool = True
    """Whether it is on this card at all: by default TRL's is from 1.0 on, and before on others."""

    @property
    def says(self) -> str:
        return f"{self.name} takes {self.share:.0%} of the card"


def with_rollout(found: Estimate, rollout: Rollout, gpu: Gpu | None, resident_bytes: int) -> Estimate:
    """``found`` of the training phase with the engine beside it or, where that is more, the engine's own phase.

    ``resident_bytes``: what of the trained model is on the card while the engine is awake.
    """
    if found.required is None or found.device is None:
        return found
    if gpu is None:
        text = f"{rollout.says}, which is not counted: no card is named"
        return found._replace(assumptions=(*found.assumptions, text))
    engine = Component("rollout engine", round(rollout.share * gpu.total_bytes), rollout.says)
    if not rollout.certain:
        return found._replace(
            required=_reaching(found.required, engine.bytes),
            device=_reaching(found.device, engine.bytes),
            assumptions=(*found.assumptions, f"{rollout.says} where TRL is 1.0 or newer: the upper bound"),
        )
    if not rollout.sleeps:
        return found._replace(
            required=shifted(found.required, engine.bytes),
            device=shifted(found.device, engine.bytes),
            components=(*found.components, engine),
            assumptions=(*found.assumptions, f"{rollout.says} through training too: it does not sleep"),
        )
    return _asleep(found, rollout, engine, 0 if rollout.offloads else resident_bytes)


def _asleep(found: Estimate, rollout: Rollout, engine: Component, resident_bytes: int) -> Estimate:
    """The larger of both phases; what a sleeping engine leaves behind is not known and left out."""
    required, device = found.required, found.device
    assert required is not None
    assert device is not None
    context = tuple(part for part in found.components if part.name == "CUDA context")
    awake = engine.bytes + resident_bytes + sum(part.bytes for part in context)
    text = f"{rollout.says} while it writes, and sleeps through training; what it leaves behind is left out"
    found = found._replace(
        required=_at_least(required, awake), device=_at_least(device, awake), assumptions=(*found.assumptions, text)
    )
    if awake <= required.value:
        return found
    kept = Component("trained model", resident_bytes, "weights and optimizer states beside the engine")
    parts = (*((kept,) if resident_bytes else ()), engine, *context)
    return found._replace(components=parts, phase="rollout")


def _reaching(interval: Interval, further: int) -> Interval:
    return interval._replace(high=interval.high + further)


def _at_least(interval: Interval, floor: int) -> Interval:
    return Interval(max(interval.low, floor), max(interval.value, floor), max(interval.high, floor))
