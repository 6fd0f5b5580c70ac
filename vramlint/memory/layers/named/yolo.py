"""YOLO detectors of the Ultralytics package by generation and size: v5 (with v8's head), v8, 11 and 12.

Architectures are facts: widths, repeats and kinds of blocks as the package's model files give them, in a form of our
own (Ultralytics 8.4.190; the package is AGPL-3.0 and no code or text of it is here). The loss follows its description:
targets padded to a fixed count, task-aligned assignment (arXiv 2108.07755) over all anchors, binary cross-entropy of
every class at every anchor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.named.yolo_blocks import (
    Attention,
    AttentionBlock,
    Bottleneck,
    HalfAttention,
    Joined,
    Nested,
    Pool,
    Split,
    unit,
)
from vramlint.memory.layers.nn import Conv, Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, model
from vramlint.memory.layers.tape import Tape, Tensor

CLASSES = 80
TRUTHS = 20
"""Ground truths the targets are padded to, as in the traced profiles (``trace/families/ultralytics_models.py``)."""

BINS = 16
"""Bins of the distance to each side of the box."""


class Scale(NamedTuple):
    """Factors of depth and width, and the widest layer before the factor."""

    depth: float
    width: float
    most: int


class Block(NamedTuple):
    """One block of a stage: ``kind``, channels, repeats, and the kind's own option (see ``_block``)."""

    kind: str
    channels: int
    repeats: int
    option: float = 0


class Generation(NamedTuple):
    """A generation: the stem's kernel, the four stages' blocks, what follows the last, the neck's four blocks.

    ``reduces``: a 1x1 convolution before each enlargement (v5). ``plain_head``: classes by full convolutions.
    """

    stem: int
    stages: tuple[Block, Block, Block, Block]
    tail: tuple[Block, ...]
    neck: tuple[Block, Block, Block, Block]
    scales: Mapping[str, Scale]
    reduces: bool = False
    plain_head: bool = True


_WIDE = {"n": Scale(0.5, 0.25, 1024), "s": Scale(0.5, 0.5, 1024), "m": Scale(0.5, 1.0, 512)}
_WIDER = _WIDE | {"l": Scale(1.0, 1.0, 512), "x": Scale(1.0, 1.5, 512)}
_POOL = Block("pool", 1024, 1)

GENERATIONS: Mapping[str, Generation] = {
    "yolov5": Generation(
        6,
        (Block("c3", 128, 3, 1), Block("c3", 256, 6, 1), Block("c3", 512, 9, 1), Block("c3", 1024, 3, 1)),
        (_POOL,),
        (Block("c3", 512, 3), Block("c3", 256, 3), Block("c3", 512, 3), Block("c3", 1024, 3)),
        {
            "n": Scale(0.33, 0.25, 1024), "s": Scale(0.33, 0.5, 1024), "m": Scale(0.67, 0.75, 1024),
            "l": Scale(1.0, 1.0, 1024), "x": Scale(1.33, 1.25, 1024),
        },
        reduces=True,
    ),
    "yolov8": Generation(
        3,
        (Block("c2f", 128, 3, 1), Block("c2f", 256, 6, 1), Block("c2f", 512, 6, 1), Block("c2f", 1024, 3, 1)),
        (_POOL,),
        (Block("c2f", 512, 3), Block("c2f", 256, 3), Block("c2f", 512, 3), Block("c2f", 1024, 3)),
        {
            "n": Scale(0.33, 0.25, 1024), "s": Scale(0.33, 0.5, 1024), "m": Scale(0.67, 0.75, 768),
            "l": Scale(1.0, 1.0, 512), "x": Scale(1.0, 1.25, 512),
        },
    ),
    "yolo11": Generation(
        3,
        (Block("narrow", 256, 2), Block("narrow", 512, 2), Block("c3k2", 512, 2, 1), Block("c3k2", 1024, 2, 1)),
        (_POOL, Block("psa", 1024, 2)),
        (Block("c3k2", 512, 2), Block("c3k2", 256, 2), Block("c3k2", 512, 2), Block("c3k2", 1024, 2, 1)),
        _WIDER,
        plain_head=False,
    ),
    "yolo12": Generation(
        3,
        (Block("narrow", 256, 2), Block("narrow", 512, 2), Block("area", 512, 4, 4), Block("area", 1024, 4, 1)),
        (),
        (Block("a2", 512, 2), Block("a2", 256, 2), Block("a2", 512, 2), Block("c3k2", 1024, 2, 1)),
        _WIDER,
        plain_head=False,
    ),
}  # fmt: skip

