"""mmpretrain's own backbones: its vision transformer, PoolFormer, Swin by the name of ``arch``.

Source: mmpretrain 1.2.0 ``models/backbones/{vision_transformer,poolformer,swin_transformer}.py``,
``models/utils/attention.py`` (MultiheadAttention by ``scaled_dot_product_attention``).
"""

from __future__ import annotations

from collections.abc import Mapping

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import attention
from vramlint.memory.layers.backbones.swin import SwinTransformer
from vramlint.memory.layers.backbones.tokens import FeedForward, rates
from vramlint.memory.layers.backbones.vit import gated, with_token
from vramlint.memory.layers.bricks import norm
from vramlint.memory.layers.functions import pair
from vramlint.memory.layers.nn import Conv, GroupNorm, LayerNorm, Linear, as_input
from vramlint.memory.layers.registry import Build, Config, Maps, UnknownType, backbone
from vramlint.memory.layers.tape import Tape, Tensor

_ARCHITECTURES: Mapping[str, tuple[int, int, int, int]] = {
    "small": (768, 8, 8, 2304), "s": (768, 8, 8, 2304), "base": (768, 12, 12, 3072), "b": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096), "l": (1024, 24, 16, 4096), "huge": (1280, 32, 16, 5120), "h": (1280, 32, 16, 5120),
    "deit-tiny": (192, 12, 3, 768), "deit-t": (192, 12, 3, 768), "deit-small": (384, 12, 6, 1536),
    "deit-s": (384, 12, 6, 1536), "dinov2-small": (384, 12, 6, 1536), "dinov2-s": (384, 12, 6, 1536),
    "deit-base": (768, 12, 12, 3072), "deit-b": (768, 12, 12, 3072),
}  # fmt: skip
"""Width, layers, heads and feed-forward width by the name of ``arch``."""


class _Layer:
    def __init__(self, tape: Tape, channels: int, heads: int, width: int, config: Config, path: float) -> None:
        self.heads, self.path = heads, path
        drop = self.drop = float(config.get("drop_rate", 0.0))
        self.first, self.second = LayerNorm(tape, channels), LayerNorm(tape, channels)
        self.joint = Linear(tape, channels, 3 * channels, bias=bool(config.get("qkv_bias", True)))
        self.out = Linear(tape, channels, channels)
        self.feed = FeedForward(tape, channels, width, drop=drop, path=path)

    def __call__(self, x: Tensor) -> Tensor:
        batch, length, channels = x.shape
        joined = self.joint(self.first(x))
        query, key, value = (ops.select(joined, (batch, length, channels)) for _ in range(3))
        del joined
        fused = x.storage.tape.stack.fused_attention
        found = ops.copy(attention(query, key, value, self.heads, fused=fused))
        del query, key, value
        x = ops.add(x, ops.drop_path(ops.dropout(self.out(found), self.drop), self.path))
        del found
        return self.feed(self.second(x), x)


@backbone("mmpretrain.VisionTransformer", "mmcls.VisionTransformer", "mmpose.VisionTransformer")
class VisionTransformer:
    """Patches, a class token unless switched off, positions of one size, layers, a last norm."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        arch = config.get("arch", "base")
        spelled = arch if isinstance(arch, Mapping) else None
        if spelled is None and arch not in _ARCHITECTURES:
            raise UnknownType(f"vision transformer {arch!r} of mmpretrain")
        channels, depth, heads, width = (
            (int(spelled[key]) for key in ("embed_dims", "num_layers", "num_heads", "feedforward_channels"))
            if spelled is not None
            else _ARCHITECTURES[str(arch)]
        )
        if float(config.get("layer_scale_init_value", 0.0)) or config.get("layer_cfgs"):
            raise KeyError("layer_scale_init_value")
        patch, size = int(config.get("patch_size", 16)), pair(config.get("img_size", 224))
        cut = config.get("patch_cfg") or {}
        padding = int(cut.get("padding", 0)) if not isinstance(cut.get("padding"), str) else 0
        self.embed = Conv(tape, int(config.get("in_channels", 3)), channels, patch, patch, padding)
        self.channels, self.with_class = channels, bool(config.get("with_cls_token", True))
        # mmcls 0.x: ``output_cls_token=False`` is what ``out_type='featmap'`` is today.
        self.as_map = config.get("out_type") == "featmap" or config.get("output_cls_token", True) is False
        self.token = tape.parameter(channels) if self.with_class else None
        self.places = [(side + 2 * padding - patch) // patch + 1 for side in size]
        extra = 1 if self.with_class else 0
        self.positions = tape.parameter((self.places[0] * self.places[1] + extra) * channels)
        path = rates(float(config.get("drop_path_rate", 0.0)), depth)
        self.before = LayerNorm(tape, channels) if config.get("pre_norm") else None
        self.layers = [_Layer(tape, channels, heads, width, config, each) for each in path]
        self.after = LayerNorm(tape, channels) if config.get("final_norm", True) else None
        frozen = int(config.get("frozen_stages", -1))
        if frozen > 0:
            raise KeyError("frozen_stages")

    def __call__(self, x: Tensor) -> Maps:
        x = self.embed(x)
        batch, channels, height, width = x.shape
        x = x.view(batch, height * width, channels)
        if self.token is not None:
            x = with_token(x, self.token)
        positions = as_input(self.positions, (1, self.positions.elements // channels, channels), self.tape)
        if positions.shape[1] != x.shape[1]:
            positions = ops.copy(positions, (1, x.shape[1], channels))
        x = ops.add(x, positions)
        if self.before is not None:
            x = self.before(x)
        for layer in self.layers:
            x = layer(x)
        if self.after is not None:
            x = self.after(x)
        if not self.as_map:
            return [ops.select(x, (batch, channels)) if self.with_class else ops.mean(x, (batch, channels))]
        if self.token is not None:
            x = ops.select(x, (batch, height * width, channels))
        return [x.view(batch, channels, height, width)]


_SWINS: Mapping[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
"""Width, depths and heads by the name of ``arch``, which goes by its first letter too."""


@backbone("mmpretrain.SwinTransformer", "mmcls.SwinTransformer")
def swin(build: Build, config: Config) -> SwinTransformer:
    """The last stage's map alone unless told otherwise; windows of all stages where ``stage_cfgs`` sets them."""
    arch = config.get("arch", "tiny")
    if isinstance(arch, Mapping):
        options = {"embed_dims": arch["embed_dims"], "depths": arch["depths"], "num_heads": arch["num_heads"]}
    else:
        names = {name[0]: name for name in _SWINS}
        options = dict(zip(("embed_dims", "depths", "num_heads"), _SWINS[names.get(str(arch), str(arch))], strict=True))
    stages = config.get("stage_cfgs") or {}
    blocks = stages.get("block_cfgs", {}) if isinstance(stages, Mapping) and not set(stages) - {"block_cfgs"} else None
    if not isinstance(blocks, Mapping):
        raise UnknownType("stage_cfgs of Swin by stage")
    window = blocks.get("window_size", config.get("window_size", 7))
    rest = {key: value for key, value in config.items() if key != "arch"}
    return SwinTransformer(build, {"out_indices": (3,), **rest, **options, "window_size": window})


