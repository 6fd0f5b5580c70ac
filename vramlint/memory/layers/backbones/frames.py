"""Networks over single frames that exchange something in time: TSM, TIN, TANet.

Source: mmaction2 1.2.0 and 0.24.1 ``models/backbones`` (resnet, resnet_tsm, resnet_tin, tanet, mobilenet_v2_tsm) and
``common/tam.py``. Images are (batch x segments, channels, height, width).
"""

from __future__ import annotations

from collections.abc import Callable

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import DEPTHS
from vramlint.memory.layers.backbones.video import spread
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, Linear
from vramlint.memory.layers.nonlocal_blocks import NonLocal
from vramlint.memory.layers.registry import Backbone, Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor

BN: Config = {"type": "BN2d"}
Exchange = Callable[[Tensor], Tensor]


def shift(x: Tensor, segments: int, divisor: int = 8) -> Tensor:
    """TSM: an eighth of the channels comes from the next frame, an eighth from the one before; all are copied."""
    batch = x.shape[0] // segments
    channels, places = x.shape[1], x.shape[2] * x.shape[3]
    fold = channels // divisor
    part = (batch, segments, fold, places)
    rows = x.view(batch, segments, channels, places)
    pieces: list[Tensor] = []
    for _ in range(2):
        taken = ops.select(rows, part)
        blank = ops.select(ops.add(taken, taken), (batch, 1, fold, places))
        moved = ops.select(taken, (batch, segments - 1, fold, places))
        pieces.append(ops.concatenate([moved, blank], axis=1))
    pieces.append(ops.select(rows, (batch, segments, channels - 2 * fold, places)))
    return ops.concatenate(pieces, axis=2).view(*x.shape)


class _FrameBlock:
    def __init__(
        self, layers: list[Layer], shortcut: Layer | None, before: Exchange | None, between: Exchange | None
    ) -> None:
        self.layers, self.shortcut, self.before, self.between = layers, shortcut, before, between
        self.attention: Callable[[Tensor], Tensor] | None = None

    def inner(self, x: Tensor) -> Tensor:
        out = x if self.before is None else self.before(x)
        out = self.layers[0](out)
        out = out if self.between is None else self.between(out)
        for layer in self.layers[1:]:
            out = layer(out)
        return ops.add(out, x if self.shortcut is None else self.shortcut(x))

    def run(self, x: Tensor, *, checkpointing: bool) -> Tensor:
        inside = x.storage.tape.checkpoint(self.inner, x) if checkpointing and x.node is not None else self.inner(x)
        found = ops.relu(inside, inplace=True)
        return found if self.attention is None else self.attention(found)


