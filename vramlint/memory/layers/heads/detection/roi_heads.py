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
        self.build, self.tape, self.config = build, build.tape, config
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


@head("HybridTaskCascadeRoIHead")
class HybridCascade(CascadeHead):
    """HTC: a semantic branch joins every pooling, mask features pass from stage to stage."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        semantic = config.get("semantic_head")
        self.semantic = build.make("head", semantic) if semantic else None
        given = config.get("semantic_roi_extractor")
        self.extract_semantic = RegionExtractor(build, given) if given else None
        self.flows = bool(config.get("mask_info_flow", True))
        self.fused: Tensor | None = None

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        losses: list[Tensor] = []
        if self.semantic is not None:
            found, self.fused = self.semantic.loss(maps, batch)
            losses.append(found)
        losses += super().loss(maps, batch)
        self.fused = None
        return losses

    def _joined(self, features: Tensor, regions: int, *, inplace: bool) -> Tensor:
        if self.fused is None or self.extract_semantic is None:
            return features
        other = self.extract_semantic([self.fused], regions)
        if other.size != features.size:
            other = ops.adaptive_avg_pool(other, features.size)
        return ops.add(features, other, inplace=inplace)

    def box_stage(self, maps: Maps, batch: Batch, stage: int, losses: list[Tensor]) -> tuple[Tensor, Any, Any]:
        sampled = self.sampled[stage]
        regions = sampled.number * batch.images
        features = self._joined(self.extract[stage](maps, regions), regions, inplace=True)
        scores, deltas = self.boxes[stage].forward(features)
        losses += self.boxes[stage].loss(scores, deltas, sampled.positive * batch.images)
        return features, scores, deltas

    def mask_stage(self, maps: Maps, batch: Batch, stage: int) -> list[Tensor]:
        regions = self.sampled[stage].positive * batch.images
        pooled = self._joined(self.extract_masks[stage](maps, regions), regions, inplace=False)
        before: Tensor | None = None
        for earlier in self.masks[:stage] if self.flows else []:
            before = earlier.features(earlier.with_residual(pooled, before))
        head_ = self.masks[stage]
        logits = head_.predict(head_.features(head_.with_residual(pooled, before)))
        found: list[Tensor] = head_.loss(logits, batch)
        return found


@head("SCNetRoIHead")
class ConsistentHead(CascadeHead):
    """SCNet: one mask head after the cascade; semantic, global and relayed features join the poolings."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, {**config, "mask_head": None})
        self.mask = build.make("head", config["mask_head"])
        self.extract_mask = RegionExtractor(build, config["mask_roi_extractor"])
        semantic, context, relay = (config.get(key) for key in ("semantic_head", "glbctx_head", "feat_relay_head"))
        self.semantic = build.make("head", semantic) if semantic else None
        self.extract_semantic = (
            RegionExtractor(build, config["semantic_roi_extractor"]) if config.get("semantic_roi_extractor") else None
        )
        self.context = build.make("head", context) if context else None
        self.relay = build.make("head", relay) if relay else None

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        losses: list[Tensor] = []
        fused: Tensor | None = None
        if self.semantic is not None:
            found, fused = self.semantic.loss(maps, batch)
            losses.append(found)
        if self.context is not None:
            losses += self.context.loss(maps, batch)
        rows: Tensor | None = None
        for stage in range(self.count):
            sampled = self.sampled[stage]
            regions = sampled.number * batch.images
            features = self._joined(self.extract[stage](maps, regions), fused, regions)
            scores, deltas, rows = self.boxes[stage].forward_shared(features)
            losses += self.boxes[stage].loss(scores, deltas, sampled.positive * batch.images)
            del features, scores, deltas
        return losses + self._mask(maps, batch, fused, rows)

    def _mask(self, maps: Maps, batch: Batch, fused: Tensor | None, rows: Tensor | None) -> list[Tensor]:
        positives = self.sampled[-1].positive * batch.images
        pooled = self._joined(self.extract_mask(maps, positives), fused, positives)
        if self.relay is not None and rows is not None:
            picked = ops.gather(rows, (positives, rows.shape[1]), 8 * positives)
            pooled = ops.add(pooled, self.relay.forward(picked))
        logits = self.mask.forward(pooled)
        found: list[Tensor] = self.mask.loss(logits, batch)
        return found

    def _joined(self, features: Tensor, fused: Tensor | None, regions: int) -> Tensor:
        if fused is not None and self.extract_semantic is not None:
            other = self.extract_semantic([fused], regions)
            if other.size != features.size:
                other = ops.adaptive_avg_pool(other, features.size)
            features = ops.add(features, other, inplace=True)
        if self.context is None:
            return features
        # ``_fuse_glbctx``: written image by image into zeros of the same size.
        fresh = self.tape.new(*features.shape, itemsize=features.itemsize)
        sums = ops.shifted(ops.gather(features, features.shape, 8 * regions))
        return self.tape.record(features.shape, features.itemsize, (sums,), (sums.bytes,), inplace=fresh)


@head("GridRoIHead")
class GridRegionHead(RegionHead):
    """Grid R-CNN: boxes classified, then refined by heat maps of nine points over the positives (96 at most)."""

    MOST = 192

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, {**config, "mask_head": None})
        self.grid = build.make("head", config["grid_head"])
        self.extract_grid = RegionExtractor(build, config["grid_roi_extractor"])

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        losses = super().loss(maps, batch)
        train = self.config.get("train_cfg") or {}
        most = int(train.get("max_num_grid", self.MOST))
        positives = min(most, self.sampled.positive * batch.images)
        losses += self.grid.loss(self.extract_grid(maps, positives))
        return losses
