"""Inverted bottlenecks: MobileNet v2 and v3, MNASNet, EfficientNet.

Sources: torchvision 0.28 ``models/{mobilenetv2,mobilenetv3,mnasnet,efficientnet}.py``, segmentation_models_pytorch
0.6.0 ``encoders/_efficientnet.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import divisible
from vramlint.memory.layers.named.encoders import Encoder, SqueezeExcite, relu
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, chain
from vramlint.memory.layers.tape import Tape, Tensor


def relu6(x: Tensor) -> Tensor:
    """ReLU6 in place."""
    return ops.relu6(x, inplace=True)


def swish(x: Tensor) -> Tensor:
    """SiLU, or hardswish, in place."""
    return ops.keeps_input(x, inplace=True)


class Block(NamedTuple):
    """One inverted bottleneck: ``width`` inside, ``squeeze`` channels of the gate (0: none), ``path`` its drop rate."""

    kernel: int
    stride: int
    inside: int
    width: int
    channels: int
    squeeze: int = 0
    path: float = 0.0
    dilation: int = 1
    fused: bool = False
    """One 3x3 convolution in place of expansion and depthwise one (EfficientNet v2)."""


class Style(NamedTuple):
    """How a family writes its blocks."""

    act: Layer
    squeeze_act: Layer = relu
    gate: Layer = ops.sigmoid
    inplace_sum: bool = False


def _unit(tape: Tape, a: int, b: int, kernel: int, stride: int, dilation: int, groups: int, act: Layer | None) -> Layer:
    layers: list[Layer] = [
        Conv(tape, a, b, kernel, stride, dilation * (kernel // 2), dilation, groups, bias=False),
        BatchNorm(tape, b),
    ]
    return chain(*layers) if act is None else chain(*layers, act)


class Inverted:
    """Expansion, depthwise convolution, gate, projection, and a sum where the shape stays."""

    def __init__(self, tape: Tape, block: Block, style: Style) -> None:
        self.block, self.style = block, style
        layers: list[Layer] = []
        if block.fused:
            if block.width == block.inside:
                layers.append(_unit(tape, block.inside, block.channels, block.kernel, block.stride, 1, 1, style.act))
            else:
                layers.append(_unit(tape, block.inside, block.width, block.kernel, block.stride, 1, 1, style.act))
                layers.append(_unit(tape, block.width, block.channels, 1, 1, 1, 1, None))
        else:
            if block.width != block.inside:
                layers.append(_unit(tape, block.inside, block.width, 1, 1, 1, 1, style.act))
            layers.append(
                _unit(
                    tape, block.width, block.width, block.kernel, block.stride, block.dilation, block.width, style.act
                )
            )
            if block.squeeze:
                layers.append(SqueezeExcite(tape, block.width, block.squeeze, style.squeeze_act, style.gate))
            layers.append(_unit(tape, block.width, block.channels, 1, 1, 1, 1, None))
        self.layers = chain(*layers)
        self.residual = block.stride == 1 and block.inside == block.channels

    def __call__(self, x: Tensor) -> Tensor:
        if not self.residual:
            return self.layers(x)
        out = _row_dropped(self.layers(x), self.block.path)
        return ops.add(out, x, inplace=True) if self.style.inplace_sum else ops.add(x, out)


def _row_dropped(x: Tensor, rate: float) -> Tensor:
    """torchvision's stochastic depth: a product with one number a sample."""
    return ops.scaled(x) if rate > 0 else x


# --- MobileNet v2 ----------------------------------------------------------------------------------------------------

