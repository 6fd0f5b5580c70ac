"""Fully convolutional heads. Source: mmsegmentation 1.2.2 ``decode_heads/fcn_head.py``."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.segmentation.base import DecodeHead
from vramlint.memory.layers.nn import Layer
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor


@head("FCNHead")
class FCNHead(DecodeHead):
    """``num_convs`` convolutions, and one over their result beside the input."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        count, kernel = int(config.get("num_convs", 2)), int(config.get("kernel_size", 3))
        self.joined = bool(config.get("concat_input", True))
        dilation = int(config.get("dilation", 1))
        sources = [self.inside, *[self.channels] * (count - 1)][:count]
        self.convs = [self.conv(source, kernel, dilation) for source in sources]
        if self.joined:
            self.join = self.conv(self.inside + self.channels, kernel, 1)

    def conv(self, inside: int, kernel: int, dilation: int) -> Layer:
        """One convolution with norm and activation."""
        padding = kernel // 2 * dilation
        return self.module(inside, self.channels, kernel, padding=padding, dilation=dilation)

    def features(self, maps: Maps) -> Tensor:
        x = self.picked(maps)
        y = x
        for layer in self.convs:
            y = layer(y)
        return self.join(ops.concatenate([x, y])) if self.joined else y
