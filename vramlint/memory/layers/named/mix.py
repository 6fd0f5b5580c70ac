"""Mix Transformers as segmentation_models_pytorch 0.6.0 writes them (``encoders/mix_transformer.py``)."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.tokens import as_map, rates, tokens
from vramlint.memory.layers.named.encoders import Encoder
from vramlint.memory.layers.nn import Conv, Layer, LayerNorm, Linear, chain
from vramlint.memory.layers.tape import Tape, Tensor

MITS = {
    "mit_b0": (32, (2, 2, 2, 2)), "mit_b1": (64, (2, 2, 2, 2)), "mit_b2": (64, (3, 4, 6, 3)),
    "mit_b3": (64, (3, 4, 18, 3)), "mit_b4": (64, (3, 8, 27, 3)), "mit_b5": (64, (3, 6, 40, 3)),
}  # fmt: skip
"""Width of the first stage, depths."""


class _MixAttention:
    """Attention to a map reduced by a strided convolution; scores exist."""

    def __init__(self, tape: Tape, channels: int, heads: int, ratio: int) -> None:
        self.heads = heads
        self.query, self.pair = Linear(tape, channels, channels), Linear(tape, channels, 2 * channels)
        self.out = Linear(tape, channels, channels)
        self.reduce = Conv(tape, channels, channels, ratio, ratio) if ratio > 1 else None
        self.norm = LayerNorm(tape, channels) if ratio > 1 else None

    def __call__(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        batch, length, channels = x.shape
        query = self.query(x)
        if self.reduce is not None and self.norm is not None:
            x = self.norm(tokens(self.reduce(as_map(x, size))))
        keys = x.shape[1]
        pair = self.pair(x)
        key, value = (ops.select(pair, (batch, keys, channels)) for _ in range(2))
        del pair
        scores = ops.matmul(ops.copy(query), ops.copy(key), (batch, self.heads, length, keys))
        scores = ops.softmax(ops.scaled(scores))
        found = ops.copy(ops.matmul(scores, ops.copy(value), (batch, length, channels)))
        return self.out(found)


class _MixBlock:
    def __init__(self, tape: Tape, channels: int, heads: int, ratio: int, path: float) -> None:
        self.path = path
        self.before, self.attention = LayerNorm(tape, channels), _MixAttention(tape, channels, heads, ratio)
        self.after = LayerNorm(tape, channels)
        width = 4 * channels
        self.first, self.last = Linear(tape, channels, width), Linear(tape, width, channels)
        self.middle = Conv(tape, width, width, 3, 1, 1, 1, width)

    def __call__(self, x: Tensor) -> Tensor:
        size = x.size
        x = tokens(x)
        x = ops.add(x, ops.drop_path(self.attention(self.before(x), size), self.path))
        out = self.middle(as_map(self.first(self.after(x)), size))
        out = self.last(ops.keeps_input(tokens(out)))
        return as_map(ops.add(x, ops.drop_path(out, self.path)), size)


class _TokenNorm:
    """Layer norm over the channels of a map, as views."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.norm = LayerNorm(tape, channels)

    def __call__(self, x: Tensor) -> Tensor:
        return as_map(self.norm(tokens(x)), x.size)


def mit(tape: Tape, name: str, dilations: tuple[int, int], image: int = 3) -> Encoder:
    """The first map has no channels; stages follow from a quarter of the image on."""
    if dilations != (1, 1):
        raise ValueError("dilated Mix Transformers are not worked out")
    width, depths = MITS[name]
    path = rates(0.1, sum(depths))
    heads, ratios = (1, 2, 5, 8), (8, 4, 2, 1)
    stages: list[Layer] = []
    channels, inside, done = [0], image, 0
    for index, depth in enumerate(depths):
        outside = width * heads[index]
        kernel, stride = (7, 4) if index == 0 else (3, 2)
        layers: list[Layer] = [Conv(tape, inside, outside, kernel, stride, kernel // 2), _TokenNorm(tape, outside)]
        layers += [_MixBlock(tape, outside, heads[index], ratios[index], each) for each in path[done : done + depth]]
        stages.append(chain(*layers, _TokenNorm(tape, outside), ops.copy))
        channels.append(outside)
        inside, done = outside, done + depth
    return Encoder(stages, tuple(channels))
