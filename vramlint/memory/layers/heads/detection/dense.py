"""Dense heads: two branches of convolutions over every level, a loss over every place.

Source: mmdet 3.3.0 ``models/dense_heads``. A dense head has ``loss(maps, batch) -> losses``. Three ways to work out the
loss: level by level (anchor heads), over all levels joined (FCOS and its kin), image by image (YOLOX, PAA).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import (
    Batch,
    Losses,
    anchors_each,
    assign,
    classes_of,
    decode,
    out_conv,
    per_anchor,
    point_targets,
    row_entropy,
    stack,
    through,
)
from vramlint.memory.layers.heads.detection.rpn import anchor_targets
from vramlint.memory.layers.nn import BatchNorm, Conv, DeformConv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor

GN: Config = {"type": "GN", "num_groups": 32, "requires_grad": True}
BATCH_NORM: Config = {"type": "BN", "requires_grad": True}


class DenseHead:
    """Branches for classes and boxes; subclasses add outputs and choose how the loss is worked out.

    ``extra`` are further outputs a place (centerness), from the box branch unless said otherwise.
    """

    joined = False
    extra = 0
    stacked = 4
    norm: Config | None = None
    box_width = 4
    kernel = 3
    learnt_scale = False

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.config = config
        self.train = config.get("train_cfg") or {}
        self.inside, self.channels = int(config.get("in_channels", 256)), int(config.get("feat_channels", 256))
        loss_cls = config.get("loss_cls") or self.default_loss
        self.classes = classes_of(config, loss=loss_cls)
        self.classify, self.regress = Losses(loss_cls), Losses(config.get("loss_bbox"))
        self.anchors = self.anchors_of(config)
        self.norm_cfg = config.get("norm_cfg", self.norm)
        self.cls, self.reg = self.branches()
        self.to_classes = out_conv(tape, self.cls_width, self.anchors * self.classes, self.kernel)
        self.to_boxes = out_conv(tape, self.channels, self.anchors * self.box_width, self.kernel)
        self.to_extra = out_conv(tape, self.channels, self.anchors * self.extra, 3) if self.extra else None
        self.decoded = bool(config.get("reg_decoded_bbox", False)) or self.regress.on_boxes
        if self.learnt_scale:  # one number a level, five levels unless the strides say otherwise
            tape.parameter(len(config.get("strides") or _strides(config)))

    default_loss: ClassVar[Config] = {"type": "FocalLoss", "use_sigmoid": True}

    @property
    def cls_width(self) -> int:
        """Channels in front of the classifier."""
        return self.channels

    def anchors_of(self, config: Config) -> int:
        generator = config.get("anchor_generator")
        return 1 if generator is None else anchors_each(generator)

    @property
    def conv_bias(self) -> bool | None:
        """``conv_bias``: also where a norm follows; left alone, exactly where none does."""
        given = self.config.get("conv_bias", "auto")
        return None if given == "auto" else bool(given)

    def branches(self) -> tuple[Any, Any]:
        config = self.config
        count = int(config.get("stacked_convs", self.stacked))
        deformable: Config | None = {"type": "DCNv2"} if config.get("dcn_on_last_conv") else None
        made = [
            stack(
                self.tape, count, self.inside, self.channels, norm_cfg=self.norm_cfg, conv_cfg=config.get("conv_cfg"),
                last_conv_cfg=deformable, bias=self.conv_bias,
            )
            for _ in range(2)
        ]  # fmt: skip
        return made[0], made[1]

    def one(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores, boxes and further outputs of one level."""
        del level
        for_classes, for_boxes = through(self.cls, x), through(self.reg, x)
        scores, boxes = self.to_classes(for_classes), self.to_boxes(for_boxes)
        extra = None if self.to_extra is None else self.to_extra(for_boxes)
        return scores, self.scaled(boxes), extra

    def scaled(self, boxes: Tensor) -> Tensor:
        """A learnt number a level, where the head has one."""
        return boxes

    def targets(self, total: int, batch: Batch) -> list[Tensor]:
        return anchor_targets(self.tape, self.train.get("assigner"), total, batch)

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        outs = [self.one(x, level) for level, x in enumerate(maps)]
        total = sum(scores.elements for scores, _, _ in outs) // self.classes // batch.images
        kept = self.targets(total, batch)
        losses = self.over_all(outs) if self.joined else self.level_by_level(outs)
        del kept
        return losses

    def level_by_level(self, outs: list[tuple[Tensor, Tensor, Tensor | None]]) -> list[Tensor]:
        losses: list[Tensor] = []
        for scores, boxes, extra in outs:
            rows = per_anchor(scores, self.classes)
            losses.append(self.classify(rows))
            rows = per_anchor(boxes, self.box_width)
            losses.append(self.box_loss(rows))
            del rows
            if extra is not None:
                losses.append(ops.total(ops.pointwise_loss(extra, kept=2)))
        return losses

    def box_loss(self, rows: Tensor) -> Tensor:
        return self.regress(decode(rows) if self.decoded else rows)

    def over_all(self, outs: list[tuple[Tensor, Tensor, Tensor | None]]) -> list[Tensor]:
        scores = [per_anchor(each, self.classes) for each, _, _ in outs]
        joined = ops.concatenate(scores, axis=0)
        boxes = ops.concatenate([per_anchor(each, self.box_width) for _, each, _ in outs], axis=0)
        rows = ops.gather(boxes, (max(1, boxes.shape[0] // _SHARE_POSITIVE), self.box_width), boxes.shape[0])
        del scores
        losses = [self.classify(joined), self.box_loss(rows)]
        extra = [per_anchor(each, self.extra) for _, _, each in outs if each is not None]
        if extra:
            losses.append(ops.total(ops.pointwise_loss(ops.concatenate(extra, axis=0), kept=2)))
        return losses


def _strides(config: Config) -> list[Any]:
    generator = config.get("anchor_generator") or config.get("prior_generator") or {}
    return list(generator.get("strides") or range(5))


_SHARE_POSITIVE = 20
"""At most about one place in twenty lies inside an object's centre region (FCOS, centre sampling)."""


# --- anchor heads ----------------------------------------------------------------------------------------------------


@head("RetinaHead", "FreeAnchorRetinaHead", "PISARetinaHead", "SSDRetinaHead")
class RetinaHead(DenseHead):
    """Nine anchors a place, focal loss."""


@head("FSAFHead")
class FsafHead(RetinaHead):
    """RetinaNet's branches with one anchor; losses of every place are collected to choose levels."""


@head("RetinaSepBNHead")
class SeparateNormHead(DenseHead):
    """Convolutions shared between levels, norms of each level's own."""

    def branches(self) -> tuple[Any, Any]:
        config, tape = self.config, self.tape
        count, levels = int(config.get("stacked_convs", 4)), int(config["num_ins"])
        self.norm_cfg = self.norm_cfg or BATCH_NORM

        def branch() -> list[list[Callable[[Tensor], Tensor]]]:
            convs = [
                Conv(tape, self.inside if i == 0 else self.channels, self.channels, 3, padding=1, bias=False)
                for i in range(count)
            ]
            return [[_with_norm(conv, BatchNorm(tape, self.channels)) for conv in convs] for _ in range(levels)]

        return branch(), branch()

    def one(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        for_classes, for_boxes = through(self.cls[level], x), through(self.reg[level], x)
        return self.to_classes(for_classes), self.to_boxes(for_boxes), None


def _with_norm(conv: Conv, norm: BatchNorm) -> Callable[[Tensor], Tensor]:
    return lambda x: ops.relu(norm(conv(x)), inplace=True)


class _Scaled(DenseHead):
    learnt_scale = True
    norm: Config | None = GN
    extra = 1

    def scaled(self, boxes: Tensor) -> Tensor:
        return _learnt_scale(self, boxes)


def _learnt_scale(head_: DenseHead, x: Tensor) -> Tensor:
    """mmcv's Scale: a product with a learnt number, which keeps ``x``; its gradient needs a product of that size."""
    return head_.tape.record(x.shape, x.itemsize, (x,), (x.bytes,), (x,), transient=x.bytes)


@head("ATSSHead", "DDODHead")
class AtssHead(_Scaled):
    """One anchor a place, group norm, centerness."""

    @property
    def kernel_of_prediction(self) -> int:
        return int(self.config.get("pred_kernel_size", 3))


@head("PAAHead", "LADHead")
class PaaHead(AtssHead):
    """Scores of all levels regrouped by image, positives chosen again by their loss."""

    joined = True


@head("GFLHead", "LDHead")
class GflHead(_Scaled):
    """Quality focal loss; boxes as distributions over ``reg_max`` + 1 bins."""

    extra = 0

    @property
    def box_width(self) -> int:  # type: ignore[override]
        return 4 * (int(self.config.get("reg_max", 16)) + 1)

    def box_loss(self, rows: Tensor) -> Tensor:
        picked = ops.gather(rows, (max(1, rows.shape[0] // _SHARE_POSITIVE), rows.shape[1]), rows.shape[0])
        return ops.total(row_entropy(picked))


# --- points ----------------------------------------------------------------------------------------------------------


@head("FCOSHead", "NASFCOSHead", "BoxInstBboxHead", "CenterNetUpdateHead")
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
        found = _learnt_scale(self, boxes)
        return ops.keeps_input(found) if self.config.get("norm_on_bbox") else ops.sigmoid(found)

    def targets(self, total: int, batch: Batch) -> list[Tensor]:
        for _ in range(batch.images):
            point_targets(self.tape, total, batch.objects)
        return [self.tape.new(total * batch.images, 6)]


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
        return ops.scaled(ops.keeps_input(_learnt_scale(self, boxes)))

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        outs = [self.one(x, level) for level, x in enumerate(maps)]
        total = sum(scores.elements for scores, _, _ in outs) // self.classes // batch.images
        kept = self.targets(total, batch)
        losses: list[Tensor] = []
        boxes = ops.concatenate([per_anchor(each, 4) for _, each, _ in outs], axis=0)
        scores = ops.concatenate([per_anchor(each, self.classes) for each, _, _ in outs], axis=0)
        for _ in range(batch.images):
            losses += self._image(boxes, scores, total, batch.objects)
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
        boxes = ops.sigmoid(_learnt_scale(self, self.to_boxes(self.first(for_boxes))))
        shape = (boxes.shape[0], 18, *boxes.size)
        offset = self.tape.new(*shape, itemsize=boxes.itemsize)
        for_boxes = ops.relu(self.refine_boxes(for_boxes, offset))
        refined = ops.mul(ops.sigmoid(_learnt_scale(self, self.to_refined(for_boxes))), boxes.detach())
        for_classes = ops.relu(self.refine_classes(for_classes, offset))
        return self.to_classes(for_classes), ops.concatenate([boxes, refined]), None

    def over_all(self, outs: list[tuple[Tensor, Tensor, Tensor | None]]) -> list[Tensor]:
        parts = [(scores, ops.split(boxes, [4, 4])) for scores, boxes, _ in outs]
        first = [(scores, pair[0], None) for scores, pair in parts]
        losses = super().over_all(list(first))
        rows = ops.concatenate([per_anchor(pair[1], 4) for _, pair in parts], axis=0)
        losses.append(self.regress(ops.gather(rows, (max(1, rows.shape[0] // _SHARE_POSITIVE), 4), rows.shape[0])))
        return losses


@head("YOLOFHead")
class YolofHead(DenseHead):
    """One level, objectness beside the classes; two convolutions for classes, four for boxes."""

    norm: Config | None = BATCH_NORM
    extra = 1

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, {**config, "feat_channels": config["in_channels"]})

    def branches(self) -> tuple[Any, Any]:
        config = self.config
        made = [
            stack(self.tape, int(config.get(key, count)), self.inside, self.channels, norm_cfg=self.norm_cfg)
            for key, count in (("num_cls_convs", 2), ("num_reg_convs", 4))
        ]
        return made[0], made[1]


@head("TOODHead")
class ToodHead(AtssHead):
    """Six shared convolutions, joined, split into tasks by attention over the layers; boxes sampled by offsets."""

    extra = 0

    def branches(self) -> tuple[Any, Any]:
        config, tape = self.config, self.tape
        count = self.count = int(config.get("stacked_convs", 4))
        deformable: Config = {"type": "DCNv2", "deform_groups": 4}
        number = int(config.get("num_dcn", 0))
        self.inter = [
            ConvModule(
                tape, self.inside if i == 0 else self.channels, self.channels, 3, padding=1, norm_cfg=self.norm_cfg,
                act_cfg=RELU, conv_cfg=deformable if i < number else config.get("conv_cfg"),
            )
            for i in range(count)
        ]  # fmt: skip
        wide, quarter = count * self.channels, self.channels // 4
        self.probability = Conv(tape, wide, quarter), Conv(tape, quarter, 1, 3, padding=1)
        self.offsets = Conv(tape, wide, quarter), Conv(tape, quarter, 8, 3, padding=1)
        return self._decomposition(wide), self._decomposition(wide)

    def _decomposition(self, wide: int) -> Callable[[Tensor, Tensor], Tensor]:
        tape, channels, count = self.tape, self.channels, self.count
        squeeze, expand = Conv(tape, wide, wide // (count * 8)), Conv(tape, wide // (count * 8), count)
        reduce = ConvModule(tape, wide, channels, 1, norm_cfg=self.norm_cfg, act_cfg=RELU)

        def run(feat: Tensor, average: Tensor) -> Tensor:
            batch, _, height, width = feat.shape
            ops.sigmoid(expand(ops.relu(squeeze(average), inplace=True)))
            reduction = reduce.conv
            assert isinstance(reduction, Conv)
            size = 4 * batch * channels * wide
            weights = tape.record((batch, channels, wide), 4, (reduction.weight,), (size,), extra_saved_bytes=size)
            x = ops.matmul(weights, feat.view(batch, wide, height * width), (batch, channels, height * width))
            x = x.view(batch, channels, height, width)
            x = reduce.norm(x) if reduce.norm else x
            return ops.relu(x, inplace=True)

        return run

    def one(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        del level
        parts = []
        for conv in self.inter:
            x = conv(x)
            parts.append(x)
        feat = ops.concatenate(parts)
        del parts
        average = ops.adaptive_avg_pool(feat, 1)
        for_classes, for_boxes = self.cls(feat, average), self.reg(feat, average)
        logits = self.to_classes(for_classes)
        first, second = self.probability
        chance = second(ops.relu(first(feat), inplace=True))
        # sigmoid_geometric_mean keeps both sigmoids and its result.
        scores = self.tape.record(
            logits.shape, logits.itemsize, (logits, chance), (logits.bytes, logits.bytes), save_output=True,
            extra_saved_bytes=logits.bytes + chance.bytes,
        )  # fmt: skip
        boxes = decode(per_anchor(_learnt_scale(self, ops.sigmoid(self.to_boxes(for_boxes))), 4))
        boxes = ops.copy(boxes, (logits.shape[0], 4, *logits.size))
        first, second = self.offsets
        offset = second(ops.relu(first(feat), inplace=True))
        sampled = self.tape.record(
            boxes.shape, boxes.itemsize, (boxes, offset), (boxes.bytes, offset.bytes), (boxes, offset)
        )
        return scores, ops.scaled(sampled), None

    def targets(self, total: int, batch: Batch) -> list[Tensor]:
        for _ in range(batch.images):
            for key in ("initial_assigner", "assigner"):
                assign(self.tape, self.train.get(key), total, batch.objects)
        return [self.tape.new(total * batch.images, 12)]


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
