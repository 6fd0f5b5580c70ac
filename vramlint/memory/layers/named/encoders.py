"""Convolutional encoders: stages that each halve the image, as classifiers and U-Nets share them.

Sources: torchvision 0.28 ``models/{resnet,vgg,densenet}.py``, segmentation_models_pytorch 0.6.0 ``encoders``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import BN, DEPTHS, BasicBlock, Bottleneck, stage_of
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, chain
from vramlint.memory.layers.registry import Maps
from vramlint.memory.layers.tape import Tape, Tensor


class Encoder(NamedTuple):
    """``stages`` in order, each from the map of the one before it; ``channels`` of each one's result.

    ``dilated`` says whether the last stages can keep the size and dilate instead.
    """

    stages: Sequence[Layer]
    channels: tuple[int, ...]

    def __call__(self, x: Tensor, depth: int = 5) -> Maps:
        """The image, then the map of each of the first ``depth`` stages."""
        outs = [x]
        for stage in self.stages[:depth]:
            x = stage(x)
            outs.append(x)
        return outs


class ResNetKind(NamedTuple):
    """A member of the family: block, blocks a stage, groups and width of a group, factor of the inner width."""

    bottleneck: bool
    depths: tuple[int, ...]
    groups: int = 1
    base_width: int = 64
    squeeze: bool = False


def _wide(depths: tuple[int, ...], groups: int, base_width: int, *, squeeze: bool = False) -> ResNetKind:
    return ResNetKind(bottleneck=True, depths=depths, groups=groups, base_width=base_width, squeeze=squeeze)


RESNETS: Mapping[str, ResNetKind] = {
    **{f"resnet{depth}": ResNetKind(depth >= 50, DEPTHS[depth]) for depth in (18, 34, 50, 101, 152)},
    "resnext50_32x4d": _wide(DEPTHS[50], 32, 4),
    "resnext101_32x4d": _wide(DEPTHS[101], 32, 4),
    "resnext101_32x8d": _wide(DEPTHS[101], 32, 8),
    "resnext101_32x16d": _wide(DEPTHS[101], 32, 16),
    "resnext101_32x32d": _wide(DEPTHS[101], 32, 32),
    "resnext101_32x48d": _wide(DEPTHS[101], 32, 48),
    "resnext101_64x4d": _wide(DEPTHS[101], 64, 4),
    "wide_resnet50_2": _wide(DEPTHS[50], 1, 128),
    "wide_resnet101_2": _wide(DEPTHS[101], 1, 128),
    "se_resnet50": _wide(DEPTHS[50], 1, 64, squeeze=True),
    "se_resnet101": _wide(DEPTHS[101], 1, 64, squeeze=True),
    "se_resnet152": _wide(DEPTHS[152], 1, 64, squeeze=True),
    "se_resnext50_32x4d": _wide(DEPTHS[50], 32, 4, squeeze=True),
    "se_resnext101_32x4d": _wide(DEPTHS[101], 32, 4, squeeze=True),
}


SMP_ONLY = ("resnext101_32x4d", "resnext101_32x16d", "resnext101_32x32d", "resnext101_32x48d")
TORCHVISION_ONLY = ("resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2")
"""Members that one package alone has."""


class GroupedBottleneck(Bottleneck):
    """A bottleneck whose inner width follows from groups and width of a group (torchvision's formula)."""

    def __init__(
        self, tape: Tape, inside: int, planes: int, stride: int, dilation: int, shortcut: Layer | None,
        options: Mapping[str, object],
    ) -> None:  # fmt: skip
        kind = options["kind"]
        assert isinstance(kind, ResNetKind)
        width = int(planes * kind.base_width / 64) * kind.groups
        outside = planes * self.expansion
        self.first = chain(Conv(tape, inside, width, bias=False), BatchNorm(tape, width))
        self.second = chain(
            Conv(tape, width, width, 3, stride, dilation, dilation, kind.groups, bias=False), BatchNorm(tape, width)
        )
        self.third = chain(Conv(tape, width, outside, bias=False), BatchNorm(tape, outside))
        self.shortcut = shortcut
        self.between, self.after = [], []
        if kind.squeeze:
            self.squeeze = SqueezeExcite(tape, outside, outside // 16)

    def inner(self, x: Tensor) -> Tensor:
        if not hasattr(self, "squeeze"):
            return super().inner(x)
        out = ops.relu(self.first(x), inplace=True)
        out = ops.relu(self.second(out), inplace=True)
        out = self.third(out)
        residual = x if self.shortcut is None else self.shortcut(x)
        return ops.add(self.squeeze(out), residual)


class SqueezeExcite:
    """A mean, two 1x1 convolutions with ``act`` between, a gate, a product with the map."""

    def __init__(
        self, tape: Tape, channels: int, middle: int, act: Layer | None = None, gate: Layer = ops.sigmoid
    ) -> None:
        self.first, self.last = Conv(tape, channels, middle), Conv(tape, middle, channels)
        self.act: Layer = relu if act is None else act
        self.gate = gate

    def __call__(self, x: Tensor) -> Tensor:
        return ops.mul(x, self.gate(self.last(self.act(self.first(ops.adaptive_avg_pool(x, 1))))))


def relu(x: Tensor) -> Tensor:
    """ReLU in place."""
    return ops.relu(x, inplace=True)


def unit(
    tape: Tape, inside: int, channels: int, kernel: int = 1, stride: int = 1, dilation: int = 1, *, act: bool = True
) -> Layer:
    """Convolution without bias, batch norm, ReLU in place."""
    padding = dilation * (kernel // 2)
    return ConvModule(
        tape, inside, channels, kernel, stride, padding, dilation, norm_cfg=BN, act_cfg=RELU if act else None
    )


def resnet(
    tape: Tape, name: str, dilations: Sequence[int] = (1, 1, 1, 1), *, whole: bool = True, image: int = 3
) -> Encoder:
    """ResNet, ResNeXt, wide ResNet and their squeeze-and-excite forms; ``dilations`` of the four stages,
    ``image``: its channels.

    ``whole``: a dilated stage dilates all its blocks (smp); else its first block dilates as the stage before it
    (torchvision).
    """
    kind = RESNETS[name]
    block = GroupedBottleneck if kind.bottleneck else BasicBlock
    options = {"norm": BN, "kind": kind}
    pool: Layer = _ceiling_pool if kind.squeeze else _pool
    stages: list[Layer] = [unit(tape, image, 64, 7, 2)]
    channels, inside = [64], 64
    before = 1
    for index, count in enumerate(kind.depths):
        planes, dilation = 64 * 2**index, dilations[index]
        stride = 1 if index == 0 or dilation > before else 2
        each = [dilation if whole else before, *[dilation] * (count - 1)]
        made = stage_of(tape, block, inside, planes, stride, each, options)
        layers = [_residual(each) for each in made]
        stages.append(chain(pool, *layers) if index == 0 else chain(*layers))
        inside, before = planes * block.expansion, dilation
        channels.append(inside)
    return Encoder(stages, tuple(channels))


def _residual(block: BasicBlock | Bottleneck) -> Layer:
    return lambda x: relu(block.inner(x))


def _pool(x: Tensor) -> Tensor:
    return ops.max_pool(x, 3, 2, 1)


def _ceiling_pool(x: Tensor) -> Tensor:
    return ops.max_pool(x, 3, 2, ceil=True)


# --- VGG -------------------------------------------------------------------------------------------------------------

_VGG_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_VGG_WIDTHS = (64, 128, 256, 512, 512)

VGGS = {f"vgg{depth}{suffix}": (depth, bool(suffix)) for depth in _VGG_DEPTHS for suffix in ("", "_bn")}


def halved(x: Tensor) -> Tensor:
    """A 2x2 max pooling."""
    return ops.max_pool(x, 2)


def vgg(tape: Tape, name: str, image: int = 3) -> Encoder:
    """Convolutions of VGG; the first stage keeps the image's size, and the last result is pooled once more."""
    depth, normed = VGGS[name]
    stages: list[Layer] = []
    inside = image
    for index, (count, width) in enumerate(zip(_VGG_DEPTHS[depth], _VGG_WIDTHS, strict=True)):
        layers: list[Layer] = [] if index == 0 else [halved]
        for _ in range(count):
            layers.append(Conv(tape, inside, width, 3, 1, 1))
            layers += [BatchNorm(tape, width), relu] if normed else [relu]
            inside = width
        stages.append(chain(*layers))
    return Encoder([*stages, halved], (*_VGG_WIDTHS, 512))


# --- DenseNet --------------------------------------------------------------------------------------------------------

DENSENETS = {
    "densenet121": (32, (6, 12, 24, 16), 64),
    "densenet161": (48, (6, 12, 36, 24), 96),
    "densenet169": (32, (6, 12, 32, 32), 64),
    "densenet201": (32, (6, 12, 48, 32), 64),
}
"""Growth, layers of each block, channels of the stem."""


class _DenseBlock:
    """Every layer sees the concatenation of all before it."""

    def __init__(self, tape: Tape, inside: int, growth: int, count: int) -> None:
        self.layers: list[Layer] = []
        for number in range(count):
            channels = inside + number * growth
            first = chain(BatchNorm(tape, channels), relu, Conv(tape, channels, 4 * growth, bias=False))
            self.layers.append(
                chain(first, BatchNorm(tape, 4 * growth), relu, Conv(tape, 4 * growth, growth, 3, 1, 1, bias=False))
            )

    def __call__(self, x: Tensor) -> Tensor:
        features = [x]
        del x
        for layer in self.layers:
            features.append(layer(ops.concatenate(features)))
        return ops.concatenate(features)


def densenet(tape: Tape, name: str, image: int = 3) -> Encoder:
    """Stages end after the norm and ReLU of each transition; the last after ``norm5``."""
    growth, counts, inside = DENSENETS[name]
    stages: list[Layer] = [unit(tape, image, inside, 7, 2)]
    channels = [inside]
    before: list[Layer] = [_pool]
    for index, count in enumerate(counts):
        block = _DenseBlock(tape, inside, growth, count)
        inside += count * growth
        last = index == len(counts) - 1
        layers: list[Layer] = [*before, block, BatchNorm(tape, inside)]
        stages.append(chain(*layers) if last else chain(*layers, relu))
        channels.append(inside)
        if not last:
            before = [Conv(tape, inside, inside // 2, bias=False), lambda x: ops.avg_pool(x, 2)]
            inside //= 2
    return Encoder(stages, tuple(channels))
