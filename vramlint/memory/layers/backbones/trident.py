"""TridentNet: the last stage three times over, with shared weights and different dilations.

Source: mmdet 3.3.0 ``models/backbones/trident_resnet.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import DEPTHS, Bottleneck, ResNet, options_of, run_block
from vramlint.memory.layers.bricks import norm
from vramlint.memory.layers.nn import Conv, Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor


class _Block:
    """A bottleneck over a list of maps, one a branch; its 3x3 convolution is dilated as the branch wants it."""

    def __init__(
        self, tape: Tape, inside: int, planes: int, stride: int, dilations: Sequence[int], options: Config
    ) -> None:
        norms, outside = options["norm"], planes * Bottleneck.expansion
        early, late = (stride, 1) if options.get("style") == "caffe" else (1, stride)
        self.shortcut: Layer | None = None
        if stride != 1 or inside != outside:
            self.shortcut = chain(Conv(tape, inside, outside, 1, stride, bias=False), norm(tape, norms, outside))
        self.first = chain(Conv(tape, inside, planes, 1, early, bias=False), norm(tape, norms, planes))
        shared, after = Conv(tape, planes, planes, 3, late, bias=False), norm(tape, norms, planes)
        self.seconds: list[Layer] = []
        for dilation in dilations:
            self.seconds.append(chain(shared.dilated(dilation), after))
        self.third = chain(Conv(tape, planes, outside, 1, bias=False), norm(tape, norms, outside))

    def __call__(self, maps: Maps) -> Maps:
        short = maps if self.shortcut is None else [self.shortcut(x) for x in maps]
        out = [ops.relu(x, inplace=True) for x in [self.first(x) for x in maps]]
        out = [second(x) for second, x in zip(self.seconds, out, strict=True)]
        out = [self.third(ops.relu(x, inplace=True)) for x in out]
        return [ops.relu(x, inplace=True) for x in [ops.add(x, y) for x, y in zip(out, short, strict=True)]]


@backbone("TridentResNet")
class TridentResNet(ResNet):
    """Three stages; the branches of the last one are joined along the batch."""

    def __init__(self, build: Build, config: Config) -> None:
        if int(config.get("num_stages", 4)) != 3 or tuple(config.get("out_indices", ())) != (2,):
            raise KeyError("num_stages and out_indices of TridentResNet")
        if config.get("with_cp") or config.get("dcn") or config.get("plugins"):
            raise KeyError("with_cp, dcn or plugins of TridentResNet")
        super().__init__(build, {**config, "num_stages": 2}, Bottleneck, options_of(config))
        dilations = [int(each) for each in config["trident_dilations"]]
        self.branches = len(dilations)
        planes = int(config.get("base_channels", 64)) * 4
        inside, stride = planes * 2, int(config.get("strides", (1, 2, 2, 2))[2])
        self.last: list[_Block] = []
        with build.tape.frozen(active=int(config.get("frozen_stages", -1)) >= 3):
            for index in range(DEPTHS[int(config["depth"])][2]):
                step = stride if index == 0 else 1
                self.last.append(_Block(build.tape, inside, planes, step, dilations, options_of(config)))
                inside = planes * Bottleneck.expansion

    def __call__(self, x: Tensor) -> Maps:
        x = ops.max_pool(self.stem(x), 3, 2, 1)
        for stage in self.stages:
            for block in stage:
                x = run_block(block, x, checkpointing=False)
        maps = [x] * self.branches
        for each in self.last:
            maps = each(maps)
        return [ops.concatenate(maps, axis=0)]