class FrameResNet:
    """mmaction2's ResNet, with an exchange in front of a block's first convolution or after it."""

    def __init__(self, build: Build, config: Config, exchange: str = "") -> None:
        tape = self.tape = build.tape
        depth, count = int(config["depth"]), int(config.get("num_stages", 4))
        self.checkpointing = bool(config.get("with_cp", False))
        self.out = tuple(spread(config.get("out_indices", (3,)), 1))
        self.wide, self.style = depth >= 50, str(config.get("style", "pytorch"))
        norm_cfg = self.norm_cfg = dict(config.get("norm_cfg") or BN)
        frozen = int(config.get("frozen_stages", -1))
        if config.get("partial_bn"):
            norm_cfg["requires_grad"] = False
        self.segments, self.divisor = int(config.get("num_segments", 8)), int(config.get("shift_div", 8))
        self.place = str(config.get("shift_place", "blockres"))
        self.exchange = exchange
        self.pools = bool(config.get("temporal_pool", False))
        with tape.frozen(active=frozen >= 0):
            # The first norm is trained even with ``partial_bn``.
            self.stem = ConvModule(
                tape,
                int(config.get("in_channels", 3)),
                64,
                7,
                2,
                3,
                norm_cfg=config.get("norm_cfg") or BN,
                act_cfg=RELU,
            )
        strides, dilations = config.get("strides", (1, 2, 2, 2)), config.get("dilations", (1, 1, 1, 1))
        attended = spread(config.get("non_local", 0), count)
        inside = 64
        self.stages: list[list[_FrameBlock]] = []
        for index, blocks in enumerate(DEPTHS[depth][:count]):
            if index == 1 and self.pools:
                self.segments //= 2
            with tape.frozen(active=index < frozen):
                stage: list[_FrameBlock] = []
                every = 2 if DEPTHS[depth][2] >= 23 and exchange == "tsm" else 1
                for number in range(blocks):
                    stride = int(strides[index]) if number == 0 else 1
                    stage.append(
                        self._block(inside, 64 * 2**index, stride, int(dilations[index]), moved=number % every == 0)
                    )
                    inside = 64 * 2**index * (4 if self.wide else 1)
            for block, wanted in zip(stage, spread(attended[index], blocks), strict=True):
                if wanted and config.get("non_local_cfg"):
                    block.attention = self._attention(inside, config["non_local_cfg"])
            self.stages.append(stage)

    def _block(self, inside: int, planes: int, stride: int, dilation: int, *, moved: bool) -> _FrameBlock:
        tape, norm_cfg = self.tape, self.norm_cfg

        def module(a: int, b: int, kernel: int, s: int = 1, d: int = 1, *, act: bool = True) -> ConvModule:
            return ConvModule(
                tape, a, b, kernel, s, d if kernel == 3 else 0, d, norm_cfg=norm_cfg, act_cfg=RELU if act else None
            )

        outside = planes * (4 if self.wide else 1)
        if self.wide:
            early, late = (1, stride) if self.style == "pytorch" else (stride, 1)
            layers: list[Layer] = [
                module(inside, planes, 1, early), module(planes, planes, 3, late, dilation),
                module(planes, outside, 1, act=False),
            ]  # fmt: skip
        else:
            layers = [module(inside, planes, 3, stride, dilation), module(planes, planes, 3, act=False)]
        strided = stride != 1 or inside != outside
        shortcut = module(inside, outside, 1, stride, act=False) if strided else None
        before = between = None
        if self.exchange == "tsm" and moved:
            segments, divisor = self.segments, self.divisor
            before = lambda x: shift(x, segments, divisor)  # noqa: E731 - one of three ways to exchange
        elif self.exchange == "tin":
            before = Interlace(tape, inside, self.segments, self.divisor)
        elif self.exchange == "tam":
            between = AdaptiveModule(tape, planes, self.segments)
        return _FrameBlock(layers, shortcut, before, between)

    def _attention(self, channels: int, config: Config) -> Callable[[Tensor], Tensor]:
        block, segments = NonLocal(self.tape, channels, config, dims=3), self.segments

        def run(x: Tensor) -> Tensor:
            count, width, height, side = x.shape
            clip = ops.copy(x, (count // segments, width, segments, height, side))
            return ops.copy(block(clip), x.shape)

        return run

    def __call__(self, x: Tensor) -> Maps:
        x = ops.max_pool(self.stem(x), 3, 2, 1)
        outs: Maps = []
        for index, stage in enumerate(self.stages):
            if index == 1 and self.pools:
                x = _halved(x, 2 * self.segments)
            for block in stage:
                x = block.run(x, checkpointing=self.checkpointing)
            if index in self.out:
                outs.append(x)
        return outs


def _halved(x: Tensor, segments: int) -> Tensor:
    """``TemporalPool``: the maximum of three frames at every second one."""
    count, channels, height, width = x.shape
    clip = x.view(count // segments, channels, segments, height, width)
    pooled = ops.max_pool(clip, (3, 1, 1), (2, 1, 1), (1, 0, 0))
    return ops.copy(pooled, (count // 2, channels, height, width))


class Interlace:
    """TIN: channels interpolated between frames at learnt offsets, weighted, written into a fresh map."""

    def __init__(self, tape: Tape, channels: int, segments: int, divisor: int) -> None:
        self.tape, self.segments, self.folds = tape, segments, channels // divisor
        self.offset = Conv(tape, self.folds, 1, 3, padding=1, dims=1)
        self.first, self.second = Linear(tape, segments, segments), Linear(tape, segments, 2)
        self.weight = Conv(tape, self.folds, 2, 3, padding=1, dims=1)

    def __call__(self, x: Tensor) -> Tensor:
        tape, folds = self.tape, self.folds
        count, channels, height, width = x.shape
        batch = count // self.segments
        fresh = tape.new(*x.shape)
        part = (batch, self.segments, folds, height, width)
        descriptor = ops.select(x, (count, folds, height, width)).view(*part)
        pooled = ops.mean(ops.mean(descriptor, (*part[:3], width)), part[:3])
        pooled = ops.copy(pooled, (batch, folds, self.segments))
        offset = self.offset(pooled).view(batch, self.segments)
        ops.sigmoid(self.second(ops.relu(self.first(offset))))
        weight = ops.sigmoid(self.weight(pooled))
        data = ops.copy(descriptor, part)
        # Two shifted copies, each times its weight, and their sum: the products keep the copies.
        moved = [tape.record(part, x.itemsize, (data,), (data.bytes,)) for _ in range(2)]
        moved = [tape.record(part, x.itemsize, (each,), (each.bytes,), (each,)) for each in moved]
        found = ops.add(moved[0], moved[1])
        del moved, data
        found = tape.record(part, x.itemsize, (found, weight), (found.bytes, weight.bytes), (found,))
        found = tape.record(x.shape, x.itemsize, (found,), (found.bytes,), inplace=fresh)
        if channels > folds:
            rest = ops.select(x, (count, channels - folds, height, width))
            found = tape.record(x.shape, x.itemsize, (found, rest), (found.bytes, rest.bytes), inplace=found)
        return found


class AdaptiveModule:
    """TAM: a kernel in time and an activation, both predicted from the frames' averages."""

    def __init__(self, tape: Tape, channels: int, segments: int) -> None:
        self.tape, self.segments = tape, segments
        self.expand, self.contract = (
            Linear(tape, segments, 2 * segments, bias=False),
            Linear(tape, 2 * segments, 3, bias=False),
        )
        self.norm = BatchNorm(tape, 2 * segments)
        self.squeeze = Conv(tape, channels, channels // 4, 3, padding=1, bias=False, dims=1)
        self.squeeze_norm = BatchNorm(tape, channels // 4)
        self.excite = Conv(tape, channels // 4, channels, bias=False, dims=1)

    def __call__(self, x: Tensor) -> Tensor:
        tape, segments = self.tape, self.segments
        count, channels, height, width = x.shape
        batch = count // segments
        shape = (batch, channels, segments, height, width)
        x = ops.copy(x, shape)
        theta = ops.mean(x, (batch * channels, segments))
        kernel = ops.softmax(self.contract(ops.relu(self.norm(self.expand(theta)), inplace=True)))
        local = self.squeeze_norm(self.squeeze(theta.view(batch, channels, segments)))
        local = ops.sigmoid(self.excite(ops.relu(local, inplace=True)))
        x = ops.mul(x, local.view(batch, channels, segments, 1, 1))
        y = tape.record(shape, x.itemsize, (x, kernel), (x.bytes, kernel.bytes), (x, kernel))
        return ops.copy(y, (count, channels, height, width))


@backbone("mmaction.ResNet")
def frame_resnet(build: Build, config: Config) -> Backbone:
    """Frames on their own (TSN, TRN)."""
    return FrameResNet(build, config)


@backbone("ResNetTSM")
def shifted_resnet(build: Build, config: Config) -> Backbone:
    """Channels shifted between frames."""
    return FrameResNet(build, config, "tsm" if config.get("is_shift", True) else "")


@backbone("ResNetTIN")
def interlaced_resnet(build: Build, config: Config) -> Backbone:
    """Channels interpolated between frames."""
    return FrameResNet(build, {**config, "shift_div": config.get("shift_div", 4)}, "tin")


@backbone("TANet")
def adaptive_resnet(build: Build, config: Config) -> Backbone:
    """Adaptive kernels in time."""
    return FrameResNet(build, config, "tam")
