"""Point clouds as pillars on a grid: PointPillars.

Source: mmdetection3d 1.4.0 ``models/voxel_encoders/{pillar_encoder,voxel_encoder,utils}.py``,
``middle_encoders/pillar_scatter.py``, ``backbones/second.py``, ``necks/second_fpn.py``,
``dense_heads/anchor3d_head.py``.
The grid is fixed; how many pillars of it hold points is the data's. ``max_voxels`` for training is taken, at which
the dense sweeps of outdoor data sets arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import norm
from vramlint.memory.layers.heads.detection.common import Losses, overlaps, per_anchor
from vramlint.memory.layers.nn import Conv, Layer, Linear
from vramlint.memory.layers.registry import Build, Config, Maps, UnknownType, backbone, head, model, neck
from vramlint.memory.layers.tape import Tape, Tensor

BN: Config = {"type": "BN"}
PILLAR_SPREAD = 0.25
"""Half-width: 17 published runs of mmdetection3d's pillar detectors lie within it."""

OBJECTS = 100
"""Boxes of the fullest sweep that anchors are compared with, those of one size at a time where each has an assigner:
not in the configuration. nuScenes has 34 a key frame in the mean (arXiv 1903.11027, table 1)."""

POSITIVE_SHARE = 0.01
"""Anchors of a bird's-eye view that lie on an object."""


class _Encoder:
    """Linear, batch norm and ReLU over the points of every pillar, then the maximum of them.

    A layer that is not the last joins every point with its pillar's maximum: HardVFE at full width, PillarFeatureNet
    at half.
    """

    def __init__(self, tape: Tape, config: Config) -> None:
        kind = str(config["type"]).rpartition(".")[2]
        if kind not in ("HardVFE", "PillarFeatureNet"):
            raise UnknownType(f"voxel encoder {kind!r}")
        self.tape = tape
        centers = kind == "PillarFeatureNet"
        inside = int(config.get("in_channels", 4))
        inside += 3 * bool(config.get("with_cluster_center", centers)) + 3 * bool(
            config.get("with_voxel_center", centers)
        )
        self.inside = inside = inside + bool(config.get("with_distance", False))
        widths = [int(each) for each in config.get("feat_channels", (64,))]
        norms: Config = config.get("norm_cfg") or BN
        self.layers: list[tuple[Layer, Linear]] = []
        for index, width in enumerate(widths):
            out = width // 2 if centers and index < len(widths) - 1 else width
            self.layers.append((norm(tape, norms, out), Linear(tape, inside, out, bias=False)))
            inside = 2 * out

    def __call__(self, pillars: int, points: int) -> Tensor:
        raw = self.tape.new(pillars, points, 4)
        x = self.tape.new(pillars, points, self.inside)
        for index, (after, linear) in enumerate(self.layers):
            x = ops.copy(linear(x))
            x = ops.relu(ops.copy(after(x.view(pillars, linear.channels, points))))
            x = x.view(pillars, points, linear.channels)
            top = self.tape.record(
                (pillars, 1, linear.channels), x.itemsize, (x,), (x.bytes,),
                extra_saved_bytes=8 * pillars * linear.channels,
            )  # fmt: skip
            if index == len(self.layers) - 1:
                del raw
                return top.view(pillars, linear.channels)
            repeated = self.tape.record(x.shape, x.itemsize, (top,), (x.bytes,))
            x = ops.concatenate([x, repeated], axis=2)
        raise UnknownType("a voxel encoder without layers")


def _block(tape: Tape, conv: Conv, norms: Config) -> Layer:
    after = norm(tape, norms, conv.channels)
    return lambda x: ops.relu(after(conv(x)), inplace=True)


@backbone("SECOND")
class Second:
    """Three stages of plain convolutions over the bird's-eye view."""

    def __init__(self, build: Build, config: Config) -> None:
        norms: Config = config.get("norm_cfg") or BN
        inside = int(config.get("in_channels", 128))
        rows = zip(
            config.get("out_channels", (128, 128, 256)), config.get("layer_nums", (3, 5, 5)),
            config.get("layer_strides", (2, 2, 2)), strict=True,
        )  # fmt: skip
        self.stages: list[list[Layer]] = []
        for channels, count, stride in rows:
            stage: list[Layer] = []
            for index in range(int(count) + 1):
                conv = Conv(build.tape, inside, int(channels), 3, 1 if index else int(stride), 1, bias=False)
                stage.append(_block(build.tape, conv, norms))
                inside = int(channels)
            self.stages.append(stage)

    def __call__(self, x: Tensor) -> Maps:
        outs: Maps = []
        for stage in self.stages:
            for layer in stage:
                x = layer(x)
            outs.append(x)
        return outs


@neck("SECONDFPN")
class SecondPyramid:
    """Every level brought to the finest size by a transposed convolution, then joined."""

    def __init__(self, build: Build, config: Config) -> None:
        tape, norms = build.tape, config.get("norm_cfg") or BN
        rows = zip(config["in_channels"], config["out_channels"], config["upsample_strides"], strict=True)
        plain = bool(config.get("use_conv_for_no_stride", False))
        self.layers: list[Layer] = []
        for inside, channels, stride in rows:
            up = stride > 1 or (stride == 1 and not plain)
            step = int(stride) if up else round(1 / stride)
            conv = Conv(tape, int(inside), int(channels), step, step, transposed=up, bias=False)
            self.layers.append(_block(tape, conv, norms))

    def __call__(self, maps: Maps) -> Maps:
        found = [layer(x) for layer, x in zip(self.layers, maps, strict=True)]
        return [ops.concatenate(found) if len(found) > 1 else found[0]]


