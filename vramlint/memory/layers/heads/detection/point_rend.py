"""PointRend: a coarse mask by linear layers, then points of it.

Source: mmdet 3.3.0 ``roi_heads/point_rend_roi_head.py``,
``mask_heads/{coarse_mask_head,mask_point_head}.py``.
"""

from __future__ import annotations

from math import prod
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, stack, through
from vramlint.memory.layers.heads.detection.mask_heads import mask_loss
from vramlint.memory.layers.heads.detection.roi_heads import RegionHead
from vramlint.memory.layers.nn import Conv, Linear
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor


@head("CoarseMaskHead")
class CoarseHead:
    """A strided convolution, linear layers, a small mask of every class."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = int(config.get("in_channels", 256)), int(config.get("conv_out_channels", 256))
        factor, width = int(config.get("downsample_factor", 2)), int(config.get("fc_out_channels", 1024))
        count = int(config.get("num_convs", 0))
        self.convs: list[Any] = list(stack(tape, count, inside, channels, norm_cfg=config.get("norm_cfg")))
        if factor > 1:
            source = channels if count else inside
            self.convs.append(
                ConvModule(tape, source, channels, factor, factor, 0, norm_cfg=config.get("norm_cfg"), act_cfg=RELU)
            )
        self.side, self.classes = int(config.get("roi_feat_size", 14)) // factor, int(config.get("num_classes", 80))
        rows = channels * self.side**2
        self.linear = [Linear(tape, rows if i == 0 else width, width) for i in range(int(config.get("num_fcs", 2)))]
        self.logits = Linear(tape, width, self.classes * self.side**2)

    def forward(self, x: Tensor) -> Tensor:
        x = through(self.convs, x)
        x = x.view(x.shape[0], prod(x.shape[1:]))
        for layer in self.linear:
            x = ops.relu(layer(x), inplace=True)
        return self.logits(x).view(x.shape[0], self.classes, self.side, self.side)

    def loss(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        return mask_loss(self.tape, logits, batch)


@head("MaskPointHead")
class PointHead:
    """Features of every point and the coarse prediction there, through 1-D convolutions."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        classes, width = int(config["num_classes"]), int(config.get("fc_channels", 256))
        self.again = bool(config.get("coarse_pred_each_layer", True))
        inside = int(config.get("in_channels", 256)) + classes
        kind: Config = {"type": "Conv1d"}
        self.layers: list[ConvModule] = []
        for _ in range(int(config.get("num_fcs", 3))):
            self.layers.append(ConvModule(tape, inside, width, 1, conv_cfg=kind, act_cfg=RELU, dims=1))
            inside = width + (classes if self.again else 0)
        self.logits = Conv(tape, inside, 1 if config.get("class_agnostic", False) else classes, dims=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        x = ops.concatenate([fine, coarse])
        for layer in self.layers:
            x = layer(x)
            x = ops.concatenate([x, coarse]) if self.again else x
        return self.logits(x)


@head("PointRendRoIHead")
class PointRegionHead(RegionHead):
    """Mask R-CNN's regions with a coarse mask and points."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.points = build.make("head", config["point_head"])
        self.count = int((config.get("train_cfg") or {}).get("num_points", 196))

    def mask_losses(self, maps: Maps, features: Tensor | None, batch: Batch) -> list[Tensor]:
        assert self.masks is not None
        logits = self.masks.forward(self.mask_features(maps, features, batch))
        losses: list[Tensor] = list(self.masks.loss(logits, batch))
        regions, tape = logits.shape[0], self.tape
        x = maps[0]
        shape = (regions, x.shape[1], self.count)
        fine = tape.record(shape, x.itemsize, (x,), (x.bytes,), (x,), extra_saved_bytes=8 * regions * self.count)
        coarse_shape = (regions, logits.shape[1], self.count)
        coarse = tape.record(
            coarse_shape, logits.itemsize, (logits,), (logits.bytes,), (logits,),
            extra_saved_bytes=8 * regions * self.count,
        )  # fmt: skip
        scores = self.points.forward(fine, coarse)
        self._point_targets(regions // batch.images, batch)
        picked = ops.gather(scores, (regions, self.count), 16 * regions)
        return [*losses, ops.total(ops.pointwise_loss(picked, kept=2))]

    def _point_targets(self, positives: int, batch: Batch) -> None:
        """``MaskPointHead.get_targets``: each image's bitmaps as floats, picked once more for its positives."""
        for objects in batch.counts:
            whole = self.tape.new(objects, batch.height, batch.width)
            picked = self.tape.new(positives, batch.height, batch.width)
            del whole, picked
