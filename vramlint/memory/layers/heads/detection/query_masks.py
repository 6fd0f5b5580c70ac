"""QueryInst's masks: regions convolved by weights from their proposals (mmdet 3.3.0 ``dynamic_mask_head.py``)."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.mask_heads import MaskHead
from vramlint.memory.layers.nn import LayerNorm, Linear
from vramlint.memory.layers.registry import Build, Config, head
from vramlint.memory.layers.tape import Tensor


@head("DynamicMaskHead")
class DynamicMaskHead(MaskHead):
    """FCNMaskHead after a dynamic convolution without projection."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        dynamic = config.get("dynamic_conv_cfg") or {}
        if dynamic.get("with_proj", True):
            raise KeyError("with_proj")
        tape = build.tape
        self.inner = int(dynamic.get("feat_channels", 64))
        self.weights = Linear(tape, self.inside, 2 * self.inside * self.inner)
        self.norm_in, self.norm_out = LayerNorm(tape, self.inner), LayerNorm(tape, self.inside)

    def forward_with(self, regions: Tensor, proposals: Tensor) -> Tensor:
        """Logits of ``regions`` (n, channels, side, side), convolved by what ``proposals`` (n, channels) say."""
        count, channels, height, width = regions.shape
        inner, places = self.inner, height * width
        first, second = ops.split(self.weights(proposals), [channels * inner] * 2, axis=1)
        x = regions.view(count, places, channels)
        x = ops.matmul(x, first.view(count, channels, inner), (count, places, inner))
        x = ops.relu(self.norm_in(x), inplace=True)
        x = ops.matmul(x, second.view(count, inner, channels), (count, places, channels))
        x = ops.relu(self.norm_out(x), inplace=True)
        return self.forward(x.view(count, channels, height, width))
