"""Plain vision transformers: ViT, DeiT, BEiT, MAE.

Source: mmsegmentation 1.2.2 ``models/backbones/{vit,beit,mae}.py``.
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import maybe_checkpoint
from vramlint.memory.layers.backbones.tokens import (
    GELU,
    LN,
    Attention,
    FeedForward,
    PatchEmbed,
    Size,
    joint_attention,
    rates,
)
from vramlint.memory.layers.bricks import norm
from vramlint.memory.layers.functions import pair
from vramlint.memory.layers.nn import Linear, as_input
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Parameter, Tape, Tensor


class _Block:
    """Attention and feed-forward, each after a norm and beside an identity."""

    def __init__(self, tape: Tape, channels: int, heads: int, config: Config, path: float) -> None:
        norms: Config = config.get("norm_cfg") or LN
        drop = float(config.get("drop_rate", 0.0))
        self.checkpointing = bool(config.get("with_cp", False))
        self.first = norm(tape, norms, channels)
        self.attention = Attention(
            tape, channels, heads, bias=bool(config.get("qkv_bias", True)),
            drop=float(config.get("attn_drop_rate", 0.0)), out_drop=drop,
        )  # fmt: skip
        self.second = norm(tape, norms, channels)
        width = int(float(config.get("mlp_ratio", 4)) * channels)
        count = int(config.get("num_fcs", 2))
        self.ffn = FeedForward(
            tape, channels, width, act=config.get("act_cfg") or GELU, drop=drop, path=path, count=count
        )

    def _inner(self, x: Tensor) -> Tensor:
        x = self.attention(self.first(x), identity=x)
        return self.ffn(self.second(x), x)

    def __call__(self, x: Tensor) -> Tensor:
        return maybe_checkpoint(self._inner, x, active=self.checkpointing)


class _Outputs:
    """Chosen blocks' tokens as maps."""

    def __init__(self, config: Config, layers: int, *, with_class: bool) -> None:
        chosen = config.get("out_indices", -1)
        self.out = [layers - 1 if chosen == -1 else chosen] if isinstance(chosen, int) else list(chosen)
        self.with_class = with_class

    def map_of(self, x: Tensor, size: Size) -> Tensor:
        """Without the class token, as a contiguous map."""
        batch, length, channels = x.shape
        if self.with_class:
            x = ops.select(x, (batch, length - 1, channels))
            if batch > 1:
                x = ops.copy(x)
        return ops.copy(x, (batch, channels, *size))


@backbone("VisionTransformer")
class VisionTransformer:
    """ViT and DeiT, positions resized to the image's."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.channels = channels = int(config.get("embed_dims", 768))
        layers = int(config.get("num_layers", 12))
        size, self.patch = pair(config.get("img_size", 224)), int(config.get("patch_size", 16))
        size = size if len(size) == 2 else (size[0], size[0])
        if "all" not in config.get("frozen_exclude", ["all"]):
            raise KeyError("frozen_exclude")
        norms: Config = config.get("norm_cfg") or LN
        self.embed = PatchEmbed(
            tape, int(config.get("in_channels", 3)), channels, self.patch, self.patch,
            config.get("patch_pad", "corner"), bias=bool(config.get("patch_bias", False)),
            norm_cfg=norms if config.get("patch_norm") else None,
        )  # fmt: skip
        self.grid = (size[0] // self.patch, size[1] // self.patch)
        self.token, self.positions = (
            tape.parameter(channels),
            tape.parameter(channels * (self.grid[0] * self.grid[1] + 1)),
        )
        self.drop = float(config.get("drop_rate", 0.0))
        self.before = norm(tape, norms, channels) if config.get("pre_norm") else None
        path = rates(float(config.get("drop_path_rate", 0.0)), layers)
        self.blocks = [_Block(tape, channels, int(config.get("num_heads", 12)), config, each) for each in path]
        self.after = norm(tape, norms, channels) if config.get("final_norm") else None
        self.with_class = bool(config.get("with_cls_token", True))
        self.outputs = _Outputs(config, layers, with_class=self.with_class)
        self.class_too, self.origin = bool(config.get("output_cls_token", False)), bool(config.get("out_origin", False))

    def __call__(self, x: Tensor) -> Maps:
        x, size = self.embed(x)
        x = with_token(x, self.token)
        x = ops.dropout(self._placed(x, size), self.drop)
        if not self.with_class:
            x = ops.select(x, (x.shape[0], x.shape[1] - 1, x.shape[2]))
        if self.before is not None:
            x = self.before(x)
        outs: Maps = [self.outputs.map_of(x, size)] if self.origin else []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index == len(self.blocks) - 1 and self.after is not None:
                x = self.after(x)
            if index in self.outputs.out:
                outs.append(self.outputs.map_of(x, size))
                if self.class_too:
                    outs.append(ops.select(x, (x.shape[0], x.shape[2])))
        return outs

    def _placed(self, x: Tensor, size: Size) -> Tensor:
        """Positions added; resized first where the image's grid is another one."""
        count = self.grid[0] * self.grid[1] + 1
        positions = as_input(self.positions, (1, count, self.channels), self.tape)
        if count != size[0] * size[1] + 1:
            grid = ops.copy(positions, (1, self.channels, *self.grid))
            grid = ops.resize(grid, size)
            token = ops.select(positions, (1, 1, self.channels))
            positions = ops.concatenate([token, grid.view(1, size[0] * size[1], self.channels)], axis=1)
        return ops.add(x, positions)


