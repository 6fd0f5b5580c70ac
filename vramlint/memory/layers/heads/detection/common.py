"""What detection heads share: how many objects an image has, assignment costs, losses over anchors, RoI pooling.

Data-dependent counts come from limits: proposals sampled an image from the configuration, objects an image from
``OBJECTS``. Sources: mmdet 3.3.0 ``structures/bbox/bbox_overlaps.py``, ``models/losses``, ``models/dense_heads``,
``models/roi_heads``; mmcv 2.1.0 ``ops/focal_loss.py``, ``ops/roi_align.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, UnknownType
from vramlint.memory.layers.tape import SAME, Tape, Tensor

OBJECTS = 93
"""Most annotated objects in one training image of COCO: 000000157105.jpg of train2017
(fchollet/deep-learning-with-python-notebooks issue 299; DETR's paper says 63). Published peaks of region proposal
networks, whose forward pass ends with the IoU of every anchor and object, agree."""

OBJECT_SPREAD = 0.13
"""Half-width of the interval on a detector's activations: how many objects and positives the fullest batch has is not
in the configuration. 94.8 % of 286 published runs of mmdet and detectron2 lie within their intervals."""

OTHER_OBJECTS = 33
"""Objects of the images beside the fullest one: 99 % of COCO's training images have no more (stig.sh, Lextal/SotA-CV,
``coco_detection.md``). A run sees its fullest image a few times, never two like it in one batch."""


class Batch(NamedTuple):
    """What heads know of the batch: images, their padded size, objects of the fullest image and of each other one."""

    images: int
    height: int
    width: int
    objects: int
    others: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Objects of each image, the fullest first."""
        return (self.objects, *[self.others] * (self.images - 1))


def batch_of(build: Build, images: Tensor) -> Batch:
    """The batch of ``images``, with the plan's limit of objects for each, or COCO's."""
    given = build.facts.get("ground_truths")
    objects, others = (OBJECTS, OTHER_OBJECTS) if given is None else (int(given), int(given))
    return Batch(images.shape[0], *images.size, objects, others)


# --- anchors and assignment ------------------------------------------------------------------------------------------


def anchors_each(generator: Config) -> int:
    """Anchors a place, the same on every level. Raises UnknownType for a generator not known."""
    kind = str(generator["type"]).rpartition(".")[2]
    ratios = len(generator.get("ratios") or [1])
    if kind in ("AnchorGenerator", "LegacyAnchorGenerator", "RotatedAnchorGenerator", "FakeRotatedAnchorGenerator"):
        scales = generator.get("scales_per_octave") or len(generator.get("scales") or [1])
        return ratios * int(scales)
    if kind == "YOLOAnchorGenerator":
        return len(generator["base_sizes"][0])
    if kind in ("MlvlPointGenerator", "PointGenerator"):
        return 1
    raise UnknownType(f"anchor generator {kind!r}")


def overlaps(tape: Tape, boxes: int, objects: int) -> None:
    """The IoU of every box with every object (``bbox_overlaps``): corners, sides, areas, 36 bytes a pair at the worst.

    Left top and right bottom (8 bytes each), sides (8), overlap, sum of areas and union (4 each).
    """
    pairs = boxes * objects
    sides = [tape.new(pairs, 2) for _ in range(3)]
    areas = [tape.new(pairs) for _ in range(3)]
    del sides, areas


def on_cpu(assigner: Config | None, objects: int) -> bool:
    """``gpu_assign_thr``: images with more objects are assigned on the CPU."""
    limit = int((assigner or {}).get("gpu_assign_thr", -1))
    return 0 < limit < objects


_BY_OVERLAP = ("MaxIoUAssigner", "ApproxMaxIoUAssigner", "GridAssigner", "ATSSAssigner", "TaskAlignedAssigner")


def assign(tape: Tape, assigner: Config | None, boxes: int, objects: int) -> None:
    """What assigning ``boxes`` to the objects of one image allocates for a moment."""
    kind = str((assigner or {}).get("type", "MaxIoUAssigner")).rpartition(".")[2]
    if on_cpu(assigner, objects):
        return
    if kind in _BY_OVERLAP:
        overlaps(tape, boxes, objects)
    elif kind in ("PointAssigner", "CenterRegionAssigner"):
        kept = [tape.new(boxes, objects, 2) for _ in range(3)]
        del kept


def point_targets(tape: Tape, points: int, objects: int) -> None:
    """FCOS: every point against every object: areas, ranges, four distances, comparisons (about 60 bytes a pair)."""
    pairs = points * objects
    kept = [tape.new(pairs) for _ in range(9)]
    boxes = [tape.new(pairs, 4), tape.new(pairs, 2)]
    del kept, boxes


# --- losses ----------------------------------------------------------------------------------------------------------


def per_anchor(x: Tensor, channels: int) -> Tensor:
    """``permute(0, 2, 3, 1).reshape(-1, channels)``: a copy, but for one channel."""
    places = x.elements // channels
    if x.shape[1] == 1:
        return x.view(places, channels)
    return ops.copy(x, (places, channels))


