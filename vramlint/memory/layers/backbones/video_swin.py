"""Video Swin: attention inside windows of frames and places. Source: mmaction2 1.2.0 ``models/backbones/swin.py``."""

from __future__ import annotations

from math import prod

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import maybe_checkpoint
from vramlint.memory.layers.backbones.swin import _Repeated
from vramlint.memory.layers.backbones.tokens import joint_attention, rates
from vramlint.memory.layers.nn import Conv, LayerNorm, Linear
from vramlint.memory.layers.registry import Build, Config, Maps, UnknownType, backbone
from vramlint.memory.layers.tape import Tape, Tensor

_ARCHITECTURES = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
Window = tuple[int, int, int]


class _Block:
    def __init__(
        self, tape: Tape, channels: int, heads: int, config: Config, *, window: Window, shifted: bool, path: float
    ) -> None:
        self.tape, self.heads, self.path, self.window, self.shifted = tape, heads, path, window, shifted
        self.drop, self.out_drop = float(config.get("attn_drop_rate", 0.0)), float(config.get("drop_rate", 0.0))
        self.checkpointing = bool(config.get("with_cp", False))
        self.first, self.second = LayerNorm(tape, channels), LayerNorm(tape, channels)
        self.table = tape.parameter(prod(2 * side - 1 for side in window) * heads)
        self.joint = Linear(tape, channels, 3 * channels, bias=bool(config.get("qkv_bias", True)))
        self.out = Linear(tape, channels, channels)
        width = int(float(config.get("mlp_ratio", 4.0)) * channels)
        self.wide, self.narrow = Linear(tape, channels, width), Linear(tape, width, channels)
        tape.buffer_bytes += 8 * prod(window) ** 2

    def _attended(self, x: Tensor) -> Tensor:
        batch, *sides, channels = x.shape
        window = [min(side, wanted) for side, wanted in zip(sides, self.window, strict=True)]
        shifts = [side > wanted for side, wanted in zip(sides, self.window, strict=True)]
        moves = self.shifted and any(shifts)
        x = self.first(x)
        extra = [-side % each for side, each in zip(sides, window, strict=True)]
        x = ops.pad(x, 0, 0, 0, extra[2], 0, extra[1], 0, extra[0])
        padded = x.shape
        if moves:
            x = ops.copy(x)
        area, count = prod(window), prod(padded[1:4]) // prod(window)
        x = ops.copy(x, (batch * count, area, channels))
        x = self._inside(x, area, count if moves else 0)
        x = ops.copy(x, padded)
        if moves:
            x = ops.copy(x)
        return ops.copy(ops.select(x, (batch, *sides, channels))) if any(extra) else x

    def _inside(self, x: Tensor, area: int, masks: int) -> Tensor:
        positions = self.tape.record(
            (area * area, self.heads), 4, (self.table,), (4 * self.table.elements,), extra_saved_bytes=8 * area * area
        )
        bias = ops.copy(positions, (self.heads, area, area))
        mask = None if not masks else _Repeated(self.tape.new(masks, area, area), x.shape[0], self.heads).tensor
        found = joint_attention(x, self.joint, self.heads, drop=self.drop, bias=bias, mask=mask)
        return ops.dropout(self.out(found), self.out_drop)

    def _fed(self, x: Tensor) -> Tensor:
        inside = ops.dropout(ops.keeps_input(self.wide(self.second(x))), self.out_drop)
        return ops.drop_path(ops.dropout(self.narrow(inside), self.out_drop), self.path)

    def __call__(self, x: Tensor) -> Tensor:
        found = maybe_checkpoint(self._attended, x, active=self.checkpointing)
        x = ops.add(x, ops.drop_path(found, self.path))
        del found
        return ops.add(x, maybe_checkpoint(self._fed, x, active=self.checkpointing))


class _Merging:
    """Four neighbouring places joined, normed and reduced; frames stay."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.reduce, self.norm = Linear(tape, 4 * channels, 2 * channels, bias=False), LayerNorm(tape, 4 * channels)

    def __call__(self, x: Tensor) -> Tensor:
        batch, frames, height, width, channels = x.shape
        if height % 2 or width % 2:
            x = ops.pad(x, 0, 0, 0, width % 2, 0, height % 2)
            height, width = height + height % 2, width + width % 2
        part = (batch, frames, height // 2, width // 2, channels)
        joined = ops.concatenate([ops.select(x, part) for _ in range(4)], axis=4)
        return self.reduce(self.norm(joined))


@backbone("SwinTransformer3D")
class VideoSwin:
    """Four stages of windowed attention over a clip."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        arch = config.get("arch")
        names = {name[0]: name for name in _ARCHITECTURES}
        if isinstance(arch, str):
            channels, depths, heads = _ARCHITECTURES[names.get(arch, arch)]
        elif arch:
            channels, depths, heads = int(arch["embed_dims"]), tuple(arch["depths"]), tuple(arch["num_heads"])
        else:
            raise UnknownType("SwinTransformer3D without arch")
        patch = config.get("patch_size", (2, 4, 4))
        self.patch: Window = (patch, patch, patch) if isinstance(patch, int) else (patch[0], patch[1], patch[2])
        if int(config.get("frozen_stages", -1)) > 0 or config.get("out_after_downsample"):
            raise KeyError("frozen_stages")
        self.embed = Conv(tape, 3, channels, self.patch, self.patch, dims=3)
        self.embed_norm = LayerNorm(tape, channels) if config.get("patch_norm", True) else None
        self.drop = float(config.get("drop_rate", 0.0))
        size = config.get("window_size", (8, 7, 7))
        window: Window = (int(size[0]), int(size[1]), int(size[2]))
        path = rates(float(config.get("drop_path_rate", 0.1)), sum(depths))
        self.out = tuple(config.get("out_indices", (3,)))
        self.stages: list[tuple[list[_Block], _Merging | None]] = []
        self.norms: dict[int, LayerNorm] = {}
        done = 0
        for index, (depth, each) in enumerate(zip(depths, heads, strict=True)):
            blocks = [
                _Block(tape, channels, each, config, window=window, shifted=bool(number % 2), path=path[done + number])
                for number in range(depth)
            ]
            last = index == len(depths) - 1
            self.stages.append((blocks, None if last else _Merging(tape, channels)))
            if index in self.out:
                self.norms[index] = LayerNorm(tape, channels)
            done += depth
            channels *= 1 if last else 2

    def __call__(self, clips: Tensor) -> Maps:
        x = self.embed(clips)
        batch, channels, frames, height, width = x.shape
        x = x.view(batch, frames * height * width, channels)
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        x = ops.dropout(x.view(batch, frames, height, width, channels), self.drop)
        outs: Maps = []
        for index, (blocks, merge) in enumerate(self.stages):
            x = ops.copy(x)  # every layer makes its channels-first input contiguous
            for block in blocks:
                x = block(x)
            if index in self.norms:
                out = self.norms[index](x)
                outs.append(ops.copy(out, (batch, out.shape[4], *out.shape[1:4])))
            if merge is not None:
                x = merge(x)
        return outs
