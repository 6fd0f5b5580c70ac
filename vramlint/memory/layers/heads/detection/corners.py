"""CornerNet and CentripetalNet: boxes as pairs of corners, found after pooling along the sides.

Source: mmdet 3.3.0 ``dense_heads/{corner_head,centripetal_head}.py``, mmcv 2.1.0 ``ops/corner_pool.py``.
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, Losses
from vramlint.memory.layers.nn import Conv, DeformConv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor

BATCH_NORM: Config = {"type": "BN", "requires_grad": True}
MIDDLE = 128
"""Channels between the convolutions of a corner pooling (``feat_channels``)."""


def corner_pool(x: Tensor, *, flipped: bool) -> Tensor:
    """A running maximum along a side (``cummax``), which keeps 64-bit indices; flipped before and after for two."""
    tape = x.storage.tape
    x = tape.record(x.shape, x.itemsize, (x,), (x.bytes,)) if flipped else x
    found = tape.record(x.shape, x.itemsize, (x,), (x.bytes,), extra_saved_bytes=8 * x.elements)
    return tape.record(x.shape, x.itemsize, (found,), (x.bytes,)) if flipped else found


class _Pool:
    """BiCornerPool: two directions, summed, and a shortcut."""

    def __init__(self, tape: Tape, channels: int, *, flipped: bool) -> None:
        self.flipped = flipped
        self.directions = [
            ConvModule(tape, channels, MIDDLE, 3, padding=1, norm_cfg=BATCH_NORM, act_cfg=RELU) for _ in range(2)
        ]
        self.after = ConvModule(tape, MIDDLE, channels, 3, padding=1, norm_cfg=BATCH_NORM)
        self.short = ConvModule(tape, channels, channels, 1, norm_cfg=BATCH_NORM)
        self.out = ConvModule(tape, channels, channels, 3, padding=1, norm_cfg=BATCH_NORM, act_cfg=RELU)

    def __call__(self, x: Tensor) -> Tensor:
        first, second = (conv(x) for conv in self.directions)
        first, second = corner_pool(first, flipped=self.flipped), corner_pool(second, flipped=self.flipped)
        pooled = self.after(ops.add(first, second))
        return self.out(ops.relu(ops.add(pooled, self.short(x)), inplace=True))


class _Branch:
    """A 3x3 convolution with ReLU and a 1x1 one."""

    def __init__(self, tape: Tape, inside: int, channels: int) -> None:
        self.first = ConvModule(tape, inside, 256, 3, padding=1, act_cfg=RELU)
        self.second = Conv(tape, 256, channels)

    def __call__(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class _Corner:
    """One corner of one level: heat map, embedding, offset."""

    def __init__(self, tape: Tape, config: Config, *, flipped: bool) -> None:
        inside = int(config["in_channels"])
        self.pool = _Pool(tape, inside, flipped=flipped)
        self.heat = _Branch(tape, inside, int(config["num_classes"]))
        self.offset = _Branch(tape, inside, 2)
        width = int(config.get("corner_emb_channels", 1))
        self.embedding = _Branch(tape, inside, width) if width > 0 else None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The heat map, the pooled features, and the maps whose values at the corners are compared."""
        pooled = self.pool(x)
        heat = self.heat(pooled)
        embedded = [] if self.embedding is None else [self.embedding(pooled)]
        return heat, pooled, [*embedded, self.offset(pooled)]


class _Shifts:
    """CentripetalNet: a shift towards the centre, guided by a coarse one through a deformable convolution."""

    def __init__(self, tape: Tape, config: Config) -> None:
        inside = int(config["in_channels"])
        kernel = int(config.get("feat_adaption_conv_kernel", 3))
        self.adapt = DeformConv(tape, inside, inside, kernel, 1, 1, own_offsets=False)
        self.guide, self.final = _Branch(tape, inside, 2), _Branch(tape, inside, 2)
        self.offsets = Conv(tape, 2, 2 * kernel * kernel, bias=False)

    def __call__(self, pooled: Tensor) -> list[Tensor]:
        guide = self.guide(pooled)
        adapted = self.adapt(pooled, self.offsets(guide.detach()))
        return [guide, self.final(adapted)]


@head("CornerHead", "CentripetalHead")
class CornerHead:
    """Both corners on every level; focal loss over the heat maps, the rest at the corners."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = build.tape
        centripetal = "Centripetal" in str(config["type"])
        self.levels: list[list[tuple[_Corner, _Shifts | None]]] = []
        for _ in range(int(config.get("num_feat_levels", 2))):
            # Left and top run backwards (``cummax_dim_flip``); so does the top-left corner.
            self.levels.append(
                [
                    (_Corner(self.tape, config, flipped=flipped), _Shifts(self.tape, config) if centripetal else None)
                    for flipped in (True, False)
                ]
            )
        self.classify = Losses(config.get("loss_heatmap") or {"type": "GaussianFocalLoss"})

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        del batch
        outs: list[tuple[Tensor, list[Tensor]]] = []
        for x, corners in zip(maps, self.levels, strict=True):
            for corner, shifts in corners:
                heat, pooled, others = corner(x)
                if shifts is not None:
                    others = [*others, *shifts(pooled)]
                outs.append((heat, others))
                del pooled
        targets = [self.tape.new(*outs[0][0].shape) for _ in range(2)]  # the same for every level
        losses: list[Tensor] = []
        for heat, others in outs:
            losses.append(self.classify(ops.sigmoid(heat)))
            losses += [ops.total(ops.pointwise_loss(each, kept=2)) for each in others]
        del targets
        return losses
