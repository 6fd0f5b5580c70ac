"""MaskFormer: a pyramid of mask features, a decoder of queries, losses over whole bitmaps after every layer.

Source: mmdet 3.3.0 ``models/dense_heads/maskformer_head.py``, ``models/layers/pixel_decoder.py``,
``models/task_modules/assigners/match_cost.py``, ``models/losses/{focal,dice}_loss.py``.
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Batch, row_entropy
from vramlint.memory.layers.heads.detection.transformers import Decoder, Encoder
from vramlint.memory.layers.nn import Conv, LayerNorm, Linear, as_input
from vramlint.memory.layers.registry import Build, Config, Maps, UnknownType, head
from vramlint.memory.layers.tape import Tape, Tensor


class PixelPyramid:
    """PixelDecoder: an FPN down to the finest level, then mask features; optionally an encoder over the coarsest."""

    def __init__(self, tape: Tape, config: Config, inside: list[int], channels: int, outside: int) -> None:
        self.tape = tape
        norm_cfg: Config = config.get("norm_cfg") or {"type": "GN", "num_groups": 32}
        act: Config = config.get("act_cfg") or RELU
        kind = str(config.get("type")).rpartition(".")[2]
        if kind not in ("PixelDecoder", "TransformerEncoderPixelDecoder"):
            raise UnknownType(f"pixel decoder {kind!r}")
        self.plain = kind == "PixelDecoder"

        def smooth(width: int) -> ConvModule:
            return ConvModule(tape, width, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act, bias=False)

        self.lateral = [ConvModule(tape, each, channels, 1, norm_cfg=norm_cfg, bias=False) for each in inside[:-1]]
        self.output = [smooth(channels) for _ in inside[:-1]]
        self.project = None if self.plain else Conv(tape, inside[-1], channels)
        self.encoder = None if self.plain else Encoder(tape, config["encoder"], channels, 1)
        self.first = smooth(inside[-1] if self.plain else channels)
        self.mask = Conv(tape, channels, outside, 3, padding=1)

    def __call__(self, maps: Maps) -> tuple[Tensor, Tensor]:
        """The mask features, and the memory that queries attend to: the coarsest map, encoded or as it is."""
        memory = maps[-1]
        if self.project is not None and self.encoder is not None:
            projected = self.project(memory)
            batch, channels, height, width = projected.shape
            rows = projected.view(batch, height * width, channels)
            del projected
            memory = self.encoder(rows, self.tape.new(*rows.shape)).view(batch, channels, height, width)
            del rows
        y = self.first(memory)
        for x, lateral, output in reversed(list(zip(maps, self.lateral, self.output, strict=False))):
            here = lateral(x)
            y = output(ops.add(here, ops.resize(y, here.size)))
        return self.mask(y), memory


@head("MaskFormerHead")
class MaskFormerHead:
    """Queries to classes and masks after every decoder layer; matched masks are enlarged to the image's size."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        channels, outside = int(config["feat_channels"]), int(config["out_channels"])
        inside = [int(each) for each in config["in_channels"]]
        self.channels, self.queries = channels, int(config.get("num_queries", 100))
        classes = int(config.get("num_things_classes", 80)) + int(config.get("num_stuff_classes", 53))
        self.pixels = PixelPyramid(tape, config["pixel_decoder"], inside, channels, outside)
        self.decoder = Decoder(tape, config["transformer_decoder"], channels, 1)
        self.last = LayerNorm(tape, channels)
        projects = self.pixels.plain and (
            inside[-1] != channels or bool(config.get("enforce_decoder_input_project", False))
        )
        self.project = Conv(tape, inside[-1], channels) if projects else None
        self.place = tape.parameter(self.queries * outside)
        self.classify = Linear(tape, channels, classes + 1)
        self.embed = Linear(tape, channels, channels), Linear(tape, channels, channels), Linear(tape, channels, outside)

    def _masks(self, stacked: Tensor, features: Tensor, layers: int) -> list[Tensor]:
        """Every layer's and query's mask: one product over all layers, taken apart again."""
        first, second, third = self.embed
        embedding = third(ops.relu(second(ops.relu(first(stacked), inplace=True)), inplace=True))
        batch, channels, height, width = features.shape
        rows = features.view(batch, channels, height * width)
        joint = ops.matmul(embedding, rows, (layers, batch * self.queries, height * width))
        parts = ops.split(joint, [1] * layers, axis=0)
        return [part.view(batch, self.queries, height, width) for part in parts]

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        tape = self.tape
        features, memory = self.pixels(maps)
        memory = memory if self.project is None else self.project(memory)
        rows = memory.view(memory.shape[0], memory.size[0] * memory.size[1], self.channels)
        del memory
        shape = (batch.images, self.queries, self.channels)
        place = ops.copy(as_input(self.place, (1, self.queries, self.channels), tape), shape)
        outs = [self.last(each) for each in self.decoder(tape.new(*shape), place, rows, tape.new(*rows.shape))]
        del rows, place
        layers = len(outs)
        stacked = ops.concatenate([each.view(1, *each.shape) for each in outs], axis=0)
        del outs
        scores = ops.split(self.classify(stacked), [1] * layers, axis=0)
        masks = self._masks(stacked, features, layers)
        del stacked, features
        targets = tape.new(self._matched(batch), batch.height, batch.width, itemsize=8)
        losses: list[Tensor] = []
        for score, mask in zip(scores, masks, strict=True):
            losses += self._losses(score, mask, batch)
        del targets
        return losses

    def _matched(self, batch: Batch) -> int:
        return sum(min(objects, self.queries) for objects in batch.counts)

    def _losses(self, scores: Tensor, masks: Tensor, batch: Batch) -> list[Tensor]:
        tape, count, places = self.tape, self._matched(batch), masks.size[0] * masks.size[1]
        for objects in batch.counts:
            # FocalLossCost over the masks: score, logarithms and powers of it and of one minus it, both costs.
            costs = [tape.new(self.queries, places) for _ in range(7)] + [tape.new(objects, places) for _ in range(2)]
            del costs
        # Whole bitmaps once more by image, and joined.
        targets = [tape.new(count, batch.height, batch.width, itemsize=8) for _ in range(2)]
        picked = ops.resize(ops.gather(masks, (count, 1, *masks.size), 8 * count), (batch.height, batch.width))
        chance = ops.sigmoid(picked)
        bitmap = tape.new(*picked.shape)
        overlap = tape.record(chance.shape, chance.itemsize, (chance,), (chance.bytes,), (bitmap,))
        dice = ops.add(ops.total(overlap), ops.total(chance))
        del overlap, chance, bitmap
        # mmcv's focal kernel keeps its input and one minus the bitmaps, integers of 64 bits.
        inverse = tape.new(*picked.shape, itemsize=8)
        focal = tape.record(picked.shape, picked.itemsize, (picked,), (picked.bytes,), (picked, inverse))
        del targets
        rows = scores.view(batch.images * self.queries, scores.shape[-1])
        return [ops.total(row_entropy(rows)), ops.total(focal), dice]
