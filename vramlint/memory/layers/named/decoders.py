"""Decoders of segmentation_models_pytorch 0.6.0 (``decoders``): from an encoder's maps to the last one.

Each maker gets the channels of the image and of every map, and returns the decoder, the channels it ends with, the
kernel of the last convolution, and the factor by which the logits are enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.tokens import as_map, tokens
from vramlint.memory.layers.named.encoders import relu, unit
from vramlint.memory.layers.nn import BatchNorm, Conv, GroupNorm, Layer, Linear, MapLayerNorm, chain
from vramlint.memory.layers.registry import Maps
from vramlint.memory.layers.tape import Tape, Tensor

Decoder = Callable[[Maps], Tensor]
Made = tuple[Decoder, int, int, int]
"""The decoder, its channels, the kernel of the last convolution, and the factor of the last resizing."""

_WIDTHS = (256, 128, 64, 32, 16)


class _Doubled:
    """Enlarged, joined with a skip, and two convolutions."""

    def __init__(self, tape: Tape, inside: int, skip: int, channels: int) -> None:
        self.first, self.last = unit(tape, inside + skip, channels, 3), unit(tape, channels, channels, 3)

    def __call__(self, x: Tensor, skip: Tensor | None, size: Sequence[int]) -> Tensor:
        x = ops.resize(x, size)
        if skip is not None:
            x = ops.concatenate([x, skip])
        x = self.first(x)
        return self.last(x)


def _skips(channels: Sequence[int]) -> list[int]:
    return [*reversed(channels[1:-1]), 0]


def _center(tape: Tape, channels: int, *, there: bool) -> Layer:
    """Two convolutions on the last map, which the package adds behind VGG (no other starts with 64 and 128)."""
    return chain(unit(tape, channels, channels, 3), unit(tape, channels, channels, 3)) if there else lambda x: x


def unet(tape: Tape, channels: Sequence[int]) -> Made:
    """U-Net: nearest resizing to each skip's size."""
    center = _center(tape, channels[-1], there=tuple(channels[:2]) == (64, 128))
    insides = (channels[-1], *_WIDTHS[:-1])
    blocks = [_Doubled(tape, *row) for row in zip(insides, _skips(channels), _WIDTHS, strict=True)]

    def run(maps: Maps) -> Tensor:
        sizes = [each.size for each in reversed(maps)]
        skips: list[Tensor | None] = [*reversed(maps[1:-1]), None]
        x = center(maps[-1])
        for index, block in enumerate(blocks):
            x = block(x, skips[index], sizes[index + 1])
        return x

    return run, _WIDTHS[-1], 3, 1


def unet_plus_plus(tape: Tape, channels: Sequence[int]) -> Made:
    """U-Net++: every level joined with all before it."""
    _center(tape, channels[-1], there=tuple(channels[:2]) == (64, 128))  # made, but its forward pass does not use it
    insides, skips = (channels[-1], *_WIDTHS[:-1]), _skips(channels)
    blocks: dict[tuple[int, int], _Doubled] = {}
    for layer in range(4):
        for depth in range(layer + 1):
            if depth == 0:
                row = (insides[layer], skips[layer] * (layer + 1), _WIDTHS[layer])
            else:
                row = (skips[layer - 1], skips[layer] * (layer + 1 - depth), skips[layer])
            blocks[depth, layer] = _Doubled(tape, *row)
    last = _Doubled(tape, insides[4], 0, _WIDTHS[4])

    def run(maps: Maps) -> Tensor:
        features = [*reversed(maps[1:])]
        dense: dict[tuple[int, int], Tensor] = {}
        for layer in range(4):
            for depth in range(4 - layer):
                to = depth + layer
                size = features[to + 1].size
                if layer == 0:
                    dense[depth, depth] = blocks[depth, depth](features[depth], features[depth + 1], size)
                    continue
                joined = ops.concatenate([*(dense[i, to] for i in range(depth + 1, to + 1)), features[to + 1]])
                dense[depth, to] = blocks[depth, to](dense[depth, to - 1], joined, size)
        x = dense[0, 3]
        return last(x, None, [2 * side for side in x.size])

    return run, _WIDTHS[-1], 3, 1


class _FpnUnit:
    """A convolution with group norm, perhaps enlarged."""

    def __init__(self, tape: Tape, inside: int, channels: int, *, enlarged: bool) -> None:
        self.layers = chain(Conv(tape, inside, channels, 3, 1, 1, bias=False), GroupNorm(tape, 32, channels), relu)
        self.enlarged = enlarged

    def __call__(self, x: Tensor) -> Tensor:
        x = self.layers(x)
        return ops.enlarged(x, 2) if self.enlarged else x


