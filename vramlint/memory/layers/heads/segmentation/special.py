"""Point heads, boundary heads and other heads with losses of their own.

Source: mmsegmentation 1.2.2 ``decode_heads/{point,stdc,sep_fcn}_head.py``.
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule, SeparableConv
from vramlint.memory.layers.heads.segmentation.fcn import FCNHead
from vramlint.memory.layers.heads.segmentation.relation import CascadeHead
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor

POINTS = 2048
"""Points an image that PointRend's configurations train on, where the configuration does not say."""


@head("PointHead")
class PointHead(CascadeHead):
    """PointRend: a small network over points, chosen where the coarse logits are least certain."""

    classifier = False

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.classes = int(config["num_classes"])
        self.again = bool(config.get("coarse_pred_each_layer", True))
        options: Any = {"norm_cfg": self.norm, "act_cfg": config.get("act_cfg", {"type": "ReLU", "inplace": False})}
        inside = sum(self.inside) + self.classes
        self.layers = []
        for _ in range(int(config.get("num_fcs", 3))):
            self.layers.append(ConvModule(self.tape, inside, self.channels, dims=1, **options))
            inside = self.channels + (self.classes if self.again else 0)
        self.last_layer = Conv(self.tape, inside, self.classes, dims=1)
        self.points = int(build.facts.get("points", POINTS))

    def loss_after(self, maps: Maps, previous: Tensor, labels: Tensor) -> list[Tensor]:
        fine = [_sampled(x, self.points) for x in self.several(maps)]
        joined = ops.concatenate(fine) if len(fine) > 1 else fine[0]
        coarse = _sampled(previous, self.points)
        x = ops.concatenate([joined, coarse])
        for layer in self.layers:
            x = layer(x)
            if self.again:
                x = ops.concatenate([x, coarse])
        logits = self.last_layer(ops.dropout(x, self.rate))
        target = self.tape.new(labels.shape[0], self.points, itemsize=8)
        return [loss(logits, target) for loss in self.losses]


def _sampled(x: Tensor, points: int) -> Tensor:
    """``point_sample``: grid_sample keeps the map and the grid."""
    tape = x.storage.tape
    grid = tape.new(x.shape[0], points, 1, 2)
    return tape.record((x.shape[0], x.shape[1], points), x.itemsize, (x,), (x.bytes,), (x, grid))


@head("STDCHead")
class STDCHead(FCNHead):
    """Boundary logits against edges of the labels, found by a few convolutions of one channel."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        with self.tape.frozen():
            self.fusion = self.tape.parameter(3)

    def losses_of(self, logits: Tensor, labels: Tensor) -> list[Tensor]:
        edges = [self.tape.new(labels.shape[0], *labels.shape[1:]) for _ in range(9)]
        found = super().losses_of(logits, labels)
        del edges
        return found


@head("DepthwiseSeparableFCNHead")
class SeparableFCNHead(FCNHead):
    """FCN with separable convolutions."""

    def conv(self, inside: int, kernel: int, dilation: int) -> SeparableConv:
        del dilation
        return SeparableConv(
            self.tape, inside, self.channels, kernel, 1, kernel // 2, norm_cfg=self.norm, act_cfg=RELU,
            dw_act_cfg=self.config.get("dw_act_cfg"),
        )  # fmt: skip
