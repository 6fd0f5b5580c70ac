"""DETR and its kin, RT-DETR and SegFormer of transformers by the names of their checkpoints, never downloaded.

Matching predictions to ground truths needs their values; it is replaced by an assignment of the same size. Shapes are
facts of the public model cards (``config.json``).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.families.images import images
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

TARGETS_PER_IMAGE = 10
"""Ground truths an image; COCO has 7.3."""

DENOISING = 100
"""Noised copies of ground truths that RT-DETR adds to the queries (its config's default)."""

_SCORE_TERMS = ("1", "B", "HW", "BHW", "B(HW)^2", "B^2")
"""Attention may hold its scores; losses of boxes compare every box of the batch with every other one."""

_SCORE_SHAPES = (
    Shape(3, 128, 128), Shape(4, 128, 128), Shape(3, 320, 320), Shape(4, 256, 192), Shape(3, 512, 512),
    Shape(7, 192, 256),
)  # fmt: skip
_CONFIRM = (Shape(5, 320, 256), Shape(3, 640, 640))


class _Detector(NamedTuple):
    """Config and model class, options that differ from the config's defaults, names of its public checkpoints."""

    config: str
    model: str
    options: Mapping[str, Any]
    checkpoints: tuple[str, ...]


_RESNET_101 = {"backbone": "resnet101"}

_DETECTORS = {
    "detr_resnet50": _Detector("DetrConfig", "DetrForObjectDetection", {}, ("detr-resnet-50",)),
    "detr_resnet101": _Detector("DetrConfig", "DetrForObjectDetection", _RESNET_101, ("detr-resnet-101",)),
    "detr_resnet50_dc5": _Detector("DetrConfig", "DetrForObjectDetection", {"dilation": True}, ("detr-resnet-50-dc5",)),
    "rtdetr_r50vd": _Detector(
        "RTDetrConfig", "RTDetrForObjectDetection", {}, ("rtdetr_r50vd", "rtdetr_r50vd_coco_o365")
    ),
}

_WIDE = (64, 128, 320, 512)
_SEGFORMERS = {
    "segformer_b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "segformer_b1": (_WIDE, (2, 2, 2, 2), 256),
    "segformer_b2": (_WIDE, (3, 4, 6, 3), 768),
    "segformer_b3": (_WIDE, (3, 4, 18, 3), 768),
    "segformer_b4": (_WIDE, (3, 8, 27, 3), 768),
    "segformer_b5": (_WIDE, (3, 6, 40, 3), 768),
}
"""Widths, depths, width of the decoder (arXiv 2105.15203)."""


def names() -> list[str]:
    """All models of this family."""
    return [*_DETECTORS, *_SEGFORMERS]


def other_names() -> dict[str, str]:
    """Names of the public checkpoints."""
    found = {checkpoint: name for name, one in _DETECTORS.items() for checkpoint in one.checkpoints}
    for name in _SEGFORMERS:
        size = name.rpartition("_")[2]
        found[f"mit-{size}"] = name
        sides = "640-640" if size == "b5" else "512-512"
        found[f"segformer-{size}-finetuned-ade-{sides}"] = name
        found[f"segformer-{size}-finetuned-cityscapes-1024-1024"] = name
    return {other: name for other, name in found.items() if other != name}


def find(name: str) -> Target:
    """The model ``name``. Raises UnknownModel for any other."""
    torchvision_schemas()
    if name in _SEGFORMERS:
        return _segformer(name)
    if name not in _DETECTORS:
        raise UnknownModel(f"no detector or SegFormer {name!r}")
    one = _DETECTORS[name]
    transformers = importlib.import_module("transformers")
    _match_without_values()

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        config = getattr(transformers, one.config)(num_labels=91, use_pretrained_backbone=False, **one.options)
        return Job(getattr(transformers, one.model)(config), lambda: _batch(shape), _loss, _forward)

    words = f"91 classes, the package's own loss with {TARGETS_PER_IMAGE} ground truths an image"
    return Target(
        name, make, ("transformers", "timm", "torch"), (words,), terms=_SCORE_TERMS, shapes=_SCORE_SHAPES,
        confirm=_CONFIRM, real_second_step=False, positives=positives,
    )  # fmt: skip


def positives(shape: tuple[int, ...]) -> int:
    """RT-DETR's noised queries: every second of 200 an image stands for a ground truth (100 of ten groups)."""
    return shape[0] * DENOISING if len(shape) > 1 else shape[0] // 2


def _match_without_values() -> None:
    """Every ground truth gets a query; which one is data."""
    common = importlib.import_module("transformers.loss.loss_for_object_detection")
    newer = importlib.import_module("transformers.loss.loss_rt_detr")

    def matched(self: Any, outputs: Any, targets: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
        del self, outputs
        count = [int(each["class_labels"].shape[0]) for each in targets]
        return [(torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64)) for n in count]

    common.HungarianMatcher.forward = matched
    newer.RTDetrHungarianMatcher.forward = matched


def _batch(shape: Shape) -> dict[str, Any]:
    truths = [
        {"class_labels": torch.zeros(TARGETS_PER_IMAGE, dtype=torch.int64), "boxes": torch.zeros(TARGETS_PER_IMAGE, 4)}
        for _ in range(shape.batch)
    ]
    return {"pixel_values": images(shape), "labels": truths}


def _segformer(name: str) -> Target:
    widths, depths, decoder = _SEGFORMERS[name]
    transformers = importlib.import_module("transformers")

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        config = transformers.SegformerConfig(
            hidden_sizes=list(widths), depths=list(depths), decoder_hidden_size=decoder, num_labels=150
        )
        return Job(transformers.SegformerForSemanticSegmentation(config), lambda: _mapped(shape), _loss, _forward)

    return Target(
        name, make, ("transformers", "torch"), ("150 classes, cross-entropy",), terms=_SCORE_TERMS,
        shapes=_SCORE_SHAPES, confirm=_CONFIRM, real_second_step=False,
    )  # fmt: skip


def _mapped(shape: Shape) -> dict[str, torch.Tensor]:
    labels = torch.zeros(shape.batch, shape.height, shape.width, dtype=torch.int64)
    return {"pixel_values": images(shape), "labels": labels}


def _loss(model: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    loss: torch.Tensor = model(**batch).loss
    return loss


def _forward(model: nn.Module, batch: dict[str, Any]) -> Any:
    return model(pixel_values=batch["pixel_values"])
