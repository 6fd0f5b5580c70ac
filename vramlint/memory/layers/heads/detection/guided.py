"""Guided anchoring: where anchors stand and which shape they have is predicted; features are adapted to the shapes.

Source: mmdet 3.3.0 ``models/dense_heads/{guided_anchor_head,ga_rpn_head,ga_retina_head}.py``,
``task_modules/assigners/approx_max_iou_assigner.py``.
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.common import (
    Batch,
    Losses,
    anchors_each,
    decode,
    overlaps,
    per_anchor,
    stack,
    through,
)
from vramlint.memory.layers.nn import Conv, DeformConv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor


class _Guided:
    """Location, shape and adapted features of one branch of maps."""

    def __init__(self, tape: Tape, config: Config, width: int) -> None:
        self.tape = tape
        groups = int(config.get("deform_groups", 4))
        self.location, self.shape = Conv(tape, width, 1), Conv(tape, width, 2)
        self.approximate = anchors_each(config["approx_anchor_generator"])
        self.groups, self.width = groups, width
        self.locate = Losses(config.get("loss_loc") or {"type": "FocalLoss", "use_sigmoid": True})
        self.shape_loss = Losses({"type": "BoundedIoULoss"})

    def adaption(self) -> Any:
        """FeatureAdaption: offsets from the shapes by a 1x1 convolution, a deformable one, ReLU in place."""
        offsets = Conv(self.tape, 2, self.groups * 18, bias=False)
        conv = DeformConv(
            self.tape, self.width, self.width, 3, 1, 1, deform_groups=self.groups, own_offsets=False, bias=False
        )
        return lambda x, shape: ops.relu(conv(x, offsets(shape.detach())), inplace=True)

    def assign(self, places: int, batch: Batch) -> None:
        """Every place's approximate anchors with every object, then its one guided anchor."""
        for objects in batch.counts:
            overlaps(self.tape, places * self.approximate, objects)
            overlaps(self.tape, places, objects)

    def losses(self, locations: list[Tensor], shapes: list[Tensor]) -> list[Tensor]:
        found: list[Tensor] = []
        for where, shape in zip(locations, shapes, strict=True):
            found.append(self.locate(per_anchor(where, 1)))
            found.append(self.shape_loss(per_anchor(shape, 2)))
        return found


@head("GARPNHead")
class GuidedProposals:
    """Proposals from guided anchors."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        width = int(config.get("feat_channels", 256))
        self.conv = Conv(tape, int(config["in_channels"]), width, 3, padding=1)
        self.guided = _Guided(tape, config, width)
        self.adapt = self.guided.adaption()
        self.scores, self.deltas = Conv(tape, width, 1), Conv(tape, width, 4)
        self.classify, self.regress = Losses({"type": "CrossEntropyLoss", "use_sigmoid": True}), Losses(None)

    def loss(self, maps: Maps, batch: Batch) -> tuple[list[Tensor], int]:
        outs: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for x in maps:
            x = ops.relu(self.conv(x), inplace=True)
            where, shape = self.guided.location(x), self.guided.shape(x)
            x = self.adapt(x, shape)
            outs.append((where, shape, self.scores(x), self.deltas(x)))
        places = sum(where.elements for where, _, _, _ in outs) // batch.images
        self.guided.assign(places, batch)
        losses = self.guided.losses([each[0] for each in outs], [each[1] for each in outs])
        for _, _, score, delta in outs:
            losses += [self.classify(per_anchor(score, 1)), self.regress(per_anchor(delta, 4))]
        return losses, 1000


@head("GARetinaHead")
class GuidedRetina:
    """RetinaNet's branches, each adapted to the guided shapes."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, width = int(config["in_channels"]), int(config.get("feat_channels", 256))
        count = int(config.get("stacked_convs", 4))
        self.classes = int(config["num_classes"])
        self.cls, self.reg = (stack(tape, count, inside, width, norm_cfg=config.get("norm_cfg")) for _ in range(2))
        self.guided = _Guided(tape, config, width)
        self.adapt_cls, self.adapt_reg = self.guided.adaption(), self.guided.adaption()
        self.scores = Conv(tape, width, self.classes, 3, padding=1)
        self.deltas = Conv(tape, width, 4, 3, padding=1)
        self.classify = Losses(config.get("loss_cls") or {"type": "FocalLoss", "use_sigmoid": True})
        self.regress = Losses(config.get("loss_bbox"))

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        outs: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for x in maps:
            for_classes, for_boxes = through(self.cls, x), through(self.reg, x)
            where, shape = self.guided.location(for_classes), self.guided.shape(for_boxes)
            for_classes, for_boxes = self.adapt_cls(for_classes, shape), self.adapt_reg(for_boxes, shape)
            outs.append((where, shape, self.scores(for_classes), self.deltas(for_boxes)))
            del for_classes, for_boxes
        places = sum(where.elements for where, _, _, _ in outs) // batch.images
        self.guided.assign(places, batch)
        losses = self.guided.losses([each[0] for each in outs], [each[1] for each in outs])
        for _, _, score, delta in outs:
            losses.append(self.classify(per_anchor(score, self.classes)))
            rows = per_anchor(delta, 4)
            losses.append(self.regress(decode(rows) if self.regress.on_boxes else rows))
        return losses
