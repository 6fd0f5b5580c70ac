"""Blocks that OpenMMLab puts inside residual blocks (``plugins``).

Source: mmcv 2.1.0 ``cnn/bricks/context_block.py``.
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.nn import Conv, LayerNorm
from vramlint.memory.layers.registry import Config
from vramlint.memory.layers.tape import Tape, Tensor


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


def plugin_of(tape: Tape, channels: int, plugin: Config) -> ContextBlock:
    """The block that one entry of ``plugins`` puts after the third convolution. Raises KeyError for any other."""
    config = plugin["cfg"]
    if str(config["type"]) != "ContextBlock" or plugin.get("position") != "after_conv3":
        raise KeyError(f"plugin {config['type']} {plugin.get('position')}")
    return ContextBlock(tape, channels, config)
