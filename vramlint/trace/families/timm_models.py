"""Models of timm: classifiers with 1000 classes, and HRNets with a landmark head."""

from __future__ import annotations

import importlib
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.families.images import Batch, classification_loss, forward, images, labelled
from vramlint.trace.pairing import IMAGE_TERMS
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

LANDMARKS = 19
"""Heatmaps of the landmark head; each costs a few bytes a pixel of the quarter-size map."""

_FIXED_SHAPES = (2, 5, 3)
_FIXED_CONFIRM = 8

_STRIDE = 32
"""What most networks divide the image by; sizes that are no multiple of it are rounded up at some layers."""

_ROUNDED_TOLERANCE = 0.02
"""Largest difference at a default size that layers round, such as 300 or 299."""


def names() -> list[str]:
    """All models of the installed timm, without the names of their weights."""
    torchvision_schemas()
    return list(importlib.import_module("timm").list_models())


def find(name: str) -> Target:
    """The timm model ``name``. Raises UnknownModel where this timm has none of that name."""
    torchvision_schemas()
    timm = importlib.import_module("timm")
    if name not in timm.list_models():
        raise UnknownModel(f"timm {timm.__version__} has no model {name!r}")
    if name.startswith("hrnet_w"):
        return _landmarks(name)
    return _classifier(name, timm.models.model_entrypoint(name))


def _classifier(name: str, entrypoint: Any) -> Target:
    def make(shape: Shape, checkpointing: bool) -> Job:
        model = entrypoint(pretrained=False)
        if checkpointing:
            model.set_grad_checkpointing(True)
        return Job(model, lambda: labelled(shape), classification_loss, forward)

    target = Target(
        name,
        make,
        ("timm", "torch"),
        ("1000 classes, cross-entropy",),
        has_checkpointing=_has_checkpointing(entrypoint),
    )
    settings = importlib.import_module("timm.models").get_pretrained_cfg(name)
    if settings is None:
        return target
    _, height, width = settings.input_size
    fixed = target._replace(
        terms=("1", "B"),
        shapes=tuple(Shape(batch, height, width) for batch in _FIXED_SHAPES),
        confirm=(Shape(_FIXED_CONFIRM, height, width),),
        fixed_size=(height, width),
    )
    if settings.fixed_input_size:
        return fixed
    return _any_size(target, height, width)._replace(otherwise=fixed)


def _any_size(target: Target, height: int, width: int) -> Target:
    """The target at shapes that suit a model whose own size is height x width."""
    if height % _STRIDE == width % _STRIDE == 0:
        return target._replace(confirm=(Shape(5, height, width),))
    return target._replace(
        shapes=(
            Shape(2, height, width),
            Shape(3, height, width),
            Shape(2, height - 2 * _STRIDE, width - _STRIDE),
            Shape(4, height + 2 * _STRIDE, width + 2 * _STRIDE),
        ),
        confirm=(Shape(5, height, width),),
        tolerance=_ROUNDED_TOLERANCE,
        size_multiple=1,
    )


def _has_checkpointing(entrypoint: Any) -> bool:
    with torch.device("meta"):
        model = entrypoint(pretrained=False)
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError):
        return False
    return True


class LandmarkHrnet(nn.Module):
    """HRNet with the landmark head of Sun et al., "High-Resolution Representations for Labeling Pixels and Regions".

    The four branches are brought to the first one's size (a quarter of the image), concatenated, and two 1x1
    convolutions make one heatmap a landmark (arXiv:1904.04514, section 3).
    """

    def __init__(self, name: str, landmarks: int) -> None:
        super().__init__()
        self.backbone = importlib.import_module("timm").create_model(
            name, pretrained=False, features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
        )
        channels = sum(self.backbone.feature_info.channels())
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, landmarks, 1),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Heatmaps at a quarter of the image's size."""
        first, *others = self.backbone(image)
        size = first.shape[-2:]
        resized = [functional.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in others]
        heatmaps: torch.Tensor = self.head(torch.cat([first, *resized], 1))
        return heatmaps


def _landmarks(name: str) -> Target:
    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        return Job(LandmarkHrnet(name, LANDMARKS), lambda: _with_heatmaps(shape), _heatmap_loss, forward)

    return Target(
        name,
        make,
        ("timm", "torch"),
        (f"landmark head with {LANDMARKS} heatmaps at a quarter of the image, mean squared error",),
        terms=IMAGE_TERMS,
    )


def _with_heatmaps(shape: Shape) -> Batch:
    return images(shape), torch.empty(shape.batch, LANDMARKS, shape.height // 4, shape.width // 4)


def _heatmap_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    return functional.mse_loss(model(batch[0]), batch[1])
