"""Plans and knowledge for the memory tests."""

from __future__ import annotations

from typing import Any, NamedTuple

from vramlint.hardware import GIB, Gpu, Target
from vramlint.memory.knowledge import Moment, Workload
from vramlint.plan import Fact, ImageSize, Origin, Precision, TrainingPlan


def fact(value: Any) -> Fact[Any]:
    return Fact(value, Origin.FILE)


def plan(extra: dict[str, Any] | None = None, **facts: Any) -> TrainingPlan:
    """A plan whose named facts are spelled in a file; the others are unknown."""
    made = TrainingPlan("test", "train.yaml", **{name: fact(value) for name, value in facts.items()})
    made.extra.update({name: fact(value) for name, value in (extra or {}).items()})
    return made


VISION: dict[str, Any] = {
    "model": "a-vision-model",
    "micro_batch": 4,
    "image_size": ImageSize(400, 400),
    "precision": Precision.FP32,
    "grad_checkpointing": False,
    "accumulation": 1,
    "optimizer": "adamw_fused",
    "ema": False,
    "world_size": 1,
    "data_parallel": 1,
}

LANGUAGE: dict[str, Any] = {
    "model": "meta-llama/Llama-3.2-1B",
    "micro_batch": 2,
    "seq_len": 2048,
    "precision": Precision.PURE_BF16,
    "grad_checkpointing": False,
    "accumulation": 1,
    "optimizer": "adamw",
    "ema": False,
    "world_size": 1,
    "data_parallel": 1,
}


def card(usable_gib: float) -> Target:
    size = int(usable_gib * GIB)
    return Target(Gpu("card", "a test card", size, size, (8, 6), "test"))


class Linear(NamedTuple):
    """Made-up knowledge: 1,000 bytes a pixel and sample at the end of forward, gradients complete in backward."""

    name: str = "a-vision-model"
    parameters: int = 10_000_000
    trainable: int = 10_000_000
    buffer_bytes: int = 0
    source: str = "made up"
    spread: float = 0.1

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        if workload.precision is Precision.PURE_BF16:
            return ()
        pixels = workload.micro_batch * workload.height * workload.width
        size = 2 if workload.precision.mixed else 4
        kept = self.trainable if workload.gradients_kept else 0
        forward = Moment("forward", 250 * size * pixels, kept)
        return (forward, Moment("backward", 50 * size * pixels, self.trainable))
