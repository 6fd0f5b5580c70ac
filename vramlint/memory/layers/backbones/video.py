"""Networks over clips: (batch, channels, frames, height, width).

Source: mmaction2 1.2.0 and 0.24.1 ``models/backbones``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import DEPTHS
from vramlint.memory.layers.bricks import RELU, ConvModule, activation, norm
from vramlint.memory.layers.nn import Conv, Layer
from vramlint.memory.layers.nonlocal_blocks import NonLocal
from vramlint.memory.layers.registry import Backbone, Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor

CONV3D: Config = {"type": "Conv3d"}
BN3D: Config = {"type": "BN3d"}
Triple = tuple[int, int, int]


def triple(value: Any) -> Triple:
    """``value`` for frames, height and width."""
    return (value, value, value) if isinstance(value, int) else (int(value[0]), int(value[1]), int(value[2]))


class SplitConv:
    """Conv2plus1d: a spatial convolution, its norm and ReLU, a temporal convolution (mmaction2 ``common``)."""

    def __init__(
        self, tape: Tape, inside: int, channels: int, kernel: Any, stride: Any, padding: Any, *, norm_cfg: Config
    ) -> None:
        kernels, strides, paddings = triple(kernel), triple(stride), triple(padding)
        middle = int(3 * inside * channels * 9 / (inside * 9 + 3 * channels))
        self.spatial = Conv(
            tape, inside, middle, (1, *kernels[1:]), (1, *strides[1:]), (0, *paddings[1:]), bias=False, dims=3
        )
        self.norm = norm(tape, norm_cfg, middle)
        self.temporal = Conv(
            tape, middle, channels, (kernels[0], 1, 1), (strides[0], 1, 1), (paddings[0], 0, 0), bias=False, dims=3
        )

    def __call__(self, x: Tensor) -> Tensor:
        return self.temporal(ops.relu(self.norm(self.spatial(x)), inplace=True))


class _Options:
    """What all blocks of a network share."""

    def __init__(self, tape: Tape, config: Config, *, depthwise: bool = False) -> None:
        self.tape = tape
        self.norm: Config = config.get("norm_cfg") or BN3D
        self.act: Config = config.get("act_cfg") or RELU
        self.split = str((config.get("conv_cfg") or CONV3D)["type"]) == "Conv2plus1d"
        self.flat = str((config.get("conv_cfg") or CONV3D)["type"]) == "Conv2d"
        self.depthwise = depthwise
        self.mode = str(config.get("bottleneck_mode", "ir"))
        self.style = str(config.get("style", "pytorch"))
        self.inflate_style = str(config.get("inflate_style", "3x1x1"))

    def module(
        self, inside: int, channels: int, kernel: Any, stride: Any = 1, padding: Any = 0, *, act: bool, groups: int = 1
    ) -> Layer:
        """Convolution, norm and, with ``act``, ReLU in place."""
        act_cfg = self.act if act else None
        if not self.split:
            return ConvModule(
                self.tape, inside, channels, triple(kernel), triple(stride), triple(padding), groups=groups,
                norm_cfg=self.norm, act_cfg=act_cfg, conv_cfg=CONV3D, dims=3,
            )  # fmt: skip
        conv = SplitConv(self.tape, inside, channels, kernel, stride, padding, norm_cfg=self.norm)
        after = norm(self.tape, self.norm, channels)
        last = activation(act_cfg)
        return lambda x: last(after(conv(x)))


class _Block:
    """A residual block with its shortcut; ``inner`` is all but the last ReLU."""

    def __init__(self, layers: Sequence[Layer], shortcut: Layer | None, attention: NonLocal | None) -> None:
        self.layers, self.shortcut, self.attention = layers, shortcut, attention

    def inner(self, x: Tensor) -> Tensor:
        out = x
        for layer in self.layers:
            out = layer(out)
        return ops.add(out, x if self.shortcut is None else self.shortcut(x))

    def run(self, x: Tensor, *, checkpointing: bool) -> Tensor:
        inside = x.storage.tape.checkpoint(self.inner, x) if checkpointing and x.node is not None else self.inner(x)
        found = ops.relu(inside, inplace=True)
        return found if self.attention is None else self.attention(found)


def _basic(options: _Options, inside: int, planes: int, strides: Triple, *, inflate: bool) -> list[Layer]:
    kernel, padding = ((3, 3, 3), (1, 1, 1)) if inflate else ((1, 3, 3), (0, 1, 1))
    return [
        options.module(inside, planes, kernel, strides, padding, act=True),
        options.module(planes, planes, kernel, 1, padding, act=False),
    ]


def _bottleneck(options: _Options, inside: int, planes: int, strides: Triple, *, inflate: bool) -> list[Layer]:
    first: tuple[Any, Any] = ((1, 1, 1), (0, 0, 0))
    second: tuple[Any, Any] = ((1, 3, 3), (0, 1, 1))
    if inflate and options.inflate_style == "3x1x1":
        first = ((3, 1, 1), (1, 0, 0))
    elif inflate:
        second = ((3, 3, 3), (1, 1, 1))
    early, late = (1, strides) if options.style == "pytorch" else (strides, 1)
    layers = [options.module(inside, planes, first[0], early, first[1], act=True)]
    if options.depthwise and options.mode == "ip":
        layers.append(options.module(planes, planes, 1, act=False))
    groups = planes if options.depthwise else 1
    layers.append(options.module(planes, planes, second[0], late, second[1], act=True, groups=groups))
    layers.append(options.module(planes, 4 * planes, 1, act=False))
    return layers


def spread(value: Any, count: int) -> list[Any]:
    """A setting for each of ``count`` parts."""
    return list(value) if isinstance(value, (list, tuple)) else [value] * count


class ClipResNet:
    """ResNet3d: stem, pooling, four stages of inflated blocks. ``lateral`` channels join each stage's input."""

    def __init__(
        self, build: Build, config: Config, *, depthwise: bool = False, lateral: Sequence[int] = (0, 0, 0, 0)
    ) -> None:
        tape = self.tape = build.tape
        options = self.options = _Options(tape, config, depthwise=depthwise)
        depth, count = int(config.get("depth", 50)), int(config.get("num_stages", 4))
        base = self.base = int(config.get("base_channels", 64))
        self.wide = depth >= 50
        frozen = int(config.get("frozen_stages", -1))
        self.checkpointing = bool(config.get("with_cp", False))
        self.out = tuple(spread(config.get("out_indices", (3,)), 1))
        self.pooling = bool(config.get("with_pool1", True)), bool(config.get("with_pool2", True))
        pool = int(config.get("pool1_stride_s", 2))
        self.pool_stride = (int(config.get("pool1_stride_t", 1)), pool, pool)
        kernel = triple(config.get("conv1_kernel", (3, 7, 7)))
        stride = int(config.get("conv1_stride_s", 2))
        with tape.frozen(active=frozen >= 0):
            self.stem = options.module(
                int(config.get("in_channels", 3)), base, kernel, (int(config.get("conv1_stride_t", 1)), stride, stride),
                tuple((side - 1) // 2 for side in kernel), act=True,
            )  # fmt: skip
        blocks = config.get("stage_blocks") or DEPTHS[depth][:count]
        spatial, temporal = config.get("spatial_strides", (1, 2, 2, 2)), config.get("temporal_strides", (1, 1, 1, 1))
        inflate, attended = spread(config.get("inflate", 1), count), spread(config.get("non_local", 0), count)
        inside = base
        self.stages: list[list[_Block]] = []
        for index in range(count):
            with tape.frozen(active=index < frozen):
                self.stages.append(
                    self._stage(
                        inside + lateral[index], base * 2**index, spread(inflate[index], blocks[index]),
                        (int(temporal[index]), int(spatial[index]), int(spatial[index])),
                        spread(attended[index], blocks[index]), config.get("non_local_cfg") or {},
                    )
                )  # fmt: skip
            inside = base * 2**index * (4 if self.wide else 1)

    def _stage(
        self, inside: int, planes: int, inflate: list[Any], strides: Triple, attended: list[Any], attention: Config
    ) -> list[_Block]:
        outside = planes * (4 if self.wide else 1)
        make = _bottleneck if self.wide else _basic
        made: list[_Block] = []
        for number, inflated in enumerate(inflate):
            first = number == 0
            shortcut = None
            if first and (strides[1] != 1 or inside != outside):
                shortcut = self.options.module(inside, outside, 1, strides, act=False)
            layers = make(
                self.options, inside if first else outside, planes, strides if first else (1, 1, 1),
                inflate=bool(inflated),
            )  # fmt: skip
            block = NonLocal(self.tape, outside, attention, dims=3) if attended[number] else None
            made.append(_Block(layers, shortcut, block))
        return made

    def begin(self, x: Tensor) -> Tensor:
        """Stem and first pooling."""
        x = self.stem(x)
        return ops.max_pool(x, (1, 3, 3), self.pool_stride, (0, 1, 1)) if self.pooling[0] else x

    def stage(self, index: int, x: Tensor) -> Tensor:
        """One stage, and the second pooling after the first one."""
        for block in self.stages[index]:
            x = block.run(x, checkpointing=self.checkpointing)
        return ops.max_pool(x, (2, 1, 1), (2, 1, 1)) if index == 0 and self.pooling[1] else x

    def __call__(self, x: Tensor) -> Maps:
        x = self.begin(x)
        outs: Maps = []
        for index in range(len(self.stages)):
            x = self.stage(index, x)
            if index in self.out:
                outs.append(x)
        return outs


@backbone("ResNet3d", "C2D")
def resnet3d(build: Build, config: Config) -> Backbone:
    """I3D by inflation."""
    return ClipResNet(build, config)


SLOW_ONLY: dict[str, Any] = {"conv1_kernel": (1, 7, 7), "inflate": (0, 0, 1, 1), "with_pool2": False}


@backbone("ResNet3dSlowOnly")
def slow_only(build: Build, config: Config) -> Backbone:
    """The slow pathway alone."""
    return ClipResNet(build, {**SLOW_ONLY, **config})


@backbone("ResNet3dCSN")
def channel_separated(build: Build, config: Config) -> Backbone:
    """Depthwise 3x3x3 convolutions; ``bn_frozen`` leaves the norms untrained."""
    made: dict[str, Any] = {"temporal_strides": (1, 2, 2, 2), "inflate_style": "3x3x3", **config}
    if config.get("norm_eval") and config.get("bn_frozen"):
        made["norm_cfg"] = {**(config.get("norm_cfg") or BN3D), "requires_grad": False}
    return ClipResNet(build, made, depthwise=True)


@backbone("ResNet2Plus1d")
class SplitResNet(ClipResNet):
    """(2+1)D: no pooling after the first stage, the last stage comes out."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, {**config, "with_pool2": False})

    def __call__(self, x: Tensor) -> Maps:
        x = self.begin(x)
        for index in range(len(self.stages)):
            x = self.stage(index, x)
        return [x]


class _Pathway(ClipResNet):
    """A pathway of SlowFast; the slow one takes the fast one's maps in through strided temporal convolutions."""

    def __init__(self, build: Build, config: Config) -> None:
        taken = bool(config.get("lateral", False))
        ratio, more = int(config.get("channel_ratio", 8)), int(config.get("lateral_infl", 2))
        wide = int(config.get("depth", 50)) >= 50
        base = int(config.get("base_channels", 64))
        factor = 4 if wide else 1
        # What joins the input of each stage: of the stem first, then of the stage before.
        before = [base, *(base * 2**i * factor for i in range(3))]
        joining = [each * more // ratio for each in before] if taken else [0, 0, 0, 0]
        super().__init__(build, {**SLOW_ONLY_PATH, **config}, lateral=joining)
        tape = build.tape
        kernel, speed = int(config.get("fusion_kernel", 5)), int(config.get("speed_ratio", 8))
        normed = bool(config.get("lateral_norm", False))
        self.lateral = [
            ConvModule(
                tape, each // ratio, each * more // ratio, (kernel, 1, 1), (speed, 1, 1), ((kernel - 1) // 2, 0, 0),
                bias=False, norm_cfg=self.options.norm if normed else None, act_cfg=RELU if normed else None,
                conv_cfg=CONV3D, dims=3,
            )
            for each in (before if taken else [])
        ]  # fmt: skip


SLOW_ONLY_PATH: dict[str, Any] = {"with_pool2": False}


@backbone("ResNet3dSlowFast")
class SlowFast:
    """Two pathways over the same clip at two rates."""

    def __init__(self, build: Build, config: Config) -> None:
        self.resample, self.speed = int(config.get("resample_rate", 8)), int(config.get("speed_ratio", 8))
        ratio = int(config.get("channel_ratio", 8))
        slow = dict(config.get("slow_pathway") or SLOW_PATHWAY)
        fast = dict(config.get("fast_pathway") or FAST_PATHWAY)
        if slow.get("lateral"):
            slow.update(speed_ratio=self.speed, channel_ratio=ratio)
        self.slow = _Pathway(build, slow)
        self.fast = _Pathway(build, fast)

    def __call__(self, x: Tensor) -> Maps:
        slow = self.slow.begin(_every(x, self.resample))
        fast = self.fast.begin(_every(x, self.resample // self.speed))
        slow = self._joined(slow, fast, 0)
        for index in range(len(self.slow.stages)):
            slow = self.slow.stage(index, slow)
            fast = self.fast.stage(index, fast)
            if index < len(self.slow.stages) - 1:
                slow = self._joined(slow, fast, index + 1)
        return [slow, fast]

    def _joined(self, slow: Tensor, fast: Tensor, index: int) -> Tensor:
        if not self.slow.lateral:
            return slow
        return ops.concatenate([slow, self.slow.lateral[index](fast)])


SLOW_PATHWAY: dict[str, Any] = {
    "depth": 50, "lateral": True, "conv1_kernel": (1, 7, 7), "inflate": (0, 0, 1, 1),
}  # fmt: skip
FAST_PATHWAY: dict[str, Any] = {"depth": 50, "lateral": False, "base_channels": 8, "conv1_kernel": (5, 7, 7)}


def _every(x: Tensor, rate: int) -> Tensor:
    """Every ``rate``-th frame (``interpolate``, nearest)."""
    return ops.resize(x, (max(1, x.shape[2] // rate), *x.shape[3:]))
