"""Mask heads of regions and what stands beside them: semantic, context and relay branches, mask IoU, grids.

A mask head has ``forward(features) -> logits`` and ``loss(logits, …) -> losses``.
Source: mmdet 3.3.0 ``models/roi_heads/mask_heads``.
"""

from __future__ import annotations

from math import prod
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, stack, through
from vramlint.memory.layers.necks.content import Carafe
from vramlint.memory.layers.nn import Conv, GroupNorm, Linear
from vramlint.memory.layers.registry import Build, Config, UnknownType, head
from vramlint.memory.layers.tape import Tape, Tensor


class MaskHead:
    """Convolutions, an upsampling, logits of every class (FCNMaskHead)."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = int(config.get("in_channels", 256)), int(config.get("conv_out_channels", 256))
        count = int(config.get("num_convs", 4))
        self.inside = inside
        self.convs: list[Any] = list(stack(
            tape, count, inside, channels, norm_cfg=config.get("norm_cfg"), conv_cfg=config.get("conv_cfg"),
            kernel=int(config.get("conv_kernel_size", 3)),
        ))  # fmt: skip
        upsample = config.get("upsample_cfg") or {"type": "deconv", "scale_factor": 2}
        self.kind, self.factor = upsample.get("type"), int(upsample.get("scale_factor") or 2)
        self.up: Any = None
        if self.kind == "deconv":
            self.up = Conv(tape, channels if count else inside, channels, self.factor, self.factor, transposed=True)
        elif self.kind == "carafe":
            self.up = Carafe(tape, channels, upsample)
        elif self.kind not in (None, "nearest", "bilinear"):
            raise UnknownType(f"mask head with upsampling {self.kind!r}")
        self.classes = 1 if config.get("class_agnostic", False) else int(config.get("num_classes", 80))
        self.logits = Conv(tape, channels, self.classes)

    def features(self, x: Tensor) -> Tensor:
        return through(self.convs, x)

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(self.features(x))

    def predict(self, x: Tensor) -> Tensor:
        if self.kind in ("deconv", "carafe"):
            x = self.up(x)
            x = ops.relu(x, inplace=True) if self.kind == "deconv" else x
        elif self.kind is not None:
            x = ops.enlarged(x, self.factor)
        return self.logits(x)

    def loss(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        return mask_loss(self.tape, logits, batch)


def mask_loss(tape: Tape, logits: Tensor, batch: Batch) -> list[Tensor]:
    """Targets cropped out of the images' bitmaps on the card, then binary cross entropy of each region's class.

    ``BitmapMasks.crop_and_resize`` picks each positive's whole bitmap (a byte a pixel) and makes it float.
    """
    regions = logits.shape[0]
    each = max(1, regions // batch.images)
    for objects in batch.counts:
        bitmaps = tape.new(objects, batch.height, batch.width, itemsize=1)
        picked = tape.new(each, batch.height, batch.width, itemsize=1)
        floats = tape.new(each, batch.height, batch.width)
        del bitmaps, picked, floats
    targets = tape.new(regions, *logits.size)
    found = ops.gather(logits, (regions, *logits.size), 16 * regions)
    loss = ops.total(ops.pointwise_loss(found, kept=2, steps=0))
    del targets
    return [loss]


@head("FCNMaskHead")
def fcn_mask_head(build: Build, config: Config) -> MaskHead:
    """The plain one."""
    return MaskHead(build, config)


@head("HTCMaskHead")
class CascadedMaskHead(MaskHead):
    """HTC: takes the features of the stage before through a 1x1 convolution."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        width = int(config.get("conv_out_channels", 256))
        self.residual = (
            ConvModule(build.tape, width, width, 1, norm_cfg=config.get("norm_cfg"), act_cfg=RELU)
            if config.get("with_conv_res", True)
            else None
        )

    def with_residual(self, x: Tensor, before: Tensor | None) -> Tensor:
        """The pooled features with those of the stage before added."""
        return x if before is None or self.residual is None else ops.add(x, self.residual(before))


