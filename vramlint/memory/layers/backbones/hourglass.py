"""Stacked hourglasses. Source: mmdet 3.3.0 ``models/backbones/hourglass.py``, ``layers/res_layer.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import BN, BasicBlock, run_block, stage_of
from vramlint.memory.layers.bricks import RELU, ConvModule, norm
from vramlint.memory.layers.nn import Conv, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor

CHANNELS, BLOCKS = (256, 256, 384, 384, 384, 512), (2, 2, 2, 2, 2, 4)


def _blocks(tape: Tape, norms: Config, inside: int, channels: int, count: int, stride: int = 1) -> list[Any]:
    """A ResLayer of BasicBlocks; the first one changes size and channels."""
    return stage_of(tape, BasicBlock, inside, channels, stride, [1] * count, {"norm": norms}) if count else []


def _blocks_reversed(tape: Tape, norms: Config, inside: int, channels: int, count: int) -> list[Any]:
    """``downsample_first=False``: the last block changes the channels."""
    shortcut = None
    if inside != channels:
        shortcut = chain(Conv(tape, inside, channels, bias=False), norm(tape, norms, channels))
    options = {"norm": norms}
    made: list[Any] = [BasicBlock(tape, inside, inside, 1, 1, None, options) for _ in range(count - 1)]
    return [*made, BasicBlock(tape, inside, channels, 1, 1, shortcut, options)]


def _through(blocks: list[Any], x: Tensor) -> Tensor:
    for block in blocks:
        x = run_block(block, x, checkpointing=False)
    return x


class _Hourglass:
    """One level: what stays at this size, and what goes down and comes up again. Its norms are always batch norms."""

    def __init__(self, tape: Tape, norms: Config, depth: int, channels: Sequence[int], blocks: Sequence[int]) -> None:
        here, below = channels[0], channels[1]
        self.stay = _blocks(tape, norms, here, here, blocks[0])
        self.down = _blocks(tape, norms, here, below, blocks[0], 2)
        self.inner: _Hourglass | None = None
        self.middle: list[Any] = []
        if depth > 1:
            self.inner = _Hourglass(tape, BN, depth - 1, channels[1:], blocks[1:])
        else:
            self.middle = _blocks(tape, norms, below, below, blocks[1])
        self.up = _blocks_reversed(tape, norms, below, here, blocks[0])

    def __call__(self, x: Tensor) -> Tensor:
        stay = _through(self.stay, x)
        low = _through(self.down, x)
        inner = self.inner(low) if self.inner is not None else _through(self.middle, low)
        risen = _through(self.up, inner)
        return ops.add(stay, ops.resize(risen, stay.size))


@backbone("HourglassNet")
class HourglassNet:
    """Hourglasses in a row, each with an output; the next one sees the input and the output of the one before."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        channels, blocks = list(config.get("stage_channels", CHANNELS)), list(config.get("stage_blocks", BLOCKS))
        count, width = int(config.get("num_stacks", 2)), int(config.get("feat_channel", 256))
        norms: Config = config.get("norm_cfg") or BN
        here = channels[0]
        self.first = ConvModule(tape, 3, here // 2, 7, 2, 3, norm_cfg=norms, act_cfg=RELU)
        self.stem = _blocks(tape, norms, here // 2, here, 1, 2)
        depth = int(config.get("downsample_times", 5))
        self.glasses = [_Hourglass(tape, BN, depth, channels, blocks) for _ in range(count)]
        self.between = _blocks(tape, norms, here, here, count - 1)
        self.kept = [ConvModule(tape, here, here, 1, norm_cfg=norms) for _ in range(count - 1)]
        self.outs = [ConvModule(tape, here, width, 3, padding=1, norm_cfg=norms, act_cfg=RELU) for _ in range(count)]
        self.mapped = [ConvModule(tape, width, here, 1, norm_cfg=norms) for _ in range(count - 1)]

    def __call__(self, images: Tensor) -> Maps:
        x = _through(self.stem, self.first(images))
        outs: Maps = []
        for index, (glass, out) in enumerate(zip(self.glasses, self.outs, strict=True)):
            found = glass(x)
            outs.append(out(found))
            if index < len(self.kept):
                x = ops.relu(ops.add(self.kept[index](x), self.mapped[index](outs[-1])), inplace=True)
                x = run_block(self.between[index], x, checkpointing=False)
        return outs
