"""Fast R-CNN, and its kin over clips: actions of people whose boxes are given (AVA).

Source: mmaction2 1.2.0 and 0.24.1 ``models/roi_heads/roi_head.py``, ``roi_extractors/single_straight3d.py``,
``bbox_heads/bbox_head.py``; mmdet 3.3.0 ``models/detectors/fast_rcnn.py``.
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.common import region_align
from vramlint.memory.layers.models.detectors import TwoStage
from vramlint.memory.layers.nn import Linear
from vramlint.memory.layers.registry import Build, Config, Maps, UnknownType, head, model
from vramlint.memory.layers.tape import Tensor

PEOPLE = 32
"""Sampled boxes an image where the config names no sampler."""


@model("FastRCNN")
def fast_rcnn(build: Build, config: Config) -> Any:
    """mmdet's over images, or mmaction2's over clips, by its RoI head."""
    kind = str((config.get("roi_head") or {}).get("type")).rpartition(".")[2]
    return ActionDetector(build, config) if kind == "AVARoIHead" else TwoStage(build, config)


@head("AVARoIHead")
def action_head(build: Build, config: Config) -> Any:
    """A part that its detector makes itself."""
    del build
    raise UnknownType(f"{config['type']} outside FastRCNN")


class ActionDetector:
    """A clip's features, pooled over time, cut out by boxes; one score an action."""

    spread = 0.15
    counts_objects = False
    assumptions = ("every key frame has as many boxes as the sampler takes",)

    def __init__(self, build: Build, config: Config) -> None:
        self.build = build
        section = config["roi_head"]
        if section.get("shared_head"):
            raise UnknownType(
                f"{section['shared_head'].get('type')}: its maps are one a person, and those are the data's"
            )
        self.backbone = build.backbone(config["backbone"])
        extractor, boxes = section["bbox_roi_extractor"], section["bbox_head"]
        self.side = int(extractor.get("output_size", 16))
        self.pooled = bool(extractor.get("with_temporal_pool", True))
        self.maximum = extractor.get("temporal_pool_mode", "avg") == "max"
        if extractor.get("with_global"):
            raise KeyError("with_global")
        inside, classes = int(boxes["in_channels"]), int(boxes.get("num_classes", 81))
        two = bool(boxes.get("mlp_head", False))
        self.hidden = Linear(build.tape, inside, inside) if two else None
        self.classify = Linear(build.tape, inside, classes)
        self.rate = float(boxes.get("dropout_ratio", 0.0))
        train = (config.get("train_cfg") or {}).get("rcnn") or {}
        self.people = int((train.get("sampler") or {}).get("num", PEOPLE))

    def loss(self, images: Tensor) -> Tensor:
        facts = self.build.facts
        if "clip_len" not in facts:
            raise UnknownType("no clip length in the training pipeline")
        batch, channels, height, width = images.shape
        clips = self.build.tape.new(batch, channels, int(facts["clip_len"]), height, width)
        feature = self._pooled(self.backbone(clips))
        frames = feature.shape[2]
        cut: list[Tensor] = []
        for _ in range(frames):
            frame = ops.copy(ops.select(feature, (batch, feature.shape[1], *feature.size)))
            cut.append(region_align(frame, batch * self.people, self.side))
        count = batch * self.people
        x = ops.concatenate([each.view(count, each.shape[1], 1, self.side, self.side) for each in cut], axis=2)
        del cut
        x = ops.adaptive_avg_pool(x, (1, self.side, self.side))
        x = ops.adaptive_max_pool(x, 1)
        rows = ops.dropout(x.view(count, x.shape[1]), self.rate)
        if self.hidden is not None:
            rows = ops.relu(self.hidden(rows))
        return ops.total(ops.pointwise_loss(self.classify(rows), kept=2))

    def _pooled(self, maps: Maps) -> Tensor:
        """Levels resized to the longest, averaged or maximised over time, joined."""
        longest = max(each.shape[2] for each in maps)
        if len(maps) > 1:
            maps = [ops.resize(each, (longest, *maps[0].size)) for each in maps]
        if self.pooled:
            shapes = [(each.shape[0], each.shape[1], 1, *each.size) for each in maps]
            if self.maximum:
                record = self.build.tape.record
                maps = [
                    record(shape, each.itemsize, (each,), (each.bytes,), extra_saved_bytes=8 * each.elements // longest)
                    for each, shape in zip(maps, shapes, strict=True)
                ]
            else:
                maps = [ops.mean(each, shape) for each, shape in zip(maps, shapes, strict=True)]
        return ops.concatenate(maps)
