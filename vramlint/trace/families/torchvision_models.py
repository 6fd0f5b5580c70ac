"""Classifiers of torchvision with 1000 classes; its detectors depend on data and are left out."""

from __future__ import annotations

import importlib

from vramlint.trace.events import Shape
from vramlint.trace.families.images import classification_loss, forward, labelled
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

_FIXED = ("vit_", "swin", "maxvit")
_SIDE = 224


def find(name: str) -> Target:
    """The torchvision classifier ``name``. Raises UnknownModel where this torchvision has none of that name."""
    torchvision_schemas()
    models = importlib.import_module("torchvision.models")
    if name not in models.list_models(module=models):
        raise UnknownModel(f"torchvision has no classifier {name!r}")

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        options = {"aux_logits": False} if name == "googlenet" else {}
        return Job(
            models.get_model(name, weights=None, **options), lambda: labelled(shape), classification_loss, forward
        )

    target = Target(name, make, ("torchvision", "torch"), ("1000 classes, cross-entropy",))
    if not name.startswith(_FIXED):
        return target
    return target._replace(
        terms=("1", "B"),
        shapes=tuple(Shape(batch, _SIDE, _SIDE) for batch in (2, 3, 5)),
        confirm=tuple(Shape(batch, _SIDE, _SIDE) for batch in (1, 8)),
        fixed_size=(_SIDE, _SIDE),
    )