_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride."""


def mobilenet_v2_blocks() -> list[Block]:
    """The 17 blocks."""
    found: list[Block] = []
    inside = 32
    for ratio, channels, count, stride in _V2:
        for number in range(count):
            found.append(Block(3, stride if number == 0 else 1, inside, inside * ratio, channels))
            inside = channels
    return found


def mobilenet_v2(tape: Tape, dilations: tuple[int, int] = (1, 1), image: int = 3) -> Encoder:
    """As smp cuts it: the last stage holds the 1x1 convolution to 1280 channels; ``dilations`` of the last two."""
    blocks = mobilenet_v2_blocks()
    blocks = [_dilated(each, dilations[0]) if 6 <= i < 13 else each for i, each in enumerate(blocks)]
    blocks = [_dilated(each, dilations[1]) if i >= 13 else each for i, each in enumerate(blocks)]
    stem = _unit(tape, image, 32, 3, 2, 1, 1, relu6)
    made = [Inverted(tape, block, Style(relu6)) for block in blocks]
    last = _unit(tape, 320, 1280, 1, 1, 1, 1, relu6)
    stages = [
        chain(stem, made[0]), chain(*made[1:3]), chain(*made[3:6]), chain(*made[6:13]), chain(*made[13:], last),
    ]  # fmt: skip
    return Encoder(stages, (16, 24, 32, 96, 1280))


def _dilated(block: Block, dilation: int) -> Block:
    """smp replaces every stride by 1 and dilates, 1x1 convolutions included."""
    return block if dilation == 1 else block._replace(stride=1, dilation=dilation)


# --- MobileNet v3 ----------------------------------------------------------------------------------------------------

_V3: Mapping[str, tuple[tuple[int, int, int, bool, bool, int], ...]] = {
    "mobilenet_v3_large": (
        (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
    ),
    "mobilenet_v3_small": (
        (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
        (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
        (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
        (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
    ),
}  # fmt: skip
"""Kernel, expanded width, channels, gate, hardswish, stride."""

V3_LAST = {"mobilenet_v3_large": (960, 1280), "mobilenet_v3_small": (576, 1024)}
"""Channels of the last convolution and of the classifier's hidden layer."""


class MobileNetV3:
    """Blocks and the last convolution; ``dilated`` doubles the last three blocks' reach instead of their stride."""

    def __init__(self, tape: Tape, name: str, *, dilated: bool = False) -> None:
        layers: list[Layer] = [_unit(tape, 3, 16, 3, 2, 1, 1, swish)]
        inside = 16
        rows = _V3[name]
        for index, (kernel, width, channels, gate, hard, stride) in enumerate(rows):
            dilation = 2 if dilated and index >= len(rows) - 3 else 1
            stride = 1 if dilation > 1 else stride
            squeeze = divisible(width // 4) if gate else 0
            style = Style(swish if hard else relu, ops.relu, ops.keeps_input, inplace_sum=True)
            layers.append(Inverted(tape, Block(kernel, stride, inside, width, channels, squeeze, 0.0, dilation), style))
            inside = channels
        layers.append(_unit(tape, inside, 6 * inside, 1, 1, 1, 1, swish))
        self.layers = layers
        self.channels = 6 * inside

    def __call__(self, x: Tensor) -> Tensor:
        return chain(*self.layers)(x)


# --- MNASNet ---------------------------------------------------------------------------------------------------------

MNASNETS = {"mnasnet0_5": 0.5, "mnasnet0_75": 0.75, "mnasnet1_0": 1.0, "mnasnet1_3": 1.3}

_MNAS = ((3, 2, 3, 24, 3), (5, 2, 3, 40, 3), (5, 2, 6, 80, 3), (3, 1, 6, 96, 2), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))
"""Kernel, stride, expansion, channels, blocks."""


def mnasnet(tape: Tape, name: str) -> Layer:
    """All of it up to the 1280 channels before the pooling."""
    alpha = MNASNETS[name]

    def scaled(width: int) -> int:
        return _rounded(width * alpha)

    stem, first = scaled(32), scaled(16)
    layers: list[Layer] = [
        _unit(tape, 3, stem, 3, 2, 1, 1, relu),
        _unit(tape, stem, stem, 3, 1, 1, stem, relu),
        _unit(tape, stem, first, 1, 1, 1, 1, None),
    ]
    inside = first
    for kernel, stride, ratio, base, count in _MNAS:
        for number in range(count):
            channels = scaled(base)
            block = Block(kernel, stride if number == 0 else 1, inside, inside * ratio, channels)
            layers.append(Inverted(tape, block, Style(relu)))
            inside = channels
    layers.append(_unit(tape, inside, 1280, 1, 1, 1, 1, relu))
    return chain(*layers)


