"""Swin Transformer. Source: mmsegmentation 1.2.2 and mmdet 3.3.0 ``models/backbones/swin.py``."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import maybe_checkpoint
from vramlint.memory.layers.backbones.tokens import (
    GELU,
    LN,
    FeedForward,
    PatchEmbed,
    PatchMerging,
    Size,
    joint_attention,
    rates,
)
from vramlint.memory.layers.bricks import norm
from vramlint.memory.layers.nn import Linear
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor


class _WindowAttention:
    """Attention inside windows, shifted by half a window in every second block."""

    def __init__(self, tape: Tape, channels: int, heads: int, window: int, config: Config, *, shifted: bool) -> None:
        self.tape, self.heads, self.window, self.shifted = tape, heads, window, shifted
        self.drop, self.out_drop = float(config.get("attn_drop_rate", 0.0)), float(config.get("drop_rate", 0.0))
        self.table = tape.parameter((2 * window - 1) ** 2 * heads)
        self.joint = Linear(tape, channels, 3 * channels, bias=bool(config.get("qkv_bias", True)))
        self.out = Linear(tape, channels, channels)
        tape.buffer_bytes += 8 * window**4

    def __call__(self, x: Tensor, size: Size) -> Tensor:
        batch, _, channels = x.shape
        window = self.window
        right, below = -size[1] % window, -size[0] % window
        height, width = size[0] + below, size[1] + right
        x = x.view(batch, *size, channels)
        x = ops.pad(x, 0, 0, 0, right, 0, below)
        count = height * width // window**2
        mask = None
        if self.shifted:
            moved = ops.copy(x)
            mask = self.tape.new(count, window**2, window**2)
        else:
            moved = x
        windows = ops.copy(moved, (batch * count, window**2, channels))
        found = self._inside(windows, mask)
        found = ops.copy(found, (batch, height, width, channels))
        if self.shifted:
            found = ops.copy(found)
        if right or below:
            found = ops.copy(ops.select(found, (batch, *size, channels)))
        return found.view(batch, size[0] * size[1], channels)

    def _inside(self, x: Tensor, mask: Tensor | None) -> Tensor:
        area = self.window**2
        positions = self.tape.record(
            (area * area, self.heads), 4, (self.table,), (4 * self.table.elements,), extra_saved_bytes=8 * area * area
        )
        bias = ops.copy(positions, (self.heads, area, area))
        spread = None if mask is None else _Repeated(mask, x.shape[0], self.heads)
        found = joint_attention(
            x, self.joint, self.heads, drop=self.drop, bias=bias, mask=None if spread is None else spread.tensor
        )
        return ops.dropout(self.out(found), self.out_drop)


class _Repeated:
    """A mask of each window as it meets the scores of all images and heads: a broadcast view."""

    def __init__(self, mask: Tensor, windows: int, heads: int) -> None:
        self.tensor = mask.view(1, 1, *mask.shape[1:])
        del windows, heads


class _Block:
    def __init__(
        self, tape: Tape, channels: int, heads: int, width: int, config: Config, *, shifted: bool, path: float
    ) -> None:
        norms: Config = config.get("norm_cfg") or LN
        window = int(config.get("window_size", 7))
        self.checkpointing = bool(config.get("with_cp", False))
        self.path = path
        self.first = norm(tape, norms, channels)
        self.attention = _WindowAttention(tape, channels, heads, window, config, shifted=shifted)
        self.second = norm(tape, norms, channels)
        drop = float(config.get("drop_rate", 0.0))
        self.ffn = FeedForward(tape, channels, width, act=config.get("act_cfg") or GELU, drop=drop, path=path)

    def __call__(self, x: Tensor, size: Size) -> Tensor:
        return maybe_checkpoint(lambda inside: self._inner(inside, size), x, active=self.checkpointing)

    def _inner(self, x: Tensor, size: Size) -> Tensor:
        identity = x
        x = self.first(x)
        x = ops.drop_path(self.attention(x, size), self.path)
        x = ops.add(x, identity)
        identity = x
        x = self.second(x)
        return self.ffn(x, identity)


@backbone("SwinTransformer")
class SwinTransformer:
    """Four stages of windowed attention."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        if "arch" in config:  # in ``mmpretrain`` and ``mmcls``, whose builder is another
            raise KeyError("arch")
        norms: Config = config.get("norm_cfg") or LN
        channels = int(config.get("embed_dims", 96))
        depths, heads = config.get("depths", (2, 2, 6, 2)), config.get("num_heads", (3, 6, 12, 24))
        strides, ratio = config.get("strides", (4, 2, 2, 2)), float(config.get("mlp_ratio", 4))
        frozen, patch = int(config.get("frozen_stages", -1)), int(config.get("patch_size", 4))
        path = rates(float(config.get("drop_path_rate", 0.1)), sum(depths))
        self.out = tuple(config.get("out_indices", (0, 1, 2, 3)))
        self.drop = float(config.get("drop_rate", 0.0))
        inner_norm = norms if config.get("patch_norm", True) else None
        with tape.frozen(active=frozen >= 0):
            self.embed = PatchEmbed(
                tape, int(config.get("in_channels", 3)), channels, patch, int(strides[0]), norm_cfg=inner_norm
            )
            if config.get("use_abs_pos_embed"):
                raise KeyError("use_abs_pos_embed")
        self.stages: list[tuple[list[_Block], PatchMerging | None]] = []
        self.norms = {}
        done = 0
        for index, (depth, head) in enumerate(zip(depths, heads, strict=True)):
            with tape.frozen(active=index < frozen):
                blocks = [
                    _Block(
                        tape, channels, int(head), int(ratio * channels), config, shifted=bool(number % 2),
                        path=path[done + number],
                    )
                    for number in range(depth)
                ]  # fmt: skip
                last = index == len(depths) - 1
                down = None if last else PatchMerging(tape, channels, 2 * channels, int(strides[index + 1]), inner_norm)
                self.stages.append((blocks, down))
                if index in self.out:
                    self.norms[index] = norm(tape, norms, channels)
            done += depth
            channels *= 1 if last else 2

    def __call__(self, x: Tensor) -> Maps:
        x, size = self.embed(x)
        x = ops.dropout(x, self.drop)
        outs: Maps = []
        for index, (blocks, down) in enumerate(self.stages):
            for block in blocks:
                x = block(x, size)
            out, out_size = x, size
            if down is not None:
                x, size = down(x, size)
            if index in self.norms:
                out = self.norms[index](out)
                outs.append(ops.copy(out, (out.shape[0], out.shape[2], *out_size)))
        return outs
