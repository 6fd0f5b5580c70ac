"""Grounding DINO: a detector whose classes are the tokens of a text.

Source: mmdet 3.3.0 ``models/detectors/grounding_dino.py``, ``models/layers/transformer/grounding_dino_layers.py``,
``models/utils/vlfuse_helper.py``, ``models/dense_heads/grounding_dino_head.py``, ``models/language_models/bert.py``.

The text is the data's: as many tokens are taken as ``max_text_len`` allows (COCO's 80 names make 195).
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import MultiheadAttention
from vramlint.memory.layers.backbones.vit import gated
from vramlint.memory.layers.heads.detection.common import OBJECT_SPREAD, Batch, Losses, batch_of, focal
from vramlint.memory.layers.heads.detection.transformers import DeformableAttention, FeedForward
from vramlint.memory.layers.models.queries import DENOISING_QUERIES
from vramlint.memory.layers.nn import Embedding, LayerNorm, Linear, as_input
from vramlint.memory.layers.registry import Build, Config, UnknownType, model
from vramlint.memory.layers.tape import Parameter, Tape, Tensor

BERT = "bert-base-uncased"
WIDTH, DEPTH, HEADS = 768, 12, 12
_TABLES = (30522, 512, 2)
"""BERT base: words, places and sentences (its published ``config.json``)."""


class Bert:
    """BERT base without a pooler; every token pair has a mask of its own, so scores exist."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.tables = [Embedding(tape, entries, WIDTH) for entries in _TABLES]
        self.first = LayerNorm(tape, WIDTH)
        self.layers = [
            (
                MultiheadAttention(tape, WIDTH, HEADS, dropout=0.1), LayerNorm(tape, WIDTH),
                FeedForward(tape, WIDTH, 4 * WIDTH, 0.1), LayerNorm(tape, WIDTH),
            )
            for _ in range(DEPTH)
        ]  # fmt: skip

    def __call__(self, batch: int, tokens: int) -> Tensor:
        words, places, kinds = (table(batch, tokens) for table in self.tables)
        x = ops.dropout(self.first(ops.add(ops.add(words, kinds), places)), 0.1)
        for attention, first, feed, second in self.layers:
            x = second(feed(first(ops.add(x, ops.dropout(attention(x), 0.1)))))
        return x