class Losses:
    """A classification or box loss by configuration, as memory: what it keeps and how many steps it makes."""

    def __init__(self, config: Config | None) -> None:
        self.kind = str((config or {}).get("type", "L1Loss")).rpartition(".")[2]
        self.sigmoid = bool((config or {}).get("use_sigmoid", False))

    @property
    def on_boxes(self) -> bool:
        """IoU losses: worked out from decoded boxes."""
        return "IoU" in self.kind

    def __call__(self, x: Tensor) -> Tensor:
        """The loss over rows ``x``, summed."""
        if self.on_boxes:
            return _iou_loss(x)
        if self.kind == "CrossEntropyLoss" and not self.sigmoid:
            return ops.total(row_entropy(x))
        return ops.total(_BY_KIND.get(self.kind, _absolute)(x))


def row_entropy(x: Tensor) -> Tensor:
    """Cross entropy of rows of scores against fresh labels."""
    return ops.cross_entropy(x, x.storage.tape.new(x.shape[0], itemsize=8))


def focal(x: Tensor) -> Tensor:
    """mmcv's CUDA kernel: keeps its input and the labels; then a product with the weights."""
    tape = x.storage.tape
    if tape.half:
        x = tape.raised(x)
    found = tape.record(x.shape, x.itemsize, (x,), (x.bytes,), (x,), extra_saved_bytes=8 * x.shape[0])
    return ops.scaled(found)


def _quality_focal(x: Tensor) -> Tensor:
    """Quality and varifocal losses: sigmoid, binary cross entropy against zeros, a power of the score, a product."""
    tape = x.storage.tape
    if tape.half:
        x = tape.raised(x)
    entropy = ops.pointwise_loss(x, kept=2, steps=0)
    found = tape.record(
        x.shape, x.itemsize, (entropy, x), (x.bytes, x.bytes), (entropy,), extra_saved_bytes=2 * x.bytes
    )
    return ops.scaled(found)


def _binary_cross_entropy(x: Tensor) -> Tensor:
    return ops.pointwise_loss(x, kept=2, steps=1)


def _gaussian_focal(x: Tensor) -> Tensor:
    """Logarithms and powers of the scores and of one minus them, against a map of Gaussians.

    Kept: score plus eps, its logarithm, one minus score, its power; the same of the other half; the target's power.
    """
    return ops.pointwise_loss(x, kept=8, steps=2)


def _absolute(x: Tensor) -> Tensor:
    return ops.pointwise_loss(x, kept=1, steps=1)


_BY_KIND = {
    "CrossEntropyLoss": _binary_cross_entropy,
    "CrossEntropyCustomLoss": _binary_cross_entropy,
    "SeesawLoss": _binary_cross_entropy,
    "FocalLoss": focal,
    "GHMC": focal,
    "QualityFocalLoss": _quality_focal,
    "VarifocalLoss": _quality_focal,
    "FocalCustomLoss": _quality_focal,
    "GaussianFocalLoss": _gaussian_focal,
}


def _iou_loss(x: Tensor) -> Tensor:
    """Decoded boxes against targets: about eight steps over (rows, 2), each kept."""
    found = x
    for _ in range(8):
        found = ops.pointwise_loss(found, kept=1, steps=0)
    return ops.total(found)


def decode(x: Tensor) -> Tensor:
    """``delta2bbox``: denormalised, centres and sides, exponentials, corners; about six kept steps."""
    found = ops.scaled(x)
    for _ in range(5):
        found = ops.pointwise_loss(found, kept=1, steps=0)
    return found


# --- regions ---------------------------------------------------------------------------------------------------------


def region_align(x: Tensor, regions: int, side: int | Sequence[int]) -> Tensor:
    """RoIAlign: keeps the boxes only; backward fills a whole gradient of the map."""
    height, width = (side, side) if isinstance(side, int) else (side[0], side[1])
    tape = x.storage.tape
    shape = (regions, x.shape[1], height, width)
    return tape.record(shape, x.itemsize, (x,), (x.bytes,), extra_saved_bytes=20 * regions)


