"""Dense heads with layers of each level's own: YOLOX, RTMDet, YOLOv3, SSD.

Source: mmdet 3.3.0 ``models/dense_heads``.
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule, SeparableConv
from vramlint.memory.layers.heads.detection.common import (
    Batch,
    Losses,
    assign,
    decode,
    per_anchor,
    row_entropy,
    through,
)
from vramlint.memory.layers.heads.detection.rpn import anchor_targets
from vramlint.memory.layers.nn import Conv, Layer
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor

BN: Config = {"type": "BN"}
SWISH: Config = {"type": "Swish"}
CANDIDATES_SHARE = 0.5
"""Share of places inside a box or near a centre, which SimOTA compares with the objects, on a full image."""


def dynamic_assignment(tape: Tape, places: int, objects: int, classes: int) -> None:
    """SimOTA: IoU, then binary cross entropy of every candidate, object and class, in fp32 (four such tensors)."""
    candidates = int(places * CANDIDATES_SHARE)
    boxes = [tape.new(candidates * objects, 2) for _ in range(3)]
    del boxes
    costs = [tape.new(candidates * objects, classes) for _ in range(3)]
    del costs


@head("YOLOXHead")
class YoloxHead:
    """Two branches a level; classes, box and objectness; SimOTA over the whole image."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = int(config["in_channels"]), int(config.get("feat_channels", 256))
        self.classes = int(config["num_classes"])
        self.train = config.get("train_cfg") or {}
        norm_cfg: Config = config.get("norm_cfg") or BN
        act_cfg: Config = config.get("act_cfg") or SWISH
        count, levels = int(config.get("stacked_convs", 2)), len(config.get("strides") or (8, 16, 32))
        depthwise = bool(config.get("use_depthwise", False))

        def module(a: int) -> Layer:
            if depthwise:
                return SeparableConv(tape, a, channels, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
            return ConvModule(tape, a, channels, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)

        def branch() -> list[Layer]:
            return [module(inside if i == 0 else channels) for i in range(count)]

        self.levels = [
            (branch(), branch(), Conv(tape, channels, self.classes), Conv(tape, channels, 4), Conv(tape, channels, 1))
            for _ in range(levels)
        ]

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        outs: list[tuple[Tensor, Tensor, Tensor]] = []
        for x, (cls, reg, to_classes, to_boxes, to_objects) in zip(maps, self.levels, strict=True):
            for_classes, for_boxes = through(cls, x), through(reg, x)
            outs.append((to_classes(for_classes), to_boxes(for_boxes), to_objects(for_boxes)))
            del for_classes, for_boxes
        scores = ops.concatenate([per_anchor(each, self.classes) for each, _, _ in outs], axis=0)
        boxes = ops.concatenate([per_anchor(each, 4) for _, each, _ in outs], axis=0)
        objects = ops.concatenate([per_anchor(each, 1) for _, _, each in outs], axis=0)
        boxes = decode(boxes)
        places = scores.shape[0] // batch.images
        for count in batch.counts:
            dynamic_assignment(self.tape, places, count, self.classes)
        positives = max(1, places // 20) * batch.images
        return [
            ops.total(ops.pointwise_loss(ops.gather(scores, (positives, self.classes), 8 * positives), kept=2)),
            Losses({"type": "IoULoss"})(ops.gather(boxes, (positives, 4), 8 * positives)),
            ops.total(ops.pointwise_loss(objects, kept=2)),
        ]


@head("RTMDetSepBNHead", "RTMDetHead")
class RtmHead:
    """Convolutions shared between levels, norms of each level's own; quality focal loss on all places."""

    masks = 0

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = int(config["in_channels"]), int(config.get("feat_channels", 256))
        self.classes = int(config["num_classes"])
        norm_cfg: Config = config.get("norm_cfg") or BN
        act_cfg: Config = config.get("act_cfg") or SWISH
        count = int(config.get("stacked_convs", 2))
        generator = config.get("anchor_generator") or {}
        levels = len(generator.get("strides") or (8, 16, 32))
        kernel = int(config.get("pred_kernel_size", 1))
        shared = bool(config.get("share_conv", True)) and "Sep" in str(config.get("type"))

        def branch() -> list[list[Any]]:
            first: list[ConvModule] = []
            found: list[list[Any]] = []
            for _ in range(levels):
                made: list[Any] = []
                for i in range(count):
                    source = inside if i == 0 else channels
                    if found and shared:
                        made.append(_with_shared_conv(tape, first[i], channels, norm_cfg, act_cfg))
                        continue
                    module = ConvModule(tape, source, channels, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
                    made.append(module)
                    first.append(module)
                found.append(made)
            return found

        self.cls, self.reg = branch(), branch()
        self.objectness = bool(config.get("with_objectness", False))

        def out(width: int) -> Conv:
            return Conv(tape, channels, width, kernel, padding=kernel // 2)

        self.outs = [(out(self.classes), out(4), out(1) if self.objectness else None) for _ in range(levels)]

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        scores: list[Tensor] = []
        boxes: list[Tensor] = []
        for x, cls, reg, (to_classes, to_boxes, _) in zip(maps, self.cls, self.reg, self.outs, strict=True):
            scores.append(to_classes(through(cls, x)))
            boxes.append(ops.scaled(to_boxes(through(reg, x))))
        places = sum(each.elements for each in scores) // self.classes // batch.images
        joined = ops.concatenate([per_anchor(each, self.classes) for each in scores], axis=0)
        decoded = decode(ops.concatenate([per_anchor(each, 4) for each in boxes], axis=0))
        for count in batch.counts:
            dynamic_assignment(self.tape, places, count, self.classes)
        quality = Losses({"type": "QualityFocalLoss"})
        iou = Losses({"type": "GIoULoss"})
        losses = [quality(per_anchor(each, self.classes)) for each in scores]
        del joined
        positives = max(1, places // 20) * batch.images
        return [*losses, iou(ops.gather(decoded, (positives, 4), 8 * positives))]


def _with_shared_conv(tape: Tape, module: ConvModule, channels: int, norm_cfg: Config, act_cfg: Config) -> Layer:
    from vramlint.memory.layers.bricks import activation, norm

    after, act = norm(tape, norm_cfg, channels), activation(act_cfg)
    return lambda x: act(after(module.conv(x)))


@head("YOLOV3Head")
class Yolov3Head:
    """A convolution and a prediction a level; five numbers and classes of three anchors a place."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        act: Config = config.get("act_cfg") or {"type": "LeakyReLU"}
        self.width = 5 + int(config["num_classes"])
        anchors = len(config["anchor_generator"]["base_sizes"][0])
        self.train = config.get("train_cfg") or {}
        self.levels = [
            (
                ConvModule(tape, a, b, 3, 1, 1, norm_cfg=config.get("norm_cfg") or BN, act_cfg=act),
                Conv(tape, b, anchors * self.width),
            )
            for a, b in zip(config["in_channels"], config["out_channels"], strict=True)
        ]

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        outs = [predict(conv(x)) for x, (conv, predict) in zip(maps, self.levels, strict=True)]
        total = sum(each.elements for each in outs) // self.width // batch.images
        for count in batch.counts:
            assign(self.tape, self.train.get("assigner"), total, count)
        losses: list[Tensor] = []
        for each in outs:
            rows = per_anchor(each, self.width)
            target = self.tape.new(*rows.shape)
            losses.append(ops.total(ops.pointwise_loss(rows, kept=2, steps=2)))
            del target
        return losses


@head("SSDHead", "PISASSDHead")
class SsdHead:
    """One convolution a level for classes and one for boxes; hard negatives by sorting every anchor's loss."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.classes = int(config["num_classes"]) + 1
        self.train = config.get("train_cfg") or {}
        ratios = config["anchor_generator"]["ratios"]
        anchors = [2 + 2 * len(each) for each in ratios]
        count, width = int(config.get("stacked_convs", 0)), int(config.get("feat_channels", 256))
        act: Config = config.get("act_cfg") or RELU
        depthwise = bool(config.get("use_depthwise", False))
        norm_cfg = config.get("norm_cfg")

        def branch(inside: int, channels: int) -> list[Layer]:
            layers: list[Layer] = []
            for i in range(count):
                source = inside if i == 0 else width
                layers.append(ConvModule(tape, source, width, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=act))
            if depthwise:
                layers.append(ConvModule(tape, inside, inside, 3, 1, 1, groups=inside, norm_cfg=norm_cfg, act_cfg=act))
                return [*layers, Conv(tape, inside, channels)]
            return [*layers, Conv(tape, width if count else inside, channels, 3, padding=1)]

        self.levels = [
            (branch(inside, each * self.classes), branch(inside, each * 4))
            for inside, each in zip(config["in_channels"], anchors, strict=True)
        ]

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        scores: list[Tensor] = []
        boxes: list[Tensor] = []
        for x, (cls, reg) in zip(maps, self.levels, strict=True):
            scores.append(per_anchor(through(cls, x), self.classes))
            boxes.append(per_anchor(through(reg, x), 4))
        total = sum(each.shape[0] for each in scores) // batch.images
        kept = anchor_targets(self.tape, self.train.get("assigner"), total, batch)
        joined, all_boxes = ops.concatenate(scores, axis=0), ops.concatenate(boxes, axis=0)
        del scores, boxes
        losses = [ops.total(row_entropy(joined)), ops.total(ops.pointwise_loss(all_boxes))]
        del kept
        return losses