def with_token(x: Tensor, token: Parameter) -> Tensor:
    """The class token before the others."""
    tape = x.storage.tape
    batch, length, channels = x.shape
    itemsize = 4  # the token is a parameter in fp32: cat takes the wider type
    x = tape.raised(x)
    return tape.record((batch, length + 1, channels), itemsize, (x, token), (-1, 4 * channels))


class _BeitBlock:
    def __init__(
        self, tape: Tape, channels: int, heads: int, config: Config, window: tuple[int, int], path: float
    ) -> None:
        norms: Config = config.get("norm_cfg") or LN
        self.tape, self.heads, self.path = tape, heads, path
        self.drop = float(config.get("attn_drop_rate", 0.0))
        self.area = window[0] * window[1] + 1
        self.gammas = [tape.parameter(channels) for _ in range(2)]
        self.first = norm(tape, norms, channels)
        self.qv = [tape.parameter(channels) for _ in range(2 if config.get("qv_bias", True) else 0)]
        self.table = tape.parameter(((2 * window[0] - 1) * (2 * window[1] - 1) + 3) * heads)
        self.joint = Linear(tape, channels, 3 * channels, bias=False)
        self.out = Linear(tape, channels, channels)
        self.second = norm(tape, norms, channels)
        width = int(float(config.get("mlp_ratio", 4)) * channels)
        self.ffn = FeedForward(tape, channels, width, act=config.get("act_cfg") or GELU)
        tape.buffer_bytes += 8 * self.area**2

    def __call__(self, x: Tensor) -> Tensor:
        x = ops.add(x, ops.drop_path(gated(self._attended(self.first(x)), self.gammas[0]), self.path))
        return ops.add(x, ops.drop_path(gated(self.ffn(self.second(x)), self.gammas[1]), self.path))

    def _attended(self, x: Tensor) -> Tensor:
        positions = self.tape.record(
            (self.area**2, self.heads), 4, (self.table,), (4 * self.table.elements,), extra_saved_bytes=8 * self.area**2
        )
        bias = ops.copy(positions, (self.heads, self.area, self.area))
        del positions
        if x.shape[1] != self.area:
            raise ValueError(f"BEiT's relative positions are for {self.area} tokens, the image has {x.shape[1]}")
        return self.out(joint_attention(x, self.joint, self.heads, drop=self.drop, bias=bias))


def gated(x: Tensor, gamma: Parameter) -> Tensor:
    """``gamma * x``: the input is kept for gamma's gradient."""
    tape = x.storage.tape
    grads = (x.bytes, 4 * gamma.elements)
    itemsize = 4
    return tape.record(x.shape, itemsize, (x, gamma), grads, (x,), transient=4 * x.elements)


@backbone("BEiT")
class BEiT:
    """ViT with relative positions in every block and layer scale; one image size."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        channels = int(config.get("embed_dims", 768))
        layers = int(config.get("num_layers", 12))
        size, patch = pair(config.get("img_size", 224)), int(config.get("patch_size", 16))
        size = size if len(size) == 2 else (size[0], size[0])
        window = (size[0] // patch, size[1] // patch)
        norms: Config = config.get("norm_cfg") or LN
        self.token = tape.parameter(channels)
        self.positions = self._positions(channels, window)
        self.embed = PatchEmbed(
            tape, int(config.get("in_channels", 3)), channels, patch, patch, 0,
            norm_cfg=norms if config.get("patch_norm") else None,
        )  # fmt: skip
        path = rates(float(config.get("drop_path_rate", 0.0)), layers)
        heads = int(config.get("num_heads", 12))
        self.blocks = [_BeitBlock(tape, channels, heads, config, window, each) for each in path]
        self.outputs = _Outputs(config, layers, with_class=True)
        self.after = norm(tape, norms, channels) if config.get("final_norm") else None

    def _positions(self, channels: int, window: tuple[int, int]) -> Parameter | None:
        del channels, window
        return None

    def __call__(self, x: Tensor) -> Maps:
        x, size = self.embed(x)
        x = with_token(x, self.token)
        if self.positions is not None:
            x = ops.add(x, as_input(self.positions, (1, *x.shape[1:]), self.tape))
        outs: Maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index == len(self.blocks) - 1 and self.after is not None:
                x = self.after(x)
            if index in self.outputs.out:
                outs.append(self.outputs.map_of(x, size))
        return outs


@backbone("MAE")
class MAE(BEiT):
    """BEiT with fixed absolute positions, which are a parameter all the same."""

    def _positions(self, channels: int, window: tuple[int, int]) -> Parameter | None:
        return self.tape.parameter((window[0] * window[1] + 1) * channels)