class _Fusion:
    """Attention of the image's places over the tokens, and of the tokens over the places, from one product."""

    def __init__(self, tape: Tape, config: Config) -> None:
        image, text, width = (int(config[key]) for key in ("v_dim", "l_dim", "embed_dim"))
        self.tape, self.heads, self.width = tape, int(config["num_heads"]), width
        self.rate = float(config.get("dropout", 0.1))
        self.norms = LayerNorm(tape, image), LayerNorm(tape, text)
        self.query, self.key, self.image_value, self.text_value = (
            Linear(tape, inside, width) for inside in (image, text, image, text)
        )
        self.to_image, self.to_text = Linear(tape, width, image), Linear(tape, width, text)
        self.scales = tape.parameter(image), tape.parameter(text)

    def __call__(self, x: Tensor, text: Tensor) -> Tensor:
        """The image's places; the tokens' sum is worked out and joined to the graph without a tensor of its own."""
        image, words = self.norms[0](x), self.norms[1](text)
        found, said = self._attended(image, words)
        x = ops.add(image, gated(self.to_image(found), self.scales[0]))
        said = ops.add(words, gated(self.to_text(said), self.scales[1]))
        return self.tape.record(x.shape, x.itemsize, (x, said), (0, said.bytes), inplace=x)

    def _attended(self, image: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        batch, places, _ = image.shape
        tokens = words.shape[1]
        query = ops.copy(ops.scaled(self.query(image)))
        key, image_value, text_value = (
            ops.copy(each) for each in (self.key(words), self.image_value(image), self.text_value(words))
        )
        scores = ops.matmul(query, key, (batch, self.heads, places, tokens))
        scores = self._clamped(self._clamped(scores))
        turned = ops.shifted(scores.view(batch, self.heads, tokens, places))
        turned = ops.softmax(self._clamped(self._clamped(turned)))
        masked = ops.softmax(ops.shifted(scores))
        del scores
        found = ops.matmul(ops.dropout(masked, self.rate), text_value, (batch, places, self.width))
        said = ops.matmul(ops.dropout(turned, self.rate), image_value, (batch, tokens, self.width))
        return ops.copy(found), ops.copy(said)

    @staticmethod
    def _clamped(x: Tensor) -> Tensor:
        return ops.keeps_input(x)


class _EncoderLayer:
    def __init__(self, tape: Tape, config: Config, channels: int, levels: int) -> None:
        own = config["layer_cfg"]
        self.attention = DeformableAttention(tape, {**own["self_attn_cfg"], "num_levels": levels}, channels)
        self.feed = FeedForward(
            tape, channels, int(own["ffn_cfg"]["feedforward_channels"]), float(own["ffn_cfg"].get("ffn_drop", 0.0))
        )
        self.norms = [LayerNorm(tape, channels) for _ in range(2)]

    def __call__(self, x: Tensor, position: Tensor) -> Tensor:
        return self.norms[1](self.feed(self.norms[0](self.attention(x, position, x))))


class _DecoderLayer:
    def __init__(self, tape: Tape, config: Config, channels: int, levels: int) -> None:
        self.own = MultiheadAttention(tape, channels, int(config["self_attn_cfg"].get("num_heads", 8)))
        self.text = MultiheadAttention(tape, channels, int(config["cross_attn_text_cfg"].get("num_heads", 8)))
        self.cross = DeformableAttention(tape, {**config["cross_attn_cfg"], "num_levels": levels}, channels)
        self.feed = FeedForward(tape, channels, int(config["ffn_cfg"]["feedforward_channels"]))
        self.norms = [LayerNorm(tape, channels) for _ in range(4)]

    def __call__(self, query: Tensor, place: Tensor, memory: Tensor, text: Tensor) -> Tensor:
        first, second, third, fourth = self.norms
        placed = ops.add(query, place)
        query = first(ops.add(query, self.own(placed, placed, query)))
        query = second(ops.add(query, self.text(ops.add(query, place), text, text)))
        query = third(self.cross(query, place, memory))
        return fourth(self.feed(query))


@model("GroundingDINO")
class GroundingDino:
    """Image and text encoded together; queries scored against every token."""

    spread = OBJECT_SPREAD
    counts_objects = True

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.build = build
        language = config["language_model"]
        if str(language.get("name")).rpartition("/")[2] != BERT:
            raise UnknownType(f"language model {language.get('name')!r}")
        self.backbone, self.neck = build.backbone(config["backbone"]), build.neck(config.get("neck"))
        channels = self.channels = int(config["neck"]["out_channels"])
        levels = int(config["neck"].get("num_outs") or len(config["neck"]["in_channels"]))
        encoder, decoder, text = config["encoder"], config["decoder"], config["encoder"]["text_layer_cfg"]
        self.bert = Bert(tape)
        self.to_text = Linear(tape, WIDTH, channels)
        count = int(encoder["num_layers"])
        self.layers = [_EncoderLayer(tape, encoder, channels, levels) for _ in range(count)]
        self.fusions = [_Fusion(tape, encoder["fusion_layer_cfg"]) for _ in range(count)]
        width = int(text["ffn_cfg"]["feedforward_channels"])
        self.text_layers = [
            (
                MultiheadAttention(tape, channels, int(text["self_attn_cfg"]["num_heads"])), LayerNorm(tape, channels),
                FeedForward(tape, channels, width), LayerNorm(tape, channels),
            )
            for _ in range(count)
        ]  # fmt: skip
        self.recomputed = int(encoder.get("num_cp", -1))
        depth = int(decoder["num_layers"])
        self.decoder = [_DecoderLayer(tape, decoder["layer_cfg"], channels, levels) for _ in range(depth)]
        self.reference = [Linear(tape, 2 * channels, channels), Linear(tape, channels, channels)]
        self.last = LayerNorm(tape, channels)
        self.queries = int(config.get("num_queries", 900))
        self.embedding = tape.parameter(self.queries * channels)
        self.level = tape.parameter(levels * channels)
        self.memory = Linear(tape, channels, channels), LayerNorm(tape, channels)
        head = config["bbox_head"]
        contrast = head.get("contrastive_cfg") or {}
        self.tokens = int(contrast.get("max_text_len", 256))
        self._branches(head, contrast, depth + 1)
        self.labels: Parameter = tape.parameter(int(head.get("num_classes", 80)) * channels)
        self.iou = Losses({"type": "GIoULoss"})

    def _branches(self, head: Config, contrast: Config, copies: int) -> None:
        """Three linear layers a decoder layer for boxes, and the numbers that scale the products with the text."""
        shared = bool(head.get("share_pred_layer", False))
        for _ in range(1 if shared else copies):
            for wanted in (isinstance(contrast.get("log_scale"), float), bool(contrast.get("bias", False))):
                if wanted:
                    self.tape.parameter(1)
        width = self.channels
        self.boxes = [
            [Linear(self.tape, width, width), Linear(self.tape, width, width), Linear(self.tape, width, 4)]
            for _ in range(1 if shared else copies)
        ]

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        tape = self.tape
        text = self.to_text(self.bert(batch.images, self.tokens))
        maps = self.neck(self.backbone(images))
        memory = ops.concatenate([x.view(x.shape[0], x.size[0] * x.size[1], x.channels) for x in maps], axis=1)
        del maps
        learnt = as_input(self.level, (1, 1, self.channels), tape)
        position = ops.add(tape.new(*memory.shape), learnt)
        memory, text = self._encoded(memory, position, text)
        losses = self._proposed(memory, text, batch)
        count = self.queries + DENOISING_QUERIES
        shape = (batch.images, count, self.channels)
        query = ops.copy(as_input(self.embedding, (1, count, self.channels), tape), shape)
        for index, layer in enumerate(self.decoder):
            hidden = ops.relu(self.reference[0](tape.new(*shape[:2], 2 * self.channels)))
            query = layer(query, self.reference[1](hidden), memory, text)
            losses += self._losses(self.last(query), text, index, batch)
        return ops.total_loss(losses)

    def _encoded(self, memory: Tensor, position: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        run: Any = self.tape.recompute
        for index, layer in enumerate(self.layers):
            attention, first, feed, second = self.text_layers[index]
            active = index < self.recomputed
            fused = run(self.fusions[index], memory, text) if active else self.fusions[index](memory, text)
            text = second(feed(first(ops.add(text, attention(text)))))
            memory = run(layer, fused, position) if active else layer(fused, position)
            del fused
        return memory, text

    def _proposed(self, memory: Tensor, text: Tensor, batch: Batch) -> list[Tensor]:
        """Every place as a proposal; the best are trained."""
        project, after = self.memory
        proposed = after(project(ops.mul(memory, self.tape.new(1, memory.shape[1], 1))))
        scores = self._scored(proposed, text)
        boxes = self._boxes(proposed, len(self.boxes) - 1)
        picked = (batch.images, self.queries)
        scores = ops.gather(scores, (*picked, self.tokens), 8 * self.queries)
        boxes = ops.gather(boxes, (*picked, 4), 8 * self.queries)
        return self._compared(scores, boxes, batch)

    def _scored(self, x: Tensor, text: Tensor) -> Tensor:
        """Products with the tokens, scaled, then written into a tensor of ``max_text_len``."""
        found = ops.matmul(x, text, (*x.shape[:2], self.tokens))
        whole = self.tape.new(*found.shape)
        return self.tape.record(found.shape, 4, (ops.scaled(found),), (found.bytes,), inplace=whole)

    def _boxes(self, x: Tensor, index: int) -> Tensor:
        first, second, third = self.boxes[min(index, len(self.boxes) - 1)]
        return ops.sigmoid(third(ops.relu(second(ops.relu(first(x))))))

    def _losses(self, x: Tensor, text: Tensor, index: int, batch: Batch) -> list[Tensor]:
        return self._compared(self._scored(x, text), self._boxes(x, index), batch)

    def _compared(self, scores: Tensor, boxes: Tensor, batch: Batch) -> list[Tensor]:
        costs = [self.tape.new(scores.shape[1], batch.objects) for _ in range(6)]
        del costs
        rows = scores.view(scores.shape[0] * scores.shape[1], scores.shape[2])
        chosen = ops.gather(rows, rows.shape, 8 * rows.elements)  # ``masked_select`` of the text's own tokens
        return [ops.total(focal(chosen)), ops.total(ops.pointwise_loss(boxes)), self.iou(boxes)]
