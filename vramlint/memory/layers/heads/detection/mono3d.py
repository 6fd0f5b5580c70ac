"""Boxes in space from one image: FCOS3D and PGD.

Source: mmdetection3d 1.4.0 ``models/dense_heads/{anchor_free_mono3d_head,fcos_mono3d_head,pgd_head}.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, Losses, per_anchor, point_targets, stack, through
from vramlint.memory.layers.heads.detection.dense import SHARE_POSITIVE
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor

GN: Config = {"type": "GN", "num_groups": 32, "requires_grad": True}

OBJECTS = 100
"""Objects of one camera's image at most that points are compared with; nuScenes has 34 boxes a key frame over six
cameras in the mean (arXiv 1903.11027, table 1), so that these comparisons stay small."""


class _Branch:
    """Convolutions before a prediction, from a clone of the features."""

    def __init__(
        self, tape: Tape, inside: int, widths: Sequence[int], out: int, norm_cfg: Config | None, *, bias: bool | None
    ) -> None:
        channels = [inside, *(int(each) for each in widths)]
        self.convs = [
            ConvModule(tape, a, b, 3, padding=1, norm_cfg=norm_cfg, act_cfg=RELU, bias=bias)
            for a, b in pairwise(channels)
        ]
        self.predict = Conv(tape, channels[-1], out)

    def __call__(self, x: Tensor) -> Tensor:
        return self.predict(through(self.convs, ops.copy(x)))


@head("FCOSMono3DHead", "PGDHead")
class MonoHead:
    """Two stacks of convolutions; a branch for every group of numbers of a box, direction, attributes, centerness."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = int(config["in_channels"]), int(config.get("feat_channels", 256))
        norm_cfg = config.get("norm_cfg", GN)
        bias = None if config.get("conv_bias", "auto") == "auto" else bool(config["conv_bias"])
        last: Config | None = {"type": "DCNv2"} if config.get("dcn_on_last_conv") else None
        count = int(config.get("stacked_convs", 4))
        self.cls, self.reg = (
            stack(tape, count, inside, channels, norm_cfg=norm_cfg, last_conv_cfg=last, bias=bias) for _ in range(2)
        )
        self.classes = int(config["num_classes"])
        self.classify = Losses(config.get("loss_cls") or {"type": "FocalLoss", "use_sigmoid": True})

        def branch(widths: Sequence[int], out: int) -> _Branch:
            return _Branch(tape, channels, widths, out, norm_cfg, bias=bias)

        self.to_classes = branch(config.get("cls_branch", (128, 64)), self.classes)
        dims = [int(each) for each in config.get("group_reg_dims", (2, 1, 3, 1, 2))]
        self.to_boxes = [branch(widths, out) for widths, out in zip(config["reg_branch"], dims, strict=True)]
        self.width = sum(dims)
        self.further: list[_Branch] = []
        if config.get("use_direction_classifier", True):
            self.further.append(branch(config.get("dir_branch", (64,)), 2))
        self.attributes: list[_Branch] = []
        if config.get("pred_attrs", False):
            self.attributes.append(branch(config.get("attr_branch", (64,)), int(config.get("num_attrs", 9))))
        self.further.append(branch(config.get("centerness_branch", (64,)), 1))
        scales = 3
        if str(config["type"]).endswith("PGDHead"):
            scales += bool(config.get("pred_bbox2d", True)) + bool(config.get("pred_keypoints", False))
            self._depths(config, branch)
        tape.parameter(scales * len(config.get("strides") or range(5)))

    def _depths(self, config: Config, branch: object) -> None:
        """PGD: a classifier of depths with the number that mixes it in, and location-aware weights."""
        assert callable(branch)
        if config.get("use_depth_classifier", True):
            low, high = config.get("depth_range", (0, 70))
            bins = int(config.get("depth_bins", 8))
            count = int((high - low) / float(config.get("depth_unit", 10))) + 1
            uniform = config.get("division", "uniform") == "uniform"
            self.further.append(branch(config.get("depth_branch", (64,)), count if uniform else bins))
            self.tape.parameter(1)
        weights = int(config.get("weight_dim", -1))
        for index in range(max(0, weights)):
            self.further.append(branch((config.get("weight_branch") or ((256,),))[index], 1))

    def _one(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        for_classes = through(self.cls, x)
        scores = self.to_classes(for_classes)
        for_boxes = through(self.reg, x)
        boxes = ops.concatenate([branch(for_boxes) for branch in self.to_boxes])
        further = [branch(for_boxes) for branch in self.further]
        further += [branch(for_classes) for branch in self.attributes]
        # Decoding in place starts from a clone; offsets, depths and sizes are scaled by learnt numbers.
        boxes = ops.copy(boxes)
        parts = [ops.select(boxes, (boxes.shape[0], width, *boxes.size)) for width in (2, 1, 3)]
        scaled = [self.tape.record(each.shape, each.itemsize, (each,), (each.bytes,), (each,)) for each in parts]
        del parts, scaled
        return scores, boxes, further

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        outs = [self._one(x) for x in maps]
        total = sum(scores.elements for scores, _, _ in outs) // self.classes // batch.images
        for objects in batch.counts:
            point_targets(self.tape, total, min(objects, OBJECTS))
        kept = self.tape.new(total * batch.images, self.width + 6)
        joined = ops.concatenate([per_anchor(scores, self.classes) for scores, _, _ in outs], axis=0)
        losses = [self.classify(joined)]
        positives = max(1, total * batch.images // SHARE_POSITIVE)
        boxes = ops.concatenate([per_anchor(each, self.width) for _, each, _ in outs], axis=0)
        picked = ops.gather(boxes, (positives, self.width), 8 * positives)
        losses.append(ops.total(ops.pointwise_loss(picked, kept=2, steps=2)))
        for group in zip(*(further for _, _, further in outs), strict=True):
            width = group[0].shape[1]
            rows = ops.concatenate([per_anchor(each, width) for each in group], axis=0)
            losses.append(ops.total(ops.pointwise_loss(ops.gather(rows, (positives, width), 8 * positives))))
        del kept
        return losses
