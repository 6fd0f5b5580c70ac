"""C3D and X3D. Source: mmaction2 1.2.0 ``models/backbones``."""

from __future__ import annotations

from math import prod
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.video import CONV3D
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.nn import Conv, Linear
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor

BN3D: Config = {"type": "BN3d"}


@backbone("C3D")
class C3D:
    """Eight 3x3x3 convolutions and two large linear layers."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        widths = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512)]
        self.convs = [
            ConvModule(
                tape, inside, channels, (3, 3, 3), padding=(1, 1, 1), norm_cfg=config.get("norm_cfg"),
                act_cfg=config.get("act_cfg") or RELU, conv_cfg=CONV3D, dims=3,
            )
            for inside, channels in widths
        ]  # fmt: skip
        self.first, self.second = Linear(tape, int(config.get("out_dim", 8192)), 4096), Linear(tape, 4096, 4096)
        self.rate = float(config.get("dropout_ratio", 0.5))

    def __call__(self, x: Tensor) -> Maps:
        first, *rest = self.convs
        x = ops.max_pool(first(x), (1, 2, 2))
        x = ops.max_pool(rest[0](x), 2)
        for number, (one, two) in enumerate(((1, 2), (3, 4), (5, 6))):
            x = rest[two](rest[one](x))
            x = ops.max_pool(x, 2, 2, (0, 1, 1) if number == 2 else 0)
        rows = x.view(x.shape[0], prod(x.shape[1:]))
        rows = ops.dropout(ops.relu(self.first(rows)), self.rate)
        return [ops.relu(self.second(rows))]


@backbone("X3D")
class X3D:
    """Depthwise bottlenecks with squeeze and excitation, swish inside."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        gamma_w, gamma_b, gamma_d = (float(config.get(f"gamma_{each}", 1.0)) for each in "wbd")
        base = int(config.get("base_channels", 24))
        width = _rounded(base * gamma_w)
        blocks = [-(-round(count * gamma_d * 1000) // 1000) for count in (1, 2, 5, 3)]
        norm_cfg: Config = config.get("norm_cfg") or BN3D
        self.swish = str((config.get("swish_cfg") or {"type": "Swish"})["type"])
        self.spatial = ConvModule(
            tape, int(config.get("in_channels", 3)), width, (1, 3, 3), (1, 2, 2), (0, 1, 1), conv_cfg=CONV3D, dims=3
        )
        self.temporal = ConvModule(
            tape, width, width, (5, 1, 1), 1, (2, 0, 0), groups=width, norm_cfg=norm_cfg, act_cfg=RELU, conv_cfg=CONV3D,
            dims=3,
        )  # fmt: skip
        self.blocks: list[_XBlock] = []
        inside = width
        last = 0
        for index, count in enumerate(blocks):
            planes = _rounded(base * 2**index * gamma_w)
            middle = int(planes * gamma_b)
            for number in range(count):
                self.blocks.append(
                    _XBlock(tape, inside, planes, middle, 2 if number == 0 else 1, norm_cfg, squeeze=number % 2 == 0)
                )
                inside = planes
            last = int(planes * gamma_b)
        self.last = ConvModule(tape, inside, last, 1, norm_cfg=norm_cfg, act_cfg=RELU, conv_cfg=CONV3D, dims=3)

    def __call__(self, x: Tensor) -> Maps:
        x = self.temporal(self.spatial(x))
        for block in self.blocks:
            x = block(x)
        return [self.last(x)]


def _rounded(width: float, divisor: int = 8) -> int:
    """``_round_width``: a multiple of eight, not more than a tenth below."""
    found = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * width else found


class _XBlock:
    def __init__(
        self, tape: Tape, inside: int, outside: int, middle: int, stride: int, norm_cfg: Config, *, squeeze: bool
    ) -> None:
        def module(a: int, b: int, kernel: Any, strides: Any = 1, padding: Any = 0, **extra: Any) -> ConvModule:
            return ConvModule(tape, a, b, kernel, strides, padding, norm_cfg=norm_cfg, conv_cfg=CONV3D, dims=3, **extra)

        self.first = module(inside, middle, 1, act_cfg=RELU)
        self.second = module(middle, middle, (3, 3, 3), (1, stride, stride), (1, 1, 1), groups=middle)
        self.third = module(middle, outside, 1)
        width = _rounded(middle / 16)
        self.squeeze = (Conv(tape, middle, width, dims=3), Conv(tape, width, middle, dims=3)) if squeeze else None
        strided = stride != 1 or inside != outside
        self.shortcut = module(inside, outside, 1, (1, stride, stride)) if strided else None

    def __call__(self, x: Tensor) -> Tensor:
        out = self.second(self.first(x))
        if self.squeeze is not None:
            first, second = self.squeeze
            weight = ops.sigmoid(second(ops.relu(first(ops.adaptive_avg_pool(out, 1)))))
            out = ops.mul(out, weight)
        out = self.third(ops.mul(out, ops.sigmoid(out)))
        return ops.relu(ops.add(out, x if self.shortcut is None else self.shortcut(x)), inplace=True)
