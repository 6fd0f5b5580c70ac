"""Blocks of the YOLO line: bottlenecks behind a split, pooling, attention. Descriptions, not the package's code."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.vit import gated
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, chain
from vramlint.memory.layers.tape import Tape, Tensor


def unit(
    tape: Tape, inside: int, channels: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, act: bool = True
) -> Layer:
    """Convolution, norm, SiLU in place (which keeps a copy of its input)."""
    padding = 2 if kernel == 6 else kernel // 2
    layers: list[Layer] = [
        Conv(tape, inside, channels, kernel, stride, padding, 1, groups, bias=False),
        BatchNorm(tape, channels),
    ]
    return chain(*layers, lambda x: ops.keeps_input(x, inplace=True)) if act else chain(*layers)


class Bottleneck:
    """Two convolutions, and their input added where the width stays."""

    def __init__(
        self, tape: Tape, inside: int, channels: int, *, first: int = 3, ratio: float = 1.0, joined: bool
    ) -> None:
        middle = int(channels * ratio)
        self.first, self.last = unit(tape, inside, middle, first), unit(tape, middle, channels, 3)
        self.joined = joined and inside == channels

    def __call__(self, x: Tensor) -> Tensor:
        return ops.add(x, self.last(self.first(x))) if self.joined else self.last(self.first(x))


class Nested:
    """Two branches, one through bottlenecks, joined."""

    def __init__(
        self, tape: Tape, inside: int, channels: int, count: int, *, first: int = 1, joined: bool = True
    ) -> None:
        middle = channels // 2
        self.main, self.side = unit(tape, inside, middle), unit(tape, inside, middle)
        self.last = unit(tape, 2 * middle, channels)
        self.blocks = chain(*(Bottleneck(tape, middle, middle, first=first, joined=joined) for _ in range(count)))

    def __call__(self, x: Tensor) -> Tensor:
        return self.last(ops.concatenate([self.blocks(self.main(x)), self.side(x)]))


class Split:
    """Split in two, blocks one after the other on the second part, every result joined."""

    def __init__(self, tape: Tape, inside: int, channels: int, middle: int, blocks: list[Layer]) -> None:
        self.middle, self.blocks = middle, blocks
        self.first, self.last = unit(tape, inside, 2 * middle), unit(tape, (2 + len(blocks)) * middle, channels)

    def __call__(self, x: Tensor) -> Tensor:
        parts = ops.split(self.first(x), [self.middle] * 2)
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.last(ops.concatenate(parts))


class Pool:
    """Three poolings in a row, joined."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.first, self.last = unit(tape, channels, channels // 2), unit(tape, 2 * channels, channels)

    def __call__(self, x: Tensor) -> Tensor:
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(ops.max_pool(parts[-1], 5, 1, 2))
        return self.last(ops.concatenate(parts))


class Attention:
    """Attention whose scores exist, over the whole map or ``area`` parts of it, with a depthwise convolution beside."""

    def __init__(self, tape: Tape, channels: int, heads: int, *, key_share: float, area: int, kernel: int) -> None:
        self.channels, self.heads, self.area = channels, heads, area
        self.keys = int(channels // heads * key_share) * heads
        self.whole = key_share == 1
        self.joint = unit(tape, channels, channels + 2 * self.keys, act=False)
        self.out = unit(tape, channels, channels, act=False)
        self.around = unit(tape, channels, channels, kernel, groups=channels, act=False)

    def __call__(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        length = height * width
        parts, count = batch * self.area, length // self.area
        joined = self.joint(x)
        if self.area > 1:
            joined = ops.copy(joined)
        query, key, value = ops.split(joined, [self.keys, self.keys, channels])
        scores = ops.matmul(ops.copy(ops.scaled(query)), ops.copy(key), (parts, self.heads, count, count))
        scores = ops.softmax(scores)
        found = ops.matmul(ops.copy(value), scores, (batch, channels, height, width))
        if self.whole:
            found = ops.copy(found)
        value = ops.copy(value, (batch, channels, height, width))
        return self.out(ops.add(found, self.around(value)))


class AttentionBlock:
    """Attention and two convolutions, each beside an identity."""

    def __init__(self, tape: Tape, attention: Attention, channels: int, ratio: float) -> None:
        width = int(channels * ratio)
        self.attention = attention
        self.ffn = chain(unit(tape, channels, width), unit(tape, width, channels, act=False))

    def __call__(self, x: Tensor) -> Tensor:
        x = ops.add(x, self.attention(x))
        return ops.add(x, self.ffn(x))


class HalfAttention:
    """Half of the channels through attention blocks."""

    def __init__(self, tape: Tape, channels: int, count: int) -> None:
        self.middle = middle = channels // 2
        self.first, self.last = unit(tape, channels, 2 * middle), unit(tape, 2 * middle, channels)
        heads = middle // 64
        self.blocks = chain(
            *(
                AttentionBlock(tape, Attention(tape, middle, heads, key_share=0.5, area=1, kernel=3), middle, 2.0)
                for _ in range(count)
            )
        )

    def __call__(self, x: Tensor) -> Tensor:
        kept, used = ops.split(self.first(x), [self.middle] * 2)
        used = self.blocks(used)
        return self.last(ops.concatenate([kept, used]))


class Joined:
    """Blocks one after the other, every result joined; ``scaled`` adds them, times a learned number, to the input."""

    def __init__(self, tape: Tape, inside: int, channels: int, blocks: list[Layer], *, scaled: bool) -> None:
        middle = channels // 2
        self.first, self.last = unit(tape, inside, middle), unit(tape, (1 + len(blocks)) * middle, channels)
        self.scale = tape.parameter(channels) if scaled else None
        self.blocks = blocks

    def __call__(self, x: Tensor) -> Tensor:
        parts = [self.first(x)]
        for block in self.blocks:
            parts.append(block(parts[-1]))
        y = self.last(ops.concatenate(parts))
        return y if self.scale is None else ops.add(x, gated(y, self.scale))
