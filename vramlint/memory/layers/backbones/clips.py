"""Transformers over clips, and MobileNets of mmdet and mmaction2.

Source: mmaction2 1.2.0 ``models/backbones/{timesformer,mobilenet_v2_tsm}.py``, ``common/transformer.py``; mmdet 3.3.0
``models/backbones/mobilenet_v2.py``.
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import MultiheadAttention
from vramlint.memory.layers.backbones.frames import shift
from vramlint.memory.layers.backbones.mobilenet import InvertedResidual, MobileNetV2, divisible
from vramlint.memory.layers.backbones.tokens import rates
from vramlint.memory.layers.bricks import ConvModule
from vramlint.memory.layers.nn import Conv, LayerNorm, Linear, as_input
from vramlint.memory.layers.registry import Backbone, Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor


class _Layer:
    """Attention over frames, attention over places, feed-forward; each normed first."""

    def __init__(self, tape: Tape, width: int, heads: int, frames: int, path: float, kind: str) -> None:
        self.frames, self.path, self.kind = frames, path, kind
        divided = kind == "divided_space_time"
        self.in_time = (
            (LayerNorm(tape, width), MultiheadAttention(tape, width, heads), Linear(tape, width, width))
            if (divided)
            else None
        )
        self.in_space = LayerNorm(tape, width), MultiheadAttention(tape, width, heads)
        self.norm, self.first, self.second = (
            LayerNorm(tape, width),
            Linear(tape, width, 4 * width),
            Linear(tape, 4 * width, width),
        )

    def __call__(self, x: Tensor) -> Tensor:
        x = self._space(self._time(x))
        inside = ops.keeps_input(self.first(self.norm(x)))
        return ops.add(x, ops.drop_path(self.second(inside), self.path))

    def _time(self, x: Tensor) -> Tensor:
        if self.in_time is None:
            return x
        norm, attention, project = self.in_time
        batch, tokens, width = x.shape
        rest = ops.select(x, (batch, tokens - 1, width))
        places = (tokens - 1) // self.frames
        query = norm(ops.copy(rest, (batch * places, self.frames, width)))
        found = project(ops.drop_path(ops.copy(attention(query)), self.path)).view(*rest.shape)
        return ops.concatenate([ops.select(x, (batch, 1, width)), ops.add(rest, found)], axis=1)

    def _space(self, x: Tensor) -> Tensor:
        norm, attention = self.in_space
        batch, tokens, width = x.shape
        if self.kind != "divided_space_time":
            return ops.add(x, ops.drop_path(attention(norm(x)), self.path))
        places = (tokens - 1) // self.frames
        rest = ops.copy(ops.select(x, (batch, tokens - 1, width)), (batch * self.frames, places, width))
        first = ops.copy(ops.select(x, (batch, 1, width)), (batch * self.frames, 1, width))
        query = norm(ops.concatenate([first, rest], axis=1))
        del first, rest
        found = ops.drop_path(ops.copy(attention(query)), self.path)
        one = ops.mean(ops.select(found, (batch, self.frames, width)), (batch, 1, width))
        others = ops.copy(ops.select(found, (batch, self.frames * places, width)))
        return ops.add(x, ops.concatenate([one, others], axis=1))


@backbone("TimeSformer")
class TimeSformer:
    """Patches of every frame, a class token, learnt places and times."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        width, heads = int(config.get("embed_dims", 768)), int(config.get("num_heads", 12))
        self.width, self.patch, self.frames = width, int(config["patch_size"]), int(config["num_frames"])
        side = int(config["img_size"]) // self.patch
        self.kind = str(config.get("attention_type", "divided_space_time"))
        if config.get("transformer_layers") is not None:
            raise KeyError("transformer_layers")
        self.project = Conv(tape, int(config.get("in_channels", 3)), width, self.patch, self.patch)
        self.token, self.places = tape.parameter(width), tape.parameter((side * side + 1) * width)
        self.times = tape.parameter(self.frames * width) if self.kind != "space_only" else None
        self.norm = LayerNorm(tape, width)
        count = int(config.get("num_transformer_layers", 12))
        path = rates(0.1, count)
        self.layers = [_Layer(tape, width, heads, self.frames, path[i], self.kind) for i in range(count)]

    def __call__(self, x: Tensor) -> Maps:
        batch, channels, frames, height, side = x.shape
        images = ops.copy(x, (batch * frames, channels, height, side))
        maps = self.project(images)
        del images
        places = maps.size[0] * maps.size[1]
        rows = maps.view(batch * frames, places, self.width)
        token = as_input(self.token, (batch * frames, 1, self.width), self.tape)
        rows = ops.concatenate([token, rows], axis=1)
        rows = ops.add(rows, as_input(self.places, (1, places + 1, self.width), self.tape))
        if self.times is not None:
            first = ops.select(rows, (batch, 1, self.width))
            rest = ops.copy(
                ops.select(rows, (batch * frames, places, self.width)), (batch * places, frames, self.width)
            )
            rest = ops.add(rest, as_input(self.times, (1, frames, self.width), self.tape))
            rows = ops.concatenate([first, rest.view(batch, places * frames, self.width)], axis=1)
            del first, rest
        for layer in self.layers:
            rows = layer(rows)
        return [self.norm(rows)]


class _LastConv:
    """mmdet's and mmaction2's MobileNetV2 run a last convolution to 1280 channels."""

    def __init__(self, build: Build, config: Config) -> None:
        self.wanted = tuple(config.get("out_indices", (1, 2, 4, 7)))
        self.inside = MobileNetV2(build, {**config, "out_indices": (*self.wanted, 6)})
        widen = float(config.get("widen_factor", 1.0))
        norms: Config = config.get("norm_cfg") or {"type": "BN"}
        act: Config = config.get("act_cfg") or {"type": "ReLU6"}
        last = divisible(1280 * widen) if widen > 1 else 1280
        self.conv = ConvModule(build.tape, divisible(320 * widen), last, 1, norm_cfg=norms, act_cfg=act)

    def __call__(self, x: Tensor) -> Maps:
        maps = self.inside(x)
        found = self.conv(maps[-1])
        kept = maps if 6 in self.wanted else maps[:-1]
        return [*kept, found] if 7 in self.wanted else kept


@backbone("mmdet.MobileNetV2", "mmaction.MobileNetV2", "mmpose.MobileNetV2", "mmpretrain.MobileNetV2")
def mobilenet(build: Build, config: Config) -> Backbone:
    """With its last convolution."""
    return _LastConv(build, config)


@backbone("MobileNetV2TSM")
def shifted_mobilenet(build: Build, config: Config) -> Backbone:
    """Residual blocks shift channels between frames before they widen."""
    made = _LastConv(build, {**config, "out_indices": config.get("out_indices", (7,))})
    segments, divisor = int(config.get("num_segments", 8)), int(config.get("shift_div", 8))

    def moved(x: Tensor) -> Tensor:
        return shift(x, segments, divisor)

    for block in _residuals(made.inside):
        block.before = moved
    return made


def _residuals(network: MobileNetV2) -> list[Any]:
    return [block for block in network.blocks if isinstance(block, InvertedResidual) and block.shifts]
