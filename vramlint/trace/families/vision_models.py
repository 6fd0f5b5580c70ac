"""Detectors, segmenters and convolutional classifiers of transformers by their checkpoints' names, never downloaded.

Matching predictions to ground truths needs their values; it is replaced by an assignment of the same size. Where every
truth has a mask, memory follows how many there are: they are a variable of the profile.
"""

from __future__ import annotations

import importlib
from itertools import product
from typing import Any

import torch
from torch import nn

from vramlint.trace.answers import Positives
from vramlint.trace.events import Shape
from vramlint.trace.families import vision_shapes
from vramlint.trace.families.detr_models import TARGETS_PER_IMAGE, positives
from vramlint.trace.families.images import images
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

MASKS_PER_IMAGE = 20
"""Ground truths with masks that a profile is read for: ADE20K's images have some ten classes, COCO's seven objects."""

_MATCHERS = {
    "transformers.loss.loss_for_object_detection": "HungarianMatcher",
    "transformers.loss.loss_deformable_detr": "DeformableDetrHungarianMatcher",
    "transformers.loss.loss_rt_detr": "RTDetrHungarianMatcher",
    "transformers.models.maskformer.modeling_maskformer": "MaskFormerHungarianMatcher",
    "transformers.models.mask2former.modeling_mask2former": "Mask2FormerHungarianMatcher",
    "transformers.models.oneformer.modeling_oneformer": "OneFormerHungarianMatcher",
}

_PLAIN_TERMS = ("1", "B", "HW", "BHW", "B(HW)^2")
"""To these, losses of boxes add the square of the batch: they compare every box of it with every other one."""

_SIZES = ((2, 256, 320), (3, 416, 256), (4, 512, 416), (2, 320, 544), (5, 416, 512), (3, 640, 416), (2, 704, 640))
_WIDE_SIZES = ((2, 416, 544), (3, 832, 416), (4, 608, 512), (2, 416, 736), (5, 512, 608), (3, 640, 416), (2, 704, 640))
"""For windows of 12: no map is smaller than a window, and none is whole windows, which would not be padded."""
_TRUTHS = (4, 7, 3, 9, 5, 12, 6)
_CONFIRM = ((5, 544, 512), (2, 800, 640))


def names() -> list[str]:
    """All models of this family."""
    return list(vision_shapes.SHAPES)


def other_names() -> dict[str, str]:
    """Names of the public checkpoints."""
    found = {each: name for name, shape in vision_shapes.SHAPES.items() for each in shape.checkpoints}
    return {other: name for other, name in found.items() if other != name}


def find(name: str) -> Target:
    """The model ``name``. Raises UnknownModel for any other."""
    torchvision_schemas()
    if name not in vision_shapes.SHAPES:
        raise UnknownModel(f"no detector or segmenter of transformers is called {name!r}")
    given = vision_shapes.SHAPES[name]
    _match_without_values()

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        return Job(_built(given), lambda: _batch(given, shape), _loss, _forward)

    masked = given.task == "masks"
    truths, sizes = _TRUTHS if masked else (0,) * len(_SIZES), _WIDE_SIZES if given.window > 7 else _SIZES
    shapes = tuple(Shape(*size, 0, each) for size, each in zip(sizes, truths, strict=True))
    confirm = tuple(Shape(*size, 0, each) for size, each in zip(_CONFIRM, (15, 30) if masked else (0, 0), strict=True))
    further = {"masks": ("T", "BT", "THW", "BTHW"), "boxes": ("B^2",)}.get(given.task, ())
    terms = (*_PLAIN_TERMS, *further, *_windows(given.window))
    timm = ("timm",) if given.backbone is None and given.task == "boxes" else ()
    return Target(
        name, make, ("transformers", *timm, "torch"), (_words(given),), terms=terms, shapes=shapes, confirm=confirm,
        real_second_step=False, positives=_positives(given), targets=MASKS_PER_IMAGE if masked else 0,
    )  # fmt: skip


