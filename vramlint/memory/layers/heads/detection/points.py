"""Heads over points: FCOS and its kin. Source: mmdet 3.3.0 ``models/dense_heads``."""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import (
    Batch,
    decode,
    out_conv,
    per_anchor,
    point_targets,
    stack,
    through,
)
from vramlint.memory.layers.heads.detection.dense import GN, SHARE_POSITIVE, DenseHead, learnt_scale_of
from vramlint.memory.layers.nn import Conv, DeformConv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor


@head("FCOSHead")
class FcosHead(DenseHead):
    """One point a place; all levels joined in the loss; targets by every point against every object."""

    joined = True
    learnt_scale = True
    norm: Config | None = GN
    extra = 1

    def anchors_of(self, config: Config) -> int:
        del config
        return 1

    def scaled(self, boxes: Tensor) -> Tensor:
        found = learnt_scale_of(self, boxes)
        return ops.keeps_input(found) if self.config.get("norm_on_bbox") else ops.sigmoid(found)

    def targets(self, total: int, batch: Batch) -> list[Tensor]:
        for objects in batch.counts:
            point_targets(self.tape, total, objects)
        return [self.tape.new(total * batch.images, 6)]


@head("CenterNetUpdateHead")
class CenterUpdateHead(FcosHead):
    """CenterNet2's first stage: no centerness; a Gaussian focal loss with a sigmoid, whatever ``loss_cls`` says."""

    extra = 0

    def __init__(self, build: Build, config: Config) -> None:
        loss = config.get("loss_cls") or {"type": "GaussianFocalLoss"}
        super().__init__(build, {**config, "loss_cls": {**loss, "use_sigmoid": True}})


@head("NASFCOSHead")
class SearchedHead(FcosHead):
    """FCOS with searched branches: deformable, plain, deformable, 1x1."""

    def branches(self) -> tuple[Any, Any]:
        deformable: Config = {"type": "DCNv2", "deform_groups": 2}
        kinds: list[tuple[Config | None, int, bool]] = [
            (deformable, 3, True), (None, 3, False), (deformable, 3, True), (None, 1, False),
        ]  # fmt: skip

        def branch() -> list[ConvModule]:
            return [
                ConvModule(
                    self.tape, self.inside if i == 0 else self.channels, self.channels, kernel, 1, kernel // 2,
                    norm_cfg=self.norm_cfg, act_cfg=RELU, conv_cfg=kind, bias=bias,
                )
                for i, (kind, kernel, bias) in enumerate(kinds)
            ]  # fmt: skip

        return branch(), branch()


