"""Conditional DETR and DAB-DETR: attention whose queries carry a place of their own.

Source: mmdet 3.3.0 ``models/detectors/{conditional_detr,dab_detr}.py``,
``layers/transformer/{conditional_detr,dab_detr}_layers.py``, ``layers/transformer/utils.py`` (ConditionalAttention).
"""

from __future__ import annotations

from itertools import pairwise

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import MultiheadAttention
from vramlint.memory.layers.heads.detection.common import OBJECT_SPREAD, batch_of
from vramlint.memory.layers.heads.detection.transformers import FeedForward, act_of
from vramlint.memory.layers.models.queries import QueryDetector
from vramlint.memory.layers.nn import LayerNorm, Linear, as_input
from vramlint.memory.layers.registry import Build, Config, model
from vramlint.memory.layers.tape import Tape, Tensor


class ConditionalAttention:
    """Content and place of queries and keys projected apart; across, joined so that heads are twice as wide."""

    def __init__(self, tape: Tape, channels: int, config: Config, *, across: bool, placed: bool) -> None:
        self.tape, self.heads, self.across = tape, int(config.get("num_heads", 8)), across
        self.rate = float(config.get("attn_drop", 0.0))
        self.query, self.key, self.key_place, self.value = (Linear(tape, channels, channels) for _ in range(4))
        self.query_place = Linear(tape, channels, channels) if placed else None
        self.sine = Linear(tape, channels, channels) if across else None
        self.out = Linear(tape, channels, channels)

    def __call__(self, x: Tensor, memory: Tensor, place: Tensor, position: Tensor, sine: Tensor | None) -> Tensor:
        query, key, value = self.query(x), self.key(memory), self.value(memory)
        key_place = self.key_place(position)
        if not self.across or self.query_place is not None:
            query = ops.add(query, self.query_place(place)) if self.query_place is not None else query
            key = ops.add(key, key_place)
        if self.sine is not None and sine is not None:
            query = ops.concatenate([query, self.sine(sine)], axis=2)
            key = ops.concatenate([key, key_place], axis=2)
        query = ops.copy(ops.scaled(query))
        scores = ops.matmul(query, ops.copy(key), (x.shape[0], self.heads, x.shape[1], memory.shape[1]))
        scores = ops.softmax(ops.shifted(scores))
        found = ops.matmul(ops.dropout(scores, self.rate), ops.copy(value), x.shape)
        return ops.add(x, self.out(ops.copy(found)))


class _Layer:
    def __init__(self, tape: Tape, channels: int, config: Config, *, placed: bool) -> None:
        own, cross = config["self_attn_cfg"], config["cross_attn_cfg"]
        self.own = ConditionalAttention(tape, channels, own, across=False, placed=True)
        self.cross = ConditionalAttention(tape, channels, cross, across=True, placed=placed)
        feed = config["ffn_cfg"]
        width, rate = int(feed.get("feedforward_channels", 2048)), float(feed.get("ffn_drop", 0.0))
        self.feed = FeedForward(tape, channels, width, rate, act_of(feed))
        self.norms = [LayerNorm(tape, channels) for _ in range(3)]

    def __call__(self, query: Tensor, place: Tensor, memory: Tensor, position: Tensor, sine: Tensor) -> Tensor:
        first, second, third = self.norms
        query = first(self.own(query, query, place, place, None))
        query = second(self.cross(query, memory, place, position, sine))
        return third(self.feed(query))


def _mlp(tape: Tape, *widths: int) -> list[Linear]:
    return [Linear(tape, a, b) for a, b in pairwise(widths)]


def _through(layers: list[Linear], x: Tensor) -> Tensor:
    for layer in layers[:-1]:
        x = ops.relu(layer(x))
    return layers[-1](x)


@model("ConditionalDETR", "DABDETR")
class ConditionalDetector(QueryDetector):
    """DETR with places that condition the attention; DAB-DETR's are boxes refined layer by layer."""

    spread = OBJECT_SPREAD

    def __init__(self, build: Build, config: Config) -> None:
        by_box = str(config["type"]).endswith("DABDETR")
        section = config["decoder"]
        super().__init__(build, {**config, "type": "DETR", "decoder": {**section, "num_layers": 0}})
        tape, channels = self.tape, self.channels
        self.width = 4 if by_box else channels
        tape.parameters.remove(self.embedding)
        self.embedding = tape.parameter(self.queries * self.width)
        count, layer = int(section["num_layers"]), section["layer_cfg"]
        keeps = bool(layer["cross_attn_cfg"].get("keep_query_pos", False))
        self.own = [_Layer(tape, channels, layer, placed=keeps or index == 0) for index in range(count)]
        self.scale = _mlp(tape, channels, channels, channels)
        self.reference = _mlp(tape, 2 * channels if by_box else channels, channels, channels if by_box else 2)
        self.anchor = _mlp(tape, channels, channels, 2) if by_box else None
        self.encoder_scale = _mlp(tape, channels, channels, channels) if by_box else None

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        tape = self.tape
        tokens, position = self._tokens(self.neck(self.backbone(images)))
        memory = self._encoded(tokens, position)
        del tokens
        shape = (batch.images, self.queries, self.channels)
        learnt = as_input(self.embedding, (1, self.queries, self.width), tape)
        place = ops.copy(learnt, (batch.images, self.queries, self.width))
        query: Tensor = tape.new(*shape)
        losses: list[Tensor] = []
        for index, layer in enumerate(self.own):
            if self.anchor is not None:
                place = _through(self.reference, tape.new(*shape[:2], 2 * self.channels))
            sine: Tensor = tape.new(*shape)
            if index:
                sine = ops.mul(sine, _through(self.scale, query))
            if self.anchor is not None:
                sizes = ops.sigmoid(_through(self.anchor, query))
                sine = tape.record(shape, 4, (sine, sizes), (sine.bytes, sizes.bytes), (sine, sizes))
            query = layer(query, place, memory, position, sine)
            losses += self._losses(*self._outputs(query if self.last is None else self.last(query), index), batch)
        return ops.total_loss(losses)

    def _encoded(self, tokens: Tensor, position: Tensor) -> Tensor:
        if self.encoder_scale is None:
            return self.encoder(tokens, position)
        x = tokens
        for attention, first, feed, second in self.encoder.layers:
            assert isinstance(attention, MultiheadAttention)
            placed = ops.mul(position, _through(self.encoder_scale, x))
            keys = ops.add(x, placed)
            x = second(feed(first(ops.add(x, attention(keys, keys, x)))))
        return x
