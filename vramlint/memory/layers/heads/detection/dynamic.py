"""Masks by convolutions whose weights are predicted for every positive place: CondInst and RTMDet-Ins.

Source: mmdet 3.3.0 ``models/dense_heads/{condinst_head,rtmdet_ins_head}.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, Losses, decode, per_anchor, through
from vramlint.memory.layers.heads.detection.points import FcosHead
from vramlint.memory.layers.heads.detection.solo import dice
from vramlint.memory.layers.heads.detection.yolo import BN, SWISH, dynamic_assignment
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor

POSITIVES = 100
"""Positive places of one image in RTMDet-Ins. A soft label assigner takes up to 13 an object, as many as their overlaps
add up to: the five published runs of the zoo, 32 images each, imply 70 to 160."""


def dynamic_masks(features: Tensor, weights: Tensor, hidden: int) -> Tensor:
    """Mask logits of the rows of ``weights`` over one image's ``features``: three grouped 1x1 convolutions."""
    tape = features.storage.tape
    count, (_, channels, height, width) = weights.shape[0], features.shape
    repeated = tape.record((count, channels, height, width), features.itemsize, (features,), (features.bytes,))
    x = ops.concatenate([tape.new(count, 2, height, width, itemsize=features.itemsize), repeated])
    del repeated
    for index, out in enumerate((hidden, hidden, 1)):
        shape = (count, out, height, width)
        x = tape.record(shape, x.itemsize, (x, weights), (x.bytes, weights.bytes), (x, weights))
        if index < 2:
            x = ops.relu(x)
    return x.view(count, height, width)


def parameters_of(prototypes: int, hidden: int) -> int:
    """Predicted numbers of one mask: weights and biases of its three convolutions."""
    return (prototypes + 2) * hidden + hidden * hidden + hidden + 2 * hidden + 1


