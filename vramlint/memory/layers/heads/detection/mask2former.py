"""Mask2Former: a pixel decoder of deformable attention, a decoder of masked attention, losses on sampled points.

Source: mmdet 3.3.0 ``models/dense_heads/mask2former_head.py``, ``layers/msdeformattn_pixel_decoder.py``,
``layers/transformer/{detr,mask2former}_layers.py``, mmcv 2.1.0 ``ops/multi_scale_deform_attn.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import MultiheadAttention
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, row_entropy
from vramlint.memory.layers.heads.detection.solo import dice
from vramlint.memory.layers.heads.detection.transformers import DeformableAttention, FeedForward
from vramlint.memory.layers.nn import Conv, LayerNorm, Linear, as_input
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor


class PixelDecoder:
    """MSDeformAttnPixelDecoder: deformable encoding of three levels, a finer map by FPN, mask features."""

    def __init__(self, tape: Tape, config: Config, inside: list[int], channels: int, outside: int) -> None:
        self.tape = tape
        norm_cfg: Config = config.get("norm_cfg") or {"type": "GN", "num_groups": 32}
        encoder = config["encoder"]
        layer = encoder["layer_cfg"]
        attention = layer["self_attn_cfg"]
        self.count = int(attention.get("num_levels", 3))
        self.inputs = [
            ConvModule(tape, width, channels, 1, norm_cfg=norm_cfg, bias=True) for width in inside[::-1][: self.count]
        ]
        self.level = tape.parameter(self.count * channels)
        width = int(layer["ffn_cfg"].get("feedforward_channels", 1024))
        self.layers = [
            (
                DeformableAttention(tape, {**attention, "num_levels": self.count}, channels), LayerNorm(tape, channels),
                FeedForward(tape, channels, width), LayerNorm(tape, channels),
            )
            for _ in range(int(encoder["num_layers"]))
        ]  # fmt: skip
        act = config.get("act_cfg") or RELU
        rest = inside[: len(inside) - self.count][::-1]
        self.lateral = [ConvModule(tape, each, channels, 1, norm_cfg=norm_cfg, bias=False) for each in rest]
        self.output = [
            ConvModule(tape, channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act, bias=False) for _ in rest
        ]
        self.mask = Conv(tape, channels, outside)

    def __call__(self, maps: Maps) -> tuple[Tensor, Maps]:
        """The mask features, and the encoded levels from the coarsest on."""
        tape = self.tape
        rows: list[Tensor] = []
        sizes: list[tuple[int, int]] = []
        for conv, x in zip(self.inputs, reversed(maps), strict=False):
            projected = conv(x)
            batch, channels, height, width = projected.shape
            rows.append(projected.view(batch, height * width, channels))
            sizes.append((height, width))
        query = ops.concatenate(rows, axis=1)
        del rows
        position = ops.shifted(as_input(self.level, (1, 1, query.shape[2]), tape))
        placed = tape.record(query.shape, 4, (position,), (position.bytes,))
        for attention, first, feed, second in self.layers:
            query = second(feed(first(attention(query, placed, query))))
        levels = [
            ops.copy(part, (part.shape[0], part.shape[2], *size))
            for part, size in zip(ops.split(query, [h * w for h, w in sizes], axis=1), sizes, strict=True)
        ]
        finest = levels[-1]
        rest = list(reversed(maps[: len(maps) - self.count]))
        for lateral, output, x in zip(self.lateral, self.output, rest, strict=True):
            here = lateral(x)
            finest = output(ops.add(here, ops.resize(finest, here.size)))
        return self.mask(finest), levels


class _DecoderLayer:
    def __init__(self, tape: Tape, channels: int, config: Config) -> None:
        heads = int(config["cross_attn_cfg"].get("num_heads", 8))
        self.cross = MultiheadAttention(tape, channels, heads)
        self.own = MultiheadAttention(tape, channels, heads)
        width = int(config["ffn_cfg"].get("feedforward_channels", 2048))
        self.feed = FeedForward(tape, channels, width)
        self.norms = [LayerNorm(tape, channels) for _ in range(3)]

    def __call__(self, query: Tensor, place: Tensor, memory: Tensor, position: Tensor) -> Tensor:
        first, second, third = self.norms
        keys = ops.add(memory, position)
        query = first(ops.add(query, self.cross(ops.add(query, place), keys, memory)))
        placed = ops.add(query, place)
        query = second(ops.add(query, self.own(placed, placed, query)))
        return third(self.feed(query))


@head("Mask2FormerHead")
class Mask2FormerHead:
    """Queries to classes and masks after every decoder layer; each time a loss with its own assignment."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        channels, outside = int(config["feat_channels"]), int(config["out_channels"])
        self.queries = int(config.get("num_queries", 100))
        stuff = config.get("num_stuff_classes")
        classes = int(config.get("num_things_classes", 0)) + int(stuff or 0) or int(config.get("num_classes", 80))
        self.pixels = PixelDecoder(tape, config["pixel_decoder"], list(config["in_channels"]), channels, outside)
        decoder = config["transformer_decoder"]
        self.layers = [_DecoderLayer(tape, channels, decoder["layer_cfg"]) for _ in range(int(decoder["num_layers"]))]
        self.last = LayerNorm(tape, channels)
        levels = int(config.get("num_transformer_feat_level", 3))
        self.place, self.feature = tape.parameter(self.queries * channels), tape.parameter(self.queries * channels)
        self.level = tape.parameter(levels * channels)
        self.classify = Linear(tape, channels, classes + 1)
        self.embed = [
            Linear(tape, channels, channels), Linear(tape, channels, channels), Linear(tape, channels, outside)
        ]  # fmt: skip
        self.channels = channels
        train = config.get("train_cfg")
        points = train.get("num_points", 12544) if isinstance(train, Mapping) else 12544
        over = train.get("oversample_ratio", 3.0) if isinstance(train, Mapping) else 3.0
        self.points, self.oversampled = int(points), int(points * over)

    def _predict(self, query: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        x = self.last(query)
        scores = self.classify(x)
        first, second, third = self.embed
        embedding = third(ops.relu(second(ops.relu(first(x), inplace=True)), inplace=True))
        batch, channels, height, width = features.shape
        rows = features.view(batch, channels, height * width)
        masks = ops.matmul(embedding, rows, (batch, self.queries, height * width))
        return scores, masks.view(batch, self.queries, height, width)

    def _attention_mask(self, masks: Tensor, size: tuple[int, int]) -> Tensor:
        """Where a query may look: the mask at the level's size, by head, a byte a place."""
        small = ops.resize(masks.detach(), size)
        return self.tape.new(masks.shape[0] * 8, self.queries, small.size[0] * small.size[1], itemsize=1)

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        tape = self.tape
        features, levels = self.decoded(maps)
        memories: list[tuple[Tensor, Tensor, tuple[int, int]]] = []
        for x in levels:
            rows = x.view(x.shape[0], x.size[0] * x.size[1], self.channels)
            learnt = as_input(self.level, (1, 1, self.channels), tape)
            memories.append((ops.add(rows, learnt), tape.new(*rows.shape), x.size))
        shape = (batch.images, self.queries, self.channels)
        query = ops.copy(as_input(self.feature, (1, self.queries, self.channels), tape), shape)
        place = ops.copy(as_input(self.place, (1, self.queries, self.channels), tape), shape)
        outs = [self._predict(query, features)]
        for index, layer in enumerate(self.layers):
            memory, position, size = memories[index % len(memories)]
            allowed = self._attention_mask(outs[-1][1], size)
            query = layer(query, place, memory, position)
            del allowed
            outs.append(self._predict(query, features))
        # ``preprocess_gt`` makes every object's whole bitmap 64-bit integers.
        targets = tape.new(self._matched(batch), batch.height, batch.width, itemsize=8)
        losses: list[Tensor] = []
        for scores, masks in outs:
            losses += self._losses(scores, masks, batch)
        del targets
        return losses

    def decoded(self, maps: Maps) -> tuple[Tensor, Maps]:
        """The mask features, and the levels that queries attend to."""
        return self.pixels(maps)

    def _matched(self, batch: Batch) -> int:
        """Objects of the batch that find a query."""
        return sum(min(objects, self.queries) for objects in batch.counts)

    def _losses(self, scores: Tensor, masks: Tensor, batch: Batch) -> list[Tensor]:
        tape = self.tape
        for objects in batch.counts:
            # Costs of every query and object over sampled points: logits, their two cross entropies, targets.
            sampled = [tape.new(self.queries, self.points) for _ in range(4)] + [tape.new(objects, self.points)]
            del sampled
        count = self._matched(batch)
        picked = ops.gather(masks, (count, *masks.size), 8 * count)
        crowd = tape.new(count, self.oversampled)
        del crowd
        # The matched bitmaps once more by image, joined, and as floats for sampling.
        matched = [tape.new(count, batch.height, batch.width, itemsize=8) for _ in range(2)]
        floats = tape.new(count, batch.height, batch.width)
        del floats, matched
        found = tape.record(
            (count, self.points), picked.itemsize, (picked,), (picked.bytes,), (picked,),
            extra_saved_bytes=8 * count * self.points,
        )  # fmt: skip
        rows = scores.view(scores.shape[0] * scores.shape[1], scores.shape[2])
        return [ops.total(row_entropy(rows)), ops.total(ops.pointwise_loss(found, kept=2, steps=0)), dice(found)]
