"""Backbones and necks of the YOLO line, and SSD's VGG.

Source: mmdet 3.3.0 ``models/backbones`` (darknet, csp_darknet, cspnext, ssd_vgg), ``layers/csp_layer.py``,
``necks`` (yolo_neck, yolox_pafpn, cspnext_pafpn, ssd_neck).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule, SeparableConv
from vramlint.memory.layers.nn import Conv, Layer, chain
from vramlint.memory.layers.registry import Backbone, Build, Config, Maps, Neck, backbone, neck
from vramlint.memory.layers.tape import Tape, Tensor

BN: Config = {"type": "BN"}
SWISH: Config = {"type": "Swish"}
LEAKY: Config = {"type": "LeakyReLU", "inplace": True}


class _Parts:
    """Norm and activation of a network, and its convolutions with them."""

    def __init__(self, tape: Tape, config: Config, *, act: Config = SWISH, depthwise: bool = False) -> None:
        self.tape = tape
        self.norm: Config = config.get("norm_cfg") or BN
        self.act: Config = config.get("act_cfg") or act
        self.depthwise = depthwise or bool(config.get("use_depthwise", False))

    def module(self, inside: int, channels: int, kernel: int = 1, stride: int = 1) -> ConvModule:
        return ConvModule(
            self.tape, inside, channels, kernel, stride, kernel // 2, norm_cfg=self.norm, act_cfg=self.act
        )

    def either(self, inside: int, channels: int, kernel: int, stride: int = 1) -> Layer:
        """Depthwise separable where the network asks for it."""
        if not self.depthwise:
            return self.module(inside, channels, kernel, stride)
        return self.separable(inside, channels, kernel, stride)

    def separable(self, inside: int, channels: int, kernel: int, stride: int = 1) -> Layer:
        return SeparableConv(
            self.tape, inside, channels, kernel, stride, kernel // 2, norm_cfg=self.norm, act_cfg=self.act
        )


class CspLayer:
    """Two halves, one through residual blocks, joined."""

    def __init__(
        self, parts: _Parts, inside: int, channels: int, blocks: int, *, identity: bool, ratio: float = 0.5,
        next_blocks: bool = False, attention: bool = False,
    ) -> None:  # fmt: skip
        middle = int(channels * ratio)
        self.main, self.short = parts.module(inside, middle), parts.module(inside, middle)
        self.final = parts.module(2 * middle, channels)
        self.identity = identity
        self.blocks = [
            chain(parts.either(middle, middle, 3), parts.separable(middle, middle, 5))
            if next_blocks
            else chain(parts.module(middle, middle), parts.either(middle, middle, 3))
            for _ in range(blocks)
        ]
        self.attention = Conv(parts.tape, 2 * middle, 2 * middle) if attention else None

    def __call__(self, x: Tensor) -> Tensor:
        short, main = self.short(x), self.main(x)
        for block in self.blocks:
            out = block(main)
            main = ops.add(out, main) if self.identity else out
            del out
        joined = ops.concatenate([main, short])
        del main, short
        if self.attention is not None:
            weight = ops.keeps_input(self.attention(ops.adaptive_avg_pool(joined, 1)))
            joined = ops.mul(joined, weight)
        return self.final(joined)


class _Pooling:
    """SPPBottleneck: maps pooled over three windows, joined."""

    def __init__(self, parts: _Parts, channels: int, kernels: Any) -> None:
        self.kernels = tuple(kernels)
        self.first = parts.module(channels, channels // 2)
        self.second = parts.module(channels // 2 * (len(self.kernels) + 1), channels)

    def __call__(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = ops.concatenate([x, *(ops.max_pool(x, kernel, 1, kernel // 2) for kernel in self.kernels)])
        return self.second(x)


_P5 = ((64, 128, 3, True, False), (128, 256, 9, True, False), (256, 512, 9, True, False), (512, 1024, 3, False, True))
_NEXT = ((64, 128, 3, True, False), (128, 256, 6, True, False), (256, 512, 6, True, False), (512, 1024, 3, False, True))


class CspDarknet:
    """A stem, then stages of a strided convolution, perhaps pooling, and a CSP layer."""

    def __init__(self, build: Build, config: Config, *, newer: bool) -> None:
        tape = build.tape
        if str(config.get("arch", "P5")) != "P5":
            raise KeyError("arch")
        parts = _Parts(tape, config)
        widen, deepen = float(config.get("widen_factor", 1.0)), float(config.get("deepen_factor", 1.0))
        self.out = tuple(config.get("out_indices", (2, 3, 4)))
        frozen = int(config.get("frozen_stages", -1))
        stem = int(64 * widen)
        with tape.frozen(active=frozen >= 0):
            self.stem: Layer = (
                chain(
                    parts.module(3, stem // 2, 3, 2),
                    parts.module(stem // 2, stem // 2, 3),
                    parts.module(stem // 2, stem, 3),
                )
                if newer
                else _focus(parts, stem)
            )
        self.stages: list[Layer] = []
        ratio = float(config.get("expand_ratio", 0.5))
        attention = bool(config.get("channel_attention", newer))
        for index, (inside, channels, count, identity, pooling) in enumerate(_NEXT if newer else _P5):
            a, b = int(inside * widen), int(channels * widen)
            with tape.frozen(active=frozen > index):
                layers: list[Layer] = [parts.either(a, b, 3, 2)]
                if pooling:
                    layers.append(_Pooling(parts, b, config.get("spp_kernel_sizes", (5, 9, 13))))
                layers.append(
                    CspLayer(
                        parts, b, b, max(round(count * deepen), 1), identity=identity, ratio=ratio if newer else 0.5,
                        next_blocks=newer, attention=newer and attention,
                    )
                )  # fmt: skip
                self.stages.append(chain(*layers))

    def __call__(self, x: Tensor) -> Maps:
        x = self.stem(x)
        outs: Maps = [x] if 0 in self.out else []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index + 1 in self.out:
                outs.append(x)
        return outs


def _focus(parts: _Parts, channels: int) -> Layer:
    """Four interleaved quarters of the image joined, then a convolution."""
    conv = parts.module(12, channels, 3)

    def run(x: Tensor) -> Tensor:
        batch, count, height, width = x.shape
        joined = ops.copy(x, (batch, 4 * count, height // 2, width // 2))
        return conv(joined)

    return run


@backbone("CSPDarknet")
def csp_darknet(build: Build, config: Config) -> Backbone:
    """YOLOX."""
    return CspDarknet(build, config, newer=False)


@backbone("CSPNeXt")
def csp_next(build: Build, config: Config) -> Backbone:
    """RTMDet."""
    return CspDarknet(build, config, newer=True)


class _PathNeck:
    """Top-down, then bottom-up, with CSP layers where paths join."""

    def __init__(self, build: Build, config: Config, *, newer: bool) -> None:
        parts = _Parts(build.tape, config)
        inside, channels = list(config["in_channels"]), int(config["out_channels"])
        blocks, ratio = int(config.get("num_csp_blocks", 3)), float(config.get("expand_ratio", 0.5))
        count = len(inside)

        def layer(a: int, b: int) -> CspLayer:
            return CspLayer(parts, a, b, blocks, identity=False, ratio=ratio if newer else 0.5, next_blocks=newer)

        down = range(count - 1, 0, -1)
        self.reduce = [parts.module(inside[i], inside[i - 1]) for i in down]
        self.top_down = [layer(2 * inside[i - 1], inside[i - 1]) for i in down]
        self.strided = [parts.either(inside[i], inside[i], 3, 2) for i in range(count - 1)]
        self.bottom_up = [layer(2 * inside[i], inside[i + 1]) for i in range(count - 1)]
        self.out: list[Layer] = [
            parts.either(width, channels, 3) if newer else parts.module(width, channels) for width in inside
        ]

    def __call__(self, maps: Maps) -> Maps:
        inner = [maps[-1]]
        for step, (reduce, layer) in enumerate(zip(self.reduce, self.top_down, strict=True)):
            low = maps[len(maps) - 2 - step]
            inner[0] = reduce(inner[0])
            inner.insert(0, layer(ops.concatenate([ops.enlarged(inner[0], 2), low])))
        outs = [inner[0]]
        for i, (strided, layer) in enumerate(zip(self.strided, self.bottom_up, strict=True)):
            outs.append(layer(ops.concatenate([strided(outs[-1]), inner[i + 1]])))
        for i, conv in enumerate(self.out):
            outs[i] = conv(outs[i])
        return outs


@neck("YOLOXPAFPN")
def yolox_neck(build: Build, config: Config) -> Neck:
    """YOLOX."""
    return _PathNeck(build, config, newer=False)


@neck("CSPNeXtPAFPN")
def next_neck(build: Build, config: Config) -> Neck:
    """RTMDet."""
    return _PathNeck(build, config, newer=True)


@backbone("Darknet")
class Darknet:
    """Darknet-53."""

    def __init__(self, build: Build, config: Config) -> None:
        if int(config.get("depth", 53)) != 53:
            raise KeyError("depth")
        tape = build.tape
        parts = _Parts(tape, config, act=LEAKY)
        frozen = int(config.get("frozen_stages", -1))
        self.out = tuple(config.get("out_indices", (3, 4, 5)))
        with tape.frozen(active=frozen >= 0):
            self.stem = parts.module(3, 32, 3)
        self.stages: list[tuple[Layer, list[Layer]]] = []
        for index, count in enumerate((1, 2, 8, 8, 4)):
            inside, channels = 32 * 2**index, 64 * 2**index
            with tape.frozen(active=frozen > index):
                blocks = [
                    chain(parts.module(channels, channels // 2), parts.module(channels // 2, channels, 3))
                    for _ in range(count)
                ]
                self.stages.append((parts.module(inside, channels, 3, 2), blocks))

    def __call__(self, x: Tensor) -> Maps:
        x = self.stem(x)
        outs: Maps = [x] if 0 in self.out else []
        for index, (strided, blocks) in enumerate(self.stages):
            x = strided(x)
            for block in blocks:
                x = ops.add(block(x), x)
            if index + 1 in self.out:
                outs.append(x)
        return outs


@neck("YOLOV3Neck")
class Yolov3Neck:
    """Five convolutions a level, joined from the coarsest on."""

    def __init__(self, build: Build, config: Config) -> None:
        parts = _Parts(build.tape, config, act=LEAKY)
        inside, outside = list(config["in_channels"]), list(config["out_channels"])

        def detect(width: int, channels: int) -> Layer:
            wide = 2 * channels
            return chain(
                parts.module(width, channels), parts.module(channels, wide, 3), parts.module(wide, channels),
                parts.module(channels, wide, 3), parts.module(wide, channels),
            )  # fmt: skip

        self.first = detect(inside[0], outside[0])
        self.further = [
            (parts.module(outside[i - 1], outside[i]), detect(inside[i] + outside[i], outside[i]))
            for i in range(1, len(inside))
        ]

    def __call__(self, maps: Maps) -> Maps:
        out = self.first(maps[-1])
        outs = [out]
        for (conv, detect), x in zip(self.further, reversed(maps[:-1]), strict=True):
            out = detect(ops.concatenate([ops.enlarged(conv(out), 2), x]))
            outs.append(out)
        return outs


@backbone("SSDVGG")
class SsdVgg:
    """VGG-16 with a dilated convolution instead of its first linear layer."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        if int(config.get("depth", 16)) != 16:
            raise KeyError("depth")
        self.out = tuple(config.get("out_feature_indices", (22, 34)))
        self.layers: list[Callable[[Tensor], Tensor]] = []
        inside = 3
        for stage, count in enumerate((2, 2, 3, 3, 3)):
            channels = min(64 * 2**stage, 512)
            for _ in range(count):
                self.layers += [Conv(tape, inside, channels, 3, padding=1), _relu]
                inside = channels
            ceil = bool(config.get("ceil_mode", True))
            self.layers.append(
                (lambda x: ops.max_pool(x, 3, 1, 1))
                if stage == 4
                else (lambda x, c=ceil: ops.max_pool(x, 2, 2, ceil=c))  # type: ignore[misc]
            )
        self.layers += [Conv(tape, 512, 1024, 3, padding=6, dilation=6), _relu, Conv(tape, 1024, 1024), _relu]

    def __call__(self, x: Tensor) -> Maps:
        outs: Maps = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.out:
                outs.append(x)
        return outs