@head("FoveaHead")
class FoveaHead(FcosHead):
    """No centerness; with ``with_deform`` the classes' features are aligned to the boxes."""

    extra = 0
    learnt_scale = False

    def __init__(self, build: Build, config: Config) -> None:
        self.deform = bool(config.get("with_deform", False))
        super().__init__(build, {**config, "norm_cfg": config.get("norm_cfg")})
        if self.deform:
            groups = int(config.get("deform_groups", 4))
            self.offsets = Conv(self.tape, 4, groups * 18, bias=False)
            self.align = DeformConv(
                self.tape, self.channels, self.channels, 3, 1, 1, deform_groups=groups, own_offsets=False
            )

    @property
    def cls_width(self) -> int:
        return self.channels * (4 if self.deform else 1)

    def branches(self) -> tuple[Any, Any]:
        first, second = super().branches() if not self.deform else (None, None)
        if first is not None:
            return first, second
        wide, tape = self.channels * 4, self.tape
        cls = [
            ConvModule(tape, self.channels, wide, 3, padding=1, norm_cfg=self.norm_cfg, act_cfg=RELU),
            ConvModule(tape, wide, wide, 1, norm_cfg=self.norm_cfg, act_cfg=RELU),
        ]
        count = int(self.config.get("stacked_convs", 4))
        return cls, stack(tape, count, self.inside, self.channels, norm_cfg=self.norm_cfg)

    def one(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        del level
        boxes = self.to_boxes(through(self.reg, x))
        if self.deform:
            x = ops.relu(self.align(x, self.offsets(ops.sigmoid(boxes))), inplace=True)
        return self.to_classes(through(self.cls, x)), boxes, None

    def targets(self, total: int, batch: Batch) -> list[Tensor]:
        return [self.tape.new(total * batch.images, 6)]


@head("AutoAssignHead")
class AutoAssignHead(FcosHead):
    """Every place inside a box is weighted by confidence and a learnt centre prior, image by image."""

    def scaled(self, boxes: Tensor) -> Tensor:
        return ops.scaled(ops.keeps_input(learnt_scale_of(self, boxes)))

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        outs = [self.one(x, level) for level, x in enumerate(maps)]
        total = sum(scores.elements for scores, _, _ in outs) // self.classes // batch.images
        kept = self.targets(total, batch)
        losses: list[Tensor] = []
        boxes = ops.concatenate([per_anchor(each, 4) for _, each, _ in outs], axis=0)
        scores = ops.concatenate([per_anchor(each, self.classes) for each, _, _ in outs], axis=0)
        for objects in batch.counts:
            losses += self._image(boxes, scores, total, objects)
        del kept
        return losses

    def _image(self, boxes: Tensor, scores: Tensor, places: int, objects: int) -> list[Tensor]:
        """Every place's box against every object; confidences of every pair; negatives of every class."""
        pairs = places * objects
        repeated = ops.gather(boxes, (pairs, 4), 0)
        location = self.regress(decode(repeated))
        chance = ops.sigmoid(ops.select(scores, (places, self.classes)))
        confident = ops.mul(chance, chance)
        picked = ops.gather(confident, (places, objects), 8 * objects)
        for _ in range(5):
            picked = ops.pointwise_loss(picked, kept=1, steps=0)
        negative = ops.pointwise_loss(confident, kept=3, steps=1)
        return [location, ops.total(picked), ops.total(negative)]


@head("VFNetHead")
class VfnetHead(FcosHead):
    """Boxes are predicted, then refined by a star-shaped deformable convolution; varifocal loss."""

    extra = 0
    default_loss: ClassVar[Config] = {"type": "VarifocalLoss", "use_sigmoid": True}

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, {**config, "stacked_convs": config.get("stacked_convs", 3)})
        tape, channels = self.tape, self.channels
        modulated = bool(config.get("dcn_on_last_conv"))
        del modulated
        self.first = ConvModule(tape, channels, channels, 3, padding=1, norm_cfg=self.norm_cfg, act_cfg=RELU)
        self.refine_boxes = DeformConv(tape, channels, channels, 3, 1, 1, own_offsets=False)
        self.to_refined = out_conv(tape, channels, 4)
        self.refine_classes = DeformConv(tape, channels, channels, 3, 1, 1, own_offsets=False)

    def one(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        del level
        for_classes, for_boxes = through(self.cls, x), through(self.reg, x)
        boxes = ops.sigmoid(learnt_scale_of(self, self.to_boxes(self.first(for_boxes))))
        shape = (boxes.shape[0], 18, *boxes.size)
        offset = self.tape.new(*shape, itemsize=boxes.itemsize)
        for_boxes = ops.relu(self.refine_boxes(for_boxes, offset))
        refined = ops.mul(ops.sigmoid(learnt_scale_of(self, self.to_refined(for_boxes))), boxes.detach())
        for_classes = ops.relu(self.refine_classes(for_classes, offset))
        return self.to_classes(for_classes), ops.concatenate([boxes, refined]), None

    def over_all(self, outs: list[tuple[Tensor, Tensor, Tensor | None]]) -> list[Tensor]:
        parts = [(scores, ops.split(boxes, [4, 4])) for scores, boxes, _ in outs]
        first = [(scores, pair[0], None) for scores, pair in parts]
        losses = super().over_all(list(first))
        rows = ops.concatenate([per_anchor(pair[1], 4) for _, pair in parts], axis=0)
        losses.append(self.regress(ops.gather(rows, (max(1, rows.shape[0] // SHARE_POSITIVE), 4), rows.shape[0])))
        return losses


@head("RepPointsHead")
class RepPointsHead(FcosHead):
    """Nine points a place as offsets, refined by deformable convolutions."""

    extra = 0
    learnt_scale = False
    norm = None

    def __init__(self, build: Build, config: Config) -> None:
        self.points = int(config.get("num_points", 9))
        super().__init__(build, {**config, "stacked_convs": config.get("stacked_convs", 3)})
        tape, channels = self.tape, self.channels
        width = int(config.get("point_feat_channels", 256))
        outputs = 2 * self.points
        self.init_conv, self.init_out = Conv(tape, channels, width, 3, padding=1), Conv(tape, width, outputs)
        self.refine_classes = DeformConv(tape, channels, width, 3, 1, 1, own_offsets=False)
        self.refine_points = DeformConv(tape, channels, width, 3, 1, 1, own_offsets=False)
        self.refine_out = Conv(tape, width, outputs)
        self.to_classes, self.to_boxes = Conv(tape, width, self.classes), Conv(tape, 1, 1)

    kernel = 1

    def one(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        del level
        for_classes, for_points = through(self.cls, x), through(self.reg, x)
        first = self.init_out(ops.relu(self.init_conv(for_points), inplace=True))
        offset = ops.shifted(ops.scaled(first))
        scores = self.to_classes(ops.relu(self.refine_classes(for_classes, offset), inplace=True))
        second = self.refine_out(ops.relu(self.refine_points(for_points, offset), inplace=True))
        return scores, ops.concatenate([first, ops.add(second, first.detach())]), None

    def over_all(self, outs: list[tuple[Tensor, Tensor, Tensor | None]]) -> list[Tensor]:
        losses: list[Tensor] = []
        for scores, points, _ in outs:
            rows = per_anchor(points, 2 * self.points)
            losses += [self.classify(per_anchor(scores, self.classes)), self.regress(decode(rows))]
        return losses