def fpn(tape: Tape, channels: Sequence[int]) -> Made:
    """Pyramid with group norm, its levels added."""
    first = Conv(tape, channels[-1], 256)
    laterals = [Conv(tape, each, 256) for each in reversed(channels[-4:-1])]
    branches: list[Layer] = []
    for count in (3, 2, 1, 0):
        layers = [_FpnUnit(tape, 256, 128, enlarged=count > 0)]
        layers += [_FpnUnit(tape, 128, 128, enlarged=True) for _ in range(count - 1)]
        branches.append(chain(*layers))

    def run(maps: Maps) -> Tensor:
        pyramid = [first(maps[-1])]
        for lateral, skip in zip(laterals, reversed(maps[-4:-1]), strict=True):
            raised = ops.enlarged(pyramid[-1], 2)
            pyramid.append(ops.add(raised, lateral(skip)))
            del raised
        found = [branch(x) for branch, x in zip(branches, pyramid, strict=True)]
        x = ops.total(ops.concatenate([each.view(1, *each.shape) for each in found], axis=0), found[-1].shape)
        noise = x.itemsize * x.shape[0] * x.shape[1]
        return tape.record(x.shape, x.itemsize, (x,), (x.bytes,), inplace=x, extra_saved_bytes=noise)

    return run, 128, 1, 4


class _Aspp:
    def __init__(self, tape: Tape, inside: int, channels: int, *, separable: bool) -> None:
        branch = _separable if separable else _dilated
        self.branches = [_plain(tape, inside, channels), *(branch(tape, inside, channels, d) for d in (12, 24, 36))]
        self.pooled = _plain(tape, inside, channels)
        self.project = _plain(tape, 5 * channels, channels)

    def __call__(self, x: Tensor) -> Tensor:
        found = [branch(x) for branch in self.branches]
        found.append(ops.resize(self.pooled(ops.adaptive_avg_pool(x, 1)), x.size))
        return ops.dropout(self.project(ops.concatenate(found)), 0.5)


def _relu(x: Tensor) -> Tensor:
    return ops.relu(x)


