"""MobileNets. Source: mmsegmentation 1.2.2 ``backbones/mobilenet_v{2,3}.py``, ``utils/inverted_residual.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import BN
from vramlint.memory.layers.bricks import ConvModule
from vramlint.memory.layers.nn import Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor


def divisible(value: float, divisor: int = 8) -> int:
    """``make_divisible``: the nearest multiple, not more than a tenth below ``value``."""
    found = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * value else found


def maybe_checkpoint(inner: Callable[[Tensor], Tensor], x: Tensor, *, active: bool) -> Tensor:
    """``inner(x)``, through a checkpoint where that is on and ``x`` has a graph."""
    return x.storage.tape.checkpoint(inner, x) if active and x.node is not None else inner(x)


class InvertedResidual:
    """Expand, depthwise, project, and a sum where the shape stays."""

    def __init__(
        self,
        tape: Tape,
        inside: int,
        channels: int,
        stride: int,
        ratio: float,
        *,
        dilation: int = 1,
        norm_cfg: Config = BN,
        act_cfg: Config | None = None,
        checkpointing: bool = False,
    ) -> None:
        act: Config = act_cfg or {"type": "ReLU6"}
        width = round(inside * ratio)
        self.checkpointing = checkpointing
        self.residual = stride == 1 and inside == channels
        self.shifts = self.residual and ratio != 1
        """Whether a temporal variant exchanges channels in front of this block's first convolution."""
        self.before: Layer | None = None
        options: Any = {"norm_cfg": norm_cfg, "act_cfg": act}
        layers: list[Layer] = [ConvModule(tape, inside, width, 1, **options)] if ratio != 1 else []
        layers.append(ConvModule(tape, width, width, 3, stride, dilation, dilation, width, **options))
        layers.append(ConvModule(tape, width, channels, 1, norm_cfg=norm_cfg))
        self.layers = chain(*layers)

    def _inner(self, x: Tensor) -> Tensor:
        inside = x if self.before is None else self.before(x)
        return ops.add(x, self.layers(inside)) if self.residual else self.layers(inside)

    def __call__(self, x: Tensor) -> Tensor:
        return maybe_checkpoint(self._inner, x, active=self.checkpointing)


_V2 = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))


