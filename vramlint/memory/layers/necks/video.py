"""Necks over clips. Source: mmaction2 1.2.0 ``models/necks/tpn.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.nn import Linear
from vramlint.memory.layers.registry import Build, Config, Maps, neck
from vramlint.memory.layers.tape import Tape, Tensor

CONV3D: Config = {"type": "Conv3d"}
BN3D: Config = {"type": "BN3d", "requires_grad": True}


def _module(
    tape: Tape, inside: int, channels: int, kernel: Any, stride: Any = 1, padding: Any = 0, **extra: Any
) -> Any:
    return ConvModule(tape, inside, channels, kernel, stride, padding, conv_cfg=CONV3D, dims=3, bias=False, **extra)


class _Fusion:
    """LevelFusion: levels pooled to one size, reduced, joined."""

    def __init__(self, tape: Tape, config: Config) -> None:
        middle = list(config["mid_channels"])
        self.scales = [tuple(each) for each in config["downsample_scales"]]
        self.reduce = [
            _module(tape, inside, channels, 1, groups=32, norm_cfg=BN3D, act_cfg=RELU)
            for inside, channels in zip(config["in_channels"], middle, strict=True)
        ]
        self.fuse = _module(tape, sum(middle), int(config["out_channels"]), 1, norm_cfg=BN3D, act_cfg=RELU)

    def __call__(self, maps: Sequence[Tensor]) -> Tensor:
        parts = [
            reduce(ops.max_pool(x, scale, scale, ceil=True))
            for x, scale, reduce in zip(maps, self.scales, self.reduce, strict=True)
        ]
        joined = ops.concatenate(parts)
        del parts
        found: Tensor = self.fuse(joined)
        return found


@neck("TPN")
class TemporalPyramid:
    """Stages brought to one width and to several rates, fused top-down and bottom-up."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = list(config["in_channels"]), int(config["out_channels"])
        widest = int((config.get("spatial_modulation_cfg") or {"out_channels": inside[-1]})["out_channels"])
        self.spatial = [self._spatial(width, widest) for width in inside]
        scales = config["temporal_modulation_cfg"]["downsample_scales"]
        self.temporal = [
            (_module(tape, inside[-1], channels, (3, 1, 1), 1, (1, 0, 0), groups=32), (int(scale), 1, 1))
            for scale in scales
        ]
        up, down = config.get("upsample_cfg"), config.get("downsample_cfg")
        self.up = up is not None
        self.parallel = config.get("flow_type") == "parallel"
        self.fusions = _Fusion(tape, config["level_fusion_cfg"]), _Fusion(tape, config["level_fusion_cfg"])
        self.down = [
            (_module(tape, channels, channels, (3, 1, 1), 1, (1, 0, 0)), tuple(down["downsample_scale"]))
            for _ in inside[1:]
            if down is not None
        ]
        out = int(config["level_fusion_cfg"]["out_channels"])
        self.join = _module(tape, 2 * out, 2048, 1, norm_cfg=BN3D)
        aux = config.get("aux_head_cfg")
        self.aux = None
        if aux is not None:
            width = inside[-2]
            conv = _module(tape, width, 2 * width, (1, 3, 3), (1, 2, 2), (0, 1, 1), norm_cfg=BN3D, act_cfg=RELU)
            self.aux = conv, Linear(tape, 2 * width, int(aux["out_channels"]))

    def _spatial(self, width: int, widest: int) -> list[Any]:
        steps = int(log2(widest // width))
        return [
            _module(
                self.tape, width * 2**i, width * 2 ** (i + 1), (1, 3, 3), (1, 2, 2), (0, 1, 1), norm_cfg=BN3D,
                act_cfg=RELU,
            )
            for i in range(steps)
        ]  # fmt: skip

    def __call__(self, maps: Maps) -> Maps:
        levels: Maps = []
        for x, layers, (conv, scale) in zip(maps, self.spatial, self.temporal, strict=True):
            for layer in layers:
                x = layer(x)
            levels.append(ops.max_pool(conv(x), scale, scale, ceil=True))
        outs = [ops.copy(x) for x in levels]
        if self.up:
            for i in range(len(outs) - 1, 0, -1):
                outs[i - 1] = ops.add(outs[i - 1], ops.resize(outs[i], outs[i - 1].shape[2:]))
        above = self.fusions[0](outs)
        if self.parallel:
            outs = [ops.copy(x) for x in levels]
        for i, (conv, scale) in enumerate(self.down):
            outs[i + 1] = ops.add(outs[i + 1], ops.max_pool(conv(outs[i]), scale, scale, ceil=True))
        below = self.fusions[1](outs)
        return [self.join(ops.concatenate([above, below]))]

    def losses(self, maps: Maps) -> list[Tensor]:
        """The auxiliary head's loss over the last but one stage."""
        if self.aux is None:
            return []
        conv, classify = self.aux
        x = ops.adaptive_avg_pool(conv(maps[-2]), 1)
        rows = ops.dropout(x.view(x.shape[0], x.shape[1]), 0.5)
        scores = classify(rows)
        return [ops.cross_entropy(scores, self.tape.new(scores.shape[0], itemsize=8), reduced=True)]
