"""Parts of transformer backbones as mmcv and mmsegmentation write them.

Sources: mmcv 2.1.0 ``cnn/bricks/transformer.py`` (MultiheadAttention, FFN), mmsegmentation 1.2.2 ``utils/embed.py``
(PatchEmbed, PatchMerging), torch 2.13 ``nn/functional.py`` ``multi_head_attention_forward`` with ``need_weights``.
"""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import activation, norm
from vramlint.memory.layers.functions import Pair, pair
from vramlint.memory.layers.nn import Conv, Layer, Linear
from vramlint.memory.layers.registry import Config
from vramlint.memory.layers.tape import Tape, Tensor

LN: Config = {"type": "LN"}
GELU: Config = {"type": "GELU"}

Size = tuple[int, int]


def rates(top: float, count: int) -> list[float]:
    """Drop path rates that grow from 0 to ``top`` over ``count`` blocks."""
    return [top * index / max(count - 1, 1) for index in range(count)]


class FeedForward:
    """mmcv's FFN with two or more linear layers; the identity is added where one is given."""

    def __init__(
        self,
        tape: Tape,
        channels: int,
        width: int,
        *,
        act: Config = GELU,
        drop: float = 0.0,
        path: float = 0.0,
        count: int = 2,
    ) -> None:
        sources = [channels, *[width] * (count - 2)]
        self.hidden = [Linear(tape, source, width) for source in sources]
        self.last = Linear(tape, width, channels)
        self.act, self.drop, self.path = activation(act), drop, path

    def __call__(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        out = x
        for layer in self.hidden:
            out = ops.dropout(self.act(layer(out)), self.drop)
        out = ops.drop_path(ops.dropout(self.last(out), self.drop), self.path)
        return out if identity is None else ops.add(identity, out)


class Attention:
    """mmcv's MultiheadAttention around torch's, with weights wanted: the scores exist in every version of torch.

    Queries, keys and values are transposed views, so each projection first copies its input unless the batch is one.
    """

    def __init__(
        self, tape: Tape, channels: int, heads: int, *, bias: bool = True, drop: float = 0.0, out_drop: float = 0.0,
        path: float = 0.0,
    ) -> None:  # fmt: skip
        self.tape, self.channels, self.heads = tape, channels, heads
        self.drop, self.out_drop, self.path = drop, out_drop, path
        self.parts = [Linear(tape, channels, channels, bias=bias) for _ in range(3)]
        self.out = Linear(tape, channels, channels)
        if not bias:
            self.out.bias = None
            tape.parameters.pop()

    def __call__(
        self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None, identity: Tensor | None = None
    ) -> Tensor:
        key = query if key is None else key
        out = self.attend(query, key, key if value is None else value)
        out = ops.drop_path(ops.dropout(out, self.out_drop), self.path)
        return out if identity is None else ops.add(identity, out)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The attention without dropout and identity."""
        batch, queries, channels = query.shape
        q, k, v = (self._projected(layer, x) for layer, x in zip(self.parts, (query, key, value), strict=True))
        del query, key, value
        q = ops.scaled(q)
        scores = ops.matmul(q, k, (batch, self.heads, queries, k.shape[1]))
        scores = ops.softmax(scores)
        scores = ops.dropout(scores, self.drop)
        found = ops.matmul(scores, v, (batch, queries, channels))
        found = self.out(ops.copy(found))
        ops.mean(scores, (batch, queries, k.shape[1]))
        return found

    def _projected(self, layer: Linear, x: Tensor) -> Tensor:
        x = self.tape.lowered(x)
        return layer(ops.copy(x) if x.shape[0] > 1 else x)


class PatchEmbed:
    """A convolution to tokens, padded at the corner where the size asks for it, and a norm."""

    def __init__(
        self,
        tape: Tape,
        inside: int,
        channels: int,
        kernel: Pair,
        stride: Pair | None = None,
        padding: Pair | str = "corner",
        *,
        bias: bool = True,
        norm_cfg: Config | None = None,
    ) -> None:
        self.kernel, self.stride = pair(kernel), pair(kernel if stride is None else stride)
        self.adaptive = isinstance(padding, str)
        fixed: Pair = 0 if isinstance(padding, str) else padding
        self.conv = Conv(tape, inside, channels, self.kernel, self.stride, fixed, bias=bias)
        self.norm = None if norm_cfg is None else norm(tape, norm_cfg, channels)

    def __call__(self, x: Tensor) -> tuple[Tensor, Size]:
        if self.adaptive:
            x = corner_padded(x, self.kernel, self.stride)
        x = self.conv(x)
        size = x.size
        x = tokens(x)
        return (x if self.norm is None else self.norm(x)), size


def corner_padded(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """AdaptivePadding at the corner: so that the output has ceil(size / stride)."""
    extra = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.size, kernel, stride, strict=True)]
    return ops.pad(x, 0, extra[1], 0, extra[0]) if any(extra) else x


class PatchMerging:
    """Neighbouring tokens unfolded, normed and reduced."""

    def __init__(self, tape: Tape, inside: int, channels: int, stride: int, norm_cfg: Config | None) -> None:
        self.stride = stride
        self.norm = None if norm_cfg is None else norm(tape, norm_cfg, 4 * inside)
        self.reduce = Linear(tape, 4 * inside, channels, bias=False)

    def __call__(self, x: Tensor, size: Size) -> tuple[Tensor, Size]:
        batch, _, channels = x.shape
        x = corner_padded(x.view(batch, channels, *size), (2, 2), (self.stride, self.stride))
        height, width = ((side - 2) // self.stride + 1 for side in x.size)
        count = height * width
        x = x.storage.tape.record((batch, count, 4 * channels), x.itemsize, (x,), (x.bytes,))
        return self.reduce(x if self.norm is None else self.norm(x)), (height, width)


def tokens(x: Tensor) -> Tensor:
    """A map as (batch, pixels, channels): a view."""
    return x.view(x.shape[0], x.size[0] * x.size[1], x.shape[1])


def as_map(x: Tensor, size: Size) -> Tensor:
    """Tokens as a map: a view."""
    return x.view(x.shape[0], x.shape[2], *size)


def joint_attention(
    x: Tensor, joint: Layer, heads: int, *, drop: float, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Attention from one joint projection of (batch, length, channels): eager, heads copied apart for the products.

    ``bias`` is added to the scores (relative positions), then ``mask``. Each third is selected from the projection,
    whose gradient is filled with zeros three times.
    """
    batch, length, channels = x.shape
    joined = joint(x)
    query, key, value = (ops.select(joined, (batch, length, channels)) for _ in range(3))
    query = ops.scaled(query)
    square = (batch, heads, length, length)
    scores = ops.matmul(ops.copy(query), ops.copy(key), square)
    if bias is not None:
        scores = ops.add(scores, bias)
    if mask is not None:
        scores = ops.add(scores, mask)
    scores = ops.softmax(scores.view(*square))
    scores = ops.dropout(scores, drop)
    found = ops.matmul(scores, ops.copy(value), (batch, length, channels))
    return ops.copy(found)
