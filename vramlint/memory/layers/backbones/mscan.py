"""MSCAN of SegNeXt. Source: mmsegmentation 1.2.2 ``models/backbones/mscan.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.tokens import GELU, rates
from vramlint.memory.layers.backbones.vit import gated
from vramlint.memory.layers.bricks import activation, norm
from vramlint.memory.layers.functions import pair
from vramlint.memory.layers.nn import Conv, Layer, LayerNorm, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor

_KERNELS = (5, (1, 7), (1, 11), (1, 21))
_PADDINGS = (2, (0, 3), (0, 5), (0, 10))


class _Strips:
    """MSCAAttention: a depthwise convolution and three pairs of strips, whose sum gates the input."""

    def __init__(self, tape: Tape, channels: int, config: Config) -> None:
        kernels: Any = config.get("attention_kernel_sizes", _KERNELS)
        paddings: Any = config.get("attention_kernel_paddings", _PADDINGS)
        self.first = Conv(tape, channels, channels, kernels[0], 1, paddings[0], 1, channels)
        self.strips: list[Layer] = []
        for kernel, padding in zip(kernels[1:], paddings[1:], strict=True):
            size, side = pair(kernel), pair(padding)
            self.strips.append(
                chain(
                    Conv(tape, channels, channels, size, 1, side, 1, channels),
                    Conv(tape, channels, channels, size[::-1], 1, side[::-1], 1, channels),
                )
            )
        self.last = Conv(tape, channels, channels)

    def __call__(self, x: Tensor) -> Tensor:
        kept = ops.copy(x)
        found = self.first(x)
        parts = [strip(found) for strip in self.strips]
        for part in parts:
            found = ops.add(found, part)
        return ops.mul(self.last(found), kept)


class _Block:
    def __init__(self, tape: Tape, channels: int, ratio: float, path: float, config: Config) -> None:
        norms: Config = config.get("norm_cfg") or {"type": "SyncBN"}
        act = activation(config.get("act_cfg") or GELU)
        self.path, self.drop = path, float(config.get("drop_rate", 0.0))
        width = int(channels * ratio)
        self.norms = [norm(tape, norms, channels) for _ in range(2)]
        self.attention = chain(
            Conv(tape, channels, channels), act, _Strips(tape, channels, config), Conv(tape, channels, channels)
        )
        self.hidden = chain(Conv(tape, channels, width), Conv(tape, width, width, 3, 1, 1, 1, width), act)
        self.last = Conv(tape, width, channels)
        self.scales = [tape.parameter(channels) for _ in range(2)]

    def __call__(self, x: Tensor) -> Tensor:
        x = ops.add(x, ops.drop_path(gated(self._attended(self.norms[0](x)), self.scales[0]), self.path))
        found = ops.dropout(self.hidden(self.norms[1](x)), self.drop)
        found = ops.dropout(self.last(found), self.drop)
        return ops.add(x, ops.drop_path(gated(found, self.scales[1]), self.path))

    def _attended(self, x: Tensor) -> Tensor:
        kept = ops.copy(x)
        return ops.add(self.attention(x), kept)


@backbone("MSCAN")
class MSCAN:
    """Four stages of convolutional attention."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        norms: Config = config.get("norm_cfg") or {"type": "SyncBN"}
        act = activation(config.get("act_cfg") or GELU)
        widths = [int(each) for each in config.get("embed_dims", (64, 128, 256, 512))]
        depths = [int(each) for each in config.get("depths", (3, 4, 6, 3))]
        ratios = config.get("mlp_ratios", (4,) * 4)
        path = rates(float(config.get("drop_path_rate", 0.0)), sum(depths))
        self.stages: list[tuple[Layer, list[_Block], Layer]] = []
        done = 0
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if index == 0:
                half = width // 2
                embed = chain(
                    Conv(tape, int(config.get("in_channels", 3)), half, 3, 2, 1), norm(tape, norms, half), act,
                    Conv(tape, half, width, 3, 2, 1), norm(tape, norms, width),
                )  # fmt: skip
            else:
                embed = chain(Conv(tape, widths[index - 1], width, 3, 2, 1), norm(tape, norms, width))
            blocks = [_Block(tape, width, float(ratios[index]), each, config) for each in path[done : done + depth]]
            self.stages.append((embed, blocks, LayerNorm(tape, width)))
            done += depth

    def __call__(self, x: Tensor) -> Maps:
        outs: Maps = []
        for embed, blocks, last in self.stages:
            x = embed(x)
            for block in blocks:
                x = block(x)
            shape = x.shape
            x = last(x.view(shape[0], shape[2] * shape[3], shape[1]))
            x = ops.copy(x, shape)
            outs.append(x)
        return outs
