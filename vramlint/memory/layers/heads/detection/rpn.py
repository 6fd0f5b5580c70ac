"""Region proposal networks. Source: mmdet 3.3.0 ``models/dense_heads``: ``rpn_head.py``, ``anchor_head.py``.

A proposal head has ``loss(maps, batch) -> (losses, proposals an image)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import (
    Batch,
    Losses,
    anchors_each,
    assign,
    decode,
    per_anchor,
    through,
)
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor

PROPOSALS = 1000


class ProposalHead:
    """Convolution, objectness and deltas for every anchor; targets by IoU; the best boxes become proposals."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.train = config.get("train_cfg") or {}
        channels = int(config.get("feat_channels", 256))
        self.anchors = anchors_each(config["anchor_generator"])
        count = int(config.get("num_convs", 1))
        inside = int(config["in_channels"])
        self.single = count == 1
        self.convs: Sequence[Conv | ConvModule] = (
            [Conv(tape, inside, channels, 3, padding=1)]
            if self.single
            else [
                ConvModule(tape, inside if i == 0 else channels, channels, 3, padding=1, act_cfg=RELU, inplace=False)
                for i in range(count)
            ]
        )
        loss_cls = config.get("loss_cls") or {"use_sigmoid": True, "type": "CrossEntropyLoss"}
        self.width = 1 if loss_cls.get("use_sigmoid", False) else 2
        self.classify, self.regress = Losses(loss_cls), Losses(config.get("loss_bbox"))
        self.scores = Conv(tape, channels, self.anchors * self.width)
        self.deltas = Conv(tape, channels, self.anchors * 4)
        self.decoded = bool(config.get("reg_decoded_bbox", False))

    def _one(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = through(self.convs, x)
        x = ops.relu(x, inplace=self.tape.stack.keeps_gradients)  # in place in mmdet 2, of torch 1.x
        return self.scores(x), self.deltas(x)

    def loss(self, maps: Maps, batch: Batch) -> tuple[list[Tensor], int]:
        outs = [self._one(x) for x in maps]
        total = sum(score.elements for score, _ in outs) // self.width // batch.images
        targets = anchor_targets(self.tape, self.train.get("assigner"), total, batch)
        losses: list[Tensor] = []
        for score, delta in outs:
            losses.append(self.classify(per_anchor(score, self.width)))
            boxes = per_anchor(delta, 4)
            losses.append(self.regress(decode(boxes) if self.decoded else boxes))
            del boxes
        del targets
        proposals = self.train.get("max_per_img", PROPOSALS)
        return losses, int(proposals)


def anchor_targets(tape: Tape, assigner: Config | None, total: int, batch: Batch) -> list[Tensor]:
    """Assignment image by image; then labels, weights, box targets and box weights of every anchor stay."""
    kept = [tape.new(total, 4)]  # the anchors themselves
    for objects in batch.counts:
        assign(tape, assigner, total, objects)
        kept += [tape.new(total, itemsize=8), tape.new(total), tape.new(total, 4), tape.new(total, 4)]
    return kept


@head("RPNHead")
def rpn_head(build: Build, config: Config) -> ProposalHead:
    """The plain one."""
    return ProposalHead(build, config)
