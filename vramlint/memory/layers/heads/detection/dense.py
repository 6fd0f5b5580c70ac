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
    row_entropy,
    stack,
    through,
)
from vramlint.memory.layers.heads.detection.rpn import anchor_targets
from vramlint.memory.layers.nn import BatchNorm, Conv
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
        rows = ops.gather(boxes, (max(1, boxes.shape[0] // SHARE_POSITIVE), self.box_width), boxes.shape[0])
        del scores
        losses = [self.classify(joined), self.box_loss(rows)]
        extra = [per_anchor(each, self.extra) for _, _, each in outs if each is not None]
        if extra:
            losses.append(ops.total(ops.pointwise_loss(ops.concatenate(extra, axis=0), kept=2)))
        return losses


def _strides(config: Config) -> list[Any]:
    generator = config.get("anchor_generator") or config.get("prior_generator") or {}
    return list(generator.get("strides") or range(5))


SHARE_POSITIVE = 20
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
        return learnt_scale_of(self, boxes)


def learnt_scale_of(head_: DenseHead, x: Tensor) -> Tensor:
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
        picked = ops.gather(rows, (max(1, rows.shape[0] // SHARE_POSITIVE), rows.shape[1]), rows.shape[0])
        return ops.total(row_entropy(picked))


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
        boxes = decode(per_anchor(learnt_scale_of(self, ops.sigmoid(self.to_boxes(for_boxes))), 4))
        boxes = ops.copy(boxes, (logits.shape[0], 4, *logits.size))
        first, second = self.offsets
        offset = second(ops.relu(first(feat), inplace=True))
        sampled = self.tape.record(
            boxes.shape, boxes.itemsize, (boxes, offset), (boxes.bytes, offset.bytes), (boxes, offset)
        )
        return scores, ops.scaled(sampled), None

    def targets(self, total: int, batch: Batch) -> list[Tensor]:
        for objects in batch.counts:
            for key in ("initial_assigner", "assigner"):
                assign(self.tape, self.train.get(key), total, objects)
        return [self.tape.new(total * batch.images, 12)]