@backbone("MobileNetV2")
class MobileNetV2:
    """Seven stages of inverted residuals."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        widen = float(config.get("widen_factor", 1.0))
        norms: Config = config.get("norm_cfg") or BN
        act: Config = config.get("act_cfg") or {"type": "ReLU6"}
        strides = config.get("strides", (1, 2, 2, 2, 1, 2, 1))
        dilations = config.get("dilations", (1,) * 7)
        frozen = int(config.get("frozen_stages", -1))
        self.out = tuple(config.get("out_indices", (1, 2, 4, 6)))
        inside = divisible(32 * widen)
        with tape.frozen(active=frozen >= 0):
            self.stem = ConvModule(tape, 3, inside, 3, 2, 1, norm_cfg=norms, act_cfg=act)
        self.stages: list[Layer] = []
        self.blocks: list[Layer] = []
        for index, (ratio, base, count) in enumerate(_V2):
            channels = divisible(base * widen)
            blocks: list[Layer] = []
            with tape.frozen(active=index < frozen):
                for number in range(count):
                    stride = int(strides[index]) if number == 0 else 1
                    dilation = int(dilations[index]) if number == 0 else 1
                    blocks.append(
                        InvertedResidual(
                            tape, inside, channels, stride, ratio, dilation=dilation, norm_cfg=norms, act_cfg=act,
                            checkpointing=bool(config.get("with_cp", False)),
                        )
                    )  # fmt: skip
                    inside = channels
            self.blocks += blocks
            self.stages.append(chain(*blocks))

    def __call__(self, x: Tensor) -> Maps:
        x = self.stem(x)
        outs: Maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.out:
                outs.append(x)
        return outs


class SqueezeExcite:
    """mmseg's SELayer: a mean, two 1x1 convolutions, a product."""

    def __init__(self, tape: Tape, channels: int, ratio: int, acts: tuple[Config, Config]) -> None:
        middle = divisible(channels // ratio)
        self.first = ConvModule(tape, channels, middle, act_cfg=acts[0])
        self.second = ConvModule(tape, middle, channels, act_cfg=acts[1])

    def __call__(self, x: Tensor) -> Tensor:
        return ops.mul(x, self.second(self.first(ops.adaptive_avg_pool(x, 1))))


_HSIGMOID: tuple[Config, Config] = ({"type": "ReLU"}, {"type": "mmcv.HSigmoid"})

_Row = tuple[int, int, int, bool, str, int]

_V3: dict[str, tuple[_Row, ...]] = {
    "small": (
        (3, 16, 16, True, "ReLU", 2), (3, 72, 24, False, "ReLU", 2), (3, 88, 24, False, "ReLU", 1),
        (5, 96, 40, True, "HSwish", 2), (5, 240, 40, True, "HSwish", 1), (5, 240, 40, True, "HSwish", 1),
        (5, 120, 48, True, "HSwish", 1), (5, 144, 48, True, "HSwish", 1), (5, 288, 96, True, "HSwish", 2),
        (5, 576, 96, True, "HSwish", 1), (5, 576, 96, True, "HSwish", 1),
    ),
    "large": (
        (3, 16, 16, False, "ReLU", 1), (3, 64, 24, False, "ReLU", 2), (3, 72, 24, False, "ReLU", 1),
        (5, 72, 40, True, "ReLU", 2), (5, 120, 40, True, "ReLU", 1), (5, 120, 40, True, "ReLU", 1),
        (3, 240, 80, False, "HSwish", 2), (3, 200, 80, False, "HSwish", 1), (3, 184, 80, False, "HSwish", 1),
        (3, 184, 80, False, "HSwish", 1), (3, 480, 112, True, "HSwish", 1), (3, 672, 112, True, "HSwish", 1),
        (5, 672, 160, True, "HSwish", 2), (5, 960, 160, True, "HSwish", 1), (5, 960, 160, True, "HSwish", 1),
    ),
}  # fmt: skip
"""Kernel, expanded width, output width, squeeze and excite, activation, stride."""


class _InvertedResidualV3:
    def __init__(
        self,
        tape: Tape,
        inside: int,
        row: tuple[int, int, int, bool, str, int],
        norms: Config,
        *,
        dilation: int,
        padded: bool,
    ) -> None:
        kernel, width, channels, squeeze, act, stride = row
        options: Any = {"norm_cfg": norms, "act_cfg": {"type": act}}
        self.residual = stride == 1 and inside == channels
        self.padded, self.stride, self.reach = padded, stride, (kernel - 1) * dilation + 1
        self.expand = ConvModule(tape, inside, width, **options) if inside != width else None
        padding = 0 if padded else kernel // 2 * dilation
        self.depthwise = ConvModule(tape, width, width, kernel, stride, padding, dilation, width, **options)
        self.squeeze = SqueezeExcite(tape, width, 4, _HSIGMOID) if squeeze else None
        self.project = ConvModule(tape, width, channels, norm_cfg=norms)

    def __call__(self, x: Tensor) -> Tensor:
        out = x if self.expand is None else self.expand(x)
        if self.padded:
            out = same_padding(out, self.reach, self.stride)
        out = self.depthwise(out)
        if self.squeeze is not None:
            out = self.squeeze(out)
        out = self.project(out)
        return ops.add(x, out) if self.residual else out


def same_padding(x: Tensor, kernel: int, stride: int) -> Tensor:
    """mmcv's Conv2dAdaptivePadding: pads so that the output has ceil(size / stride); ``kernel`` as dilated."""
    sides: list[int] = []
    for side in reversed(x.size):
        extra = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        sides += [extra // 2, extra - extra // 2]
    return ops.pad(x, *sides) if any(sides) else x


@backbone("MobileNetV3")
class MobileNetV3:
    """Small or large, with the last strides replaced by dilation."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        arch = str(config.get("arch", "small"))
        norms: Config = config.get("norm_cfg") or BN
        self.out = tuple(config.get("out_indices", (0, 1, 12)))
        swish: Config = {"type": "HSwish"}
        self.layers: list[Layer] = []
        stem = ConvModule(tape, 3, 16, 3, 2, 0, norm_cfg=norms, act_cfg=swish)
        self.layers.append(lambda x: stem(same_padding(x, 3, 2)))
        inside, dilate = 16, (4, 9) if arch == "small" else (7, 13)
        rows = _V3[arch]
        factor = int(config.get("reduction_factor", 1))
        for index, row in enumerate(rows):
            kernel, width, channels, squeeze, act, stride = row
            if (arch == "large" and index >= 12) or (arch == "small" and index >= 8):
                width, channels = width // factor, channels // factor
            dilation = 1 if index + 1 < dilate[0] else 2 if index + 1 < dilate[1] else 4
            padded = stride == 2
            stride = 1 if index + 1 in dilate else stride
            made = (kernel, width, channels, squeeze, act, stride)
            self.layers.append(_InvertedResidualV3(tape, inside, made, norms, dilation=dilation, padded=padded))
            inside = channels
        last = 576 if arch == "small" else 960
        self.layers.append(ConvModule(tape, inside, last, 1, 1, 0, 4, norm_cfg=norms, act_cfg=swish))

    def __call__(self, x: Tensor) -> Maps:
        outs: Maps = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.out:
                outs.append(x)
        return outs