@head("Anchor3DHead", "FreeAnchor3DHead")
class AnchorHead3d:
    """Classes, boxes and directions of every rotation and size at every place."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        generator = config["anchor_generator"]
        sizes, rotations = generator["sizes"], generator.get("rotations", (0, 1.5707963))
        flat = sizes if isinstance(sizes[0], (list, tuple)) else [sizes]
        self.anchors = len(flat) * len(rotations)
        self.levels = max(1, len(generator.get("scales") or (1,)))
        channels = int(config.get("feat_channels", 256))
        self.classes = int(config["num_classes"])
        coder: Mapping[str, Any] = config.get("bbox_coder") or {}
        self.width = int(coder.get("code_size", 7))
        self.scores = Conv(tape, channels, self.anchors * self.classes)
        self.boxes = Conv(tape, channels, self.anchors * self.width)
        directions = config.get("use_direction_classifier", True)
        self.directions = Conv(tape, channels, self.anchors * 2) if directions else None
        self.classify = Losses(config.get("loss_cls"))
        assigner = (config.get("train_cfg") or {}).get("assigner")
        self.assigners = max(1, len(assigner)) if isinstance(assigner, list) else 1

    def loss(self, maps: Maps, images: int) -> list[Tensor]:
        outs = [(self.scores(x), self.boxes(x), None if self.directions is None else self.directions(x)) for x in maps]
        total = sum(each.elements for each, _, _ in outs) // self.classes // images
        for _ in range(images):
            overlaps(self.tape, total // self.assigners, OBJECTS)
        kept = self.tape.new(images * total, 2 * self.width + 8)
        losses: list[Tensor] = []
        for scores, boxes, directions in outs:
            losses.append(self.classify(per_anchor(scores, self.classes)))
            rows = per_anchor(boxes, self.width)
            count = max(1, round(rows.shape[0] * POSITIVE_SHARE))
            losses.append(ops.total(ops.pointwise_loss(ops.gather(rows, (count, self.width), rows.shape[0]), kept=2)))
            if directions is not None:
                picked = ops.gather(per_anchor(directions, 2), (count, 2), rows.shape[0])
                losses.append(ops.total(ops.pointwise_loss(picked)))
            del rows
        del kept
        return losses


@model("VoxelNet", "MVXFasterRCNN", "CenterPoint")
class PillarDetector:
    """Pillars, their grid, a network over it, a pyramid, anchors."""

    spread = PILLAR_SPREAD
    counts_objects = False
    assumptions = ("every sample fills as many pillars as max_voxels lets it",)

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = build.tape
        prefix = "pts_" if "pts_backbone" in config else ""
        middle = config[f"{prefix}middle_encoder"]
        if str(middle["type"]) != "PointPillarsScatter":
            raise UnknownType(f"{middle['type']}: how many voxels a sparse convolution meets is the data's")
        if "img_backbone" in config:
            raise UnknownType("a detector of points and images")
        layer = config.get(f"{prefix}voxel_layer") or (config.get("data_preprocessor") or {}).get("voxel_layer")
        if not layer:
            raise UnknownType("voxel_layer is not set")
        most = layer["max_voxels"]
        self.pillars = int(most[0] if isinstance(most, (list, tuple)) else most)
        self.points = int(layer["max_num_points"])
        self.grid = tuple(int(each) for each in middle["output_shape"])
        self.encoder = _Encoder(self.tape, config[f"{prefix}voxel_encoder"])
        self.backbone = build.backbone(config[f"{prefix}backbone"])
        section = config.get(f"{prefix}neck")
        self.neck = build.neck(section)
        joined = section.get("out_channels") if isinstance(section, Mapping) else None
        train = config.get("train_cfg") or {}
        own = train.get("pts") if prefix else train
        inside = sum(joined) if isinstance(joined, list) else joined
        self.head = build.make("head", {**config[f"{prefix}bbox_head"], "train_cfg": own, "inside": inside})

    def loss(self, images: Tensor) -> Tensor:
        batch = images.shape[0]
        rows = self.encoder(batch * self.pillars, self.points)
        channels = rows.shape[1]
        planes: list[Tensor] = []
        for _ in range(batch):
            canvas = self.tape.new(1, channels, *self.grid, itemsize=rows.itemsize)
            own = ops.gather(rows, (self.pillars, channels), 8 * self.pillars)
            planes.append(
                self.tape.record(canvas.shape, canvas.itemsize, (own,), (own.bytes,), inplace=canvas,
                                 extra_saved_bytes=8 * self.pillars)
            )  # fmt: skip
            del canvas, own
        del rows
        x = ops.concatenate(planes, axis=0)
        del planes
        return ops.total_loss(self.head.loss(self.neck(self.backbone(x)), batch))
