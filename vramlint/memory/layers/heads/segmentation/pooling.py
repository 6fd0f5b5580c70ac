"""Heads over pooled context. Source: mmsegmentation 1.2.2 ``decode_heads/{psp,aspp,sep_aspp,uper,apc,dm}_head.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import SeparableConv, activation, norm
from vramlint.memory.layers.heads.segmentation.base import DecodeHead
from vramlint.memory.layers.nn import Conv, Layer
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor


def _joined(maps: Maps) -> Tensor:
    """The concatenation of a list that nothing needs any more."""
    found = ops.concatenate(maps)
    maps.clear()
    return found


class Pyramid:
    """Pyramid pooling (PPM): each scale pooled, projected and resized back."""

    def __init__(self, owner: DecodeHead, scales: Any, inside: int, channels: int) -> None:
        self.scales = [int(scale) for scale in scales]
        self.convs = [owner.module(inside, channels) for _ in self.scales]

    def __call__(self, x: Tensor) -> Maps:
        return [
            ops.resize(conv(ops.adaptive_avg_pool(x, scale)), x.size)
            for scale, conv in zip(self.scales, self.convs, strict=True)
        ]


@head("PSPHead")
class PSPHead(DecodeHead):
    """The input beside its pyramid."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        scales = config.get("pool_scales", (1, 2, 3, 6))
        self.pyramid = Pyramid(self, scales, self.inside, self.channels)
        self.join = self.module(self.inside + len(scales) * self.channels, self.channels, 3, padding=1)

    def features(self, maps: Maps) -> Tensor:
        x = self.picked(maps)
        joined = [x]
        joined.extend(self.pyramid(x))
        return self.join(_joined(joined))


@head("ASPPHead")
class ASPPHead(DecodeHead):
    """Dilated convolutions side by side, and the mean of the image."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.dilations = [int(each) for each in config.get("dilations", (1, 6, 12, 18))]
        self.image = self.module(self.inside, self.channels)
        self.branches: list[Layer] = [self.branch(dilation) for dilation in self.dilations]
        self.join = self.module((len(self.dilations) + 1) * self.channels, self.channels, 3, padding=1)

    def branch(self, dilation: int) -> Layer:
        """One of the convolutions side by side."""
        if dilation == 1:
            return self.module(self.inside, self.channels)
        return self.module(self.inside, self.channels, 3, padding=dilation, dilation=dilation)

    def features(self, maps: Maps) -> Tensor:
        x = self.picked(maps)
        outs = [ops.resize(self.image(ops.adaptive_avg_pool(x, 1)), x.size)]
        outs.extend([branch(x) for branch in self.branches])
        return self.join(_joined(outs))


@head("DepthwiseSeparableASPPHead")
class SeparableASPPHead(ASPPHead):
    """DeepLabV3+: separable branches, and a finer map joined before two separable convolutions."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        fine, width = int(config["c1_in_channels"]), int(config["c1_channels"])
        self.fine = self.module(fine, width) if fine else None
        options: Any = {"norm_cfg": self.norm, "act_cfg": self.act}
        self.last_convs = [
            SeparableConv(self.tape, source, self.channels, 3, padding=1, **options)
            for source in (self.channels + width, self.channels)
        ]

    def branch(self, dilation: int) -> Layer:
        if dilation == 1:
            return super().branch(1)
        options: Any = {"norm_cfg": self.norm, "act_cfg": self.act}
        return SeparableConv(self.tape, self.inside, self.channels, 3, padding=dilation, dilation=dilation, **options)

    def features(self, maps: Maps) -> Tensor:
        x = super().features(maps)
        if self.fine is not None:
            fine = self.fine(maps[0])
            x = ops.concatenate([ops.resize(x, fine.size), fine])
        for conv in self.last_convs:
            x = conv(x)
        return x


