"""Instance masks by location: SOLO, decoupled SOLO, SOLOv2. Source: mmdet 3.3.0 ``models/dense_heads/solo*.py``.

``positives`` masks an image are compared with their targets: every object marks its centre's cells, nine at most
(``pos_scale`` 0.2 of its box, one cell around the centre).
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, Losses, per_anchor, through
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor

GN: Config = {"type": "GN", "num_groups": 32, "requires_grad": True}
CELLS_AN_OBJECT = 9
"""Cells of an object whose masks are trained: the one of its centre and those around it at most."""


def with_coordinates(x: Tensor, count: int = 2) -> Tensor:
    """Two maps of coordinates joined to the features."""
    return ops.concatenate([x, x.storage.tape.new(x.shape[0], count, *x.size, itemsize=x.itemsize)])


def dice(x: Tensor) -> Tensor:
    """Dice loss over (masks, pixels): a sigmoid, products with the target and with itself, sums."""
    chance = ops.sigmoid(x)
    tape = x.storage.tape
    target = tape.new(*x.shape)
    first = tape.record(x.shape, x.itemsize, (chance,), (x.bytes,), (target,))
    second = ops.mul(chance, chance)
    return ops.add(ops.total(first), ops.total(second))


class _Located:
    """What all three share: branches over resized levels."""

    coordinates = 2

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.config = config
        self.inside, self.channels = int(config["in_channels"]), int(config.get("feat_channels", 256))
        self.norm: Config = config.get("norm_cfg") or GN
        self.count = int(config.get("stacked_convs", 4))
        self.classes = int(config["num_classes"])
        self.grids = [int(each) for each in config.get("num_grids", (40, 36, 24, 16, 12))]
        self.cls = [self.module(i, 0, conv_cfg=self.branch_conv(i)) for i in range(self.count)]
        self.to_classes = Conv(tape, self.channels, self.classes, 3, padding=1)
        self.classify = Losses(config.get("loss_cls") or {"type": "FocalLoss", "use_sigmoid": True})

    def branch_conv(self, index: int) -> Config | None:
        """``dcn_cfg`` of SOLOv2: deformable convolutions, in all layers or the last."""
        dcn = self.config.get("dcn_cfg")
        everywhere = bool(self.config.get("dcn_apply_to_all_conv", True))
        return dcn if dcn and (everywhere or index == self.count - 1) else None

    def module(self, index: int, extra: int, *, conv_cfg: Config | None = None) -> ConvModule:
        inside = self.inside + extra if index == 0 else self.channels
        return ConvModule(
            self.tape, inside, self.channels, 3, 1, 1, norm_cfg=self.norm, act_cfg=RELU, conv_cfg=conv_cfg
        )

    def resized(self, maps: Maps) -> Maps:
        """The finest level halved, the coarsest brought to the size of the one before."""
        first, *middle, last = maps
        height, width = first.size
        return [
            ops.resize(first, (height // 2, width // 2)), *middle,
            ops.resize(last, middle[-1].size if middle else last.size),
        ]  # fmt: skip

    def scores(self, x: Tensor, grid: int) -> Tensor:
        x = ops.resize(x, (grid, grid))
        return per_anchor(self.to_classes(through(self.cls, x)), self.classes)

    def bitmaps(self, batch: Batch, sizes: list[tuple[int, int]]) -> list[Tensor]:
        """Targets: every object's bitmap, and a plane a grid cell of every level, a byte a pixel."""
        kept: list[Tensor] = []
        for objects in batch.counts:
            whole = self.tape.new(objects, batch.height, batch.width, itemsize=1)
            kept += [
                self.tape.new(grid * grid, *size, itemsize=1) for grid, size in zip(self.grids, sizes, strict=True)
            ]
            del whole
        return kept

    def share(self, batch: Batch) -> int:
        """Masks of one level that are trained: objects spread over the levels."""
        return max(1, CELLS_AN_OBJECT * sum(batch.counts) // len(self.grids))


@head("SOLOHead")
class SoloHead(_Located):
    """A plane of logits for every cell of every grid."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.masks = [self.module(i, 2) for i in range(self.count)]
        self.outs = [Conv(self.tape, self.channels, grid * grid) for grid in self.grids]

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        planes: list[Tensor] = []
        scores: list[Tensor] = []
        for x, out, grid in zip(self.resized(maps), self.outs, self.grids, strict=True):
            feat = ops.enlarged(through(self.masks, with_coordinates(x)), 2)
            planes.append(out(feat))
            del feat
            scores.append(self.scores(x, grid))
        kept = self.bitmaps(batch, [each.size for each in planes])
        count = self.share(batch)
        losses = [self._picked(each, count, batch.images) for each in planes]
        losses.append(self.classify(ops.concatenate(scores, axis=0)))
        del kept
        return losses

    @staticmethod
    def _picked(planes: Tensor, count: int, images: int) -> Tensor:
        """The planes of positive cells, picked image by image out of all."""
        part, pixels = max(1, count // images), planes.size[0] * planes.size[1]
        # ``planes[image, cells]`` is two operations, each with a gradient of all that it picked from.
        of_image = [ops.select(planes, (1, *planes.shape[1:])) for _ in range(images)]
        return dice(ops.concatenate([ops.gather(each, (part, pixels), 8 * part) for each in of_image], axis=0))


@head("DecoupledSOLOHead", "DecoupledSOLOLightHead")
class DecoupledHead(_Located):
    """Columns and rows apart: a mask is the product of two planes."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        light = "Light" in str(config.get("type"))
        self.branches: list[list[Any]] = [
            [self.module(i, 2 if light else 1) for i in range(self.count)] for _ in range(1 if light else 2)
        ]
        self.outs = [[Conv(self.tape, self.channels, grid, 3, padding=1) for _ in range(2)] for grid in self.grids]
        self.light = light

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        planes: list[list[Tensor]] = []
        scores: list[Tensor] = []
        for x, outs, grid in zip(self.resized(maps), self.outs, self.grids, strict=True):
            feats = [
                ops.enlarged(through(branch, with_coordinates(x, 2 if self.light else 1)), 2)
                for branch in self.branches
            ]
            planes.append([out(feats[min(i, len(feats) - 1)]) for i, out in enumerate(outs)])
            del feats
            scores.append(self.scores(x, grid))
        kept = self.bitmaps(batch, [pair[0].size for pair in planes])
        count = self.share(batch)
        losses = [self._product(pair, count) for pair in planes]
        losses.append(self.classify(ops.concatenate(scores, axis=0)))
        del kept
        return losses

    @staticmethod
    def _product(pair: list[Tensor], count: int) -> Tensor:
        height, width = pair[0].size
        picked = [ops.sigmoid(ops.gather(each, (count, height * width), 8 * count)) for each in pair]
        return dice(ops.mul(picked[0], picked[1]))


@head("SOLOV2Head")
class SoloV2Head(_Located):
    """Predicted kernels over one common mask feature."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        mask = config["mask_feature_head"]
        width = int(mask["out_channels"])
        self.mask_width = width
        kernel = width * int(config.get("dynamic_conv_size", 1)) ** 2
        self.kernels = [self.module(i, 2, conv_cfg=self.branch_conv(i)) for i in range(self.count)]
        self.to_kernels = Conv(self.tape, self.channels, kernel, 3, padding=1)
        self.common = _MaskFeature(self.tape, mask, self.inside)

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        common = self.common(maps)
        kernels: list[Tensor] = []
        scores: list[Tensor] = []
        for x, grid in zip(self.resized(maps), self.grids, strict=True):
            feat = ops.resize(with_coordinates(x), (grid, grid))
            kernels.append(self.to_kernels(through(self.kernels, feat)))
            del feat
            scores.append(self.scores(ops.select(x, x.shape), grid))
        size = common.size
        kept = self.bitmaps(batch, [size] * len(self.grids))
        losses: list[Tensor] = []
        for each in kernels:
            count = max(1, self.share(batch))
            picked = ops.gather(each, (count, self.mask_width), 8 * count)
            for _ in range(batch.images):
                part = max(1, count // batch.images)
                planes = ops.matmul(picked, common, (part, size[0] * size[1]))
                losses.append(dice(planes))
        losses.append(self.classify(ops.concatenate(scores, axis=0)))
        del kept
        return losses


class _MaskFeature:
    """MaskFeatModule: levels brought to the finest one, summed."""

    def __init__(self, tape: Tape, config: Config, inside: int) -> None:
        first, last = int(config["start_level"]), int(config["end_level"])
        self.levels = range(first, last + 1)
        width = int(config["feat_channels"])
        norm_cfg = config.get("norm_cfg")
        self.convs: list[list[ConvModule]] = []
        for level in self.levels:
            count = max(1, level)
            extra = 2 if level == last and level > 0 else 0
            self.convs.append(
                [
                    ConvModule(
                        tape, inside + extra if i == 0 else width, width, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=RELU,
                        conv_cfg=config.get("conv_cfg"), inplace=False,
                    )
                    for i in range(count)
                ]
            )  # fmt: skip
        self.predict = ConvModule(tape, width, int(config["out_channels"]), 1, norm_cfg=norm_cfg, act_cfg=RELU)

    def __call__(self, maps: Maps) -> Tensor:
        total: Tensor | None = None
        for level, convs in zip(self.levels, self.convs, strict=True):
            x = maps[level]
            if level == self.levels[-1] and level > 0:
                x = with_coordinates(x)
            for conv in convs:
                x = conv(x)
                x = ops.enlarged(x, 2) if level > 0 else x
            total = x if total is None else ops.add(total, x)
        assert total is not None
        return self.predict(total)
