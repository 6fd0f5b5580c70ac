"""detectron2's plain and multiscale vision transformers, and the pyramid over one map.

Sources: detectron2 2026-06 ``modeling/backbone/vit.py``, ``mvit.py``, ``utils.py``; timm 1.0 ``layers/drop.py`` (one
product), ``layers/mlp.py``. Tokens lie as (batch, height, width, channels). Scores exist: the attention is eager.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.detectron2 import Convolution, Named, normalised
from vramlint.memory.layers.backbones.tokens import rates
from vramlint.memory.layers.functions import pair
from vramlint.memory.layers.nn import Conv, Layer, LayerNorm, Linear, as_input
from vramlint.memory.layers.registry import UnknownType
from vramlint.memory.layers.tape import Parameter, Tape, Tensor

Call = Mapping[str, Any]


class Attended:
    """What the two share: eager attention over (batch x heads, places, channels) with decomposed positions."""

    def __init__(self, tape: Tape, channels: int, heads: int, positions: Sequence[int]) -> None:
        self.tape, self.heads = tape, heads
        self.positions = [tape.parameter(length * (channels // heads)) for length in positions]

    def thirds(self, joined: Tensor, places: tuple[int, ...]) -> list[Tensor]:
        """Queries, keys and values of every head; a copy brings them apart unless the batch is one."""
        batch, each = joined.shape[0], joined.shape[-1] // 3 // self.heads
        shape = (3, batch * self.heads, *places, each)
        apart = ops.copy(joined, shape) if batch > 1 else joined.view(*shape)
        return self.tape.record_several([shape[1:]] * 3, apart)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int], other: tuple[int, int]
    ) -> Tensor:
        """Queries of ``grid`` over keys of ``other``."""
        rows, places, channels = query.shape
        scores = ops.matmul(ops.scaled(query), key, (rows, places, key.shape[1]))
        if self.positions:
            scores = self._placed(scores, query, grid, other)
        return ops.matmul(ops.softmax(scores), value, (rows, places, channels))

    def _placed(self, scores: Tensor, query: Tensor, grid: tuple[int, int], other: tuple[int, int]) -> Tensor:
        """Scores plus a product of the query with the positions of its row, and of its column."""
        rows, _, channels = query.shape
        whole = scores.view(rows, *grid, *other)
        high = self._relative(query, self.positions[0], grid[0], other[0], channels)
        wide = self._relative(query, self.positions[1], grid[1], other[1], channels)
        found = ops.add(whole, high.view(rows, *grid, other[0], 1))
        found = ops.add(found, wide.view(rows, *grid, 1, other[1]))
        return found.view(*scores.shape)

    def _relative(self, query: Tensor, table: Parameter, here: int, there: int, channels: int) -> Tensor:
        tape = self.tape
        picked = tape.record((here, there, channels), 4, (table,), (4 * table.elements,),
                             extra_saved_bytes=8 * here * there)  # fmt: skip
        sorted_query = ops.copy(query)
        return ops.matmul(sorted_query, picked, (*query.shape[:2], there))


class PlainAttention(Attended):
    """``Attention`` of ViTDet: one joint projection, relative positions of rows and columns."""

    def __init__(self, tape: Tape, channels: int, heads: int, side: tuple[int, int], config: Call) -> None:
        self.joint = Linear(tape, channels, 3 * channels, bias=bool(config.get("qkv_bias", True)))
        self.out = Linear(tape, channels, channels)
        lengths = [2 * each - 1 for each in side] if config.get("use_rel_pos", False) else []
        super().__init__(tape, channels, heads, lengths)

    def __call__(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        query, key, value = self.thirds(self.joint(x), (height * width,))
        found = self.attend(query, key, value, (height, width), (height, width))
        return self.out(ops.copy(found, (batch, height, width, channels)))


class FeedForward:
    """timm's Mlp."""

    def __init__(self, tape: Tape, channels: int, width: int) -> None:
        self.first, self.second = Linear(tape, channels, width), Linear(tape, width, channels)

    def __call__(self, x: Tensor) -> Tensor:
        return self.second(ops.keeps_input(self.first(x)))


def dropped(x: Tensor, rate: float) -> Tensor:
    """timm's DropPath."""
    return ops.scaled(x) if rate > 0 else x


