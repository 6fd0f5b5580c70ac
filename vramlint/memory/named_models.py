"""Models known by name through the layer ledger: for those without a trace, and where the trace does not reach."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.profile import TRACE_SPREAD, Profile
from vramlint.memory.sizes import trained_size
from vramlint.plan import TrainingPlan

if TYPE_CHECKING:
    from vramlint.memory.layers import LayerModel
    from vramlint.memory.layers.named.catalogue import Named

_CHECKPOINTING = "with_cp"
"""Member of a tree whose builder can recompute its blocks."""


_PIXELS = ("smp", "unets")
"""Scopes of models that end in a map of one class unless told otherwise."""


class NamedLedger:
    """What the layer ledger knows of a model by its name; a step runs when it is asked for.

    ``options`` replace members of its tree: ``classes``, ``in_channels``.
    """

    def __init__(self, named: Named, **options: int) -> None:
        named = named._replace(architecture={**named.architecture, **options})
        self._named = named
        self._plain = self._model(named, checkpointing=False)

    @staticmethod
    def _model(named: Named, *, checkpointing: bool) -> LayerModel:
        from vramlint.memory.layers import LayerModel  # most plans name no such model

        tree = {**named.architecture, _CHECKPOINTING: True} if checkpointing else named.architecture
        return LayerModel(tree, named.scope, facts={"in_channels": tree.get("in_channels", 3)})

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
    def maps_pixels(self) -> bool:
        """Whether it has a logit a pixel and class."""
        return self._named.scope in _PIXELS

    @property
    def detects(self) -> bool:
        """Whether it is a detector of boxes alone."""
        return self._named.scope == "yolo"

    @property
    def assumptions(self) -> tuple[str, ...]:
        tree, words = self._named.architecture, self._named.assumptions
        if self._named.scope in _PIXELS and tree.get("classes", 1) > 1:
            words = (f"{tree['classes']} classes, cross-entropy",)
        return (f"{self._named.name} worked out layer by layer from its name", *words)

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The moments that can be the peak; empty for a size or a way of checkpointing that the model does not have."""
        if not self._takes(workload.height, workload.width):
            return ()
        if not workload.checkpointing:
            return self._plain.moments(workload)
        if _CHECKPOINTING not in self._named.architecture:
            return ()
        return self._model(self._named, checkpointing=True).moments(workload)

    def missing(self, workload: Workload) -> str:
        """Why :meth:`moments` is empty for this workload, in words that follow the model's name."""
        fixed, step = self._named.fixed_size, self._named.size_multiple
        if self._takes(workload.height, workload.width):
            if workload.checkpointing:
                return "worked out without activation checkpointing alone: its package has no switch for it"
            return f"not worked out in {workload.precision}"
        return f"takes {fixed[0]}x{fixed[1]} alone" if fixed else f"takes sides that are multiples of {step} alone"

    def _takes(self, height: int, width: int) -> bool:
        fixed, step = self._named.fixed_size, self._named.size_multiple
        return fixed in (None, (height, width)) and height % step == 0 and width % step == 0


@lru_cache(maxsize=64)
def find_ledger(name: str, in_channels: int = 3, classes: int | None = None) -> NamedLedger | None:
    """The ledger of the model called ``name``, None where none is known.

    ``classes`` matter to models of a logit a pixel and class. Raises UnknownType where the model cannot be built so.
    """
    from vramlint.memory.layers.named.catalogue import find_named

    named = find_named(name)
    if named is None:
        return None
    options = {} if in_channels == 3 else {"in_channels": in_channels}
    if classes is not None and named.scope in _PIXELS:
        options["classes"] = classes
    return NamedLedger(named, **options)


def planned_ledger(name: str, plan: TrainingPlan, profile: Profile | None) -> NamedLedger | None:
    """The ledger of ``name`` where the plan needs it: nothing was traced, or not for what the plan trains.

    None where the traced model is another one than the ledger's.
    """
    from vramlint.memory.layers import UnknownType  # most plans name no such model

    channels, classes = plan.fact("in_channels").value or 3, plan.num_classes.value
    usual = find_ledger(name)
    if usual is None or (profile is not None and usual.parameters != profile.parameters):
        return None
    mapped = usual.maps_pixels and classes is not None and classes > 1
    if profile is not None and channels == 3 and not mapped and reaches(profile, plan):
        return None
    try:
        return find_ledger(name, channels, classes if mapped else None)
    except UnknownType:
        return None


def reaches(profile: Profile, plan: TrainingPlan) -> bool:
    """Whether the trace covers the plan's precision, checkpointing and image size, as far as the plan gives them."""
    precision, size = plan.precision.value, trained_size(plan)
    checkpointing = bool(plan.grad_checkpointing.value)
    variant = None if precision is None else profile.variant(precision, checkpointing=checkpointing)
    if precision is not None and variant is None:
        return False
    if size is None:
        return True
    only = profile.fixed_size if variant is None else profile.only_size(variant)
    if only is not None:
        return only == (size.height, size.width)
    if profile.size_multiple == 1 and profile.default_size is not None:
        return profile.default_size == (size.height, size.width)  # its layers round: up to 4 % away elsewhere
    return size.height % profile.size_multiple == 0 and size.width % profile.size_multiple == 0
