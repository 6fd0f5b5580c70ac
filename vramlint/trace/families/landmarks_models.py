"""HRNets of timm with a landmark head."""

from __future__ import annotations

import importlib

import torch
import torch.nn.functional as functional
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.families.images import Batch, forward, images
from vramlint.trace.pairing import IMAGE_TERMS
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

LANDMARKS = 19
"""Heatmaps of the landmark head; each costs a few bytes a pixel of the quarter-size map."""


def names() -> list[str]:
    """The three widths that landmark detectors use."""
    return ["hrnet_w18", "hrnet_w32", "hrnet_w48"]


def find(name: str) -> Target:
    """The HRNet ``name`` with a landmark head. Raises UnknownModel for any other."""
    torchvision_schemas()
    timm = importlib.import_module("timm")
    if not name.startswith("hrnet_w") or name not in timm.list_models():
        raise UnknownModel(f"no landmark model {name!r}")
    return _landmarks(name)


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
