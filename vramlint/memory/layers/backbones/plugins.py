"""Blocks that OpenMMLab puts inside residual blocks (``plugins``).

Sources: mmcv 2.1.0 ``cnn/bricks/context_block.py``, ``generalized_attention.py``; mmdet 3.3.0 ``backbones/resnet.py``.
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.nn import Conv, LayerNorm, Linear
from vramlint.memory.layers.registry import Build, Config, register
from vramlint.memory.layers.tape import SAME, Parameter, Tape, Tensor


class ContextBlock:
    """GCNet: a context vector, pooled by attention, transformed, added to (or multiplied with) every place."""

    def __init__(self, tape: Tape, channels: int, config: Config) -> None:
        fusions = tuple(config.get("fusion_types", ("channel_add",)))
        width = int(channels * float(config["ratio"]))
        attended = config.get("pooling_type", "att") == "att"
        self.mask = Conv(tape, channels, 1) if attended else None
        self.times = self._transform(tape, channels, width) if "channel_mul" in fusions else None
        self.plus = self._transform(tape, channels, width) if "channel_add" in fusions else None

    @staticmethod
    def _transform(tape: Tape, channels: int, width: int) -> tuple[Conv, LayerNorm, Conv]:
        return Conv(tape, channels, width), LayerNorm(tape, width), Conv(tape, width, channels)

    def __call__(self, x: Tensor) -> Tensor:
        context = self._context(x)
        out = x
        if self.times is not None:
            out = ops.mul(out, ops.sigmoid(self._run(self.times, context)))
        if self.plus is not None:
            out = ops.add(out, self._run(self.plus, context))
        return out

    def _context(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        if self.mask is None:
            return ops.adaptive_avg_pool(x, 1)
        weights = ops.softmax(self.mask(x).view(batch, 1, height * width))
        found = ops.matmul(x.view(batch, channels, height * width), weights, (batch, channels, 1))
        return found.view(batch, channels, 1, 1)

    @staticmethod
    def _run(layers: tuple[Conv, LayerNorm, Conv], context: Tensor) -> Tensor:
        first, norm, second = layers
        x = first(context)
        rows = norm(x.view(x.shape[0], x.shape[1])).view(*x.shape)
        return second(ops.relu(rows, inplace=True))


class GeneralizedAttention:
    """Attention of every place to every second one of a map, by content, by relative position, or both.

    ``attention_type``: 1111 (content and position, with their biases), 0100 (of content to position) or 0010 (of key
    content alone, one weight a key).
    """

    def __init__(self, tape: Tape, channels: int, config: Config) -> None:
        self.tape = tape
        kind, self.heads = str(config.get("attention_type", "1111")), int(config.get("num_heads", 9))
        if kind not in ("1111", "0100", "0010") or int(config.get("spatial_range", -1)) >= 0:
            raise KeyError(f"attention_type {kind}, spatial_range {config.get('spatial_range')}")
        self.stride = int(config.get("kv_stride", 2))
        if int(config.get("q_stride", 1)) != 1:
            raise KeyError("q_stride")
        self.everywhere = kind != "0010"
        self.each = channels // self.heads
        width = self.width = self.each * self.heads
        given = int(config.get("position_embedding_dim", -1))
        self.position = (given if given > 0 else channels) // 2
        self.query = Conv(tape, channels, width, bias=False) if self.everywhere else None
        self.key = Conv(tape, channels, width, bias=False) if kind != "0100" else None
        self.value = Conv(tape, channels, width, bias=False)
        sides = 2 if self.everywhere else 0
        self.where = [Linear(tape, self.position, width, bias=False) for _ in range(sides)]
        self.content_bias = tape.parameter(width) if kind != "0100" else None
        self.position_bias = tape.parameter(width) if kind == "1111" else None
        self.project = Conv(tape, width, channels)
        self.gamma = tape.parameter(1)

    def __call__(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        keys_from = ops.avg_pool(x, 1, self.stride) if self.stride > 1 else x
        query = None if self.query is None else self.query(x)
        key = None if self.key is None else self.key(keys_from)
        size = (height, width) if self.everywhere else (1, 1)
        energy = self._energy(query, key, x, keys_from)
        attention = ops.softmax(energy)
        value = self.value(keys_from)
        found = ops.copy(ops.matmul(attention, value, (batch, self.heads, size[0] * size[1], self.each)))
        out = self.project(found.view(batch, self.width, *size))
        grads = (out.bytes, 4)
        scaled = self.tape.record(out.shape, out.itemsize, (out, self.gamma), grads, (out,), transient=out.bytes)
        return ops.add(x, scaled)

    def _energy(self, query: Tensor | None, key: Tensor | None, x: Tensor, keys_from: Tensor) -> Tensor:
        """Content against content, plus content against the distance in x and in y, summed in place."""
        (height, width), (rows, columns) = x.size, keys_from.size
        batch, heads, tape = x.shape[0], self.heads, self.tape
        if query is None:
            assert key is not None
            assert self.content_bias is not None
            bias = tape.record((batch, self.width), 4, (self.content_bias,), (4 * self.width,))
            return ops.matmul(bias, key, (batch, heads, 1, rows * columns))
        along = [
            self._distances(layer, batch, sides)
            for layer, sides in zip(self.where, ((width, columns), (height, rows)), strict=True)
        ]
        shape = (batch, heads, height * width, rows * columns)
        if key is None:
            energy = tape.new(*shape, itemsize=x.itemsize)
        else:
            energy = ops.matmul(self._biased(query, self.content_bias), key, shape)
        asking = self._biased(query, self.position_bias)
        by_x = ops.matmul(ops.copy(asking), along[0], (batch, heads, height * width, columns))
        by_y = ops.matmul(asking, along[1], (batch, heads, height * width, rows))
        both = tape.record(shape, by_x.itemsize, (by_x, by_y), (by_x.bytes, by_y.bytes))
        return ops.add(energy, both, inplace=True)

    def _biased(self, query: Tensor, bias: Parameter | None) -> Tensor:
        if bias is None:
            return query
        return self.tape.record(query.shape, query.itemsize, (query, bias), (SAME, 4 * self.width))

    def _distances(self, layer: Linear, batch: int, sides: tuple[int, int]) -> Tensor:
        """Sines and cosines of the differences of coordinates, projected, repeated for every image."""
        found = layer(self.tape.new(*sides, self.position))
        repeated = self.tape.record((batch, *found.shape), found.itemsize, (found,), (found.bytes,))
        return ops.scaled(repeated, inplace=True)


_PLUGINS: dict[str, type[ContextBlock] | type[GeneralizedAttention]] = {
    "ContextBlock": ContextBlock,
    "GeneralizedAttention": GeneralizedAttention,
}

POSITIONS = ("after_conv2", "after_conv3")
"""Where a block can stand that is known here; ``after_conv1`` is in no published configuration."""


def plugin_of(tape: Tape, channels: int, plugin: Config) -> ContextBlock | GeneralizedAttention:
    """The block that one entry of ``plugins`` describes. Raises KeyError for any other."""
    config = plugin["cfg"]
    if plugin.get("position") not in POSITIONS:
        raise KeyError(f"plugin {config['type']} {plugin.get('position')}")
    return _PLUGINS[str(config["type"])](tape, channels, config)


@register("layer", "GeneralizedAttention")
def attention_over_regions(build: Build, config: Config) -> GeneralizedAttention:
    """The block over pooled regions (``post_cfg`` of GRoIE)."""
    return GeneralizedAttention(build.tape, int(config["in_channels"]), config)
