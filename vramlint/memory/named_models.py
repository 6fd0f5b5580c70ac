"""Models known by name through the layer ledger: for those without a trace, and where the trace does not reach."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.profile import TRACE_SPREAD, Profile
from vramlint.plan import TrainingPlan

if TYPE_CHECKING:
    from vramlint.memory.layers import LayerModel
    from vramlint.memory.layers.named.catalogue import Named

_CHECKPOINTING = "with_cp"
"""Member of a tree whose builder can recompute its blocks."""


class NamedLedger:
    """What the layer ledger knows of a model by its name; a step runs when it is asked for."""

    def __init__(self, named: Named) -> None:
        self._named = named
        self._plain = self._model(named, checkpointing=False)

    @staticmethod
    def _model(named: Named, *, checkpointing: bool) -> LayerModel:
        from vramlint.memory.layers import LayerModel  # most plans name no such model

        tree = {**named.architecture, _CHECKPOINTING: True} if checkpointing else named.architecture
        return LayerModel(tree, named.scope)

    @property
    def name(self) -> str:
        return self._named.name

    @property
    def parameters(self) -> int:
        return self._plain.parameters

    @property
    def trainable(self) -> int:
        return self._plain.trainable

    @property
    def buffer_bytes(self) -> int:
        return self._plain.buffer_bytes

    @property
    def source(self) -> str:
        return f"layer ledger of {self._named.name}"

    @property
    def spread(self) -> float:
        """As a trace's: the ledger equals the trace of the models of ``tools/check_layers.py``."""
        return max(TRACE_SPREAD, self._plain.spread)

    @property
    def detects(self) -> bool:
        """Whether it is a detector of boxes alone."""
        return self._named.scope == "yolo"

    @property
    def assumptions(self) -> tuple[str, ...]:
        return (f"{self._named.name} worked out layer by layer from its name", *self._named.assumptions)

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The moments that can be the peak; empty for a size or a way of checkpointing that the model does not have."""
        if not self._takes(workload.height, workload.width):
            return ()
        if not workload.checkpointing:
            return self._plain.moments(workload)
        if _CHECKPOINTING not in self._named.architecture:
            return ()
        return self._model(self._named, checkpointing=True).moments(workload)

    def _takes(self, height: int, width: int) -> bool:
        fixed, step = self._named.fixed_size, self._named.size_multiple
        return fixed in (None, (height, width)) and height % step == 0 and width % step == 0


@lru_cache(maxsize=64)
def find_ledger(name: str) -> NamedLedger | None:
    """The ledger of the model called ``name``, None where none is known."""
    from vramlint.memory.layers.named.catalogue import find_named

    named = find_named(name)
    return None if named is None else NamedLedger(named)


def reaches(profile: Profile, plan: TrainingPlan) -> bool:
    """Whether the trace covers the plan's precision, checkpointing and image size, as far as the plan gives them."""
    precision, size = plan.precision.value, plan.image_size.value
    if precision is not None and profile.variant(precision, checkpointing=bool(plan.grad_checkpointing.value)) is None:
        return False
    if size is None:
        return True
    if profile.fixed_size is not None:
        return profile.fixed_size == (size.height, size.width)
    return size.height % profile.size_multiple == 0 and size.width % profile.size_multiple == 0
