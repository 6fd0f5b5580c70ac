"""Hierarchical transformers with reduced keys: MiT and Twins.

Source: mmsegmentation 1.2.2 ``models/backbones/{mit,twins}.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import maybe_checkpoint
from vramlint.memory.layers.backbones.tokens import (
    GELU,
    LN,
    Attention,
    FeedForward,
    PatchEmbed,
    Size,
    as_map,
    joint_attention,
    rates,
    tokens,
)
from vramlint.memory.layers.bricks import activation, norm
from vramlint.memory.layers.nn import Conv, Linear
from vramlint.memory.layers.registry import Build, Config, Maps, UnknownType, backbone
from vramlint.memory.layers.tape import Tape, Tensor

Block = Callable[[Tensor, Size], Tensor]


class ReducedAttention(Attention):
    """EfficientMultiheadAttention: keys and values from a map reduced by a strided convolution."""

    def __init__(
        self, tape: Tape, channels: int, heads: int, ratio: int, norms: Config, *, bias: bool, drop: float,
        out_drop: float, path: float,
    ) -> None:  # fmt: skip
        super().__init__(tape, channels, heads, bias=bias, drop=drop, out_drop=out_drop, path=path)
        self.reduce = Conv(tape, channels, channels, ratio, ratio) if ratio > 1 else None
        self.norm = norm(tape, norms, channels) if ratio > 1 else None

    def over(self, x: Tensor, size: Size, identity: Tensor | None) -> Tensor:
        """Attention of the tokens to the reduced map, plus ``identity`` (None stands for the number 0)."""
        context = x
        if self.reduce is not None and self.norm is not None:
            context = self.norm(tokens(self.reduce(_contiguous_map(x, size))))
        out = self.attend(x, context, context)
        out = ops.drop_path(ops.dropout(out, self.out_drop), self.path)
        return ops.shifted(out) if identity is None else ops.add(identity, out)


def _contiguous_map(x: Tensor, size: Size) -> Tensor:
    """``nlc_to_nchw``: transposed and reshaped, then ``contiguous``."""
    return ops.copy(as_map(x, size))


class _MixFeedForward:
    """1x1, depthwise 3x3 and 1x1 convolutions with an activation between."""

    def __init__(self, tape: Tape, channels: int, width: int, *, act: Config, drop: float, path: float) -> None:
        self.first, self.last = Conv(tape, channels, width), Conv(tape, width, channels)
        self.middle = Conv(tape, width, width, 3, 1, 1, 1, width)
        self.act, self.drop, self.path = activation(act), drop, path

    def __call__(self, x: Tensor, size: Size, identity: Tensor) -> Tensor:
        out = self.first(_contiguous_map(x, size))
        out = ops.dropout(self.act(self.middle(out)), self.drop)
        out = ops.dropout(self.last(out), self.drop)
        out = ops.copy(tokens(out))
        return ops.add(identity, ops.drop_path(out, self.path))


class _MixBlock:
    def __init__(self, tape: Tape, channels: int, heads: int, ratio: int, config: Config, path: float) -> None:
        norms: Config = config.get("norm_cfg") or LN
        drop = float(config.get("drop_rate", 0.0))
        self.checkpointing = bool(config.get("with_cp", False))
        self.first = norm(tape, norms, channels)
        self.attention = ReducedAttention(
            tape, channels, heads, ratio, norms, bias=bool(config.get("qkv_bias", True)),
            drop=float(config.get("attn_drop_rate", 0.0)), out_drop=drop, path=path,
        )  # fmt: skip
        self.second = norm(tape, norms, channels)
        width = int(config.get("mlp_ratio", 4)) * channels
        self.ffn = _MixFeedForward(tape, channels, width, act=config.get("act_cfg") or GELU, drop=drop, path=path)

    def _inner(self, x: Tensor, size: Size) -> Tensor:
        x = self.attention.over(self.first(x), size, x)
        return self.ffn(self.second(x), size, x)

    def __call__(self, x: Tensor, size: Size) -> Tensor:
        return maybe_checkpoint(lambda inside: self._inner(inside, size), x, active=self.checkpointing)


@backbone("MixVisionTransformer")
class MixVisionTransformer:
    """MiT of SegFormer."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        norms: Config = config.get("norm_cfg") or LN
        layers, heads = config.get("num_layers", (3, 4, 6, 3)), config.get("num_heads", (1, 2, 4, 8))
        patches, strides = config.get("patch_sizes", (7, 3, 3, 3)), config.get("strides", (4, 2, 2, 2))
        ratios, width = config.get("sr_ratios", (8, 4, 2, 1)), int(config.get("embed_dims", 64))
        path = rates(float(config.get("drop_path_rate", 0.0)), sum(layers))
        self.out = tuple(config.get("out_indices", (0, 1, 2, 3)))
        self.stages = []
        inside, done = int(config.get("in_channels", 3)), 0
        for index, count in enumerate(layers):
            channels = width * int(heads[index])
            patch = int(patches[index])
            embed = PatchEmbed(tape, inside, channels, patch, int(strides[index]), patch // 2, norm_cfg=norms)
            blocks = [
                _MixBlock(tape, channels, int(heads[index]), int(ratios[index]), config, path[done + number])
                for number in range(count)
            ]
            self.stages.append((embed, blocks, norm(tape, norms, channels)))
            inside, done = channels, done + count

    def __call__(self, x: Tensor) -> Maps:
        outs: Maps = []
        for index, (embed, blocks, last) in enumerate(self.stages):
            x, size = embed(x)
            for block in blocks:
                x = block(x, size)
            x = _contiguous_map(last(x), size)
            if index in self.out:
                outs.append(x)
        return outs


class _GlobalBlock:
    """GSAEncoderLayer: reduced attention and feed-forward, each dropped twice."""

    def __init__(
        self, tape: Tape, channels: int, heads: int, ratio: int, width: int, config: Config, path: float
    ) -> None:
        drop = float(config.get("drop_rate", 0.0))
        self.path = path
        self.first = norm(tape, LN, channels)
        self.attention = ReducedAttention(
            tape, channels, heads, ratio, LN, bias=bool(config.get("qkv_bias", True)),
            drop=float(config.get("attn_drop_rate", 0.0)), out_drop=drop, path=path,
        )  # fmt: skip
        self.second = norm(tape, LN, channels)
        self.ffn = FeedForward(tape, channels, width, drop=drop, path=path)

    def __call__(self, x: Tensor, size: Size) -> Tensor:
        x = ops.add(x, ops.drop_path(self.attention.over(self.first(x), size, None), self.path))
        return ops.add(x, ops.drop_path(self.ffn(self.second(x)), self.path))


class _LocalBlock:
    """LSAEncoderLayer: attention inside windows."""

    def __init__(
        self, tape: Tape, channels: int, heads: int, window: int, width: int, config: Config, path: float
    ) -> None:
        self.tape, self.heads, self.window, self.path = tape, heads, window, path
        self.drop, self.out_drop = float(config.get("attn_drop_rate", 0.0)), float(config.get("drop_rate", 0.0))
        self.first = norm(tape, LN, channels)
        self.joint = Linear(tape, channels, 3 * channels, bias=bool(config.get("qkv_bias", True)))
        self.out = Linear(tape, channels, channels)
        self.second = norm(tape, LN, channels)
        self.ffn = FeedForward(tape, channels, width, drop=self.out_drop, path=path)

    def __call__(self, x: Tensor, size: Size) -> Tensor:
        x = ops.add(x, ops.drop_path(self._attended(self.first(x), size), self.path))
        return ops.add(x, ops.drop_path(self.ffn(self.second(x)), self.path))

    def _attended(self, x: Tensor, size: Size) -> Tensor:
        batch, length, channels = x.shape
        window = self.window
        right, below = -size[1] % window, -size[0] % window
        height, width = size[0] + below, size[1] + right
        x = ops.pad(x.view(batch, *size, channels), 0, 0, 0, right, 0, below)
        count, area = height * width // window**2, window**2
        mask = self.tape.new(1, count, area, area)
        windows = x.view(batch * count, area, channels)
        if height != window or width != window:
            windows = ops.copy(windows)
        found = joint_attention(windows, self.joint, self.heads, drop=self.drop, mask=mask.view(1, 1, area, area))
        found = ops.copy(found, (batch, height, width, channels))
        if right or below:
            found = ops.copy(ops.select(found, (batch, *size, channels)))
        return ops.dropout(self.out(found.view(batch, length, channels)), self.out_drop)


class _Positions:
    """ConditionalPositionEncoding: a depthwise convolution added to the map."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.conv = Conv(tape, channels, channels, 3, 1, 1, 1, channels)

    def __call__(self, x: Tensor, size: Size) -> Tensor:
        feat = as_map(x, size)
        return tokens(ops.add(self.conv(feat), feat))


@backbone("PCPVT")
class PCPVT:
    """Twins-PCPVT: global attention with reduced keys in every block."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        if "arch" in config:
            raise UnknownType("Twins of mmpretrain, by the name of arch")
        norms: Config = config.get("norm_cfg") or LN
        widths = [int(each) for each in config.get("embed_dims", (64, 128, 256, 512))]
        depths = [int(each) for each in config.get("depths", (3, 4, 6, 3))]
        patches, strides = config.get("patch_sizes", (4, 2, 2, 2)), config.get("strides", (4, 2, 2, 2))
        path = rates(float(config.get("drop_path_rate", 0.0)), sum(depths))
        self.out, self.drop = tuple(config.get("out_indices", (0, 1, 2, 3))), float(config.get("drop_rate", 0.0))
        sources = [int(config.get("in_channels", 3)), *widths[:-1]]
        self.embeds = [
            PatchEmbed(tape, source, width, int(patch), int(stride), norm_cfg=norms)
            for source, width, patch, stride in zip(sources, widths, patches, strides, strict=True)
        ]
        self.positions = [_Positions(tape, width) for width in widths]
        self.stages: list[list[Block]] = []
        done = 0
        for stage, depth in enumerate(depths):
            self.stages.append(
                [self._block(tape, config, widths, stage, number, path[done + number]) for number in range(depth)]
            )
            done += depth
        after = config.get("norm_after_stage", self.norms_each_stage)
        self.norms = [norm(tape, norms, width) for width in widths] if after else []

    norms_each_stage = False

    def _block(self, tape: Tape, config: Config, widths: list[int], stage: int, number: int, path: float) -> Block:
        del number
        channels = widths[stage]
        width = int(config.get("mlp_ratios", (4,) * 4)[stage]) * channels
        heads = int(config.get("num_heads", (1, 2, 4, 8))[stage])
        ratio = int(config.get("sr_ratios", (8, 4, 2, 1))[stage])
        options = {"qkv_bias": False, **config}
        return _GlobalBlock(tape, channels, heads, ratio, width, options, path)

    def __call__(self, x: Tensor) -> Maps:
        outs: Maps = []
        for index, (embed, position, blocks) in enumerate(zip(self.embeds, self.positions, self.stages, strict=True)):
            x, size = embed(x)
            x = ops.dropout(x, self.drop)
            for number, block in enumerate(blocks):
                x = block(x, size)
                if number == 0:
                    x = position(x, size)
            if self.norms:
                x = self.norms[index](x)
            x = ops.copy(x, (x.shape[0], x.shape[2], *size))
            if index in self.out:
                outs.append(x)
        return outs


@backbone("SVT")
class SVT(PCPVT):
    """Twins-SVT: every second block looks inside windows."""

    norms_each_stage = True

    def _block(self, tape: Tape, config: Config, widths: list[int], stage: int, number: int, path: float) -> Block:
        windows = config.get("windiow_sizes", config.get("window_sizes", (7, 7, 7, 7)))
        if number % 2:
            return super()._block(tape, {**config, "qkv_bias": True}, widths, stage, number, path)
        channels = widths[stage]
        width = int(config.get("mlp_ratios", (4,) * 4)[stage]) * channels
        heads = int(config.get("num_heads", (1, 2, 4))[stage])
        return _LocalBlock(tape, channels, heads, int(windows[stage]), width, {**config, "qkv_bias": True}, path)