class _Residuals:
    """``SimplifiedBasicBlock``s: two convolutions and a sum."""

    def __init__(self, tape: Tape, inside: int, channels: int, count: int, norm_cfg: Config | None) -> None:
        self.blocks = []
        for i in range(count):
            source = inside if i == 0 else channels
            short = ConvModule(tape, source, channels, 1, norm_cfg=norm_cfg) if source != channels else None
            self.blocks.append(
                (
                    ConvModule(tape, source, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=RELU),
                    ConvModule(tape, channels, channels, 3, padding=1, norm_cfg=norm_cfg),
                    short,
                )
            )

    def __call__(self, x: Tensor) -> Tensor:
        for first, second, short in self.blocks:
            x = ops.add(second(first(x)), x if short is None else short(x))
        return x


@head("SCNetMaskHead")
class ResidualMaskHead(MaskHead):
    """Pairs of its convolutions are residual."""

    def __init__(self, build: Build, config: Config) -> None:
        residual = bool(config.get("conv_to_res", True))
        super().__init__(build, {**config, "num_convs": 0 if residual else config.get("num_convs", 4)})
        if residual:
            inside, width = int(config.get("in_channels", 256)), int(config.get("conv_out_channels", 256))
            count = int(config.get("num_convs", 4)) // 2
            self.convs = [_Residuals(build.tape, inside, width, count, config.get("norm_cfg"))]


@head("FusedSemanticHead", "SCNetSemanticHead")
class SemanticHead:
    """Levels brought to one size and summed; logits of every class, and an embedding for the regions."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = int(config.get("in_channels", 256)), int(config.get("conv_out_channels", 256))
        norm_cfg = config.get("norm_cfg")
        self.level = int(config["fusion_level"])
        self.lateral = [
            ConvModule(tape, inside, inside, 1, norm_cfg=norm_cfg, act_cfg=RELU, inplace=False)
            for _ in range(int(config["num_ins"]))
        ]
        count = int(config.get("num_convs", 4))
        residual = bool(config.get("conv_to_res", "SCNet" in str(config.get("type"))))
        self.convs: list[Any] = (
            [_Residuals(tape, inside, channels, count // 2, norm_cfg)]
            if residual
            else stack(tape, count, inside, channels, norm_cfg=norm_cfg)
        )
        self.embed = ConvModule(tape, channels, channels, 1, norm_cfg=norm_cfg, act_cfg=RELU)
        self.logits = Conv(tape, channels, int(config.get("num_classes", 183)))

    def loss(self, maps: list[Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss, and the embedding."""
        x = self.lateral[self.level](maps[self.level])
        for i, conv in enumerate(self.lateral):
            if i != self.level:
                x = ops.add(x, conv(ops.resize(maps[i], x.size)))
        x = through(self.convs, x)
        logits = self.logits(x)
        labels = self.tape.new(batch.images, *logits.size, itemsize=8)
        return ops.total(ops.cross_entropy(logits, labels)), self.embed(x)


@head("GlobalContextHead")
class ContextHead:
    """Which classes the whole image shows."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        inside, channels = int(config.get("in_channels", 256)), int(config.get("conv_out_channels", 256))
        count, norm_cfg = int(config.get("num_convs", 4)), config.get("norm_cfg")
        self.convs: list[Any] = (
            [_Residuals(tape, inside, channels, count // 2, norm_cfg)]
            if config.get("conv_to_res", False)
            else stack(tape, count, inside, channels, norm_cfg=norm_cfg)
        )
        self.classify = Linear(tape, channels, int(config.get("num_classes", 80)))

    def loss(self, maps: list[Tensor], batch: Batch) -> list[Tensor]:
        x = ops.adaptive_avg_pool(through(self.convs, maps[-1]), 1)
        return [ops.total(ops.pointwise_loss(self.classify(x.view(batch.images, x.channels)), kept=2))]


@head("FeatureRelayHead")
class RelayHead:
    """The box branch's rows brought back to maps."""

    def __init__(self, build: Build, config: Config) -> None:
        self.side, self.channels = int(config.get("roi_feat_size", 7)), int(config.get("out_conv_channels", 256))
        self.factor = int(config.get("scale_factor", 2))
        self.linear = Linear(build.tape, int(config.get("in_channels", 1024)), self.side**2 * self.channels)

    def forward(self, rows: Tensor) -> Tensor:
        return ops.enlarged(self.linear(rows).view(rows.shape[0], self.channels, self.side, self.side), self.factor)