def _plain(tape: Tape, inside: int, channels: int, kernel: int = 1) -> Layer:
    return chain(Conv(tape, inside, channels, kernel, 1, kernel // 2, bias=False), BatchNorm(tape, channels), _relu)


def _dilated(tape: Tape, inside: int, channels: int, dilation: int) -> Layer:
    return chain(Conv(tape, inside, channels, 3, 1, dilation, dilation, bias=False), BatchNorm(tape, channels), _relu)


def _separable(tape: Tape, inside: int, channels: int, dilation: int = 1) -> Layer:
    return chain(
        Conv(tape, inside, inside, 3, 1, dilation, dilation, inside, bias=False),
        Conv(tape, inside, channels, bias=False),
        BatchNorm(tape, channels),
        _relu,
    )


def deeplab(tape: Tape, channels: Sequence[int]) -> Made:
    """Parallel dilated convolutions on the last map."""
    layers = chain(_Aspp(tape, channels[-1], 256, separable=False), _plain(tape, 256, 256, 3))
    return lambda maps: layers(maps[-1]), 256, 1, 8


def deeplab_plus(tape: Tape, channels: Sequence[int]) -> Made:
    """Separable dilated convolutions, joined with an early map."""
    aspp = chain(_Aspp(tape, channels[-1], 256, separable=True), _separable(tape, 256, 256))
    low, fuse = _plain(tape, channels[2], 48), _separable(tape, 48 + 256, 256)

    def run(maps: Maps) -> Tensor:
        x = ops.enlarged(aspp(maps[-1]), 4)
        side = low(maps[2])
        joined = ops.concatenate([x, side])
        return fuse(joined)

    return run, 256, 1, 4


class _Pyramid:
    """Pooled at four sizes, resized and joined with the map."""

    def __init__(self, tape: Tape, inside: int, channels: int, *, bare_mean: bool) -> None:
        self.sizes = (1, 2, 3, 6)
        self.branches: list[Layer] = []
        for size in self.sizes:
            bare = size == 1 and bare_mean
            self.branches.append(chain(Conv(tape, inside, channels), relu) if bare else unit(tape, inside, channels))

    def __call__(self, x: Tensor) -> list[Tensor]:
        return [
            ops.resize(branch(ops.adaptive_avg_pool(x, size)), x.size)
            for branch, size in zip(self.branches, self.sizes, strict=True)
        ]


def psp(tape: Tape, channels: Sequence[int]) -> Made:
    """Pooled at four sizes; three stages of the encoder."""
    inside = channels[-1]
    pyramid, fuse = _Pyramid(tape, inside, inside // 4, bare_mean=True), unit(tape, 2 * inside, 512)

    def run(maps: Maps) -> Tensor:
        x = maps[-1]
        return ops.dropout2d(fuse(ops.concatenate([*pyramid(x), x])), 0.2)

    return run, 512, 3, 8


def linknet(tape: Tape, channels: Sequence[int]) -> Made:
    """Transposed convolutions between 1x1 ones, skips added."""
    widths = [*reversed(channels[1:]), 32]
    for index in range(1, len(widths) - 1):
        widths[index] = widths[index] or widths[index - 1]
    blocks: list[Layer] = []
    for inside, outside in pairwise(widths):
        middle = inside // 4
        raise_ = chain(Conv(tape, middle, middle, 4, 2, 1, transposed=True), BatchNorm(tape, middle), relu)
        blocks.append(chain(unit(tape, inside, middle), raise_, unit(tape, middle, outside)))

    def run(maps: Maps) -> Tensor:
        skips: list[Tensor | None] = [*reversed(maps[1:-1]), None]
        x = maps[-1]
        for block, skip in zip(blocks, skips, strict=True):
            x = block(x)
            if skip is not None and skip.channels:
                x = ops.add(x, skip)
        return x

    return run, 32, 1, 1


class _Position:
    """MA-Net's attention between all positions of the last map."""

    def __init__(self, tape: Tape, inside: int) -> None:
        self.top, self.center = Conv(tape, inside, 64), Conv(tape, inside, 64)
        self.bottom, self.out = Conv(tape, inside, inside, 3, 1, 1), Conv(tape, inside, inside, 3, 1, 1)

    def __call__(self, x: Tensor) -> Tensor:
        batch, length = x.shape[0], x.size[0] * x.size[1]
        top, center, bottom = self.top(x), self.center(x), self.bottom(x)
        scores = ops.softmax(ops.matmul(center, top, (batch, length, length)))
        found = ops.copy(ops.matmul(scores, bottom, (batch, length, x.channels)), x.shape)
        return self.out(ops.add(x, found))


class _Fused:
    """MA-Net's block: a gate from both maps, then two convolutions."""

    def __init__(self, tape: Tape, inside: int, skip: int, channels: int) -> None:
        self.high = chain(unit(tape, inside, inside, 3), unit(tape, inside, skip))
        middle = max(1, skip // 16)
        self.gates = [_gate(tape, skip, middle) for _ in range(2)]
        self.first, self.last = unit(tape, 2 * skip, channels, 3), unit(tape, channels, channels, 3)

    def __call__(self, x: Tensor, skip: Tensor | None, size: Sequence[int]) -> Tensor:
        assert skip is not None
        x = ops.resize(self.high(x), size)
        gate = self.gates[1](x)
        gate = ops.add(gate, self.gates[0](skip))
        x = ops.mul(x, gate)
        x = ops.concatenate([x, skip])
        x = self.first(x)
        return self.last(x)


def _gate(tape: Tape, channels: int, middle: int) -> Layer:
    first, last = Conv(tape, channels, middle), Conv(tape, middle, channels)
    return lambda x: ops.sigmoid(last(relu(first(ops.adaptive_avg_pool(x, 1)))))


def manet(tape: Tape, channels: Sequence[int]) -> Made:
    """Attention over positions, and gates between levels."""
    center = _Position(tape, channels[-1])
    insides = (channels[-1], *_WIDTHS[:-1])
    blocks = [
        (_Fused if skip else _Doubled)(tape, inside, skip, width)
        for inside, skip, width in zip(insides, _skips(channels), _WIDTHS, strict=True)
    ]

    def run(maps: Maps) -> Tensor:
        skips: list[Tensor | None] = [*reversed(maps[1:-1]), None]
        x = center(maps[-1])
        for block, skip in zip(blocks, skips, strict=True):
            x = block(x, skip, [2 * side for side in x.size])
        return x

    return run, _WIDTHS[-1], 3, 1


def _biased(tape: Tape, inside: int, channels: int, kernel: int = 1, *, act: bool = True) -> Layer:
    layers: list[Layer] = [Conv(tape, inside, channels, kernel, 1, kernel // 2), BatchNorm(tape, channels)]
    return chain(*layers, relu) if act else chain(*layers)


class _PyramidAttention:
    """PAN's feature pyramid attention on the last map."""

    def __init__(self, tape: Tape, inside: int, channels: int) -> None:
        self.mean, self.middle = _biased(tape, inside, channels), _biased(tape, inside, channels)
        self.downs = [
            _biased(tape, inside, 1, 7), _biased(tape, 1, 1, 5), chain(_biased(tape, 1, 1, 3), _biased(tape, 1, 1, 3)),
        ]  # fmt: skip
        self.second, self.first = _biased(tape, 1, 1, 5), _biased(tape, 1, 1, 7)

    def __call__(self, x: Tensor) -> Tensor:
        size = x.size
        mean = ops.resize(self.mean(ops.adaptive_avg_pool(x, 1)), size)
        middle = self.middle(x)
        one = self.downs[0](ops.max_pool(x, 2))
        two = self.downs[1](ops.max_pool(one, 2))
        three = ops.resize(self.downs[2](ops.max_pool(two, 2)), [side // 4 for side in size])
        x = ops.resize(ops.add(self.second(two), three), [side // 2 for side in size])
        x = ops.resize(ops.add(x, self.first(one)), size)
        return ops.add(ops.mul(x, middle), mean)


class _Upsampling:
    """PAN's global attention upsampling."""

    def __init__(self, tape: Tape, inside: int, channels: int) -> None:
        self.gate, self.low = _biased(tape, channels, channels, act=False), _biased(tape, inside, channels, 3)

    def __call__(self, low: Tensor, high: Tensor) -> Tensor:
        raised = ops.resize(high, low.size)
        x = self.low(low)
        gate = ops.sigmoid(self.gate(ops.adaptive_avg_pool(high, 1)))
        return ops.add(raised, ops.mul(x, gate))


def pan(tape: Tape, channels: Sequence[int]) -> Made:
    """Pyramid attention, then gated low maps."""
    first = _PyramidAttention(tape, channels[-1], 32)
    ups = [_Upsampling(tape, each, 32) for each in reversed(channels[2:5])]

    def run(maps: Maps) -> Tensor:
        x = first(maps[-1])
        for up, low in zip(ups, reversed(maps[2:5]), strict=True):
            x = up(low, x)
        return x

    return run, 32, 3, 4


def upernet(tape: Tape, channels: Sequence[int]) -> Made:
    """Pooled pyramid on top of a feature pyramid."""
    norms = [MapLayerNorm(tape, each) for each in channels[2:]]
    pyramid, fuse = _Pyramid(tape, channels[-1], 256, bare_mean=False), unit(tape, channels[-1] + 4 * 256, 256, 3)
    laterals: list[Layer] = []
    convs: list[Layer] = []
    for each in reversed(channels[2:-1]):
        laterals.append(unit(tape, each, 256))
        convs.append(unit(tape, 256, 256, 3))
    last = unit(tape, 4 * 256, 256, 3)

    def run(maps: Maps) -> Tensor:
        features = maps[2:]
        for index, norm in enumerate(norms):
            features[index] = norm(features[index])
        parts = [features[-1], *pyramid(features[-1])]
        found = [fuse(ops.concatenate(parts))]
        del parts
        for lateral, feature in zip(laterals, reversed(features[:-1]), strict=True):
            state = found[-1]  # kept, as is the last sum: the original's loop variables live on
            side = lateral(feature)
            fused = ops.add(ops.resize(state, side.size), side)
            found.append(fused)
            del side
        for index, conv in enumerate(convs, start=1):
            found[index] = conv(found[index])
        resized = [ops.resize(each, found[-1].size) for each in found]
        stacked = ops.concatenate(resized)
        out = last(stacked)
        del state, fused
        return out

    return run, 256, 1, 4


def segformer(tape: Tape, channels: Sequence[int]) -> Made:
    """One linear layer a level, all at a quarter of the image."""
    used = [each for index, each in enumerate(channels) if index and each]
    layers = [Linear(tape, each, 256) for each in reversed(used)]
    fuse = unit(tape, len(used) * 256, 256)

    def run(maps: Maps) -> Tensor:
        size = [side // 4 for side in maps[0].size]
        found: list[Tensor] = []
        for layer, each in zip(layers, reversed(maps[-len(used) :]), strict=True):
            x = ops.shifted(layer(ops.copy(tokens(each))))  # a transposed view: copied, and the bias added afterwards
            x = as_map(x, each.size)
            found.append(ops.resize(x, size))
        return fuse(ops.concatenate(found))

    return run, 256, 1, 4
