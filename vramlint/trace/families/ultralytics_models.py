"""YOLO detectors of the Ultralytics package, with its own training loss.

Ultralytics is AGPL-3.0: it is imported from the user's installation, and none of its code is here. The loss assigns
ground truths to anchors by their overlap, which fake tensors do not have; how many there are is modelled.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import torch
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

CLASSES = 80
TARGETS_PER_IMAGE = 20
"""Ground truths the targets are padded to: the fullest image of a COCO batch after mosaic; COCO has 7.3 an image."""

ANCHORS_INSIDE = 0.05
"""Share of (ground truth, anchor) pairs where the anchor lies in the box: the mean box covers some 5 % of its image."""

TOP_K = 10
"""Anchors that the task-aligned assigner keeps for each ground truth."""

_TERMS = ("1", "B", "HW", "BHW", "B(HW)^2")
"""The attention blocks of YOLO11 and YOLO12 hold their scores, the square of the pixels."""

_SHAPES = (Shape(2, 128, 128), Shape(3, 128, 128), Shape(2, 320, 320), Shape(3, 256, 192), Shape(2, 512, 512))
_CONFIRM = (Shape(5, 640, 640), Shape(1, 640, 640), Shape(2, 1024, 768))


def positives(shape: tuple[int, ...]) -> int:
    """How many are true in the loss's masks: of (image, truth, anchor) pairs, or of (image, anchor) foreground."""
    if len(shape) == 3:
        return round(shape[0] * shape[1] * shape[2] * ANCHORS_INSIDE)
    return shape[0] * TARGETS_PER_IMAGE * TOP_K


def find(name: str) -> Target:
    """The detector ``name`` (``yolo12s``). Raises UnknownModel where the package has no such model file."""
    torchvision_schemas()
    check_yaml = importlib.import_module("ultralytics.utils.checks").check_yaml
    size = re.fullmatch(r"(yolo\D*\d+)([nstmblx])", name)
    if size is None:
        raise UnknownModel(f"{name!r} is no YOLO detector with a size")
    try:
        check_yaml(f"{size.group(1)}.yaml")
    except FileNotFoundError as error:
        raise UnknownModel(f"ultralytics has no model {name!r}") from error

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        return Job(_detector(name), lambda: _batch(shape), _loss, _forward)

    return Target(
        name,
        make,
        ("ultralytics", "torch"),
        (
            f"{CLASSES} classes, the package's detection loss with targets padded to {TARGETS_PER_IMAGE} an image",
            f"{ANCHORS_INSIDE:.0%} of the anchors inside a ground truth, {TOP_K} positives each",
        ),
        terms=_TERMS,
        shapes=_SHAPES,
        confirm=_CONFIRM,
        positives=positives,
    )


def _detector(name: str) -> nn.Module:
    tasks = importlib.import_module("ultralytics.nn.tasks")
    model: Any = tasks.DetectionModel(f"{name}.yaml", nc=CLASSES, verbose=False)
    model.args = importlib.import_module("ultralytics.cfg").get_cfg()
    model.criterion = model.init_criterion()
    _pad_targets(model.criterion)
    module: nn.Module = model
    return module


def _pad_targets(criterion: Any) -> None:
    """Replaces the padding of targets, which counts them by value, by the shape it would give."""

    def padded(targets: torch.Tensor, batch_size: int, scale_tensor: torch.Tensor) -> torch.Tensor:
        return torch.zeros(batch_size, TARGETS_PER_IMAGE, targets.shape[1] - 1) * scale_tensor.new_ones(())

    criterion.preprocess = padded


def _batch(shape: Shape) -> dict[str, torch.Tensor]:
    """A batch as the trainer has it after preprocessing: images as fp32 in [0, 1]."""
    count = shape.batch * TARGETS_PER_IMAGE
    pixels = torch.empty(shape.batch, 3, shape.height, shape.width, dtype=torch.uint8)
    return {
        "img": pixels.float() / 255,
        "cls": torch.empty(count, 1),
        "bboxes": torch.empty(count, 4),
        "batch_idx": torch.empty(count),
    }


def _loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss, _ = model(batch)
    total: torch.Tensor = loss.sum()
    return total


def _forward(model: nn.Module, batch: dict[str, torch.Tensor]) -> Any:
    return model(batch["img"])
