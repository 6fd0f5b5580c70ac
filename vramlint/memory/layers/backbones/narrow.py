"""Narrow encoders: CGNet and ERFNet. Source: mmsegmentation 1.2.2 ``models/backbones/{cgnet,erfnet}.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import maybe_checkpoint
from vramlint.memory.layers.backbones.resnet import BN
from vramlint.memory.layers.bricks import RELU, activation, conv, norm
from vramlint.memory.layers.nn import Conv, Layer, Linear, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor


class PReLU:
    """One slope a channel: its gradient is first worked out for every element."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.tape, self.weight = tape, tape.parameter(channels)

    def __call__(self, x: Tensor) -> Tensor:
        x = self.tape.lowered(x)
        grads = (x.bytes, 4 * self.weight.elements)
        return self.tape.record(x.shape, x.itemsize, (x, self.weight), grads, (x,), transient=x.bytes)


class _Guided:
    """ContextGuidedBlock: local and surrounding depthwise convolutions, gated by the whole."""

    def __init__(
        self, tape: Tape, inside: int, out: int, dilation: int, reduction: int, config: Config, *, down: bool
    ) -> None:
        norms: Config = config.get("norm_cfg") or BN
        convs = config.get("conv_cfg")
        width = out if down else out // 2
        kernel, stride = (3, 2) if down else (1, 1)
        self.checkpointing, self.skip = bool(config.get("with_cp", False)), not down
        self.first = chain(
            conv(tape, convs, inside, width, kernel, stride, kernel // 2, bias=False), norm(tape, norms, width),
            PReLU(tape, width),
        )  # fmt: skip
        self.local = conv(tape, convs, width, width, 3, 1, 1, 1, width, bias=False)
        self.around = conv(tape, convs, width, width, 3, 1, dilation, dilation, width, bias=False)
        self.last = chain(norm(tape, norms, 2 * width), PReLU(tape, 2 * width))
        self.shrink = conv(tape, convs, 2 * width, out, 1, bias=False) if down else None
        self.gates = [Linear(tape, out, out // reduction), Linear(tape, out // reduction, out)]

    def __call__(self, x: Tensor) -> Tensor:
        return maybe_checkpoint(self._inner, x, active=self.checkpointing)

    def _inner(self, x: Tensor) -> Tensor:
        out = self.first(x)
        local, around = self.local(out), self.around(out)
        joint = self.last(ops.concatenate([local, around]))
        if self.shrink is not None:
            joint = self.shrink(joint)
        gate = ops.adaptive_avg_pool(joint, 1).view(*joint.shape[:2])
        gate = ops.sigmoid(self.gates[1](ops.relu(self.gates[0](gate), inplace=True)))
        out = ops.mul(joint, gate.view(*joint.shape[:2], 1, 1))
        return ops.add(x, out) if self.skip else out


@backbone("CGNet")
class CGNet:
    """Three levels with the input injected by average pooling."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        norms: Config = config.get("norm_cfg") or BN
        inside = int(config.get("in_channels", 3))
        widths = [int(each) for each in config.get("num_channels", (32, 64, 128))]
        depths, dilations = config.get("num_blocks", (3, 21)), config.get("dilations", (2, 4))
        reductions = config.get("reductions", (8, 16))
        stem: list[Layer] = []
        for index in range(3):
            source, stride = (widths[0], 1) if index else (inside, 2)
            stem += [
                conv(tape, config.get("conv_cfg"), source, widths[0], 3, stride, 1, bias=False),
                norm(tape, norms, widths[0]),
                PReLU(tape, widths[0]),
            ]
        self.stem = chain(*stem)
        self.joins = [self._join(tape, norms, widths[0] + inside)]
        self.levels: list[list[Layer]] = []
        source = widths[0] + inside
        for level in range(2):
            width = widths[level + 1]
            self.levels.append(
                [
                    _Guided(
                        tape, width if number else source, width, int(dilations[level]), int(reductions[level]), config,
                        down=number == 0,
                    )
                    for number in range(int(depths[level]))
                ]
            )  # fmt: skip
            source = 2 * width + (inside if level == 0 else 0)
            self.joins.append(self._join(tape, norms, source))

    @staticmethod
    def _join(tape: Tape, norms: Config, channels: int) -> Layer:
        return chain(norm(tape, norms, channels), PReLU(tape, channels))

    def __call__(self, x: Tensor) -> Maps:
        half = ops.avg_pool(x, 3, 2, 1)
        quarter = ops.avg_pool(ops.avg_pool(x, 3, 2, 1), 3, 2, 1)
        x = self.joins[0](ops.concatenate([self.stem(x), half]))
        outs = [x]
        for level, blocks in enumerate(self.levels):
            x = blocks[0](x)
            down = x
            for block in blocks[1:]:
                x = block(x)
            joined = [x, down, quarter] if level == 0 else [down, x]
            x = self.joins[level + 1](ops.concatenate(joined))
            del joined
            outs.append(x)
        return outs


class _Parts:
    def __init__(self, tape: Tape, config: Config) -> None:
        self.tape = tape
        self.norm: Config = config.get("norm_cfg") or BN
        self.act = activation(config.get("act_cfg") or RELU, inplace=False)
        self.conv = config.get("conv_cfg")


class _Down:
    def __init__(self, parts: _Parts, inside: int, out: int) -> None:
        self.parts = parts
        self.conv = conv(parts.tape, parts.conv, inside, out - inside, 3, 2, 1)
        self.norm = norm(parts.tape, parts.norm, out)

    def __call__(self, x: Tensor) -> Tensor:
        found = self.conv(x)
        pooled = ops.resize(ops.max_pool(x, 2, 2), found.size)
        return self.parts.act(self.norm(ops.concatenate([found, pooled])))


class _Factored:
    """NonBottleneck1d: 3x1 and 1x3 convolutions, twice, and a sum."""

    def __init__(self, parts: _Parts, channels: int, rate: float, dilation: int) -> None:
        act, tape = parts.act, parts.tape
        layers: list[Layer] = []
        for index in range(2):
            spread = dilation if index else 1
            down: Any = {"kernel": (3, 1), "padding": (spread, 0), "dilation": (spread, 1)}
            across: Any = {"kernel": (1, 3), "padding": (0, spread), "dilation": (1, spread)}
            layers += [
                conv(tape, parts.conv, channels, channels, **down), act,
                conv(tape, parts.conv, channels, channels, **across), norm(tape, parts.norm, channels),
            ]  # fmt: skip
            layers.append(act if index == 0 else lambda x: ops.dropout(x, rate))
        self.layers, self.act = chain(*layers), act

    def __call__(self, x: Tensor) -> Tensor:
        return self.act(ops.add(self.layers(x), x))


@backbone("ERFNet")
class ERFNet:
    """Encoder of factored residual blocks and a short decoder."""

    def __init__(self, build: Build, config: Config) -> None:
        tape, parts = build.tape, _Parts(build.tape, config)
        widths = [int(each) for each in config.get("enc_downsample_channels", (16, 64, 128))]
        depths = config.get("enc_stage_non_bottlenecks", (5, 8))
        dilations = config.get("enc_non_bottleneck_dilations", (2, 4, 8, 16))
        rate = float(config.get("dropout_ratio", 0.1))
        self.layers: list[Layer] = [_Down(parts, int(config.get("in_channels", 3)), widths[0])]
        for index in range(len(widths) - 1):
            self.layers.append(_Down(parts, widths[index], widths[index + 1]))
            last = index == len(widths) - 2
            spread = list(dilations) * (int(depths[-1]) // len(dilations)) if last else [1] * int(depths[index])
            self.layers += [_Factored(parts, widths[index + 1], rate, int(each)) for each in spread]
        source = widths[-1]
        back = config.get("dec_non_bottleneck_channels", (64, 16))
        for width, depth in zip(back, config.get("dec_stages_non_bottleneck", (2, 2)), strict=True):
            up = Conv(tape, source, width, 3, 2, 1, transposed=True, output_padding=1)
            self.layers.append(chain(up, norm(tape, parts.norm, width), parts.act))
            self.layers += [_Factored(parts, width, 0.0, 1) for _ in range(int(depth))]
            source = width

    def __call__(self, x: Tensor) -> Maps:
        for layer in self.layers:
            x = layer(x)
        return [x]