def partition(x: Tensor, window: int) -> Tensor:
    """Windows of (window, window), padded below and to the right."""
    batch, height, width, channels = x.shape
    below, right = -height % window, -width % window
    if below or right:
        x = ops.pad(x, 0, 0, 0, right, 0, below)
    count = (height + below) * (width + right) // window**2
    return ops.copy(x, (batch * count, window, window, channels))


def unpartition(x: Tensor, batch: int, size: tuple[int, int]) -> Tensor:
    """Windows put together again, the padding cut off."""
    window, channels = x.shape[1], x.shape[-1]
    height, width = (-(-side // window) * window for side in size)
    x = ops.copy(x, (batch, height, width, channels))
    return x if (height, width) == size else ops.copy(ops.select(x, (batch, *size, channels)))


class _Block:
    """Attention inside windows or over the whole map, feed-forward, a residual bottleneck where asked for."""

    def __init__(self, tape: Tape, config: Call, index: int, path: float, side: tuple[int, int]) -> None:
        channels, heads = int(config.get("embed_dim", 768)), int(config.get("num_heads", 12))
        inside = index in (config.get("window_block_indexes") or ())
        self.window = int(config.get("window_size", 0)) if inside else 0
        self.path = path
        self.first = LayerNorm(tape, channels)
        grid = (self.window, self.window) if self.window else side
        self.attention = PlainAttention(tape, channels, heads, grid, config)
        self.second = LayerNorm(tape, channels)
        self.feed = FeedForward(tape, channels, int(channels * float(config.get("mlp_ratio", 4.0))))
        residual = index in (config.get("residual_block_indexes") or ())
        self.residual = _Bottleneck(tape, channels) if residual else None

    def __call__(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        shortcut = x
        x = self.first(x)
        if self.window:
            x = partition(x, self.window)
        x = self.attention(x)
        if self.window:
            x = unpartition(x, batch, (height, width))
        x = ops.add(shortcut, dropped(x, self.path))
        del shortcut
        x = ops.add(x, dropped(self.feed(self.second(x)), self.path))
        return x if self.residual is None else self.residual(x)


class _Bottleneck:
    """Three convolutions with layer norms over channels; the last without activation."""

    def __init__(self, tape: Tape, channels: int) -> None:
        half = channels // 2
        widths = ((channels, half, 1), (half, half, 3), (half, channels, 1))
        self.convs = [Convolution(tape, a, b, kernel, kind="LN") for a, b, kernel in widths]

    def __call__(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = x.view(batch, channels, height, width)
        out = x
        for index, conv in enumerate(self.convs):
            out = conv(out)
            out = ops.keeps_input(out) if index < 2 else out
        return ops.add(x, out).view(batch, height, width, channels)


class ViT:
    """ViTDet's plain backbone; one map at the stride of its patches."""

    def __init__(self, tape: Tape, config: Call) -> None:
        self.tape, self.config = tape, config
        self.patch, depth = int(config.get("patch_size", 16)), int(config.get("depth", 12))
        self.channels = channels = int(config.get("embed_dim", 768))
        self.embed = Conv(tape, int(config.get("in_chans", 3)), channels, self.patch, self.patch)
        trained = int(config.get("pretrain_img_size", 224)) // self.patch
        self.grid = trained * trained
        extra = 1 if config.get("pretrain_use_cls_token", True) else 0
        self.positions = tape.parameter((self.grid + extra) * channels) if config.get("use_abs_pos", True) else None
        side = int(config.get("img_size", 1024)) // self.patch
        path = rates(float(config.get("drop_path_rate", 0.0)), depth)
        self.blocks = [_Block(tape, config, index, path[index], (side, side)) for index in range(depth)]
        self.recomputes = bool(config.get("use_act_checkpoint", False))

    def __call__(self, images: Tensor) -> Tensor:
        x = self.embed(images)
        batch, channels, height, width = x.shape
        x = x.view(batch, height, width, channels)
        if self.positions is not None:
            x = ops.add(x, resized(self.tape, self.positions, self.grid, (height, width), channels))
        for block in self.blocks:
            x = self.tape.recompute(block, x) if self.recomputes else block(x)
        return x.view(batch, channels, height, width)


def resized(tape: Tape, positions: Parameter, count: int, size: tuple[int, int], channels: int) -> Tensor:
    """``get_abs_pos``: absolute positions without their class token, resized to the map."""
    table = as_input(positions, (1, positions.elements // channels, channels), tape)
    if table.shape[1] != count:
        table = ops.select(table, (1, count, channels))
    if count == size[0] * size[1]:
        return table.view(1, *size, channels)
    side = round(count**0.5)
    found = ops.resize(ops.copy(table, (1, channels, side, side)), size)
    return found.view(1, *size, channels)


class SimplePyramid:
    """``SimpleFeaturePyramid``: four strides from one map by transposed convolutions and pooling."""

    def __init__(self, tape: Tape, net: Call, pyramid: Call) -> None:
        if str(net.get("_target_", "ViT")).rpartition(".")[2] not in ("ViT", ""):
            raise UnknownType(f"network {net.get('_target_')!r} of a simple pyramid")
        channels, kind = int(pyramid.get("OUT_CHANNELS", 256)), str(pyramid.get("NORM", "LN"))
        self.net = ViT(tape, net)
        inside = self.net.channels
        self.stages: list[list[Layer]] = []
        for scale in pyramid.get("SCALE_FACTORS") or (4.0, 2.0, 1.0, 0.5):
            layers, out = _scaled(tape, inside, float(scale), kind)
            layers += [Convolution(tape, out, channels, kind=kind), Convolution(tape, channels, channels, 3, kind=kind)]
            self.stages.append(layers)

    def __call__(self, images: Tensor) -> Named:
        x = self.net(images)
        found: Named = {}
        for index, layers in enumerate(self.stages):
            y = x
            for layer in layers:
                y = layer(y)
            found[f"p{2 + index}"] = y
        last = len(self.stages) + 1
        found[f"p{last + 1}"] = ops.max_pool(found[f"p{last}"], 1, 2)
        return found


def _scaled(tape: Tape, inside: int, scale: float, kind: str) -> tuple[list[Layer], int]:
    """Layers that bring the map to one scale, and the channels they leave."""
    if scale == 1.0:
        return [], inside
    if scale == 0.5:
        return [lambda x: ops.max_pool(x, 2, 2)], inside
    if scale == 2.0:
        return [Conv(tape, inside, inside // 2, 2, 2, transposed=True)], inside // 2
    if scale != 4.0:
        raise UnknownType(f"scale factor {scale}")
    middle = normalised(tape, kind, inside // 2)
    first = Conv(tape, inside, inside // 2, 2, 2, transposed=True)
    between: list[Layer] = [] if middle is None else [middle]
    last = Conv(tape, inside // 2, inside // 4, 2, 2, transposed=True)
    return [first, *between, ops.keeps_input, last], inside // 4


# --- MViTv2 ----------------------------------------------------------------------------------------------------------


class _PooledAttention(Attended):
    """Queries, keys and values pooled by depthwise convolutions, each with a layer norm."""

    def __init__(
        self, tape: Tape, inside: int, channels: int, heads: int, config: Call, steps: tuple[int, int], window: int,
        side: int,
    ) -> None:  # fmt: skip
        self.window, self.steps = window, steps
        each = channels // heads
        self.joint = Linear(tape, inside, 3 * channels, bias=bool(config.get("qkv_bias", True)))
        self.out = Linear(tape, channels, channels)
        kernel = pair(config.get("qkv_pool_kernel", (3, 3)))
        padding = tuple(k // 2 for k in kernel)
        strides = (steps[0], steps[1], steps[1])
        self.pools = [
            (Conv(tape, each, each, kernel, step, padding, groups=each, bias=False), LayerNorm(tape, each))
            for step in strides
        ]
        self.keeps_query = bool(config.get("residual_pooling", True))
        length = 2 * max(side // steps[0], side // steps[1]) - 1
        super().__init__(tape, channels, heads, [length, length] if config.get("use_rel_pos", True) else [])

    def __call__(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        parts = self.thirds(self.joint(x), (height, width))
        query, key, value = (_pooled(part, conv, after) for part, (conv, after) in zip(parts, self.pools, strict=True))
        del parts
        first, size = query, (query.shape[1], query.shape[2])
        if self.window:
            query = partition(query, self.window // self.steps[0])
            key, value = (partition(each, self.window // self.steps[1]) for each in (key, value))
        grid, other = query.shape[1:3], key.shape[1:3]
        flat = _flat(query), _flat(key), _flat(value)
        found = self.attend(*flat, (grid[0], grid[1]), (other[0], other[1]))
        del flat
        del key, value
        found = found.view(*query.shape)
        del query
        if self.window:
            found = unpartition(found, batch * self.heads, size)
        if self.keeps_query:
            found = ops.add(found, first, inplace=True)
        return self.out(ops.copy(found, (batch, *size, found.shape[-1] * self.heads)))


def _flat(x: Tensor) -> Tensor:
    return x.view(x.shape[0], x.shape[1] * x.shape[2], x.shape[3])


def _pooled(x: Tensor, conv: Conv, after: LayerNorm) -> Tensor:
    rows, height, width, channels = x.shape
    x = conv(x.view(rows, channels, height, width))
    return after(x.view(rows, *x.size, channels))


class _MultiScaleBlock:
    def __init__(
        self, tape: Tape, inside: int, channels: int, heads: int, config: Call, steps: tuple[int, int], window: int,
        side: int, path: float,
    ) -> None:  # fmt: skip
        self.path, self.step = path, steps[0]
        self.first = LayerNorm(tape, inside)
        self.attention = _PooledAttention(tape, inside, channels, heads, config, steps, window, side)
        self.second = LayerNorm(tape, channels)
        self.feed = FeedForward(tape, channels, int(channels * float(config.get("mlp_ratio", 4.0))))
        self.project = Linear(tape, inside, channels) if inside != channels else None

    def __call__(self, x: Tensor) -> Tensor:
        normed = self.first(x)
        found = self.attention(normed)
        if self.project is not None:
            x = self.project(normed)
        if self.step > 1:
            batch, height, width, channels = x.shape
            kernel = self.step + 1
            x = ops.max_pool(x.view(batch, channels, height, width), kernel, self.step, kernel // 2)
            x = x.view(batch, *x.size, channels)
        x = ops.add(x, dropped(found, self.path))
        del found
        return ops.add(x, dropped(self.feed(self.second(x)), self.path))


class MViT:
    """MViTv2 with windows, and global attention at the end of its last three stages."""

    def __init__(self, tape: Tape, config: Call) -> None:
        self.tape = tape
        stride = pair(config.get("patch_stride", (4, 4)))
        channels, depth = int(config.get("embed_dim", 96)), int(config.get("depth", 16))
        self.last = [int(each) for each in config.get("last_block_indexes") or (0, 2, 11, 15)]
        kernel, padding = pair(config.get("patch_kernel", (7, 7))), pair(config.get("patch_padding", (3, 3)))
        self.embed = Conv(tape, int(config.get("in_chans", 3)), channels, kernel, stride, padding)
        if config.get("use_abs_pos", False):
            raise UnknownType("absolute positions of MViT")
        self.recomputes = bool(config.get("use_act_checkpoint", False))
        self.blocks: list[_MultiScaleBlock] = []
        self.norms: dict[int, LayerNorm] = {}
        self.channels: dict[str, int] = {}
        self.strides: dict[str, int] = {}
        self._stages(config, channels, depth, stride[0])

    def _stages(self, config: Call, inside: int, depth: int, stride: int) -> None:
        tape, last = self.tape, self.last
        heads, keys = int(config.get("num_heads", 1)), int(config.get("adaptive_kv_stride", 4))
        window = int(config.get("adaptive_window_size", 56))
        side = int(config.get("img_size", 224)) // stride
        path = rates(float(config.get("drop_path_rate", 0.0)), depth)
        channels, named = inside, config.get("out_features") or [f"scale{each}" for each in range(2, 6)]
        for index in range(depth):
            step = 2 * keys if index in (last[1], last[2]) else keys
            steps = (2 if index - 1 in last else 1, step)
            inner = 0 if index in last[1:] else window
            self.blocks.append(_MultiScaleBlock(tape, inside, channels, heads, config, steps, inner, side, path[index]))
            inside = channels
            if index in last:
                name = f"scale{last.index(index) + 2}"
                if name in named:
                    self.norms[index] = LayerNorm(tape, channels)
                    self.channels[name], self.strides[name] = channels, stride
                channels, heads, keys, stride = 2 * channels, 2 * heads, max(keys // 2, 1), 2 * stride
            if index - 1 in last:
                window, side = window // 2, side // 2

    def __call__(self, images: Tensor) -> Named:
        x = self.embed(images)
        batch, channels, height, width = x.shape
        x = x.view(batch, height, width, channels)
        found: Named = {}
        for index, block in enumerate(self.blocks):
            x = self.tape.recompute(block, x) if self.recomputes else block(x)
            if index in self.norms:
                out = self.norms[index](x)
                found[f"scale{self.last.index(index) + 2}"] = out.view(batch, out.shape[3], *out.shape[1:3])
        return found
