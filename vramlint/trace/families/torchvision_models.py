"""Classifiers (1000 classes) and segmentation models (21) of torchvision; its detectors depend on data: left out."""

from __future__ import annotations

import importlib
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.families.images import classification_loss, forward, images, labelled
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

_FIXED = ("vit_", "maxvit")
"""Classifiers that take one size; Swin pads its maps to its windows, which no term of the image follows."""

_SIDE = 224
_PADDED = ("swin",)
_OWN_SIDES = {"inception_v3": 299}
_CLASSES = 21
"""Classes of the segmentation models: Pascal VOC, with the background (references/segmentation)."""

_AUXILIARY_WEIGHT = 0.5
"""Weight of the auxiliary classifier's loss (references/segmentation/train.py)."""


def names() -> list[str]:
    """All classifiers and segmentation models of the installed torchvision.

    RegNets are not among what can be traced: their constructors work out widths with torch, which a trace replaces.
    """
    torchvision_schemas()
    models = importlib.import_module("torchvision.models")
    return [*models.list_models(module=models), *models.list_models(module=models.segmentation)]


def find(name: str) -> Target:
    """The torchvision model ``name``. Raises UnknownModel where this torchvision has none of that name."""
    torchvision_schemas()
    models = importlib.import_module("torchvision.models")
    if name in models.list_models(module=models.segmentation):
        return _segmentor(models, name)
    if name not in models.list_models(module=models):
        raise UnknownModel(f"torchvision has no classifier or segmentation model {name!r}")

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        options = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        return Job(
            models.get_model(name, weights=None, **options), lambda: labelled(shape), classification_loss, forward
        )

    with torch.device("meta"):
        built = models.get_model(name, weights=None)
    parameters = sum(parameter.numel() for parameter in built.parameters())
    if name in ("googlenet", "inception_v3"):
        parameters = None  # built with auxiliary classifiers
    target = Target(name, make, ("torchvision", "torch"), ("1000 classes, cross-entropy",), parameters=parameters)
    if name in _OWN_SIDES:
        return _around(target, _OWN_SIDES[name])
    if name.startswith(_PADDED):
        return _one_size(target)
    return _one_size(target) if name.startswith(_FIXED) else target._replace(default_size=(_SIDE, _SIDE))


def _one_size(target: Target) -> Target:
    return target._replace(
        terms=("1", "B"),
        shapes=tuple(Shape(batch, _SIDE, _SIDE) for batch in (2, 3, 5)),
        confirm=tuple(Shape(batch, _SIDE, _SIDE) for batch in (1, 8)),
        fixed_size=(_SIDE, _SIDE),
        default_size=(_SIDE, _SIDE),
    )


def _around(target: Target, side: int) -> Target:
    """A model whose layers round its own size."""
    return target._replace(
        shapes=(
            Shape(2, side, side),
            Shape(3, side + 64, side + 32),
            Shape(2, side - 64, side - 32),
            Shape(4, side + 64, side),
        ),
        confirm=(Shape(5, side, side), Shape(3, side + 128, side + 96)),
        default_size=(side, side),
        tolerance=0.02,
        size_multiple=1,
    )


def _segmentor(models: Any, name: str) -> Target:
    auxiliary = not name.startswith("lraspp")

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        options = {"aux_loss": True} if auxiliary else {}
        model = models.get_model(name, weights=None, weights_backbone=None, num_classes=_CLASSES, **options)
        return Job(model, lambda: _mapped(shape), _map_loss, forward)

    words = f"{_CLASSES} classes, cross-entropy, auxiliary classifier" if auxiliary else f"{_CLASSES} classes"
    confirm = (Shape(5, 320, 256), Shape(2, 512, 512))  # batch norm on the pooled image needs a batch of 2
    return Target(name, make, ("torchvision", "torch"), (words,), confirm=confirm, default_size=(480, 480))


def _mapped(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.zeros(shape.batch, shape.height, shape.width, dtype=torch.int64)
    return images(shape), labels


def _map_loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    found = model(batch[0])
    losses = {key: functional.cross_entropy(value, batch[1], ignore_index=255) for key, value in found.items()}
    if "aux" not in losses:
        return losses["out"]
    return losses["out"] + _AUXILIARY_WEIGHT * losses["aux"]