def _rounded(value: float, divisor: int = 8) -> int:
    """MNASNet's ``_round_to_multiple_of``: rounds up more often than ``make_divisible``."""
    found = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return found if found >= 0.9 * value else found + divisor


# --- EfficientNet ----------------------------------------------------------------------------------------------------

EFFICIENTNETS = {
    "b0": (1.0, 1.0, 224), "b1": (1.0, 1.1, 240), "b2": (1.1, 1.2, 260), "b3": (1.2, 1.4, 300), "b4": (1.4, 1.8, 380),
    "b5": (1.6, 2.2, 456), "b6": (1.8, 2.6, 528), "b7": (2.0, 3.1, 600),
}  # fmt: skip
"""Factors of width and depth, the image size of the paper."""

_ROWS = (
    (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1),
)  # fmt: skip
"""Expansion, kernel, stride, channels before and after, blocks."""

EFFICIENTNETS_V2: Mapping[str, tuple[tuple[bool, int, int, int, int, int, int], ...]] = {
    "s": (
        (True, 1, 3, 1, 24, 24, 2), (True, 4, 3, 2, 24, 48, 4), (True, 4, 3, 2, 48, 64, 4),
        (False, 4, 3, 2, 64, 128, 6), (False, 6, 3, 1, 128, 160, 9), (False, 6, 3, 2, 160, 256, 15),
    ),
    "m": (
        (True, 1, 3, 1, 24, 24, 3), (True, 4, 3, 2, 24, 48, 5), (True, 4, 3, 2, 48, 80, 5),
        (False, 4, 3, 2, 80, 160, 7), (False, 6, 3, 1, 160, 176, 14), (False, 6, 3, 2, 176, 304, 18),
        (False, 6, 3, 1, 304, 512, 5),
    ),
    "l": (
        (True, 1, 3, 1, 32, 32, 4), (True, 4, 3, 2, 32, 64, 7), (True, 4, 3, 2, 64, 96, 7),
        (False, 4, 3, 2, 96, 192, 10), (False, 6, 3, 1, 192, 224, 19), (False, 6, 3, 2, 224, 384, 25),
        (False, 6, 3, 1, 384, 640, 7),
    ),
}  # fmt: skip
"""Fused, expansion, kernel, stride, channels before and after, blocks."""


