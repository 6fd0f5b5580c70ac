"""The RF-DETR family of Roboflow's package: detection and segmentation, with its own criterion.

Matching predictions to ground truths needs their values; the assignment is replaced by one of the same sizes.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

TARGETS_PER_IMAGE = 10
"""Ground truths an image; COCO has 7.3."""

_CONFIGS = {
    "rfdetr_nano": "RFDETRNanoConfig",
    "rfdetr_small": "RFDETRSmallConfig",
    "rfdetr_base": "RFDETRBaseConfig",
    "rfdetr_medium": "RFDETRMediumConfig",
    "rfdetr_large": "RFDETRLargeConfig",
    "rfdetr_large_deprecated": "RFDETRLargeDeprecatedConfig",
    "rfdetr_seg_preview": "RFDETRSegPreviewConfig",
    "rfdetr_seg_nano": "RFDETRSegNanoConfig",
    "rfdetr_seg_small": "RFDETRSegSmallConfig",
    "rfdetr_seg_medium": "RFDETRSegMediumConfig",
    "rfdetr_seg_large": "RFDETRSegLargeConfig",
    "rfdetr_seg_xlarge": "RFDETRSegXLargeConfig",
    "rfdetr_seg_2xlarge": "RFDETRSeg2XLargeConfig",
}


def find(name: str) -> Target:
    """The model ``name`` (``rfdetr_nano``, ``rfdetr_seg_small``). Raises UnknownModel for any other."""
    if name not in _CONFIGS:
        raise UnknownModel(f"rfdetr has no model {name!r}")
    torchvision_schemas()
    configs = importlib.import_module("rfdetr.config")
    config = getattr(configs, _CONFIGS[name])(device="cpu")

    def make(shape: Shape, checkpointing: bool) -> Job:
        changed = config.model_copy(update={"gradient_checkpointing": checkpointing})
        model = _Detector(changed)
        masks = bool(changed.segmentation_head)
        return Job(model, lambda: _batch(shape, masks=masks), _loss, _forward)

    step = config.patch_size * config.num_windows
    shapes, confirm = _shapes(config.resolution, step)
    return Target(
        name,
        make,
        ("rfdetr", "transformers", "torch"),
        (
            f"{config.num_classes} classes, {config.num_queries} queries in {_groups(config)} groups, the package's "
            f"losses with {TARGETS_PER_IMAGE} ground truths an image",
            "the package matches one or two images by another path: up to 1.5 % less than said here",
        ),
        tolerance=0.015,
        has_checkpointing=True,
        shapes=shapes,
        confirm=confirm,
        size_multiple=step,
    )


def _groups(config: Any) -> int:
    return int(getattr(config, "group_detr", 13))


def _shapes(resolution: int, step: int) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    """Shapes around the default resolution but not at it, where position embeddings are not interpolated.

    Batches of 3 and more: the package stacks the matching costs of small batches.
    """
    base = -(-resolution // step) * step
    one, two = base + step * max(1, 64 // step), base + step * max(2, 160 // step)
    return (
        (Shape(3, one, one), Shape(4, one, one), Shape(3, two, one), Shape(5, two, two)),
        (Shape(6, resolution, resolution), Shape(1, two, one)),
    )


class _Detector(nn.Module):
    """The network and its criterion in one module, as the package's training module holds them."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        configs = importlib.import_module("rfdetr.config")
        models = importlib.import_module("rfdetr.models.lwdetr")
        kind = configs.SegmentationTrainConfig if config.segmentation_head else configs.TrainConfig
        training = kind(dataset_dir=".", output_dir=".")
        self.network = models.build_model_from_config(config, training)
        self.criterion, _ = models.build_criterion_from_config(config, training)
        self.criterion.matcher._assign_compact_cost_matrix = _assignment
        losses: Any = importlib.import_module("rfdetr.models.criterion")
        losses._sample_target_masks_at_points = _sampled_masks
        self._loss_masks = self.criterion.loss_masks
        self.criterion.loss_masks = self._masks_at_once

    def _masks_at_once(self, outputs: Any, truths: Any, indices: Any, num_boxes: Any) -> Any:
        """The package's mask loss, with the masks of all matched queries made in one turn instead of image by image.

        Which query belongs to which image is data; the masks have the same bytes either way.
        """
        made = outputs["pred_masks"]
        original = self.criterion._get_src_permutation_idx
        queries = made["query_features"][original(indices)]
        masks = torch.einsum("chw,nc->nhw", made["spatial_features"][0], queries) + made["bias"]
        self.criterion._get_src_permutation_idx = lambda _: slice(None)
        try:
            return self._loss_masks({**outputs, "pred_masks": torch.cat([masks])}, truths, indices, num_boxes)
        finally:
            self.criterion._get_src_permutation_idx = original


def _assignment(cost: torch.Tensor, sizes: list[int], groups: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Index pairs of the sizes that matching gives: every ground truth once in each group of queries."""
    del cost
    return [
        (torch.empty(size * groups, dtype=torch.int64), torch.empty(size * groups, dtype=torch.int64)) for size in sizes
    ]


def _sampled_masks(
    truths: list[dict[str, torch.Tensor]], indices: list[tuple[torch.Tensor, torch.Tensor]], points: torch.Tensor
) -> torch.Tensor:
    """Masks of the matched truths at points, as the package does it on CUDA.

    One image after the other: the matched masks of each, at full resolution and in fp32, live only while it is sampled.
    """
    masks, matched = truths[0]["masks"], indices[0][1]
    at_full_size = masks[matched].unsqueeze(1).float()
    point_sample = importlib.import_module("rfdetr.models.criterion").point_sample
    point_sample(at_full_size, points[: matched.numel()], align_corners=False, mode="nearest")
    return torch.empty(points.shape[0], points.shape[1])


def _batch(shape: Shape, *, masks: bool) -> tuple[Any, list[dict[str, torch.Tensor]]]:
    nested = importlib.import_module("rfdetr.utilities.tensors").NestedTensor
    pixels = torch.empty(shape.batch, 3, shape.height, shape.width)
    padding = torch.zeros(shape.batch, shape.height, shape.width, dtype=torch.bool)
    return nested(pixels, padding), [_truth(shape, masks=masks) for _ in range(shape.batch)]


def _truth(shape: Shape, *, masks: bool) -> dict[str, torch.Tensor]:
    truth = {
        "labels": torch.empty(TARGETS_PER_IMAGE, dtype=torch.int64),
        "boxes": torch.empty(TARGETS_PER_IMAGE, 4),
        "orig_size": torch.empty(2, dtype=torch.int64),
    }
    if masks:
        truth["masks"] = torch.empty(TARGETS_PER_IMAGE, shape.height, shape.width, dtype=torch.bool)
    return truth


def _loss(model: nn.Module, batch: tuple[Any, list[dict[str, torch.Tensor]]]) -> torch.Tensor:
    assert isinstance(model, _Detector)
    samples, truths = batch
    losses = model.criterion(model.network(samples, truths), truths)
    weights = model.criterion.weight_dict
    return torch.stack([losses[key] * weights[key] for key in losses if key in weights]).sum()


def _forward(model: nn.Module, batch: tuple[Any, list[dict[str, torch.Tensor]]]) -> Any:
    assert isinstance(model, _Detector)
    return model.network(batch[0])