def _windows(window: int) -> tuple[str, ...]:
    kinds = product(("P", "BP", "BR"), (4, 8, 16, 32)) if window else ()
    return tuple(f"{kind}{window}/{stride}" for kind, stride in kinds)


def _words(given: vision_shapes.Shape) -> str:
    classes = given.options.get("num_labels")
    if given.task == "boxes":
        return f"{classes} classes, the package's own loss with {TARGETS_PER_IMAGE} ground truths an image"
    if given.task == "masks":
        return f"{classes} classes, the package's own loss"
    return f"{classes} classes, cross-entropy"


def _positives(given: vision_shapes.Shape) -> Positives:
    return positives if given.task == "boxes" else lambda _: 1


def _match_without_values() -> None:
    """Every ground truth gets a query; which one is data."""

    def matched(self: Any, *given: Any, **named: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
        del self
        truths = [each for each in (*given, *named.values()) if isinstance(each, list)][-1]
        count = [int((each["class_labels"] if isinstance(each, dict) else each).shape[0]) for each in truths]
        return [(torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64)) for n in count]

    for module, matcher in _MATCHERS.items():
        getattr(importlib.import_module(module), matcher).forward = matched


def _built(given: vision_shapes.Shape) -> nn.Module:
    transformers = importlib.import_module("transformers")
    options = dict(given.options)
    if given.backbone is not None:
        kind, inside = given.backbone
        options["backbone_config"] = getattr(transformers, kind)(**inside)
    elif given.task == "boxes" and not given.config.startswith("Yolos"):
        options["use_pretrained_backbone"] = False
    model = getattr(transformers, given.model)(getattr(transformers, given.config)(**options))
    model.tie_weights()  # which the skipped initialisation would have done
    module: nn.Module = model
    return module


def _batch(given: vision_shapes.Shape, shape: Shape) -> dict[str, Any]:
    pixels = images(shape)
    if given.task == "classes":
        return {"pixel_values": pixels, "labels": torch.zeros(shape.batch, dtype=torch.int64)}
    if given.task == "pixels":
        labels = torch.zeros(shape.batch, shape.height, shape.width, dtype=torch.int64)
        return {"pixel_values": pixels, "labels": labels}
    if given.task == "boxes":
        truths = [
            {"class_labels": torch.zeros(TARGETS_PER_IMAGE, dtype=torch.int64),
             "boxes": torch.zeros(TARGETS_PER_IMAGE, 4)}
            for _ in range(shape.batch)
        ]  # fmt: skip
        return {"pixel_values": pixels, "labels": truths}
    return {"pixel_values": pixels, **_masks(given, shape)}


def _masks(given: vision_shapes.Shape, shape: Shape) -> dict[str, Any]:
    """Masks as the package's image processors make them: fp32, one a truth at the image's size."""
    size = (shape.height, shape.width)
    found: dict[str, Any] = {
        "pixel_mask": torch.ones(shape.batch, *size, dtype=torch.int64),
        "mask_labels": list(torch.zeros(shape.batch, shape.targets, *size).unbind()),
        "class_labels": list(torch.zeros(shape.batch, shape.targets, dtype=torch.int64).unbind()),
    }
    if given.config == "OneFormerConfig":
        queries, contexts, length = given.options.get("num_queries", 150), 16, 77
        found["task_inputs"] = torch.zeros(shape.batch, length, dtype=torch.int64)
        found["text_inputs"] = torch.zeros(shape.batch, queries - contexts, length, dtype=torch.int64)
    return found


def _loss(model: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    loss: torch.Tensor = model(**batch).loss
    return loss.sum()  # OneFormer's has one element


def _forward(model: nn.Module, batch: dict[str, Any]) -> Any:
    kept = ("pixel_values", "pixel_mask", "task_inputs", "text_inputs")
    return model(**{key: value for key, value in batch.items() if key in kept})
