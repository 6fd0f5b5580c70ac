"""Pyramid vision transformers, first and second. Source: mmdet 3.3.0 ``models/backbones/pvt.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mit import ReducedAttention
from vramlint.memory.layers.backbones.tokens import GELU, LN, PatchEmbed, Size, as_map, rates, tokens
from vramlint.memory.layers.bricks import activation, norm
from vramlint.memory.layers.nn import Conv, as_input
from vramlint.memory.layers.registry import Backbone, Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Parameter, Tape, Tensor


class _FeedForward:
    """Two 1x1 convolutions, with ``use_conv_ffn`` a depthwise one between them."""

    def __init__(self, tape: Tape, channels: int, width: int, config: Config, path: float) -> None:
        self.first, self.last = Conv(tape, channels, width), Conv(tape, width, channels)
        self.middle = Conv(tape, width, width, 3, 1, 1, 1, width) if config.get("use_conv_ffn", False) else None
        self.act, self.path = activation(config.get("act_cfg") or GELU), path
        self.drop = float(config.get("drop_rate", 0.0))

    def __call__(self, x: Tensor, size: Size, identity: Tensor) -> Tensor:
        out = self.first(ops.copy(as_map(x, size)))
        out = out if self.middle is None else self.middle(out)
        out = ops.dropout(self.act(out), self.drop)
        out = ops.copy(tokens(ops.dropout(self.last(out), self.drop)))
        return ops.add(identity, ops.drop_path(out, self.path))


class _Block:
    def __init__(
        self, tape: Tape, channels: int, heads: int, ratio: int, width: int, config: Config, path: float
    ) -> None:
        norms: Config = config.get("norm_cfg") or LN
        self.first, self.second = norm(tape, norms, channels), norm(tape, norms, channels)
        self.attention = ReducedAttention(
            tape, channels, heads, ratio, norms, bias=bool(config.get("qkv_bias", True)),
            drop=float(config.get("attn_drop_rate", 0.0)), out_drop=float(config.get("drop_rate", 0.0)), path=path,
        )  # fmt: skip
        self.ffn = _FeedForward(tape, channels, width, config, path)

    def __call__(self, x: Tensor, size: Size) -> Tensor:
        x = self.attention.over(self.first(x), size, x)
        return self.ffn(self.second(x), size, x)


class Pyramid:
    """Four stages of patch embedding, perhaps learnt positions resized to the map, and blocks."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        norms: Config = config.get("norm_cfg") or LN
        layers, heads = config.get("num_layers", (3, 4, 6, 3)), config.get("num_heads", (1, 2, 5, 8))
        patches, strides = config.get("patch_sizes", (4, 2, 2, 2)), config.get("strides", (4, 2, 2, 2))
        paddings, ratios = config.get("paddings", (0, 0, 0, 0)), config.get("sr_ratios", (8, 4, 2, 1))
        widths, base = config.get("mlp_ratios", (8, 8, 4, 4)), int(config.get("embed_dims", 64))
        path = rates(float(config.get("drop_path_rate", 0.1)), sum(layers))
        self.out = tuple(config.get("out_indices", (0, 1, 2, 3)))
        self.stages: list[tuple[PatchEmbed, tuple[Parameter, int, int] | None, list[_Block], Any]] = []
        inside, done, side = int(config.get("in_channels", 3)), 0, int(config.get("pretrain_img_size", 224))
        for index, count in enumerate(layers):
            channels, patch = base * int(heads[index]), int(patches[index])
            embed = PatchEmbed(tape, inside, channels, patch, int(strides[index]), int(paddings[index]), norm_cfg=norms)
            side //= patch
            place = None
            if config.get("use_abs_pos_embed", True):
                place = (tape.parameter(side * side * channels), side, channels)
            blocks = [
                _Block(
                    tape, channels, int(heads[index]), int(ratios[index]), int(widths[index]) * channels, config,
                    path[done + number],
                )
                for number in range(count)
            ]  # fmt: skip
            last = norm(tape, norms, channels) if config.get("norm_after_stage", False) else None
            self.stages.append((embed, place, blocks, last))
            inside, done = channels, done + count

    def __call__(self, x: Tensor) -> Maps:
        outs: Maps = []
        for index, (embed, place, blocks, last) in enumerate(self.stages):
            x, size = embed(x)
            if place is not None:
                learnt, side, channels = place
                grid = as_input(learnt, (1, channels, side, side), self.tape)
                x = ops.add(x, ops.copy(tokens(ops.resize(ops.copy(grid), size))))
            for block in blocks:
                x = block(x, size)
            x = x if last is None else last(x)
            x = ops.copy(as_map(x, size))
            if index in self.out:
                outs.append(x)
        return outs


@backbone("PyramidVisionTransformer")
def pvt(build: Build, config: Config) -> Backbone:
    """Learnt positions, wide feed-forward layers."""
    return Pyramid(build, config)


@backbone("PyramidVisionTransformerV2")
def pvt_v2(build: Build, config: Config) -> Backbone:
    """Overlapping patches, a convolution in the feed-forward layers, no positions."""
    second: dict[str, Any] = {
        "patch_sizes": (7, 3, 3, 3), "paddings": (3, 1, 1, 1), "use_abs_pos_embed": False, "norm_after_stage": True,
        "use_conv_ffn": True,
    }  # fmt: skip
    return Pyramid(build, {**second, **config})
