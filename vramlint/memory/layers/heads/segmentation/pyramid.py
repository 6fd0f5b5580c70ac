"""Heads over several maps. Source: mmsegmentation 1.2.2 ``decode_heads/{segformer,fpn,lraspp}_head.py``."""

from __future__ import annotations

from math import log2

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.segmentation.base import DecodeHead
from vramlint.memory.layers.nn import Conv, Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor


@head("SegformerHead")
class SegformerHead(DecodeHead):
    """Each map projected and resized to the finest one, then joined."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.convs = [self.module(each, self.channels) for each in self.inside]
        self.fuse = self.module(self.channels * len(self.inside), self.channels)

    def features(self, maps: Maps) -> Tensor:
        inputs = self.several(maps)
        outs = []
        for conv, x in zip(self.convs, inputs, strict=True):
            outs.append(ops.resize(conv(x), inputs[0].size))
        return self.fuse(ops.concatenate(outs))


@head("FPNHead")
class FPNHead(DecodeHead):
    """Semantic FPN: each level convolved and doubled until it has the finest size, then added."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        strides = [int(each) for each in config["feature_strides"]]
        self.levels: list[Layer] = []
        for stride, inside in zip(strides, self.inside, strict=True):
            layers: list[Layer] = []
            for index in range(max(1, int(log2(stride) - log2(strides[0])))):
                layers.append(self.module(self.channels if index else inside, self.channels, 3, padding=1))
                if stride != strides[0]:
                    layers.append(lambda x: ops.enlarged(x, 2))
            self.levels.append(chain(*layers))

    def features(self, maps: Maps) -> Tensor:
        inputs = self.several(maps)
        out = self.levels[0](inputs[0])
        for level, x in zip(self.levels[1:], inputs[1:], strict=True):
            out = ops.add(out, ops.resize(level(x), out.size))
        return out


@head("LRASPPHead")
class LRASPPHead(DecodeHead):
    """Lite R-ASPP: a gate from wide average pooling, then two finer maps joined."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        branches = [int(each) for each in config.get("branch_channels", (32, 64))]
        self.fine: list[Layer] = []
        self.joins: list[Layer] = []
        for inside, width in zip(self.inside, branches, strict=False):
            self.fine.append(Conv(self.tape, inside, width, bias=False))
            self.joins.append(self.module(self.channels + width, self.channels, bias=False))
        self.up = Conv(self.tape, self.channels, self.channels)
        self.top = self.module(self.inside[-1], self.channels, bias=False)
        self.gate = self.module(self.inside[2], self.channels, act_cfg={"type": "Sigmoid"}, bias=False)

    def features(self, maps: Maps) -> Tensor:
        inputs = self.several(maps)
        x = inputs[-1]
        x = ops.mul(self.top(x), ops.resize(self.gate(ops.avg_pool(x, 49, (16, 20))), x.size))
        x = self.up(x)
        for index in range(len(self.fine) - 1, -1, -1):
            x = ops.resize(x, inputs[index].size)
            x = ops.concatenate([x, self.fine[index](inputs[index])])
            x = self.joins[index](x)
        return x
