"""Encoders and decoders of queries, plain and deformable.

Source: mmdet 3.3.0 ``layers/transformer/{detr,deformable_detr}_layers.py``, mmcv 2.1.0
``ops/multi_scale_deform_attn.py`` and ``cnn/bricks/transformer.py`` (FFN).
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import MultiheadAttention
from vramlint.memory.layers.nn import LayerNorm, Linear
from vramlint.memory.layers.registry import Config
from vramlint.memory.layers.tape import Tape, Tensor


class DeformableAttention:
    """MultiScaleDeformableAttention: values at a few learnt places of every level, weighted."""

    def __init__(self, tape: Tape, config: Config, channels: int) -> None:
        self.tape, self.channels = tape, channels
        heads, levels = int(config.get("num_heads", 8)), int(config.get("num_levels", 4))
        self.points = heads * levels * int(config.get("num_points", 4))
        self.offsets = Linear(tape, channels, 2 * self.points)
        self.weights = Linear(tape, channels, self.points)
        self.value, self.out = Linear(tape, channels, channels), Linear(tape, channels, channels)
        self.rate = float(config.get("dropout", 0.1))

    def __call__(self, query: Tensor, position: Tensor, memory: Tensor) -> Tensor:
        tape = self.tape
        placed = ops.add(query, position)
        values = self.value(memory)
        offsets = self.offsets(placed)
        weights = ops.softmax(self.weights(placed))
        del placed
        places = ops.shifted(ops.scaled(offsets))
        del offsets
        shape = (query.shape[0], query.shape[1], self.channels)
        found = tape.record(
            shape, values.itemsize, (values, places, weights), (values.bytes, places.bytes, weights.bytes),
            (values, places, weights),
        )  # fmt: skip
        del values, places, weights
        return ops.add(ops.dropout(self.out(found), self.rate), query)


def act_of(config: Config) -> str:
    """The activation of a feed-forward network by its type."""
    return str((config.get("act_cfg") or {}).get("type", "ReLU"))


class FeedForward:
    """mmcv's FFN: linear, ReLU in place or PReLU (one more parameter), linear, and the identity."""

    def __init__(self, tape: Tape, channels: int, width: int, rate: float = 0.0, act: str = "ReLU") -> None:
        self.first, self.second, self.rate = Linear(tape, channels, width), Linear(tape, width, channels), rate
        self.slope = tape.parameter(1) if act == "PReLU" else None

    def __call__(self, x: Tensor) -> Tensor:
        inside = self.first(x)
        inside = ops.relu(inside, inplace=True) if self.slope is None else ops.keeps_input(inside)
        inside = ops.dropout(inside, self.rate)
        return ops.add(x, ops.dropout(self.second(inside), self.rate))


class Encoder:
    """Self-attention, dense or deformable, and feed-forward layers over all tokens."""

    def __init__(self, tape: Tape, config: Config, channels: int, levels: int) -> None:
        layer = config["layer_cfg"]
        attention = layer["self_attn_cfg"]
        self.deformable = levels > 1 or "num_levels" in attention
        width = int(layer["ffn_cfg"].get("feedforward_channels", 1024))
        rate, act = float(layer["ffn_cfg"].get("ffn_drop", 0.0)), act_of(layer["ffn_cfg"])
        self.layers = [
            (
                DeformableAttention(tape, {**attention, "num_levels": levels}, channels)
                if self.deformable
                else MultiheadAttention(tape, channels, int(attention["num_heads"]),
                                        dropout=float(attention.get("dropout", 0.0))),
                LayerNorm(tape, channels), FeedForward(tape, channels, width, rate, act), LayerNorm(tape, channels),
            )
            for _ in range(int(config["num_layers"]))
        ]  # fmt: skip

    def __call__(self, x: Tensor, position: Tensor) -> Tensor:
        for attention, first, feed, second in self.layers:
            if isinstance(attention, DeformableAttention):
                found = attention(x, position, x)
            else:
                placed = ops.add(x, position)
                found = ops.add(x, attention(placed, placed, x))
            x = second(feed(first(found)))
        return x


class Decoder:
    """Queries attend to each other and to the tokens."""

    def __init__(self, tape: Tape, config: Config, channels: int, levels: int) -> None:
        layer = config["layer_cfg"]
        own, cross = layer["self_attn_cfg"], layer["cross_attn_cfg"]
        self.deformable = levels > 1 or "num_levels" in cross
        width = int(layer["ffn_cfg"].get("feedforward_channels", 1024))
        rate = float(layer["ffn_cfg"].get("ffn_drop", 0.0))
        self.layers = [
            (
                MultiheadAttention(tape, channels, int(own["num_heads"]), dropout=float(own.get("dropout", 0.0))),
                DeformableAttention(tape, {**cross, "num_levels": levels}, channels)
                if self.deformable
                else MultiheadAttention(tape, channels, int(cross["num_heads"]),
                                        dropout=float(cross.get("dropout", 0.0))),
                FeedForward(tape, channels, width, rate), [LayerNorm(tape, channels) for _ in range(3)],
            )
            for _ in range(int(config["num_layers"]))
        ]  # fmt: skip

    def __call__(self, query: Tensor, place: Tensor, memory: Tensor, position: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for own, cross, feed, (first, second, third) in self.layers:
            placed = ops.add(query, place)
            query = first(ops.add(query, own(placed, placed, query)))
            if isinstance(cross, DeformableAttention):
                query = second(cross(query, place, memory))
            else:
                keys = ops.add(memory, position)
                query = second(ops.add(query, cross(ops.add(query, place), keys, memory)))
            query = third(feed(query))
            found.append(query)
        return found
