"""YOLACT: prototypes of masks, combined by coefficients of every positive anchor.

Source: mmdet 3.3.0 ``models/dense_heads/yolact_head.py``, ``detectors/single_stage_instance_seg.py``.
"""

from __future__ import annotations

from functools import partial

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, Losses, anchors_each, classes_of, per_anchor, through
from vramlint.memory.layers.heads.detection.rpn import anchor_targets
from vramlint.memory.layers.nn import Conv, Layer
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor

ANCHORS_AN_OBJECT = 5
"""Positive anchors of an object: not in the configuration; the masks are cut to ``max_masks_to_train`` only later."""


@head("YOLACTHead")
class CoefficientHead:
    """One branch for classes, boxes and coefficients; the hardest negatives count (OHEM)."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, width = int(config["in_channels"]), int(config.get("feat_channels", 256))
        if not config.get("use_ohem", True):
            raise KeyError("use_ohem")
        self.train = config.get("train_cfg") or {}
        self.classes = classes_of(config, loss=config.get("loss_cls") or {"type": "CrossEntropyLoss"})
        self.prototypes = int(config.get("num_protos", 32))
        anchors = anchors_each(config["anchor_generator"])
        self.convs = [
            ConvModule(
                tape, inside if i == 0 else width, width, 3, padding=1, norm_cfg=config.get("norm_cfg"), act_cfg=RELU,
                conv_cfg=config.get("conv_cfg"),
            )
            for i in range(int(config.get("num_head_convs", 1)))
        ]  # fmt: skip
        self.to_classes, self.to_boxes, self.to_coefficients = (
            Conv(tape, width, anchors * each, 3, padding=1) for each in (self.classes, 4, self.prototypes)
        )
        self.classify, self.regress = Losses(config.get("loss_cls")), Losses(config.get("loss_bbox"))

    def loss(self, maps: Maps, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """The losses, and the coefficients of all anchors: (images, anchors, prototypes)."""
        outs: list[tuple[Tensor, Tensor, Tensor]] = []
        for x in maps:
            x = through(self.convs, x)
            outs.append((self.to_classes(x), self.to_boxes(x), ops.sigmoid(self.to_coefficients(x))))
        total = sum(each.elements for each, _, _ in outs) // self.classes // batch.images
        kept = anchor_targets(self.tape, self.train.get("assigner"), total, batch)
        scores = ops.concatenate([per_anchor(each, self.classes) for each, _, _ in outs], axis=0)
        boxes = ops.concatenate([per_anchor(each, 4) for _, each, _ in outs], axis=0)
        losses: list[Tensor] = []
        for _ in range(batch.images):
            losses.append(self.classify(ops.select(scores, (total, self.classes))))
            losses.append(self.regress(ops.select(boxes, (total, 4))))
        del kept
        found = ops.concatenate([per_anchor(each, self.prototypes) for _, _, each in outs], axis=0)
        return losses, found.view(batch.images, total, self.prototypes)


@head("YOLACTProtonet")
class PrototypeHead:
    """Prototypes from the finest map, a semantic branch beside them. A mask for every positive anchor."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside = source = int(config.get("in_channels", 256))
        self.segment = Conv(tape, inside, int(config["num_classes"])) if config.get("with_seg_branch", True) else None
        self.layers: list[Layer] = []
        channels = config.get("proto_channels", (256, 256, 256, None, 256, 32))
        kernels = config.get("proto_kernel_sizes", (3, 3, 3, -2, 3, 1))
        for width, kernel in zip(channels, kernels, strict=True):
            if kernel > 0:
                self.layers.append(Conv(tape, source, int(width), kernel, padding=kernel // 2))
            elif width is None:
                self.layers.append(partial(ops.enlarged, factor=-kernel))
            else:
                raise KeyError("transposed prototypes")
            self.layers.append(lambda x: ops.relu(x, inplace=True))
            source = source if width is None else int(width)
        if not config.get("include_last_relu", True):
            self.layers.pop()

    def loss(self, maps: Maps, coefficients: Tensor, batch: Batch) -> list[Tensor]:
        x = maps[0]
        segments = None if self.segment is None else self.segment(x)
        prototypes = through(self.layers, x)
        height, width = prototypes.size
        prototypes = ops.copy(prototypes, (batch.images, height * width, prototypes.shape[1]))
        masks = [self._masks(prototypes, coefficients, (height, width), objects) for objects in batch.counts]
        losses: list[Tensor] = []
        for mask, objects in zip(masks, batch.counts, strict=True):
            # Every object's bitmap, as a byte and as a float, and resized to the prototypes.
            bitmaps = [self.tape.new(objects, batch.height, batch.width, itemsize=size) for size in (1, 4)]
            if segments is not None:
                each = ops.select(segments, (1, *segments.shape[1:]))
                losses.append(ops.total(ops.pointwise_loss(each, kept=2)))
            cropped = ops.mul(mask, self.tape.new(*mask.shape))
            clamped = ops.keeps_input(cropped)
            losses.append(ops.total(ops.scaled(ops.pointwise_loss(clamped, kept=2, steps=0))))
            del bitmaps, cropped, clamped
        return losses

    def _masks(self, prototypes: Tensor, coefficients: Tensor, size: tuple[int, int], objects: int) -> Tensor:
        """The positives' masks of one image."""
        count = ANCHORS_AN_OBJECT * objects
        places, channels = prototypes.shape[1:]
        image = ops.select(coefficients, (1, *coefficients.shape[1:]))
        picked = ops.gather(image, (count, channels), 8 * count)
        found = ops.matmul(ops.select(prototypes, (places, channels)), picked, (places, count))
        return ops.sigmoid(found.view(*size, count))
