"""DDRNet. Source: mmsegmentation 1.2.2 ``backbones/ddrnet.py``, ``utils/{basic_block,ppm}.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import BN
from vramlint.memory.layers.bricks import RELU, ConvModule, norm
from vramlint.memory.layers.nn import Conv, Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor

PRE: dict[str, Any] = {"act_first": True, "bias": False}
"""Norm and activation before the convolution."""


class Units:
    """ConvModules of one network."""

    def __init__(self, tape: Tape, config: Config) -> None:
        self.tape = tape
        self.norm: Config = config.get("norm_cfg") or BN
        self.act: Config = config.get("act_cfg") or RELU

    def conv(self, inside: int, out: int, kernel: int = 1, stride: int = 1, **options: Any) -> ConvModule:
        options = {"norm_cfg": self.norm, "act_cfg": self.act, **options}
        return ConvModule(self.tape, inside, out, kernel, stride, kernel // 2, **options)

    def layer(self, *, wide: bool, inside: int, planes: int, count: int, stride: int = 1) -> Layer:
        """Basic blocks, or bottlenecks of expansion 2 where ``wide``; the last one has no activation."""
        expansion = 2 if wide else 1
        out = planes * expansion
        shortcut: Layer | None = None
        if stride != 1 or inside != out:
            shortcut = chain(Conv(self.tape, inside, out, 1, stride, bias=False), norm(self.tape, self.norm, out))
        blocks: list[Layer] = []
        for index in range(count):
            source = out if index else inside
            step, skip = (1, None) if index else (stride, shortcut)
            act = (not wide) and (index == 0 or index < count - 1)
            blocks.append(self._block(source, planes, step, skip, wide=wide, act=act))
        return chain(*blocks)

    def single(self, inside: int, planes: int) -> Layer:
        """One basic block without an activation after it."""
        shortcut: Layer | None = None
        if inside != planes:
            shortcut = chain(Conv(self.tape, inside, planes, bias=False), norm(self.tape, self.norm, planes))
        return self._block(inside, planes, 1, shortcut, wide=False, act=False)

    def _block(self, inside: int, planes: int, stride: int, shortcut: Layer | None, *, wide: bool, act: bool) -> Layer:
        plain: Any = {"act_cfg": None, "norm_cfg": BN}
        kept: Any = {"act_cfg": RELU, "norm_cfg": BN}
        if wide:
            inner = chain(
                self.conv(inside, planes, **kept), self.conv(planes, planes, 3, stride, **kept),
                self.conv(planes, planes * 2, **plain),
            )  # fmt: skip
        else:
            inner = chain(self.conv(inside, planes, 3, stride, **kept), self.conv(planes, planes, 3, **plain))

        def run(x: Tensor) -> Tensor:
            out = inner(x)
            out = ops.add(out, x if shortcut is None else shortcut(x), inplace=True)
            return ops.relu(out, inplace=True) if act else out

        return run


_WINDOWS = ((5, 2, 2), (9, 4, 4), (17, 8, 8))


class DeepPyramid:
    """DAPPM: pooled at growing windows, each scale refined together with the one before it."""

    def __init__(self, units: Units, inside: int, branch: int, out: int, scales: int) -> None:
        pre: Any = {**PRE, "norm_cfg": BN, "act_cfg": RELU}
        self.scales = [units.conv(inside, branch, **pre) for _ in range(scales)]
        self.processes = self._processes(units, branch, scales, pre)
        self.compress = units.conv(branch * scales, out, **pre)
        self.shortcut = units.conv(inside, out, **pre)

    @staticmethod
    def _processes(units: Units, branch: int, scales: int, pre: Any) -> list[Layer]:
        return [units.conv(branch, branch, 3, **pre) for _ in range(scales - 1)]

    def pooled(self, x: Tensor, index: int) -> Tensor:
        """The input at the window of a scale, projected and resized back."""
        if index == len(self.scales) - 1:
            small = ops.adaptive_avg_pool(x, 1)
        else:
            kernel, stride, padding = _WINDOWS[index - 1]
            small = ops.avg_pool(x, kernel, stride, padding)
        return ops.resize(self.scales[index](small), x.size)

    def __call__(self, x: Tensor) -> Tensor:
        feats = [self.scales[0](x)]
        for index in range(1, len(self.scales)):
            up = self.pooled(x, index)
            feats.append(self.processes[index - 1](ops.add(up, feats[index - 1])))
        return ops.add(self.compress(ops.concatenate(feats)), self.shortcut(x))


@backbone("DDRNet")
class DDRNet:
    """A context branch and a spatial branch that exchange maps twice."""

    def __init__(self, build: Build, config: Config) -> None:
        units = Units(build.tape, config)
        width = int(config.get("channels", 32))
        plain: Any = {"act_cfg": None}
        self.stem = chain(
            units.conv(int(config.get("in_channels", 3)), width, 3, 2),
            units.conv(width, width, 3, 2),
            units.layer(wide=False, inside=width, planes=width, count=2),
            ops.relu,
            units.layer(wide=False, inside=width, planes=width * 2, count=2, stride=2),
            ops.relu,
        )
        self.context = [
            units.layer(
                wide=index == 2, inside=width * 2 ** (index + 1), planes=width * (8 if index else 4),
                count=1 if index == 2 else 2, stride=2,
            )
            for index in range(3)
        ]  # fmt: skip
        self.compress_1 = units.conv(width * 4, width * 2, **plain)
        self.down_1 = units.conv(width * 2, width * 4, 3, 2, **plain)
        self.compress_2 = units.conv(width * 8, width * 2, **plain)
        self.down_2 = chain(units.conv(width * 2, width * 4, 3, 2), units.conv(width * 4, width * 8, 3, 2, **plain))
        self.spatial = [
            units.layer(wide=index == 2, inside=width * 2, planes=width * 2, count=1 if index == 2 else 2)
            for index in range(3)
        ]
        self.pyramid = DeepPyramid(units, width * 16, int(config.get("ppm_channels", 128)), width * 4, 5)

    def __call__(self, x: Tensor) -> Maps:
        size = (x.size[0] // 8, x.size[1] // 8)
        x = self.stem(x)
        context, spatial = self.context[0](x), self.spatial[0](x)
        small = self.compress_1(ops.relu(context))
        context = ops.add(context, self.down_1(ops.relu(spatial)), inplace=True)
        spatial = ops.add(spatial, ops.resize(small, size), inplace=True)
        kept = ops.copy(spatial)
        context = self.context[1](ops.relu(context))
        spatial = self.spatial[1](ops.relu(spatial))
        small = self.compress_2(ops.relu(context))
        context = ops.add(context, self.down_2(ops.relu(spatial)), inplace=True)
        spatial = ops.add(spatial, ops.resize(small, size), inplace=True)
        spatial = self.spatial[2](ops.relu(spatial))
        context = self.pyramid(self.context[2](ops.relu(context)))
        context = ops.resize(context, size)
        return [kept, ops.add(spatial, context)]
