"""RoI heads: regions sampled, pooled, classified, refined, segmented.

Source: mmdet 3.3.0 ``models/roi_heads`` (standard, cascade, double, mask scoring).
Every sampler's ``num`` is taken as reached in each image, ``pos_fraction`` of it positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.common import Batch, RegionExtractor
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor


def listed(value: Any, count: int) -> list[Any]:
    """A setting for each stage."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * count


class Sampled:
    """How many regions an image keeps for training."""

    def __init__(self, train: Mapping[str, Any] | None, proposals: int = 1000) -> None:
        sampler = (train or {}).get("sampler") or {}
        self.number = int(sampler.get("num", 512))
        self.positive = int(self.number * float(sampler.get("pos_fraction", 0.25)))
        if str(sampler.get("type")) == "PseudoSampler":
            self.number = self.positive = proposals


class RegionHead:
    """StandardRoIHead: one box head, and a mask head over the positives."""

    def __init__(self, build: Build, config: Config) -> None:
        self.build, self.tape = build, build.tape
        self.sampled = Sampled(config.get("train_cfg"))
        shared = config.get("shared_head")
        self.shared = build.make("layer", shared) if shared else None
        self.boxes = build.make("head", config["bbox_head"]) if config.get("bbox_head") else None
        self.extract = RegionExtractor(build, config["bbox_roi_extractor"]) if self.boxes is not None else None
        masks = config.get("mask_head")
        self.masks = build.make("head", masks) if masks else None
        given = config.get("mask_roi_extractor")
        self.extract_masks = RegionExtractor(build, given) if given else None

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        losses: list[Tensor] = []
        features: Tensor | None = None
        if self.boxes is not None and self.extract is not None:
            features = self.extract(maps, self.sampled.number * batch.images)
            features = features if self.shared is None else self.shared(features)
            scores, deltas = self.forward_boxes(maps, features, batch)
            losses += self.boxes.loss(scores, deltas, self.sampled.positive * batch.images)
            del scores, deltas
        if self.masks is not None:
            losses += self.mask_losses(maps, features, batch)
        return losses

    def forward_boxes(self, maps: Maps, features: Tensor, batch: Batch) -> tuple[Any, Any]:
        del maps, batch
        assert self.boxes is not None
        found: tuple[Any, Any] = self.boxes.forward(features)
        return found

    def mask_features(self, maps: Maps, features: Tensor | None, batch: Batch) -> Tensor:
        """Features of the positives, pooled anew or picked from the boxes'."""
        positives = self.sampled.positive * batch.images
        if self.extract_masks is not None:
            found = self.extract_masks(maps, positives)
            return found if self.shared is None else self.shared(found)
        assert features is not None
        return ops.gather(features, (positives, *features.shape[1:]), 8 * positives)

    def mask_losses(self, maps: Maps, features: Tensor | None, batch: Batch) -> list[Tensor]:
        assert self.masks is not None
        pooled = self.mask_features(maps, features, batch)
        logits = self.masks.forward(pooled)
        found: list[Tensor] = self.masks.loss(logits, batch)
        return found


@head("StandardRoIHead", "DynamicRoIHead", "PISARoIHead", "TridentRoIHead")
def standard(build: Build, config: Config) -> RegionHead:
    """One stage, whatever chooses its samples."""
    return RegionHead(build, config)


@head("DoubleHeadRoIHead")
class DoubleRegionHead(RegionHead):
    """Regions pooled twice: as they are for the classes, enlarged for the boxes."""

    def forward_boxes(self, maps: Maps, features: Tensor, batch: Batch) -> tuple[Any, Any]:
        assert self.extract is not None
        assert self.boxes is not None
        enlarged = self.extract(maps, self.sampled.number * batch.images)
        found: tuple[Any, Any] = self.boxes.forward_both(features, enlarged)
        return found


@head("MaskScoringRoIHead")
class ScoringRegionHead(RegionHead):
    """Mask Scoring R-CNN: the IoU of each mask is predicted from its features and its logits."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.scoring = build.make("head", config["mask_iou_head"])

    def mask_losses(self, maps: Maps, features: Tensor | None, batch: Batch) -> list[Tensor]:
        assert self.masks is not None
        pooled = self.mask_features(maps, features, batch)
        logits = self.masks.forward(pooled)
        losses: list[Tensor] = list(self.masks.loss(logits, batch))
        picked = ops.gather(logits, (logits.shape[0], 1, *logits.size), 16 * logits.shape[0])
        losses += self.scoring.loss(pooled, picked)
        return losses


@head("CascadeRoIHead")
class CascadeHead:
    """Stages of boxes, each pooled from the boxes of the one before; masks in each."""

    def __init__(self, build: Build, config: Config) -> None:
        self.build, self.tape = build, build.tape
        self.count = int(config.get("num_stages", 3))
        trains = listed(config.get("train_cfg"), self.count)
        self.sampled = [Sampled(each) for each in trains]
        self.boxes = [build.make("head", each) for each in listed(config["bbox_head"], self.count)]
        self.extract = [RegionExtractor(build, each) for each in listed(config["bbox_roi_extractor"], self.count)]
        masks = config.get("mask_head")
        self.masks = [build.make("head", each) for each in listed(masks, self.count)] if masks else []
        extractors = config.get("mask_roi_extractor") or config["bbox_roi_extractor"]
        self.extract_masks = [RegionExtractor(build, each) for each in listed(extractors, self.count)] if masks else []
        shared = config.get("shared_head")
        self.shared = build.make("layer", shared) if shared else None

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        losses: list[Tensor] = []
        for stage in range(self.count):
            results = self.box_stage(maps, batch, stage, losses)
            if self.masks:
                losses += self.mask_stage(maps, batch, stage)
            del results
        return losses

    def box_stage(self, maps: Maps, batch: Batch, stage: int, losses: list[Tensor]) -> tuple[Tensor, Any, Any]:
        """Pools and classifies one stage's regions; what the stage's results keep alive is returned."""
        sampled = self.sampled[stage]
        features = self.extract[stage](maps, sampled.number * batch.images)
        features = features if self.shared is None else self.shared(features)
        scores, deltas = self.boxes[stage].forward(features)
        losses += self.boxes[stage].loss(scores, deltas, sampled.positive * batch.images)
        return features, scores, deltas

    def mask_stage(self, maps: Maps, batch: Batch, stage: int) -> list[Tensor]:
        features = self.extract_masks[stage](maps, self.sampled[stage].positive * batch.images)
        logits = self.masks[stage].forward(features)
        found: list[Tensor] = self.masks[stage].loss(logits, batch)
        return found