class MaskFeatures:
    """RTMDet-Ins: levels joined at the finest size, fused, four convolutions, prototypes."""

    def __init__(
        self, tape: Tape, inside: int, channels: int, levels: int, prototypes: int, norm_cfg: Config, act_cfg: Config
    ) -> None:
        self.fuse = Conv(tape, levels * inside, inside)
        self.convs = [
            ConvModule(tape, channels if i else inside, channels, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
            for i in range(4)
        ]
        self.project = Conv(tape, channels, prototypes)

    def __call__(self, maps: Maps) -> Tensor:
        found = [maps[0]]
        found += [ops.resize(each, maps[0].size) for each in maps[1:]]
        joined = ops.concatenate(found)
        del found
        x = self.fuse(joined)
        del joined
        return self.project(through(self.convs, x))


@head("RTMDetInsSepBNHead")
class RtmMaskHead:
    """RTMDet's head with a branch of kernels and prototypes beside.

    Boxes run the modules of the class branch: the source appends ``cls_convs`` to ``reg_convs``.
    """

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = int(config["in_channels"]), int(config.get("feat_channels", 256))
        count, shared = int(config.get("stacked_convs", 2)), bool(config.get("share_conv", True))
        norm_cfg, act_cfg = config.get("norm_cfg") or BN, config.get("act_cfg") or SWISH
        levels = range(len((config.get("anchor_generator") or {}).get("strides") or (8, 16, 32)))
        self.classes = int(config["num_classes"])
        self.hidden, prototypes = int(config.get("dyconv_channels", 8)), int(config.get("num_prototypes", 8))
        self.numbers = parameters_of(prototypes, self.hidden)

        def branch() -> list[ConvModule]:
            return [
                ConvModule(tape, channels if i else inside, channels, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
                for i in range(count)
            ]

        self.cls = [branch() for _ in levels]
        for module, first in [pair for level in self.cls[1:] for pair in zip(level, self.cls[0], strict=True)]:
            if shared and isinstance(module.conv, Conv):
                tape.parameters.remove(module.conv.weight)
                module.conv = first.conv
        self.kernels = [branch() for _ in levels]
        self.outs = [
            (Conv(tape, channels, self.classes), Conv(tape, channels, 4), Conv(tape, channels, self.numbers))
            for _ in levels
        ]
        self.features = MaskFeatures(tape, inside, channels, len(levels), prototypes, norm_cfg, act_cfg)
        self.stride = int(config.get("mask_loss_stride", 4))

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        features = self.features(maps)
        scores, boxes, kernels = [], [], []
        rows = zip(maps, self.cls, self.kernels, self.outs, strict=True)
        for x, cls, own, (to_classes, to_boxes, to_kernels) in rows:
            scores.append(to_classes(through(cls, x)))
            kernels.append(to_kernels(through(own, x)))
            boxes.append(ops.scaled(ops.relu(to_boxes(through(cls, x)))))
        del x
        places = sum(each.elements for each in scores) // self.classes // batch.images
        joined = ops.concatenate([per_anchor(each, self.classes) for each in scores], axis=0)
        flat = ops.concatenate([per_anchor(each, self.numbers) for each in kernels], axis=0)
        del kernels
        decoded = decode(ops.concatenate([per_anchor(each, 4) for each in boxes], axis=0))
        bitmaps = [self.tape.new(each, batch.height, batch.width, itemsize=1) for each in batch.counts]
        for objects in batch.counts:
            dynamic_assignment(self.tape, places, objects, self.classes)
        quality, iou = Losses({"type": "QualityFocalLoss"}), Losses({"type": "GIoULoss"})
        losses = [quality(per_anchor(each, self.classes)) for each in scores]
        del joined
        losses.append(iou(ops.gather(decoded, (POSITIVES * batch.images, 4), 8 * POSITIVES * batch.images)))
        losses.append(self._masks(features, flat, batch))
        del bitmaps
        return losses

    def _masks(self, features: Tensor, kernels: Tensor, batch: Batch) -> Tensor:
        """Logits image by image, joined and enlarged to ``mask_loss_stride``; the bitmaps of every positive beside."""
        found, chosen = [], []
        for _ in range(batch.images):
            one = ops.select(features, (1, *features.shape[1:]))
            own = ops.gather(kernels, (POSITIVES, self.numbers), 8 * POSITIVES)
            found.append(dynamic_masks(one, own, self.hidden))
            chosen.append(self.tape.new(POSITIVES, batch.height, batch.width, itemsize=1))
        whole = self.tape.new(POSITIVES * batch.images, batch.height, batch.width, itemsize=1)
        del chosen
        logits = ops.concatenate(found, axis=0)
        del found
        size = [8 * side // self.stride for side in logits.size]
        logits = ops.resize(logits.view(1, *logits.shape), size)
        del whole
        return dice(logits.view(logits.shape[1], logits.size[0] * logits.size[1]))


# --- CondInst --------------------------------------------------------------------------------------------------------


@head("CondInstBboxHead", "BoxInstBboxHead")
class CondInstHead(FcosHead):
    """FCOS with a controller: weights of a mask at every place."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.numbers = int(config.get("num_params", 169))
        self.controller = Conv(self.tape, self.channels, self.numbers, 3, padding=1)
        self.kernels: list[Tensor] = []

    def one(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        del level
        for_classes, for_boxes = through(self.cls, x), through(self.reg, x)
        scores, boxes = self.to_classes(for_classes), self.scaled(self.to_boxes(for_boxes))
        self.kernels.append(self.controller(for_boxes))
        return scores, boxes, None if self.to_extra is None else self.to_extra(for_boxes)

    def taken(self) -> Tensor:
        """Predicted numbers of all places, one row each."""
        rows = ops.concatenate([per_anchor(each, self.numbers) for each in self.kernels], axis=0)
        self.kernels = []
        return rows


class _SummedFeatures:
    """A convolution a level, brought to the finest size and summed; more convolutions; prototypes."""

    def __init__(self, tape: Tape, config: Config) -> None:
        inside, channels = int(config["in_channels"]), int(config.get("feat_channels", 128))
        self.levels = range(int(config.get("start_level", 0)), int(config.get("end_level", 2)) + 1)
        norm_cfg = config.get("norm_cfg")
        self.first = [
            ConvModule(tape, inside, channels, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=RELU, bias=False, inplace=False)
            for _ in self.levels
        ]
        self.branch = [
            ConvModule(tape, channels, channels, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=RELU, bias=False)
            for _ in range(int(config.get("num_stacked_convs", 4)))
        ]
        self.predict = Conv(tape, channels, int(config.get("out_channels", 8)))

    def __call__(self, maps: Sequence[Tensor]) -> Tensor:
        total: Tensor | None = None
        for level, conv in zip(self.levels, self.first, strict=True):
            x = conv(maps[level])
            total = x if total is None else ops.add(total, aligned(x, total.size))
        assert total is not None
        return self.predict(through(self.branch, total))


def aligned(x: Tensor, size: Sequence[int]) -> Tensor:
    """``aligned_bilinear``: padded, resized, padded again, cut."""
    x = ops.pad(x, 0, 1, 0, 1)
    x = ops.resize(x, [side + 1 for side in size])
    x = ops.pad(x, 1, 0, 1, 0)
    return ops.select(x, (*x.shape[:2], *size))


@head("CondInstMaskHead")
class CondInstMasks:
    """Masks of at most ``max_masks_to_train`` (or ``topk_masks_per_img``) positives of an image."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.features = _SummedFeatures(tape, config["mask_feature_head"])
        self.hidden = int(config.get("feat_channels", 8))
        self.stride, self.out = int(config["mask_feature_head"].get("mask_stride", 8)), int(config["mask_out_stride"])
        most, top = int(config.get("max_masks_to_train", -1)), int(config.get("topk_masks_per_img", -1))
        self.most = top if top > 0 else most if most > 0 else 300

    def loss(self, maps: Maps, kernels: Tensor, batch: Batch) -> list[Tensor]:
        """Logits of every image, then its targets and its loss."""
        features = self.features(maps)
        logits: list[Tensor] = []
        for _ in range(batch.images):
            own = ops.gather(kernels, (self.most, kernels.shape[1]), 8 * self.most)
            one = dynamic_masks(ops.select(features, (1, *features.shape[1:])), own, self.hidden)
            size = [side * self.stride // self.out for side in one.size]
            logits.append(aligned(one.view(1, *one.shape), size))
        losses: list[Tensor] = []
        for x, objects in zip(logits, batch.counts, strict=True):
            bitmaps = self.tape.new(objects, batch.height, batch.width)
            losses.append(dice(x.view(x.shape[1], x.size[0] * x.size[1])))
            del bitmaps
        return losses