def _relu(x: Tensor) -> Tensor:
    return ops.relu(x, inplace=True)


@neck("SSDNeck")
class SsdNeck:
    """Extra levels by pairs of convolutions; the first level is normalised by its length."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = list(config["in_channels"]), list(config["out_channels"])
        strides, paddings = list(config["level_strides"]), list(config["level_paddings"])
        act: Config = config.get("act_cfg") or RELU
        norm_cfg = config.get("norm_cfg")
        last_kernel = config.get("last_kernel_size", 3)
        self.scale = tape.parameter(inside[0]) if config.get("l2_norm_scale", 20.0) else None
        self.extra: list[Layer] = []
        make = SeparableConv if config.get("use_depthwise") else ConvModule
        for i in range(len(inside), len(channels)):
            step = i - len(inside)
            kernel = last_kernel if i == len(channels) - 1 else 3
            before = channels[i - 1]
            self.extra.append(
                chain(
                    ConvModule(tape, before, channels[i] // 2, 1, norm_cfg=norm_cfg, act_cfg=act),
                    make(
                        tape, channels[i] // 2, channels[i], kernel, strides[step], paddings[step], norm_cfg=norm_cfg,
                        act_cfg=act,
                    ),
                )
            )  # fmt: skip

    def __call__(self, maps: Maps) -> Maps:
        outs = list(maps)
        if self.scale is not None:
            x = outs[0]
            # The length of every place's vector, a product with the weights, a division.
            outs[0] = self.tape.record(
                x.shape, x.itemsize, (x, self.scale), (x.bytes, 4 * self.scale.elements), (x,),
                extra_saved_bytes=2 * x.bytes,
            )  # fmt: skip
        x = outs[-1]
        for layer in self.extra:
            x = layer(x)
            outs.append(x)
        return outs
