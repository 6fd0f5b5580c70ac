"""Side-aware boundary localisation: every side of a box by buckets, then by an offset inside the best bucket.

Source: mmdet 3.3.0 ``dense_heads/sabl_retina_head.py``, ``roi_heads/bbox_heads/sabl_head.py``.
"""

from __future__ import annotations

from math import prod
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, Losses, anchors_each, overlaps, per_anchor
from vramlint.memory.layers.heads.detection.dense import DenseHead
from vramlint.memory.layers.nn import Conv, Linear
from vramlint.memory.layers.registry import Build, Config, head
from vramlint.memory.layers.tape import Tensor

BUCKETS = 14


def buckets_of(config: Config) -> int:
    """Buckets along a side of a box."""
    return int((config.get("bbox_coder") or {}).get("num_buckets", BUCKETS))


@head("SABLRetinaHead")
class SideRetinaHead(DenseHead):
    """RetinaNet's branches with one square anchor; half the buckets for each of four sides, twice."""

    def __init__(self, build: Build, config: Config) -> None:
        self.box_width = self.extra = 4 * -(-buckets_of(config) // 2)
        super().__init__(build, config)
        generator = config.get("approx_anchor_generator") or {
            "type": "AnchorGenerator", "scales_per_octave": 3, "ratios": [0.5, 1.0, 2.0],
        }  # fmt: skip
        self.approximate = anchors_each(generator)
        self.choose = Losses(config.get("loss_bbox_cls") or {"type": "CrossEntropyLoss", "use_sigmoid": True})
        self.regress = Losses(config.get("loss_bbox_reg"))

    def targets(self, total: int, batch: Batch) -> list[Tensor]:
        """Buckets and offsets of every place with their weights; assigned by the best of its approximate anchors."""
        tape = self.tape
        kept = [tape.new(total, 4), tape.new(total * self.approximate, 4)]
        for objects in batch.counts:
            overlaps(tape, total * self.approximate, objects)
            kept += [tape.new(total, itemsize=8), tape.new(total)]
            kept += [tape.new(total, self.box_width) for _ in range(4)]
        return kept

    def level_by_level(self, outs: list[tuple[Tensor, Tensor, Tensor | None]]) -> list[Tensor]:
        losses: list[Tensor] = []
        for scores, offsets, buckets in outs:
            assert buckets is not None
            losses.append(self.classify(per_anchor(scores, self.classes)))
            losses.append(self.choose(per_anchor(buckets, self.box_width)))
            losses.append(self.regress(per_anchor(offsets, self.box_width)))
        return losses


@head("SABLHead")
class SideBoxHead:
    """Linear layers for the class; convolutions, attention and upsampling along x and along y for the sides."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, side = int(config.get("cls_in_channels", 256)), int(config.get("roi_feat_size", 7))
        width = self.width = int(config.get("reg_in_channels", 256))
        norm_cfg = config.get("norm_cfg")
        hidden = int(config.get("cls_out_channels", 1024))
        self.fcs = [
            Linear(tape, inside * side * side if i == 0 else hidden, hidden)
            for i in range(int(config.get("num_cls_fcs", 1)))
        ]
        self.factor = int(config.get("reg_feat_up_ratio", 2))
        self.up = [
            Conv(tape, width, width, self.factor, self.factor, dims=1, transposed=True)
            for _ in range(2 if self.factor > 1 else 0)
        ]
        before, after = int(config.get("reg_pre_kernel", 3)), int(config.get("reg_post_kernel", 3))

        def module(kernel: Any, padding: Any) -> ConvModule:
            return ConvModule(tape, width, width, kernel, 1, padding, norm_cfg=norm_cfg, act_cfg=RELU)

        self.pre = [module(before, before // 2) for _ in range(int(config.get("reg_pre_num", 2)))]
        count = int(config.get("reg_post_num", 1))
        self.post = [
            [module((1, after), (0, after // 2)) for _ in range(count)],
            [module((after, 1), (after // 2, 0)) for _ in range(count)],
        ]
        self.attend = [Conv(tape, width, 1) for _ in range(2)]
        self.to_classes = Linear(tape, hidden, int(config["num_classes"]) + 1)
        self.branches = [
            self._branch(int(config.get("num_reg_fcs", 0)), int(config.get(key, 256)))
            for key in ("reg_cls_out_channels", "reg_offset_out_channels")
        ]
        self.classify = Losses(config.get("loss_cls") or {"type": "CrossEntropyLoss"})
        self.choose = Losses(config.get("loss_bbox_cls") or {"type": "CrossEntropyLoss", "use_sigmoid": True})
        self.regress = Losses(config.get("loss_bbox_reg"))

    def _branch(self, count: int, hidden: int) -> list[Linear]:
        layers = [Linear(self.tape, self.width if i == 0 else hidden, hidden) for i in range(count)]
        return [*layers, Linear(self.tape, hidden, 1)]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, and what the sides' buckets and offsets are."""
        features = x
        for conv in self.pre:
            features = conv(features)
        sides = [self._along(features, axis) for axis in range(2)]
        found = [self._predicted(layers, sides) for layers in self.branches]
        rows = x.view(x.shape[0], prod(x.shape[1:]))
        for layer in self.fcs:
            rows = ops.relu(layer(rows), inplace=True)
        return self.to_classes(rows), found

    def _along(self, x: Tensor, axis: int) -> Tensor:
        """``attention_pool`` and what follows, along one direction."""
        regions, channels, height, width = x.shape
        weights = ops.sigmoid(self.attend[axis](x))
        weights = ops.mul(weights, ops.total(weights, (regions, 1, 1, width)))
        length = width if axis == 0 else height
        pooled = ops.total(ops.mul(x, weights), (regions, channels, *((1, length) if axis == 0 else (length, 1))))
        for conv in self.post[axis]:
            pooled = conv(pooled)
        line = pooled.view(regions, channels, length)
        if self.up:
            line = ops.relu(self.up[axis](line), inplace=True)
        return ops.copy(line, (regions, line.shape[2], channels))

    def _predicted(self, layers: list[Linear], sides: list[Tensor]) -> Tensor:
        outs: list[Tensor] = []
        for side in sides:
            x = side.view(side.shape[0] * side.shape[1], side.shape[2])
            for layer in layers[:-1]:
                x = ops.relu(layer(x), inplace=True)
            outs.append(ops.copy(layers[-1](x), (side.shape[0], side.shape[1])))
        return ops.concatenate(outs)

    def loss(self, scores: Tensor, sides: list[Tensor], positives: int) -> list[Tensor]:
        del positives  # every region's buckets are compared, weighted by zero where it is negative
        buckets, offsets = sides
        return [self.classify(scores), self.choose(buckets), self.regress(offsets)]