_POOLFORMERS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "s12": ((2, 2, 6, 2), (64, 128, 320, 512)),
    "s24": ((4, 4, 12, 4), (64, 128, 320, 512)),
    "s36": ((6, 6, 18, 6), (64, 128, 320, 512)),
    "m36": ((6, 6, 18, 6), (96, 192, 384, 768)),
    "m48": ((8, 8, 24, 8), (96, 192, 384, 768)),
}


class _PoolBlock:
    """Pooling less its input, then two 1x1 convolutions; each behind a group norm and a learnt scale."""

    def __init__(self, tape: Tape, channels: int, path: float) -> None:
        self.path = path
        self.first, self.second = GroupNorm(tape, 1, channels), GroupNorm(tape, 1, channels)
        self.wide, self.narrow = Conv(tape, channels, 4 * channels), Conv(tape, 4 * channels, channels)
        self.scales = [tape.parameter(channels) for _ in range(2)]

    def __call__(self, x: Tensor) -> Tensor:
        normed = self.first(x)
        pooled = ops.avg_pool(normed, 3, 1, 1)
        mixed = x.storage.tape.record(pooled.shape, pooled.itemsize, (pooled, normed), (pooled.bytes, normed.bytes))
        del pooled, normed
        x = ops.add(x, ops.drop_path(gated(mixed, self.scales[0]), self.path))
        del mixed
        inside = self.narrow(ops.keeps_input(self.wide(self.second(x))))
        return ops.add(x, ops.drop_path(gated(inside, self.scales[1]), self.path))


@backbone("mmpretrain.PoolFormer", "PoolFormer")
class PoolFormer:
    """Four stages with strided convolutions between; the outputs are normed."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        depths, widths = _POOLFORMERS[str(config.get("arch", "s12"))]
        out = config.get("out_indices", -1)
        self.out = [each % 7 for each in ([out] if isinstance(out, int) else out)]
        frozen, path = int(config.get("frozen_stages", 0)), float(config.get("drop_path_rate", 0.0))
        each = rates(path, sum(depths))
        with tape.frozen(active=frozen >= 0):
            self.embed = Conv(
                tape, 3, widths[0], int(config.get("in_patch_size", 7)), int(config.get("in_stride", 4)),
                int(config.get("in_pad", 2)),
            )  # fmt: skip
        self.network: list[list[_PoolBlock | Conv]] = []
        done = 0
        for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            with tape.frozen(active=len(self.network) < frozen):
                self.network.append([_PoolBlock(tape, width, each[done + number]) for number in range(depth)])
            done += depth
            if index < len(depths) - 1:
                with tape.frozen(active=len(self.network) < frozen):
                    self.network.append([Conv(tape, width, widths[index + 1], 3, 2, 1)])
        norms: Config = config.get("norm_cfg") or {"type": "GN", "num_groups": 1}
        self.norms = {index: norm(tape, norms, widths[(index + 1) // 2]) for index in self.out}

    def __call__(self, x: Tensor) -> Maps:
        x = self.embed(x)
        outs: Maps = []
        for index, stage in enumerate(self.network):
            for layer in stage:
                x = layer(x)
            if index in self.norms:
                outs.append(self.norms[index](x))
        return outs
