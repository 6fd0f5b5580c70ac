"""From a plan's architecture to the ledger's knowledge of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from vramlint.memory.knowledge import Workload
from vramlint.memory.layers.knowledge import LayerModel, understood
from vramlint.memory.layers.registry import UnknownType
from vramlint.memory.layers.stack import STACKS, Stack
from vramlint.memory.sizes import trained_size
from vramlint.plan import Precision, TrainingPlan

FACTS = (
    "clip_len", "depth", "frames", "ground_truths", "in_channels", "num_clips", "patches", "proposals", "shapes_vary",
)  # fmt: skip
"""What builders may ask of the plan beside the architecture."""


class _Same:
    """A tree as a key: the same object is the same tree (plans are changed by replacing their facts)."""

    __slots__ = ("tree",)

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.tree = tree

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.tree is other.tree

    def __hash__(self) -> int:
        return id(self.tree)


@lru_cache(maxsize=8)
def _model(same: _Same, scope: str, stack: Stack, facts: tuple[tuple[str, Any], ...]) -> LayerModel:
    """Rules and repairs ask for one plan many times: its model is made, and each workload run, once."""
    return LayerModel(same.tree, scope, stack=stack, facts=dict(facts))


def model_of(plan: TrainingPlan) -> LayerModel:
    """What the ledger knows of the plan's architecture.

    Raises UnknownType where a part of the model or one of its options has no builder; the message names it.
    """
    architecture = plan.fact("architecture").value
    if not isinstance(architecture, Mapping):
        raise UnknownType("the architecture is no tree of types")
    scope = str(architecture.get("_scope") or architecture.get("_framework") or "")
    facts: dict[str, Any] = {name: plan.fact(name).value for name in FACTS if plan.fact(name).known}
    stack = STACKS[str(plan.fact("stack").value or "modern")]
    try:
        found = _model(_Same(architecture), scope, stack, tuple(sorted(facts.items())))
    except UnknownType as error:
        known, total, missing = understood(architecture, scope)
        if not missing:
            raise
        text = f"{' and '.join(missing)} not known ({known} of {total} parts of the model are)"
        raise UnknownType(text) from error
    size = trained_size(plan)
    if size is not None and plan.micro_batch.value:
        precision = plan.precision.value or Precision.FP32
        checkpointing = bool(plan.grad_checkpointing.value)
        kept = (plan.accumulation.value or 1) > 1
        found.moments(
            Workload(plan.micro_batch.value, precision, checkpointing, size.height, size.width, gradients_kept=kept)
        )
    return found