@head("MaskIoUHead")
class MaskIouHead:
    """Mask Scoring R-CNN: features and the mask together, to one number a class."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        count, inside = int(config.get("num_convs", 4)), int(config.get("in_channels", 256))
        channels, width = int(config.get("conv_out_channels", 256)), int(config.get("fc_out_channels", 1024))
        side = int(config.get("roi_feat_size", 14)) // 2
        self.convs = [
            Conv(tape, inside + 1 if i == 0 else channels, channels, 3, 2 if i == count - 1 else 1, 1)
            for i in range(count)
        ]
        self.linear = [
            Linear(tape, channels * side * side if i == 0 else width, width)
            for i in range(int(config.get("num_fcs", 2)))
        ]
        self.out = Linear(tape, width, int(config.get("num_classes", 80)))

    def loss(self, features: Tensor, masks: Tensor) -> list[Tensor]:
        mask = ops.max_pool(ops.sigmoid(masks), 2, 2)
        x = ops.concatenate([features, mask])
        for conv in self.convs:
            x = ops.relu(conv(x))
        rows = x.view(x.shape[0], prod(x.shape[1:]))
        for layer in self.linear:
            rows = ops.relu(layer(rows))
        scores = self.out(rows)
        return [ops.total(ops.pointwise_loss(ops.gather(scores, (scores.shape[0],), 16 * scores.shape[0])))]


@head("GridHead")
class GridHead:
    """Eight strided convolutions, features of nine points exchanged twice, heat maps with and without that."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        points, width = int(config.get("grid_points", 9)), int(config.get("point_feat_channels", 64))
        channels = points * width
        norm_cfg: Config = config.get("norm_cfg") or {"type": "GN", "num_groups": 36}
        self.convs = [
            ConvModule(
                tape, int(config.get("in_channels", 256)) if i == 0 else channels, channels, 3, 2 if i == 0 else 1, 1,
                norm_cfg=norm_cfg, act_cfg=RELU, bias=True,
            )
            for i in range(int(config.get("num_convs", 8)))
        ]  # fmt: skip
        self.first = Conv(tape, channels, channels, 4, 2, 1, groups=points, transposed=True)
        self.norm = GroupNorm(tape, points, channels)
        self.second = Conv(tape, channels, points, 4, 2, 1, groups=points, transposed=True)
        self.points, self.width, side = points, width, int(points**0.5)
        self.neighbours = [sum((i > 0, j > 0, i < side - 1, j < side - 1)) for i in range(side) for j in range(side)]
        self.exchange = [
            [
                (Conv(tape, width, width, 5, padding=2, groups=width), Conv(tape, width, width))
                for _ in range(sum(self.neighbours))
            ]
            for _ in range(2)
        ]

    def loss(self, x: Tensor) -> list[Tensor]:
        x = through(self.convs, x)
        part = (x.shape[0], self.width, *x.size)
        parts = [ops.select(x, part) for _ in range(self.points)]
        for layers in self.exchange:
            remaining = iter(layers)
            changed: list[Tensor] = []
            for own, count in zip(parts, self.neighbours, strict=True):
                base = ops.select(x, part)
                for _ in range(count):
                    wide, point = next(remaining)
                    base = ops.add(base, point(wide(own)))
                changed.append(base)
            parts = changed
        heats = [self._heat(ops.concatenate(parts)), self._heat(x)]
        return [ops.total(ops.pointwise_loss(each, kept=2)) for each in heats]

    def _heat(self, x: Tensor) -> Tensor:
        return self.second(ops.relu(self.norm(self.first(x)), inplace=True))
