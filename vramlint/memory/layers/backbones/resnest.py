"""ResNeSt and Res2Net. Source: mmsegmentation 1.2.2 and mmdet 3.3.0 ``models/backbones/{resnest,res2net}.py``."""

from __future__ import annotations

from math import floor

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import ResNet, options_of
from vramlint.memory.layers.bricks import conv, norm
from vramlint.memory.layers.nn import Layer, chain
from vramlint.memory.layers.registry import Backbone, Build, Config, backbone
from vramlint.memory.layers.tape import Tape, Tensor


class _SplitAttention:
    """A grouped convolution whose ``radix`` parts are weighted by their common mean."""

    def __init__(self, tape: Tape, channels: int, stride: int, dilation: int, groups: int, options: Config) -> None:
        self.radix = int(options.get("radix", 2))
        norms = options["norm"]
        middle = max(channels * self.radix // int(options.get("reduction_factor", 4)), 32)
        wide = channels * self.radix
        kind = options.get("dcn") or options.get("conv")
        self.conv = chain(
            conv(tape, kind, channels, wide, 3, stride, dilation, dilation, groups * self.radix, bias=False),
            norm(tape, norms, wide),
        )
        self.first = chain(conv(tape, None, channels, middle, groups=groups), norm(tape, norms, middle))
        self.second = conv(tape, None, middle, wide, groups=groups)

    def __call__(self, x: Tensor) -> Tensor:
        x = ops.relu(self.conv(x), inplace=True)
        batch, wide = x.shape[:2]
        channels, radix = wide // self.radix, self.radix
        whole = ops.total(x, (batch, channels, *x.size)) if radix > 1 else x
        gate = ops.relu(self.first(ops.adaptive_avg_pool(whole, 1)), inplace=True)
        gate = self.second(gate)
        if radix == 1:
            return ops.mul(ops.sigmoid(gate), x)
        gate = ops.copy(ops.softmax(gate))
        return ops.total(ops.mul(gate, x), (batch, channels, *x.size))


class _NestBottleneck:
    """A bottleneck around split attention."""

    expansion = 4

    def __init__(
        self, tape: Tape, inside: int, planes: int, stride: int, dilation: int, shortcut: Layer | None, options: Config
    ) -> None:
        norms, convs = options["norm"], options.get("conv")
        groups, base = int(options.get("groups", 1)), int(options.get("base_channels", 64))
        width = planes if groups == 1 else floor(planes * (options.get("base_width", 4) / base)) * groups
        self.pool = stride if stride > 1 and options.get("avg_down_stride", True) else 0
        self.first = chain(conv(tape, convs, inside, width, 1, bias=False), norm(tape, norms, width))
        self.second = _SplitAttention(tape, width, 1 if self.pool else stride, dilation, groups, options)
        outside = planes * self.expansion
        self.third = chain(conv(tape, convs, width, outside, 1, bias=False), norm(tape, norms, outside))
        self.shortcut = shortcut

    def inner(self, x: Tensor) -> Tensor:
        out = ops.relu(self.first(x), inplace=True)
        out = self.second(out)
        if self.pool:
            out = ops.avg_pool(out, 3, self.pool, 1)
        out = self.third(out)
        return ops.add(out, x if self.shortcut is None else self.shortcut(x), inplace=True)


@backbone("ResNeSt")
def resnest(build: Build, config: Config) -> Backbone:
    """Deep stem, average pooling in the shortcuts, split attention."""
    config = {**config, "deep_stem": True, "avg_down": True}
    options = options_of(config)
    for key, default in (("groups", 1), ("base_width", 4), ("radix", 2), ("reduction_factor", 4)):
        options[key] = config.get(key, default)
    options["avg_down_stride"] = config.get("avg_down_stride", True)
    return ResNet(build, config, _NestBottleneck, options)


class _ScaleBottleneck:
    """Res2Net's: the 3x3 convolution in ``scales`` parts, each fed the one before it."""

    expansion = 4

    def __init__(
        self, tape: Tape, inside: int, planes: int, stride: int, dilation: int, shortcut: Layer | None, options: Config
    ) -> None:
        norms, convs = options["norm"], options.get("conv")
        self.scales = int(options["scales"])
        self.width = floor(planes * (options["base_width"] / options.get("base_channels", 64)))
        self.start = stride > 1 or shortcut is not None
        wide, outside = self.width * self.scales, planes * self.expansion
        self.first = chain(conv(tape, convs, inside, wide, 1, bias=False), norm(tape, norms, wide))
        self.stride = stride
        kind = options.get("dcn") or convs
        self.parts = [
            chain(
                conv(tape, kind, self.width, self.width, 3, stride, dilation, dilation, bias=False),
                norm(tape, norms, self.width),
            )
            for _ in range(self.scales - 1)
        ]
        self.third = chain(conv(tape, convs, wide, outside, 1, bias=False), norm(tape, norms, outside))
        self.shortcut = shortcut

    def inner(self, x: Tensor) -> Tensor:
        out = ops.relu(self.first(x), inplace=True)
        pieces = ops.split(out, [self.width] * self.scales)
        part = ops.relu(self.parts[0](ops.copy(pieces[0])), inplace=True)
        out = part
        for index in range(1, self.scales - 1):
            fed = pieces[index] if self.start else ops.add(part, pieces[index])
            part = ops.relu(self.parts[index](ops.copy(fed)), inplace=True)
            out = ops.concatenate([out, part])
        last = pieces[-1]
        if self.start and self.stride > 1:
            last = ops.avg_pool(last, 3, self.stride, 1)
        out = self.third(ops.concatenate([out, last]))
        return ops.add(out, x if self.shortcut is None else self.shortcut(x), inplace=True)


@backbone("Res2Net")
def res2net(build: Build, config: Config) -> Backbone:
    """Deep stem, average pooling in the shortcuts, hierarchical 3x3 convolutions."""
    config = {**config, "deep_stem": True, "avg_down": True}
    options = options_of(config) | {"scales": config.get("scales", 4), "base_width": config.get("base_width", 26)}
    return ResNet(build, config, _ScaleBottleneck, options)
