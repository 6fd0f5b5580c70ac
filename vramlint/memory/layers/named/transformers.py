"""ConvNeXt, Swin and ViT as torchvision writes them. Source: torchvision 0.28 ``models``."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import attention
from vramlint.memory.layers.backbones.tokens import rates
from vramlint.memory.layers.backbones.vit import gated, with_token
from vramlint.memory.layers.nn import Conv, Layer, LayerNorm, Linear, MapLayerNorm, as_input, chain
from vramlint.memory.layers.tape import Parameter, Tape, Tensor


def _row_dropped(x: Tensor, rate: float) -> Tensor:
    return ops.scaled(x) if rate > 0 else x


# --- ConvNeXt --------------------------------------------------------------------------------------------------------

CONVNEXTS = {
    "convnext_tiny": ((3, 3, 9, 3), 96, 0.1),
    "convnext_small": ((3, 3, 27, 3), 96, 0.4),
    "convnext_base": ((3, 3, 27, 3), 128, 0.5),
    "convnext_large": ((3, 3, 27, 3), 192, 0.5),
}
"""Depths, first width, drop rate of the last block."""


class _NextBlock:
    def __init__(self, tape: Tape, channels: int, path: float) -> None:
        self.path = path
        self.scale = tape.parameter(channels)
        self.depthwise = Conv(tape, channels, channels, 7, 1, 3, 1, channels)
        self.norm = LayerNorm(tape, channels)
        self.first, self.last = Linear(tape, channels, 4 * channels), Linear(tape, 4 * channels, channels)

    def __call__(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        out = self.depthwise(x)
        out = self.norm(out.view(batch, height, width, channels))
        out = self.last(ops.keeps_input(self.first(out)))
        out = gated(out.view(batch, channels, height, width), self.scale)
        out = _row_dropped(out, self.path)
        return ops.add(out, x, inplace=True)


def convnext(tape: Tape, name: str, classes: int) -> Layer:
    """Images to logits."""
    depths, width, top = CONVNEXTS[name]
    path = rates(top, sum(depths))
    layers: list[Layer] = [Conv(tape, 3, width, 4, 4), MapLayerNorm(tape, width)]
    done = 0
    for index, depth in enumerate(depths):
        layers += [_NextBlock(tape, width, each) for each in path[done : done + depth]]
        done += depth
        if index < len(depths) - 1:
            layers += [MapLayerNorm(tape, width), Conv(tape, width, 2 * width, 2, 2)]
            width *= 2
    norm, head = MapLayerNorm(tape, width), Linear(tape, width, classes)

    def run(x: Tensor) -> Tensor:
        x = norm(ops.adaptive_avg_pool(chain(*layers)(x), 1))
        return head(x.view(*x.shape[:2]))

    return run


# --- Swin ------------------------------------------------------------------------------------------------------------

SWINS = {
    "swin_t": ((2, 2, 6, 2), 96, (3, 6, 12, 24), 0.2),
    "swin_s": ((2, 2, 18, 2), 96, (3, 6, 12, 24), 0.3),
    "swin_b": ((2, 2, 18, 2), 128, (4, 8, 16, 32), 0.5),
}
_WINDOW = 7


class _Windows:
    """Attention inside (shifted) windows of a map with channels last, padded to whole windows."""

    def __init__(self, tape: Tape, channels: int, heads: int, *, shifted: bool) -> None:
        self.tape, self.heads, self.shifted = tape, heads, shifted
        self.table = tape.parameter((2 * _WINDOW - 1) ** 2 * heads)
        self.joint, self.out = Linear(tape, channels, 3 * channels), Linear(tape, channels, channels)
        tape.buffer_bytes += 8 * _WINDOW**4

    def __call__(self, x: Tensor) -> Tensor:
        batch, rows, columns, channels = x.shape
        right, below = -columns % _WINDOW, -rows % _WINDOW
        height, width = rows + below, columns + right
        shifted = self.shifted and (height > _WINDOW or width > _WINDOW)
        x = ops.pad(x, 0, 0, 0, right, 0, below)
        if shifted:
            x = ops.copy(x)
        area, count = _WINDOW**2, height * width // _WINDOW**2
        x = ops.copy(x, (batch * count, area, channels))
        bias = self._bias(area)
        x = self._attended(x, bias, shifted=shifted, count=count)
        x = ops.copy(x, (batch, height, width, channels))
        if shifted:
            x = ops.copy(x)
        if right or below:
            x = ops.copy(ops.select(x, (batch, rows, columns, channels)))
        return x

    def _bias(self, area: int) -> Tensor:
        positions = self.tape.record(
            (area * area, self.heads), 4, (self.table,), (4 * self.table.elements,), extra_saved_bytes=8 * area * area
        )
        return ops.copy(positions, (self.heads, area, area))

    def _attended(self, x: Tensor, bias: Tensor, *, shifted: bool, count: int) -> Tensor:
        windows, area, channels = x.shape
        joined = self.joint(x)
        del x
        query, key, value = (ops.select(joined, (windows, area, channels)) for _ in range(3))
        query = ops.scaled(query)
        scores = ops.matmul(query, ops.copy(key), (windows, self.heads, area, area))
        scores = ops.add(scores, bias)
        if shifted:
            mask = self.tape.new(count, area, area, itemsize=scores.itemsize)
            scores = ops.add(scores, mask.view(1, 1, area, area))
            del mask
        scores = ops.softmax(scores)
        found = ops.copy(ops.matmul(scores, ops.copy(value), (windows, area, channels)))
        return self.out(found)


class _SwinBlock:
    def __init__(self, tape: Tape, channels: int, heads: int, path: float, *, shifted: bool) -> None:
        self.path = path
        self.before, self.windows = LayerNorm(tape, channels), _Windows(tape, channels, heads, shifted=shifted)
        self.after = LayerNorm(tape, channels)
        self.first, self.last = Linear(tape, channels, 4 * channels), Linear(tape, 4 * channels, channels)

    def __call__(self, x: Tensor) -> Tensor:
        x = ops.add(x, _row_dropped(self.windows(self.before(x)), self.path))
        out = self.last(ops.keeps_input(self.first(self.after(x))))
        return ops.add(x, _row_dropped(out, self.path))


class _Merging:
    """Four neighbours joined, normed and reduced."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.reduce, self.norm = Linear(tape, 4 * channels, 2 * channels, bias=False), LayerNorm(tape, 4 * channels)

    def __call__(self, x: Tensor) -> Tensor:
        batch, rows, columns, channels = x.shape
        x = ops.pad(x, 0, 0, 0, columns % 2, 0, rows % 2)
        small = (batch, (rows + 1) // 2, (columns + 1) // 2, channels)
        x = ops.concatenate([ops.select(x, small) for _ in range(4)], axis=-1)
        return self.reduce(self.norm(x))


def swin(tape: Tape, name: str, classes: int) -> Layer:
    """Images to logits."""
    depths, channels, heads, top = SWINS[name]
    path = rates(top, sum(depths))
    embed, first = Conv(tape, 3, channels, 4, 4), LayerNorm(tape, channels)
    layers: list[Layer] = []
    done = 0
    for index, (depth, count) in enumerate(zip(depths, heads, strict=True)):
        for number in range(depth):
            layers.append(_SwinBlock(tape, channels, count, path[done + number], shifted=bool(number % 2)))
        done += depth
        if index < len(depths) - 1:
            layers.append(_Merging(tape, channels))
            channels *= 2
    norm, head = LayerNorm(tape, channels), Linear(tape, channels, classes)

    def run(x: Tensor) -> Tensor:
        x = embed(x)
        x = first(x.view(x.shape[0], *x.size, x.channels))
        x = norm(chain(*layers)(x))
        x = ops.adaptive_avg_pool(x.view(x.shape[0], x.shape[3], *x.shape[1:3]), 1)
        return head(x.view(*x.shape[:2]))

    return run


# --- ViT -------------------------------------------------------------------------------------------------------------

VITS = {
    "vit_b_16": (16, 12, 12, 768), "vit_b_32": (32, 12, 12, 768), "vit_l_16": (16, 24, 16, 1024),
    "vit_l_32": (32, 24, 16, 1024), "vit_h_14": (14, 32, 16, 1280),
}  # fmt: skip
"""Patch, layers, heads, channels."""


class _Attention:
    """``nn.MultiheadAttention`` without weights: one fused kernel over a joint projection that is copied apart."""

    def __init__(self, tape: Tape, channels: int, heads: int) -> None:
        self.heads = heads
        self.joint, self.out = Linear(tape, channels, 3 * channels), Linear(tape, channels, channels)

    def __call__(self, x: Tensor) -> Tensor:
        joined = ops.copy(self.joint(ops.copy(x)))
        query, key, value = (ops.select(joined, x.shape) for _ in range(3))
        del joined
        found = attention(query, key, value, self.heads, fused=x.storage.tape.stack.fused_attention)
        del query, key, value
        return self.out(found if x.storage.tape.half else ops.copy(found))  # flash keeps its input's layout


class _VitBlock:
    def __init__(self, tape: Tape, channels: int, heads: int) -> None:
        self.before, self.attention = LayerNorm(tape, channels), _Attention(tape, channels, heads)
        self.after = LayerNorm(tape, channels)
        self.first, self.last = Linear(tape, channels, 4 * channels), Linear(tape, 4 * channels, channels)

    def __call__(self, x: Tensor) -> Tensor:
        x = ops.add(self.attention(self.before(x)), x)
        return ops.add(x, self.last(ops.keeps_input(self.first(self.after(x)))))


def vit(tape: Tape, name: str, classes: int) -> Layer:
    """Images of 224 to logits; positions are for that size (others raise ValueError)."""
    patch, layers, heads, channels = VITS[name]
    side = 224 // patch
    embed = Conv(tape, 3, channels, patch, patch)
    token: Parameter = tape.parameter(channels)
    positions = tape.parameter((side * side + 1) * channels)
    blocks = [_VitBlock(tape, channels, heads) for _ in range(layers)]
    norm, head = LayerNorm(tape, channels), Linear(tape, channels, classes)

    def run(x: Tensor) -> Tensor:
        x = embed(x)
        if x.size != (side, side):
            raise ValueError(f"{name} takes images of 224 x 224")
        x = with_token(x.view(x.shape[0], side * side, channels), token)
        x = ops.add(x, as_input(positions, (1, side * side + 1, channels), tape))
        x = norm(chain(*blocks)(x))
        return head(ops.select(x, (x.shape[0], channels)))

    return run