@head("UPerHead")
class UPerHead(DecodeHead):
    """A feature pyramid whose top is pyramid pooling; all levels joined at the finest."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        scales = config.get("pool_scales", (1, 2, 3, 6))
        top = self.inside[-1]
        self.pyramid = Pyramid(self, scales, top, self.channels)
        self.join = self.module(top + len(scales) * self.channels, self.channels, 3, padding=1)
        self.laterals = [self.module(each, self.channels, inplace=False) for each in self.inside[:-1]]
        self.outs = [self.module(self.channels, self.channels, 3, padding=1, inplace=False) for _ in self.inside[:-1]]
        self.fuse = self.module(len(self.inside) * self.channels, self.channels, 3, padding=1)

    def _top(self, x: Tensor) -> Tensor:
        joined = [x]
        joined.extend(self.pyramid(x))
        return self.join(_joined(joined))

    def features(self, maps: Maps) -> Tensor:
        inputs = self.several(maps)
        laterals = [layer(x) for layer, x in zip(self.laterals, inputs[:-1], strict=True)]
        laterals.append(self._top(inputs[-1]))
        for index in range(len(laterals) - 1, 0, -1):
            laterals[index - 1] = ops.add(laterals[index - 1], ops.resize(laterals[index], laterals[index - 1].size))
        outs = [layer(x) for layer, x in zip(self.outs, laterals[:-1], strict=True)]
        outs.append(laterals[-1])
        for index in range(len(outs) - 1, 0, -1):
            outs[index] = ops.resize(outs[index], outs[0].size)
        return self.fuse(_joined(outs))


class _AdaptiveContext:
    """APCNet's ACM: an affinity between pixels and pooled regions."""

    def __init__(self, owner: DecodeHead, scale: int, *, fusion: bool) -> None:
        width = owner.channels
        self.scale = scale
        self.pooled, self.input = owner.module(owner.inside, width), owner.module(owner.inside, width)
        self.whole = owner.module(width, width)
        self.affinity = Conv(owner.tape, width, scale * scale)
        self.residual = owner.module(width, width)
        self.fusion = owner.module(width, width) if fusion else None

    def __call__(self, x: Tensor) -> Tensor:
        pooled = ops.adaptive_avg_pool(x, self.scale)
        x = self.input(x)
        pooled = self.pooled(pooled)
        batch, channels, height, width = x.shape
        regions, pixels = self.scale * self.scale, height * width
        pooled = ops.copy(pooled, (batch, regions, channels))
        whole = ops.resize(self.whole(ops.adaptive_avg_pool(x, 1)), x.size)
        affinity = self.affinity(ops.add(x, whole))
        affinity = ops.sigmoid(affinity.view(batch, pixels, regions))
        out = ops.matmul(affinity, pooled, (batch, pixels, channels))
        out = ops.copy(out, (batch, channels, height, width))
        out = self.residual(out)
        out = ops.relu(ops.add(out, x))
        return out if self.fusion is None else self.fusion(out)


@head("APCHead")
class APCHead(DecodeHead):
    """Adaptive context at several scales beside the input."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        scales = config.get("pool_scales", (1, 2, 3, 6))
        self.contexts = [_AdaptiveContext(self, int(each), fusion=bool(config.get("fusion", True))) for each in scales]
        self.join = self.module(self.inside + len(scales) * self.channels, self.channels, 3, padding=1)

    def features(self, maps: Maps) -> Tensor:
        x = self.picked(maps)
        outs = [x]
        for context in self.contexts:
            outs.append(context(x))
        return self.join(_joined(outs))


class _DynamicConv:
    """DMNet's DCM: a depthwise convolution whose filters come from the pooled input."""

    def __init__(self, owner: DecodeHead, size: int, *, fusion: bool) -> None:
        width = owner.channels
        self.size = size
        self.filters = Conv(owner.tape, owner.inside, width)
        self.reduce = owner.module(owner.inside, width)
        self.norm = None if owner.norm is None else norm(owner.tape, owner.norm, width)
        self.act = activation(owner.act, inplace=False)
        self.fusion = owner.module(width, width) if fusion else None

    def __call__(self, x: Tensor) -> Tensor:
        filters = self.filters(ops.adaptive_avg_pool(x, self.size))
        x = self.reduce(x)
        tape, shape = x.storage.tape, x.shape
        side = (self.size - 1) // 2
        padded = ops.pad(x, side, side, side, side)
        padded, filters = tape.lowered(padded), tape.lowered(filters)
        out = tape.record(shape, padded.itemsize, (padded, filters), (padded.bytes, filters.bytes), (padded, filters))
        if self.norm is not None:
            out = self.norm(out)
        out = self.act(out)
        return out if self.fusion is None else self.fusion(out)


@head("DMHead")
class DMHead(DecodeHead):
    """Dynamic filters of several sizes beside the input."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        sizes = config.get("filter_sizes", (1, 3, 5, 7))
        self.branches = [_DynamicConv(self, int(each), fusion=bool(config.get("fusion", False))) for each in sizes]
        self.join = self.module(self.inside + len(sizes) * self.channels, self.channels, 3, padding=1)

    def features(self, maps: Maps) -> Tensor:
        x = self.picked(maps)
        outs = [x]
        for branch in self.branches:
            outs.append(branch(x))
        return self.join(_joined(outs))