class RegionExtractor:
    """SingleRoIExtractor: each region from the level of its size, written into one tensor."""

    def __init__(self, build: Build, config: Config) -> None:
        kind = str(config.get("type", "SingleRoIExtractor")).rpartition(".")[2]
        if kind not in ("SingleRoIExtractor", "GenericRoIExtractor"):
            raise UnknownType(f"RoI extractor {kind!r}")
        self.generic = kind == "GenericRoIExtractor"
        self.sum = config.get("aggregation", "sum") == "sum"
        layer = config["roi_layer"]
        self.side: Any = layer["output_size"]
        self.levels = len(config["featmap_strides"])
        self.channels = int(config["out_channels"])
        offsets = [_pooling_offset(build, layer, self.channels) for _ in range(self.levels)]
        self.offset = offsets[0]
        self.pre = self._module(build, config.get("pre_cfg"))
        self.post = self._module(build, config.get("post_cfg"))

    @staticmethod
    def _module(build: Build, config: Config | None) -> Any:
        if config is None:
            return None
        if config.get("type") == "ConvModule":
            return ConvModule(
                build.tape, int(config["in_channels"]), int(config["out_channels"]), config["kernel_size"],
                padding=config.get("padding", 0), act_cfg=RELU, inplace=bool(config.get("inplace", True)),
            )  # fmt: skip
        return build.make("layer", config)

    def __call__(self, maps: Sequence[Tensor], regions: int) -> Tensor:
        used = maps[: self.levels]
        if len(used) == 1:
            return self._pool(used[0], regions)
        tape, first = used[0].storage.tape, used[0]
        height, width = (self.side, self.side) if isinstance(self.side, int) else self.side
        found = tape.new(regions, first.shape[1], height, width, itemsize=first.itemsize)
        each = regions if self.generic else max(1, regions // len(used))
        for level in used:
            part = self._pool(level, each)
            if self.generic and self.pre is not None:
                part = self.pre(part)
            found = _written(found, part)
        if self.generic and self.post is not None:
            found = self.post(found)
        return found

    def _pool(self, x: Tensor, regions: int) -> Tensor:
        found = region_align(x, regions, self.side)
        return found if self.offset is None else self.offset(found, x)


def _written(whole: Tensor, part: Tensor) -> Tensor:
    """``whole[indices] = part``: in place; backward copies the whole gradient and picks the part's."""
    tape = whole.storage.tape
    return tape.record(whole.shape, whole.itemsize, (whole, part), (whole.bytes, part.bytes), inplace=whole)


def _pooling_offset(build: Build, layer: Config, channels: int) -> Any:
    """Deformable RoI pooling: offsets by three linear layers, and a second pooling."""
    kind = str(layer["type"]).rpartition(".")[2]
    if kind in ("RoIAlign", "RoIAlignRotated", "RoIPool", "SimpleRoIAlign"):
        return None
    if kind not in ("DeformRoIPoolPack", "ModulatedDeformRoIPoolPack"):
        raise UnknownType(f"RoI layer {kind!r}")
    from vramlint.memory.layers.nn import Linear

    tape, side = build.tape, int(layer["output_size"])
    width = int(layer.get("deform_fc_channels", 1024))
    flat = side * side * int(layer.get("output_channels", channels))
    first, second, third = (
        Linear(tape, flat, width), Linear(tape, width, width), Linear(tape, width, 2 * side * side)
    )  # fmt: skip
    modulated = kind.startswith("Modulated")
    mask = (Linear(tape, flat, width), Linear(tape, width, side * side)) if modulated else None

    def run(pooled: Tensor, x: Tensor) -> Tensor:
        rows = pooled.view(pooled.shape[0], prod(pooled.shape[1:]))
        offset = third(ops.relu(second(ops.relu(first(rows), inplace=True)), inplace=True))
        again = tape.record(pooled.shape, x.itemsize, (x, offset), (x.bytes, offset.bytes), (x, offset))
        if mask is None:
            return again
        weight = ops.sigmoid(mask[1](ops.relu(mask[0](rows), inplace=True)))
        return ops.mul(again, weight.view(pooled.shape[0], 1, side, side))

    return run


# --- stacks of convolutions ------------------------------------------------------------------------------------------


def stack(
    tape: Tape,
    count: int,
    inside: int,
    channels: int,
    *,
    norm_cfg: Config | None = None,
    conv_cfg: Config | None = None,
    kernel: int = 3,
    last_conv_cfg: Config | None = None,
    bias: bool | None = None,
) -> list[ConvModule]:
    """``count`` ConvModules in a row, ReLU in place."""
    return [
        ConvModule(
            tape, inside if i == 0 else channels, channels, kernel, 1, kernel // 2, norm_cfg=norm_cfg, act_cfg=RELU,
            bias=bias,
            conv_cfg=last_conv_cfg if last_conv_cfg is not None and i == count - 1 else conv_cfg,
        )
        for i in range(count)
    ]  # fmt: skip


def through(layers: Sequence[Any], x: Tensor) -> Tensor:
    """``x`` through the layers in a row."""
    for layer in layers:
        x = layer(x)
    return x


def out_conv(tape: Tape, inside: int, channels: int, kernel: int = 3) -> Conv:
    """The last convolution of a branch."""
    return Conv(tape, inside, channels, kernel, padding=kernel // 2)


def classes_of(config: Config, *, loss: Mapping[str, Any] | None = None) -> int:
    """Outputs a box of a classifier: the classes, and the background where the loss is a softmax."""
    found = int(config["num_classes"])
    given = loss if loss is not None else config.get("loss_cls") or {}
    return found if given.get("use_sigmoid", False) or "Quality" in str(given.get("type")) else found + 1


def merged(first: Tensor, second: Tensor) -> Tensor:
    """A loss that stands for two, without a copy of either."""
    tape = first.storage.tape
    return tape.record((), 4, (first, second), (SAME, SAME))
