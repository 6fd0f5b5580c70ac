"""Box and mask heads over regions. Source: mmdet 3.3.0 ``models/roi_heads/bbox_heads`` and ``mask_heads``.

A box head has ``forward(features) -> (scores, deltas)`` and ``loss(scores, deltas) -> losses``; a mask head has
``forward(features) -> logits`` and ``loss(logits, …) -> losses``.
"""

from __future__ import annotations

from math import prod
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, Losses, decode, stack, through
from vramlint.memory.layers.necks.pyramids import Carafe
from vramlint.memory.layers.nn import Conv, GroupNorm, Linear
from vramlint.memory.layers.registry import Build, Config, UnknownType, head
from vramlint.memory.layers.tape import Tape, Tensor


class BoxHead:
    """Shared convolutions and linear layers, then branches for classes and boxes (ConvFCBBoxHead)."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        side = config.get("roi_feat_size", 7)
        self.area = side * side if isinstance(side, int) else int(prod(side))
        self.width, self.channels = int(config.get("fc_out_channels", 1024)), int(config.get("conv_out_channels", 256))
        self.config = config
        self.pooled = bool(config.get("with_avg_pool", False))
        self.shared_fcs = int(config.get("num_shared_fcs", 0))
        inside = int(config.get("in_channels", 256))
        self.shared, after = self._branch(int(config.get("num_shared_convs", 0)), self.shared_fcs, inside, shared=True)
        self.cls, cls_width = self._branch(
            int(config.get("num_cls_convs", 0)), int(config.get("num_cls_fcs", 0)), after
        )
        self.reg, reg_width = self._branch(
            int(config.get("num_reg_convs", 0)), int(config.get("num_reg_fcs", 0)), after
        )
        if self.shared_fcs == 0 and not self.pooled:
            cls_width *= self.area if not self.cls[1] else 1
            reg_width *= self.area if not self.reg[1] else 1
        classes = int(config.get("num_classes", 80))
        loss_cls = config.get("loss_cls") or {"type": "CrossEntropyLoss"}
        outputs = classes + (2 if str(loss_cls.get("type")) == "SeesawLoss" else 1)
        self.boxes = 4 if config.get("reg_class_agnostic", False) else 4 * classes
        self.fc_cls = Linear(tape, cls_width, outputs) if config.get("with_cls", True) else None
        self.fc_reg = Linear(tape, reg_width, self.boxes) if config.get("with_reg", True) else None
        self.classify, self.regress = Losses(loss_cls), Losses(config.get("loss_bbox"))

    def _branch(self, convs: int, fcs: int, inside: int, *, shared: bool = False) -> tuple[Any, int]:
        config = self.config
        layers = stack(
            self.tape, convs, inside, self.channels, norm_cfg=config.get("norm_cfg"), conv_cfg=config.get("conv_cfg")
        )
        width = self.channels if convs else inside
        linear: list[Linear] = []
        if fcs:
            if (shared or self.shared_fcs == 0) and not self.pooled:
                width *= self.area
            for _ in range(fcs):
                linear.append(Linear(self.tape, width, self.width))
                width = self.width
        return (layers, linear), width

    def _flat(self, x: Tensor) -> Tensor:
        if len(x.shape) == 2:
            return x
        if self.pooled:
            x = ops.avg_pool(x, x.size)
        return x.view(x.shape[0], prod(x.shape[1:]))

    def _run(self, branch: Any, x: Tensor, *, flatten: bool) -> Tensor:
        convs, linear = branch
        x = through(convs, x)
        if flatten or linear:
            x = self._flat(x)
        for layer in linear:
            x = ops.relu(layer(x), inplace=True)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        scores, deltas, _ = self.forward_shared(x)
        return scores, deltas

    def forward_shared(self, x: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Scores, deltas and the rows that both come from."""
        x = self._run(self.shared, x, flatten=False)
        for_classes = self._run(self.cls, x, flatten=True)
        for_boxes = self._run(self.reg, x, flatten=True)
        return (
            None if self.fc_cls is None else self.fc_cls(for_classes),
            None if self.fc_reg is None else self.fc_reg(for_boxes),
            x,
        )

    def loss(self, scores: Tensor | None, deltas: Tensor | None, positives: int) -> list[Tensor]:
        losses = [] if scores is None else [self.classify(scores)]
        if deltas is not None:
            rows = deltas.view(deltas.shape[0], deltas.shape[1] // 4, 4)
            picked = ops.gather(rows, (positives, 4), 16 * positives)
            losses.append(self.regress(decode(picked) if self.regress.on_boxes else picked))
        return losses


@head("ConvFCBBoxHead", "BBoxHead")
def conv_fc(build: Build, config: Config) -> BoxHead:
    """Layers as counted in the configuration."""
    return BoxHead(build, config)


@head("Shared2FCBBoxHead", "SCNetBBoxHead")
def shared_2fc(build: Build, config: Config) -> BoxHead:
    """Two shared linear layers."""
    return BoxHead(build, {"num_shared_fcs": 2, **config})


@head("Shared4Conv1FCBBoxHead")
def shared_4conv_1fc(build: Build, config: Config) -> BoxHead:
    """Four shared convolutions, one linear layer."""
    return BoxHead(build, {"num_shared_convs": 4, "num_shared_fcs": 1, **config})


@head("DoubleConvFCBBoxHead")
class DoubleBoxHead(BoxHead):
    """Double-Head R-CNN: residual convolutions for boxes, linear layers for classes."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        convs, fcs = int(config["num_convs"]), int(config["num_fcs"])
        width, channels = int(config.get("fc_out_channels", 1024)), int(config.get("conv_out_channels", 1024))
        super().__init__(build, {**config, "with_cls": False, "with_reg": False})
        inside = int(config.get("in_channels", 256))
        norm: Config = config.get("norm_cfg") or {"type": "BN"}
        self.residual = (
            ConvModule(tape, inside, inside, 3, padding=1, norm_cfg=norm, act_cfg=RELU),
            ConvModule(tape, inside, channels, 1, norm_cfg=norm),
            ConvModule(tape, inside, channels, 1, norm_cfg=norm),
        )
        self.blocks = [
            (
                ConvModule(tape, channels, channels // 4, 1, norm_cfg=norm, act_cfg=RELU),
                ConvModule(tape, channels // 4, channels // 4, 3, padding=1, norm_cfg=norm, act_cfg=RELU),
                ConvModule(tape, channels // 4, channels, 1, norm_cfg=norm),
            )
            for _ in range(convs)
        ]
        self.linear = [Linear(tape, inside * self.area if i == 0 else width, width) for i in range(fcs)]
        self.fc_cls = Linear(tape, width, int(config["num_classes"]) + 1)
        self.fc_reg = Linear(tape, channels, self.boxes)

    def forward_both(self, for_classes: Tensor, for_boxes: Tensor) -> tuple[Tensor, Tensor]:
        first, second, short = self.residual
        x = ops.relu(ops.add(second(first(for_boxes)), short(for_boxes)), inplace=True)
        for a, b, c in self.blocks:
            x = ops.relu(ops.add(c(b(a(x))), x), inplace=True)
        x = ops.avg_pool(x, x.size)
        assert self.fc_reg is not None
        assert self.fc_cls is not None
        deltas = self.fc_reg(x.view(x.shape[0], x.shape[1]))
        rows = for_classes.view(for_classes.shape[0], prod(for_classes.shape[1:]))
        for layer in self.linear:
            rows = ops.relu(layer(rows), inplace=True)
        return self.fc_cls(rows), deltas


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