NAMES = re.compile(r"(yolov5|yolov8|yolov?11|yolov?12)([nsmlx])u?")
"""``yolov8n``, ``yolo11s``, ``yolov12m``, ``yolov5su``."""

_STRIDED = (64, 128, 256, 512, 1024)
"""Channels of the strided convolutions before and between the stages (later generations widen their blocks alone)."""


def spelled(name: str) -> tuple[str, str] | None:
    """Generation and size of a detector's name."""
    found = NAMES.fullmatch(name)
    if found is None:
        return None
    generation = re.sub(r"yolov(?=1[12])", "yolo", found[1])
    return generation, found[2]


class _Maker:
    """Makes the blocks of one generation at one size."""

    def __init__(self, tape: Tape, generation: Generation, size: str) -> None:
        self.tape, self.scale = tape, generation.scales[size]
        self.large = size in "mlx"
        """Whether newer blocks are nested ones throughout."""
        self.larger = size in "lx"

    def width(self, channels: int) -> int:
        """Channels at this size, a multiple of 8."""
        return -(-int(min(channels, self.scale.most) * self.scale.width * 1000) // 8000) * 8

    def block(self, block: Block, inside: int) -> Layer:
        """The made block. Raises KeyError for a kind that is not known."""
        channels = self.width(block.channels)
        count = max(round(block.repeats * self.scale.depth), 1) if block.repeats > 1 else 1
        if block.kind == "c3":
            return Nested(self.tape, inside, channels, count, joined=bool(block.option))
        if block.kind == "pool":
            return Pool(self.tape, channels)
        if block.kind == "psa":
            return HalfAttention(self.tape, channels, count)
        if block.kind in ("area", "a2"):
            return self._joined(block, inside, channels, count)
        return self._split(block, inside, channels, count)

    def _split(self, block: Block, inside: int, channels: int, count: int) -> Layer:
        """Blocks behind a split: plain bottlenecks (``c2f``), or newer ones (``c3k2``, ``narrow`` with a quarter)."""
        middle = channels // {"c2f": 2, "c3k2": 2, "narrow": 4}[block.kind]
        made: list[Layer]
        if block.kind == "c2f":
            made = [Bottleneck(self.tape, middle, middle, joined=bool(block.option)) for _ in range(count)]
        else:
            nested = self.large or bool(block.option)
            made = [self._inner(middle, nested=nested) for _ in range(count)]
        return Split(self.tape, inside, channels, middle, made)

    def _joined(self, block: Block, inside: int, channels: int, count: int) -> Layer:
        """Pairs of area-attention blocks (``area``), or nested bottlenecks (``a2``)."""
        middle = channels // 2
        if block.kind == "a2":
            inner: list[Layer] = [Nested(self.tape, middle, middle, 2, first=3) for _ in range(count)]
            return Joined(self.tape, inside, channels, inner, scaled=False)
        ratio = 1.2 if self.larger else 2.0
        pairs: list[Layer] = [
            chain(*(self._areal(middle, int(block.option), ratio) for _ in range(2))) for _ in range(count)
        ]
        return Joined(self.tape, inside, channels, pairs, scaled=self.larger)

    def _inner(self, middle: int, *, nested: bool) -> Layer:
        if nested:
            return Nested(self.tape, middle, middle, 2, first=3)
        return Bottleneck(self.tape, middle, middle, ratio=0.5, joined=True)

    def _areal(self, channels: int, area: int, ratio: float) -> Layer:
        attention = Attention(self.tape, channels, channels // 32, key_share=1, area=area, kernel=7)
        return AttentionBlock(self.tape, attention, channels, ratio)


class _Trunk:
    """Backbone and neck: the image to three maps."""

    def __init__(self, maker: _Maker, generation: Generation) -> None:
        tape, width = maker.tape, maker.width
        inside = width(_STRIDED[0])
        self.stem = unit(tape, 3, inside, generation.stem, 2)
        self.reduces = generation.reduces
        self.stages: list[Layer] = []
        channels: list[int] = []
        for index, block in enumerate(generation.stages):
            before = generation.stages[index - 1].channels if index else 0
            strided = width(max(_STRIDED[index + 1], before))
            down = unit(tape, inside, strided, 3, 2)
            inside = width(block.channels)
            layers: list[Layer] = [down, maker.block(block, strided)]
            if index == len(generation.stages) - 1:
                layers += [maker.block(each, inside) for each in generation.tail]
            self.stages.append(chain(*layers))
            channels.append(inside)
        _, low, middle, high = channels
        first, second, third, last = generation.neck
        self.reduce: list[Layer] = []
        if generation.reduces:
            self.reduce.append(unit(tape, high, width(first.channels)))
            high = width(first.channels)
        self.up = [maker.block(first, high + middle)]
        inside = width(first.channels)
        if generation.reduces:
            self.reduce.append(unit(tape, inside, width(second.channels)))
            inside = width(second.channels)
        self.up.append(maker.block(second, inside + low))
        other = inside if generation.reduces else width(first.channels)
        low = width(second.channels)
        self.down = [unit(tape, low, low, 3, 2)]
        self.merge = [maker.block(third, low + other)]
        middle = width(third.channels)
        self.down.append(unit(tape, middle, middle, 3, 2))
        self.merge.append(maker.block(last, middle + (high if generation.reduces else channels[3])))
        self.channels = (low, middle, width(last.channels))

    def __call__(self, x: Tensor) -> Maps:
        x = self.stages[0](self.stem(x))
        low = x = self.stages[1](x)
        middle = x = self.stages[2](x)
        high = x = self.stages[3](x)
        if self.reduces:
            high = x = self.reduce[0](x)
        x = self.up[0](ops.concatenate([ops.enlarged(x, 2), middle]))
        between = x
        if self.reduces:
            between = x = self.reduce[1](x)
        first = x = self.up[1](ops.concatenate([ops.enlarged(x, 2), low]))
        second = x = self.merge[0](ops.concatenate([self.down[0](x), between]))
        x = self.merge[1](ops.concatenate([self.down[1](x), high]))
        return [first, second, x]


class _Head:
    """Distances as distributions and a score a class at every place of three maps."""

    def __init__(self, tape: Tape, channels: tuple[int, ...], classes: int, *, plain: bool) -> None:
        self.classes = classes
        boxes, scores = max(16, channels[0] // 4, 4 * BINS), max(channels[0], min(classes, 100))
        self.boxes = [
            chain(unit(tape, c, boxes, 3), unit(tape, boxes, boxes, 3), Conv(tape, boxes, 4 * BINS)) for c in channels
        ]
        part = _three if plain else _separable
        self.scores = [
            chain(part(tape, c, scores), part(tape, scores, scores), Conv(tape, scores, classes)) for c in channels
        ]
        with tape.frozen():
            tape.parameter(BINS)

    def __call__(self, maps: Maps) -> tuple[Tensor, Tensor]:
        """(batch, numbers, places) of boxes and of scores."""
        found = []
        for layers in (self.boxes, self.scores):
            rows = [_flat(layer(x)) for layer, x in zip(layers, maps, strict=True)]
            found.append(ops.concatenate(rows, axis=2))
            del rows
        return found[0], found[1]


def _three(tape: Tape, inside: int, channels: int) -> Layer:
    return unit(tape, inside, channels, 3)


def _separable(tape: Tape, inside: int, channels: int) -> Layer:
    return chain(unit(tape, inside, inside, 3, groups=inside), unit(tape, inside, channels))


def _flat(x: Tensor) -> Tensor:
    return x.view(x.shape[0], x.shape[1], x.size[0] * x.size[1])


@model("yolo.Detector")
class Detector:
    """A detector with its loss over padded targets."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = build.tape
        generation = GENERATIONS[str(config["generation"])]
        maker = _Maker(build.tape, generation, str(config["size"]))
        self.trunk = _Trunk(maker, generation)
        self.classes = int(config.get("classes", CLASSES))
        self.head = _Head(build.tape, self.trunk.channels, self.classes, plain=generation.plain_head)

    def loss(self, images: Tensor) -> Tensor:
        maps = self.trunk(images)
        boxes, scores = self.head(maps)
        batch, _, places = boxes.shape
        distances = ops.copy(boxes, (batch, places, 4 * BINS))
        rows = ops.copy(scores, (batch, places, self.classes))
        decoded = self._decoded(distances)
        target = self._assigned(batch, places, rows, decoded)
        entropy = ops.total(_entropy(rows, target))
        return ops.add(entropy, self._box_losses(distances, decoded))

    def _decoded(self, distances: Tensor) -> Tensor:
        """The mean of each distribution, then corners."""
        batch, places, _ = distances.shape
        shares = ops.softmax(distances.view(batch, places, 4, BINS))
        low = self.tape.lowered(shares)
        sides = self.tape.record((batch, places, 4), low.itemsize, (low,), (low.bytes,))
        return ops.concatenate([ops.shifted(each) for each in ops.split(sides, [2, 2], axis=2)], axis=2)

    def _assigned(self, batch: int, places: int, rows: Tensor, decoded: Tensor) -> Tensor:
        """The task-aligned assignment: pairs of truths and places, then one target a class and place."""
        new = self.tape.new
        sigmoid, corners = new(*rows.shape, itemsize=rows.itemsize), new(*decoded.shape)
        pairs = [new(batch, TRUTHS, places) for _ in range(3)]
        chosen = [new(batch, places, self.classes, itemsize=1) for _ in range(2)]
        del chosen[1]
        target = new(batch, places, self.classes)
        del chosen, sigmoid, corners, pairs
        return target

    def _box_losses(self, distances: Tensor, decoded: Tensor) -> Tensor:
        """IoU and distribution losses of the places that truths were assigned to (ten a truth)."""
        count = distances.shape[0] * TRUTHS * 10
        corners = ops.gather(decoded, (count, 4), 8 * 2 * count)
        iou = ops.total(ops.pointwise_loss(corners, kept=4, steps=2))
        bins = ops.gather(distances, (count, 4 * BINS), 8 * 2 * count)
        spread = ops.total(ops.log_softmax(bins))
        return ops.add(iou, spread)


ANCHORS = 3
"""Boxes a place of the older head."""


@model("yolo.AnchorDetector")
class AnchorDetector:
    """YOLOv5 as its own repository trains it: three anchors a place, objectness everywhere, the rest where truths are.

    Source: ultralytics/yolov5 v7.0 ``models/yolo.py``, ``utils/loss.py``: box, objectness and classes of a few matched
    places, and binary cross-entropy of the objectness of all.
    """

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = tape = build.tape
        generation = GENERATIONS[str(config["generation"])]
        self.trunk = _Trunk(_Maker(tape, generation, str(config["size"])), generation)
        outs = ANCHORS * (5 + int(config.get("classes", CLASSES)))
        self.heads = [Conv(tape, channels, outs) for channels in self.trunk.channels]

    def loss(self, images: Tensor) -> Tensor:
        maps = self.trunk(images)
        rows = [ops.copy(head(x)) for head, x in zip(self.heads, maps, strict=True)]
        found: list[Tensor] = []
        for each in rows:
            places = (each.shape[0], ANCHORS, *each.size)
            target = self.tape.new(*places)
            found.append(ops.total(_entropy(ops.select(each, places), target)))
        return ops.total_loss(found)


def _entropy(x: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy on logits, one number an element."""
    tape = x.storage.tape
    if x.itemsize == 2:  # the target is cast to the scores' type, and both are raised again
        lowered = tape.new(*x.shape, itemsize=2)
        x, kept = tape.raised(x), tape.new(*x.shape)
    else:
        lowered, kept = None, target
    found = tape.record(x.shape, 4, (x,), (x.bytes,), (x, kept))
    del lowered
    return found