def efficientnet_blocks(size: str) -> list[Block]:
    """Blocks of b0 to b7 with their drop rates (0.2 at the end)."""
    width, depth, _ = EFFICIENTNETS[size]
    found: list[Block] = []
    for ratio, kernel, stride, before, after, count in _ROWS:
        inside, channels = divisible(before * width), divisible(after * width)
        for number in range(ceil(count * depth)):
            source = inside if number == 0 else channels
            squeeze = max(1, source // 4)
            found.append(Block(kernel, stride if number == 0 else 1, source, source * ratio, channels, squeeze))
    return [each._replace(path=0.2 * index / len(found)) for index, each in enumerate(found)]


def efficientnet_v2_blocks(size: str) -> list[Block]:
    """Blocks of s, m, l."""
    found: list[Block] = []
    for fused, ratio, kernel, stride, inside, channels, count in EFFICIENTNETS_V2[size]:
        for number in range(count):
            source = inside if number == 0 else channels
            width = divisible(source * ratio)
            squeeze = 0 if fused else max(1, source // 4)
            step = stride if number == 0 else 1
            found.append(Block(kernel, step, source, width, channels, squeeze, fused=fused))
    return [each._replace(path=0.2 * index / len(found)) for index, each in enumerate(found)]


def efficientnet(tape: Tape, blocks: Sequence[Block], last: int | None = None) -> tuple[Layer, int]:
    """torchvision's EfficientNet without its classifier, and the channels it ends with."""
    style = Style(swish, swish, inplace_sum=True)
    stem = _unit(tape, 3, blocks[0].inside, 3, 2, 1, 1, swish)
    made = [Inverted(tape, block, style) for block in blocks]
    outside = last or 4 * blocks[-1].channels
    return chain(stem, *made, _unit(tape, blocks[-1].channels, outside, 1, 1, 1, 1, swish)), outside


# --- EfficientNet as smp has it --------------------------------------------------------------------------------------

_CUTS = {
    "b0": (2, 4, 8, 15), "b1": (4, 7, 15, 22), "b2": (4, 7, 15, 22), "b3": (4, 7, 17, 25), "b4": (5, 9, 21, 31),
    "b5": (7, 12, 26, 38), "b6": (8, 14, 30, 44), "b7": (10, 17, 37, 54),
}  # fmt: skip
"""Blocks after which smp takes a map (``out_indexes``)."""


class _Padded:
    """A block of smp's EfficientNet: padded by a layer of its own, for the image size of the paper."""

    def __init__(self, tape: Tape, block: Block, side: int) -> None:
        self.block = block
        self.expand = None
        if block.width != block.inside:
            self.expand = chain(Conv(tape, block.inside, block.width, bias=False), BatchNorm(tape, block.width))
        self.pads = () if block.dilation > 1 else _static_padding(side, block.kernel, block.stride)
        padding = block.dilation * (block.kernel // 2) if block.dilation > 1 else 0
        self.depthwise = chain(
            Conv(
                tape, block.width, block.width, block.kernel, block.stride, padding, block.dilation, block.width,
                bias=False,
            ),
            BatchNorm(tape, block.width),
        )  # fmt: skip
        self.reduce = Conv(tape, block.width, block.squeeze)
        self.spread = Conv(tape, block.squeeze, block.width)
        self.project = chain(Conv(tape, block.width, block.channels, bias=False), BatchNorm(tape, block.channels))
        self.residual = block.stride == 1 and block.inside == block.channels

    def __call__(self, inputs: Tensor) -> Tensor:
        x = inputs
        if self.expand is not None:
            x = ops.keeps_input(self.expand(x))
        if any(self.pads):
            x = ops.pad(x, *self.pads)
        x = ops.keeps_input(self.depthwise(x))
        squeezed = ops.keeps_input(self.reduce(ops.adaptive_avg_pool(x, 1)))
        x = ops.mul(ops.sigmoid(self.spread(squeezed)), x)
        x = self.project(x)
        if not self.residual:
            return x
        return ops.add(ops.drop_path(x, self.block.path), inputs)


def _static_padding(side: int, kernel: int, stride: int) -> tuple[int, ...]:
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return (total // 2, total - total // 2) * 2


def smp_efficientnet(tape: Tape, size: str, dilations: tuple[int, int] = (1, 1), image: int = 3) -> Encoder:
    """The encoder; its convolution to 4 times the channels is made and never used."""
    side = EFFICIENTNETS[size][2]
    cuts = _CUTS[size]
    blocks = efficientnet_blocks(size)
    blocks = [_dilated(each, dilations[0]) if cuts[1] < i <= cuts[2] else each for i, each in enumerate(blocks)]
    blocks = [_dilated(each, dilations[1]) if i > cuts[2] else each for i, each in enumerate(blocks)]
    first = blocks[0].inside
    stem_pads = _static_padding(side, 3, 2)
    stem = chain(Conv(tape, image, first, 3, 2, bias=False), BatchNorm(tape, first), ops.keeps_input)
    side = -(-side // 2)
    made: list[Layer] = []
    for block, plain in zip(blocks, efficientnet_blocks(size), strict=True):
        made.append(_Padded(tape, block._replace(path=plain.path), side))
        side = -(-side // plain.stride)
    Conv(tape, blocks[-1].channels, 4 * blocks[-1].channels, bias=False)
    BatchNorm(tape, 4 * blocks[-1].channels)
    stages: list[Layer] = [chain(lambda x: ops.pad(x, *stem_pads), stem)]
    channels = [first]
    start = 0
    for cut in cuts:
        stages.append(chain(*made[start : cut + 1]))
        channels.append(blocks[cut].channels)
        start = cut + 1
    return Encoder(stages, tuple(channels))
