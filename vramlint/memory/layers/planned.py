"""From a plan's architecture to the ledger's knowledge of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlint.memory.knowledge import Workload
from vramlint.memory.layers.knowledge import LayerModel, understood
from vramlint.memory.layers.registry import UnknownType
from vramlint.memory.layers.stack import STACKS
from vramlint.plan import Precision, TrainingPlan

FACTS = ("clip_len", "frames", "ground_truths", "in_channels", "num_clips", "proposals", "shapes_vary")
"""What builders may ask of the plan beside the architecture."""


def model_of(plan: TrainingPlan) -> LayerModel:
    """What the ledger knows of the plan's architecture.

    Raises UnknownType where a part of the model or one of its options has no builder; the message names it.
    """
    architecture = plan.fact("architecture").value
    if not isinstance(architecture, Mapping):
        raise UnknownType("the architecture is no tree of types")
    scope = str(architecture.get("_scope") or architecture.get("_framework") or "")
    facts: dict[str, Any] = {name: plan.fact(name).value for name in FACTS if plan.fact(name).known}
    try:
        found = LayerModel(architecture, scope, stack=STACKS[str(plan.fact("stack").value or "modern")], facts=facts)
    except UnknownType as error:
        known, total, missing = understood(architecture, scope)
        if not missing:
            raise
        text = f"{' and '.join(missing)} not known ({known} of {total} parts of the model are)"
        raise UnknownType(text) from error
    size = plan.fact("batch_shape").value or plan.image_size.value
    if size is not None and plan.micro_batch.value:
        precision = plan.precision.value or Precision.FP32
        checkpointing = bool(plan.grad_checkpointing.value)
        kept = (plan.accumulation.value or 1) > 1
        found.moments(
            Workload(plan.micro_batch.value, precision, checkpointing, size.height, size.width, gradients_kept=kept)
        )
    return found
