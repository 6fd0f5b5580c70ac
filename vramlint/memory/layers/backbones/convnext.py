"""ConvNeXt. Source: mmpretrain 1.2.0 ``models/backbones/convnext.py``, which mmseg and mmdet configs import."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import maybe_checkpoint
from vramlint.memory.layers.backbones.tokens import rates
from vramlint.memory.layers.backbones.vit import gated
from vramlint.memory.layers.nn import Conv, LayerNorm, Linear
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor

ARCHS = {
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": ((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": ((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": ((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
    "xlarge": ((3, 3, 27, 3), (256, 512, 1024, 2048)),
    "huge": ((3, 3, 27, 3), (352, 704, 1408, 2816)),
}
"""Depths and channels."""


class _ChannelNorm:
    """LN2d over a map: a view with channels last, normed, and a contiguous copy back."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.norm = LayerNorm(tape, channels)

    def __call__(self, x: Tensor) -> Tensor:
        return ops.copy(self.norm(x.view(*x.shape[:1], *x.shape[2:], x.shape[1])), x.shape)


class _Block:
    """Depthwise 7x7, norm, two pointwise layers as linear ones, a scale, and a sum."""

    def __init__(self, tape: Tape, channels: int, config: Config, path: float) -> None:
        self.path = path
        self.checkpointing = bool(config.get("with_cp", False))
        self.linear = bool(config.get("linear_pw_conv", True))
        if config.get("use_grn"):
            raise KeyError("use_grn")
        self.depthwise = Conv(tape, channels, channels, 7, 1, 3, 1, channels)
        self.norm = LayerNorm(tape, channels)
        width = int(float(config.get("mlp_ratio", 4.0)) * channels)
        self.first, self.last = Linear(tape, channels, width), Linear(tape, width, channels)
        self.scale = tape.parameter(channels) if config.get("layer_scale_init_value", 1e-6) else None

    def _inner(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        found = self.depthwise(x)
        found = self.norm(found.view(batch, height, width, channels))
        if not self.linear:
            found = ops.copy(found)
        found = self.last(ops.keeps_input(self.first(found)))
        found = found.view(batch, channels, height, width)
        if self.scale is not None:
            found = gated(found, self.scale)
        return ops.add(x, ops.drop_path(found, self.path))

    def __call__(self, x: Tensor) -> Tensor:
        return maybe_checkpoint(self._inner, x, active=self.checkpointing)


@backbone("mmpretrain.ConvNeXt", "mmcls.ConvNeXt", "ConvNeXt")
class ConvNeXt:
    """Four stages, each after a norm and a strided convolution."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        arch = config.get("arch", "tiny")
        depths, widths = (arch["depths"], arch["channels"]) if isinstance(arch, dict) else ARCHS[str(arch)]
        frozen, patch = int(config.get("frozen_stages", 0)), int(config.get("stem_patch_size", 4))
        out = config.get("out_indices", -1)
        self.out = [out % len(depths)] if isinstance(out, int) else [each % len(depths) for each in out]
        path = rates(float(config.get("drop_path_rate", 0.0)), sum(depths))
        if config.get("gap_before_final_norm", True):
            raise KeyError("gap_before_final_norm")
        self.stages = []
        self.norms = {}
        inside, done = int(config.get("in_channels", 3)), 0
        for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            with tape.frozen(active=index < frozen):
                before = None if index == 0 else _ChannelNorm(tape, inside)
                kernel = patch if index == 0 else 2
                down = Conv(tape, inside, width, kernel, kernel)
                after = _ChannelNorm(tape, width) if index == 0 else None
                blocks = [_Block(tape, width, config, each) for each in path[done : done + depth]]
                self.stages.append((before, down, after, blocks))
                if index in self.out:
                    self.norms[index] = _ChannelNorm(tape, width)
            inside, done = width, done + depth

    def __call__(self, x: Tensor) -> Maps:
        outs: Maps = []
        for index, (before, down, after, blocks) in enumerate(self.stages):
            x = down(x if before is None else before(x))
            x = x if after is None else after(x)
            for block in blocks:
                x = block(x)
            if index in self.norms:
                outs.append(self.norms[index](x))
        return outs
