"""detectron2's heads, from the keys of its configs.

Source: detectron2 2026-06 ``modeling/proposal_generator/rpn.py``, ``modeling/roi_heads``, ``modeling/poolers.py``,
``modeling/meta_arch`` (retinanet, semantic_seg). Every image is taken to reach its number of sampled regions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import log2, prod
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.detectron2 import Convolution, Named, ResNet, at
from vramlint.memory.layers.heads.detection.common import Batch, region_align, row_entropy
from vramlint.memory.layers.nn import Conv, Linear
from vramlint.memory.layers.registry import UnknownType
from vramlint.memory.layers.tape import Tape, Tensor

Tree = Mapping[str, Any]


_COMPREHENSION = re.compile(r"\[ *\[([^\[\]]*)\] *for ")


def anchors_a_place(tree: Tree) -> int:
    """Sizes of one level times aspect ratios. Raises UnknownType where the sizes are computed in another way.

    RetinaNet's base file computes them in a text that Python evaluates: ``[[x, x * 2**(1.0/3), …] for x in […]]``.
    """
    first = at(tree, "ANCHOR_GENERATOR.SIZES", [[32, 64, 128, 256, 512]])[0]
    ratios = at(tree, "ANCHOR_GENERATOR.ASPECT_RATIOS", [[0.5, 1.0, 2.0]])
    if isinstance(first, str):
        written = _COMPREHENSION.match(first)
        if written is None:
            raise UnknownType("anchor sizes that are computed")
        first = written[1].split(",")
    return len(first) * len(ratios[0])


def match(tape: Tape, anchors: int, batch: Batch) -> None:
    """``pairwise_iou``: two corners and their difference at once, 24 bytes a pair, image by image."""
    for objects in batch.counts:
        corners = [tape.new(anchors * objects, 2) for _ in range(3)]
        del corners


class Proposals:
    """StandardRPNHead and its losses."""

    def __init__(self, tape: Tape, tree: Tree, channels: Mapping[str, int]) -> None:
        self.tape = tape
        self.inputs = list(at(tree, "RPN.IN_FEATURES", ["res4"]))
        inside = channels[self.inputs[0]]
        widths = [inside if int(each) == -1 else int(each) for each in at(tree, "RPN.CONV_DIMS", [-1])]
        self.convs = [
            Convolution(tape, a, b, 3, relu=True) for a, b in zip([inside, *widths[:-1]], widths, strict=True)
        ]
        count = anchors_a_place(tree)
        self.scores, self.deltas = Conv(tape, widths[-1], count), Conv(tape, widths[-1], 4 * count)
        self.sampled = int(at(tree, "RPN.BATCH_SIZE_PER_IMAGE", 256))

    def _one(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for conv in self.convs:
            x = conv(x)
        return self.scores(x), self.deltas(x)

    def losses(self, maps: Named, batch: Batch) -> list[Tensor]:
        scores: list[Tensor] = []
        deltas: list[Tensor] = []
        for name in self.inputs:
            score, delta = self._one(maps[name])
            scores.append(ops.copy(score, (batch.images, score.elements // batch.images)))
            deltas.append(ops.copy(delta, (batch.images, delta.elements // 4 // batch.images, 4)))
        total = sum(each.shape[1] for each in scores)
        match(self.tape, total, batch)
        kept = self.sampled * batch.images
        joined = ops.concatenate(scores, axis=1)
        picked = ops.gather(joined, (kept,), 8 * kept)
        boxes = ops.gather(ops.concatenate(deltas, axis=1), (kept, 4), 8 * kept)
        return [ops.total(ops.pointwise_loss(picked, kept=2)), ops.total(ops.pointwise_loss(boxes))]


class Pooler:
    """ROIPooler: regions from the level of their size, written into one tensor."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, maps: Sequence[Tensor], regions: int) -> Tensor:
        if len(maps) == 1:
            return region_align(maps[0], regions, self.side)
        first = maps[0]
        tape = first.storage.tape
        found = tape.new(regions, first.channels, self.side, self.side, itemsize=first.itemsize)
        for level in maps:
            part = region_align(level, max(1, regions // len(maps)), self.side)
            found = tape.record(found.shape, found.itemsize, (found, part), (found.bytes, part.bytes), inplace=found)
        return found


class BoxBranch:
    """FastRCNNConvFCHead and its predictor."""

    def __init__(self, tape: Tape, tree: Tree, inside: int, side: int, *, agnostic: bool) -> None:
        kind = str(at(tree, "ROI_BOX_HEAD.NORM", ""))
        width = int(at(tree, "ROI_BOX_HEAD.CONV_DIM", 256))
        count = int(at(tree, "ROI_BOX_HEAD.NUM_CONV", 0))
        self.convs = [
            Convolution(tape, inside if i == 0 else width, width, 3, kind=kind, relu=True) for i in range(count)
        ]
        rows = (width if count else inside) * side * side
        fc = int(at(tree, "ROI_BOX_HEAD.FC_DIM", 1024))
        self.linear: list[Linear] = []
        for _ in range(int(at(tree, "ROI_BOX_HEAD.NUM_FC", 0))):
            self.linear.append(Linear(tape, rows, fc))
            rows = fc
        self.predict = predictor(tape, tree, rows, agnostic=agnostic)

    def losses(self, x: Tensor, positives: int) -> list[Tensor]:
        for conv in self.convs:
            x = conv(x)
        x = x.view(x.shape[0], prod(x.shape[1:]))
        for layer in self.linear:
            x = ops.relu(layer(x), inplace=False)
        return box_losses(self.predict, x, positives)


def predictor(tape: Tape, tree: Tree, rows: int, *, agnostic: bool) -> tuple[Linear, Linear]:
    """Scores of every class and background, boxes of every class or of none."""
    classes = int(at(tree, "ROI_HEADS.NUM_CLASSES", 80))
    return Linear(tape, rows, classes + 1), Linear(tape, rows, 4 if agnostic else 4 * classes)


def box_losses(predict: tuple[Linear, Linear], x: Tensor, positives: int) -> list[Tensor]:
    """Cross entropy over all regions, smooth L1 over the positives' own class."""
    scores, deltas = predict[0](x), predict[1](x)
    rows = ops.gather(deltas.view(deltas.shape[0], deltas.shape[1] // 4, 4), (positives, 4), 16 * positives)
    return [ops.total(row_entropy(scores)), ops.total(ops.pointwise_loss(rows))]


class MaskBranch:
    """MaskRCNNConvUpsampleHead; polygons are drawn on the CPU."""

    def __init__(self, tape: Tape, tree: Tree, inside: int) -> None:
        width, kind = int(at(tree, "ROI_MASK_HEAD.CONV_DIM", 256)), str(at(tree, "ROI_MASK_HEAD.NORM", ""))
        count = int(at(tree, "ROI_MASK_HEAD.NUM_CONV", 0))
        self.tape = tape
        self.convs = [
            Convolution(tape, inside if i == 0 else width, width, 3, kind=kind, relu=True) for i in range(count)
        ]
        agnostic = bool(at(tree, "ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", default=False))
        classes = 1 if agnostic else int(at(tree, "ROI_HEADS.NUM_CLASSES", 80))
        self.up = Conv(tape, width if count else inside, width, 2, 2, transposed=True)
        self.logits = Conv(tape, width, classes)

    def losses(self, x: Tensor) -> list[Tensor]:
        for conv in self.convs:
            x = conv(x)
        logits = self.logits(ops.relu(self.up(x)))
        del x
        picked = ops.gather(logits, (logits.shape[0], *logits.size), 16 * logits.shape[0])
        return [ops.total(ops.pointwise_loss(picked, kept=2, steps=0))]


class KeypointBranch:
    """KRCNNConvDeconvUpsampleHead: heat maps of every keypoint at four times the pooled size."""

    def __init__(self, tape: Tape, tree: Tree, inside: int) -> None:
        widths = [int(each) for each in at(tree, "ROI_KEYPOINT_HEAD.CONV_DIMS", [512] * 8)]
        self.convs = [
            Convolution(tape, a, b, 3, relu=True) for a, b in zip([inside, *widths[:-1]], widths, strict=True)
        ]
        points = int(at(tree, "ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", 17))
        self.up = Conv(tape, widths[-1], points, 4, 2, 1, transposed=True)

    def losses(self, x: Tensor) -> list[Tensor]:
        for conv in self.convs:
            x = conv(x)
        heat = ops.enlarged(self.up(x), 2)
        rows = heat.view(heat.shape[0] * heat.shape[1], prod(heat.size))
        return [ops.total(row_entropy(ops.gather(rows, rows.shape, 8 * rows.shape[0])))]


class SemanticBranch:
    """SemSegFPNHead: levels brought to stride four, summed; logits at full size."""

    def __init__(self, tape: Tape, tree: Tree, channels: Mapping[str, int]) -> None:
        self.tape = tape
        self.inputs = list(at(tree, "SEM_SEG_HEAD.IN_FEATURES", ["p2", "p3", "p4", "p5"]))
        width, kind = int(at(tree, "SEM_SEG_HEAD.CONVS_DIM", 128)), str(at(tree, "SEM_SEG_HEAD.NORM", "GN"))
        self.stride = int(at(tree, "SEM_SEG_HEAD.COMMON_STRIDE", 4))
        self.scales: list[list[Convolution]] = []
        for name in self.inputs:
            steps = max(1, int(log2(2 ** int(name[1:])) - log2(self.stride)))
            self.scales.append(
                [
                    Convolution(tape, channels[name] if i == 0 else width, width, 3, kind=kind, relu=True)
                    for i in range(steps)
                ]
            )
        self.predict = Conv(tape, width, int(at(tree, "SEM_SEG_HEAD.NUM_CLASSES", 54)))

    def losses(self, maps: Named) -> list[Tensor]:
        total: Tensor | None = None
        for name, layers in zip(self.inputs, self.scales, strict=True):
            x = maps[name]
            for layer in layers:
                x = layer(x)
                if 2 ** int(name[1:]) != self.stride:
                    x = ops.enlarged(x, 2)
            total = x if total is None else ops.add(total, x)
        assert total is not None
        logits = ops.enlarged(self.predict(total), self.stride)
        del total
        labels = self.tape.new(logits.shape[0], *logits.size, itemsize=8)
        return [ops.cross_entropy(logits, labels, reduced=True)]


class RetinaBranch:
    """RetinaNetHead: two branches over every level, focal loss as a chain of operations."""

    def __init__(self, tape: Tape, tree: Tree, channels: Mapping[str, int]) -> None:
        self.tape = tape
        self.inputs = list(at(tree, "RETINANET.IN_FEATURES", ["p3", "p4", "p5", "p6", "p7"]))
        inside, kind = channels[self.inputs[0]], str(at(tree, "RETINANET.NORM", ""))
        count, anchors = int(at(tree, "RETINANET.NUM_CONVS", 4)), anchors_a_place(tree)
        self.classes = int(at(tree, "RETINANET.NUM_CLASSES", 80))
        self.cls, self.reg = (
            [Convolution(tape, inside, inside, 3, kind=kind, relu=True) for _ in range(count)] for _ in range(2)
        )
        self.scores = Conv(tape, inside, anchors * self.classes, 3, padding=1)
        self.deltas = Conv(tape, inside, anchors * 4, 3, padding=1)

    def losses(self, maps: Named, batch: Batch) -> list[Tensor]:
        scores: list[Tensor] = []
        deltas: list[Tensor] = []
        for name in self.inputs:
            first = second = maps[name]
            for one, two in zip(self.cls, self.reg, strict=True):
                first, second = one(first), two(second)
            score, delta = self.scores(first), self.deltas(second)
            scores.append(ops.copy(score, (batch.images, score.elements // self.classes // batch.images, self.classes)))
            deltas.append(ops.copy(delta, (batch.images, delta.elements // 4 // batch.images, 4)))
        total = sum(each.shape[1] for each in scores)
        match(self.tape, total, batch)
        joined = ops.concatenate(scores, axis=1)
        rows = ops.gather(joined, (total * batch.images, self.classes), total * batch.images)
        del scores, joined
        loss = chained_focal(rows)
        boxes = ops.concatenate(deltas, axis=1)
        return [ops.total(loss), ops.total(ops.pointwise_loss(ops.gather(boxes, (total // 20, 4), total)))]


def chained_focal(x: Tensor) -> Tensor:
    """fvcore's ``sigmoid_focal_loss`` over rows of scores, one operation after the other; the labels as one row each.

    Source: fvcore ``nn/focal_loss.py``; ``modeling/meta_arch/retinanet.py`` for the one-hot labels.
    """
    tape, size = x.storage.tape, x.bytes
    one_hot = tape.new(x.shape[0], x.shape[1] + 1, itemsize=8)
    target = tape.new(*x.shape)
    chance = ops.sigmoid(x)
    entropy = tape.record(x.shape, x.itemsize, (x,), (size,), (x, target))
    right = tape.record(x.shape, x.itemsize, (chance,), (size,), (target,))
    wrong = tape.record(x.shape, x.itemsize, (ops.shifted(chance),), (size,), (tape.new(*x.shape),))
    of_target = ops.add(right, wrong)
    del right, wrong
    rest = ops.shifted(of_target)
    power = tape.record(x.shape, x.itemsize, (rest,), (size,), (rest,), transient=2 * size)
    del rest
    loss = ops.mul(entropy, power)
    weights = [tape.new(*x.shape) for _ in range(3)]
    weight = weights.pop()
    del weights
    found = tape.record(x.shape, x.itemsize, (loss,), (size,), (weight,))
    del one_hot, of_target
    return found


class LastStageBranch:
    """Res5ROIHeads: regions of res4 through the network's own last stage."""

    def __init__(self, tape: Tape, tree: Tree) -> None:
        shallow = {**tree, "RESNETS": {**at(tree, "RESNETS", {}), "OUT_FEATURES": ["res2"]}}
        unused = Tape(stack=tape.stack)
        maker = ResNet(unused, shallow)
        maker.tape = tape
        width = int(at(tree, "RESNETS.NUM_GROUPS", 1)) * int(at(tree, "RESNETS.WIDTH_PER_GROUP", 64)) * 8
        channels = 8 * int(at(tree, "RESNETS.RES2_OUT_CHANNELS", 256))
        self.blocks = maker.stage(3, channels // 2, channels, width, 2, [1, 1, 1])
        agnostic = bool(at(tree, "ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", default=False))
        self.predict = predictor(tape, tree, channels, agnostic=agnostic)
        self.channels = channels

    def features(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x

    def losses(self, x: Tensor, positives: int) -> list[Tensor]:
        return box_losses(self.predict, ops.mean(x, (x.shape[0], self.channels)), positives)
