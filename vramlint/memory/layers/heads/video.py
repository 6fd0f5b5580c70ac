"""Heads of video recognizers. Source: mmaction2 1.2.0 and 0.24.1 ``models/heads``.

A head has ``loss(maps, clips) -> losses``; ``clips`` says how many segments and samples the maps hold.
"""

from __future__ import annotations

from math import comb
from typing import NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.nn import Linear
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor


class Clips(NamedTuple):
    """Samples of the batch, and frames or clips of each that pass the backbone on their own."""

    samples: int
    segments: int


class RecognitionHead:
    """Pooling, dropout, one linear layer; scores averaged over segments where frames pass on their own."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.rate = float(config.get("dropout_ratio", self.default_rate))
        self.inside = int(config["in_channels"])
        loss = config.get("loss_cls") or {}
        self.binary = "BCE" in str(loss.get("type"))
        self.pools = config.get("spatial_type", "avg") is not None
        self.classify = Linear(tape, self.inside, int(config["num_classes"]))

    default_rate = 0.5

    def pooled(self, x: Tensor) -> Tensor:
        """One row a map."""
        if len(x.shape) == 2:
            return x
        found = ops.adaptive_avg_pool(x, 1) if self.pools else x
        return found.view(found.shape[0], found.shape[1])

    def scores(self, maps: Maps, clips: Clips) -> Tensor:
        rows = self.classify(ops.dropout(self.pooled(maps[-1]), self.rate))
        return rows if rows.shape[0] == clips.samples else ops.mean(rows, (clips.samples, rows.shape[1]))

    def loss(self, maps: Maps, clips: Clips) -> list[Tensor]:
        scores = self.scores(maps, clips)
        if self.binary:
            return [ops.total(ops.pointwise_loss(scores, kept=2))]
        return [ops.cross_entropy(scores, self.tape.new(scores.shape[0], itemsize=8), reduced=True)]


@head("I3DHead", "X3DHead", "TPNHead", "UniFormerHead", "TimeSformerHead", "MViTHead")
class ClipHead(RecognitionHead):
    """Pools frames, height and width at once; a transformer's tokens are taken as they come."""

    def pooled(self, x: Tensor) -> Tensor:
        if len(x.shape) == 3:
            return ops.select(x, (x.shape[0], x.shape[2]))
        return super().pooled(x)


@head("TSNHead", "TSMHead")
class FrameHead(RecognitionHead):
    """Scores of frames, averaged."""

    default_rate = 0.4


@head("SlowFastHead")
class TwoPathwayHead(RecognitionHead):
    """Both pathways pooled and joined."""

    def scores(self, maps: Maps, clips: Clips) -> Tensor:
        rows = [self.pooled(x) for x in maps]
        del clips
        return self.classify(ops.dropout(ops.concatenate(list(reversed(rows))), self.rate))


@head("TRNHead")
class RelationHead(RecognitionHead):
    """Temporal relations between two to all of the frames."""

    default_rate = 0.8

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, {**config, "num_classes": config.get("hidden_dim", 256)})
        hidden, classes = int(config.get("hidden_dim", 256)), int(config["num_classes"])
        self.segments = int(config.get("num_segments", 8))
        several = config.get("relation_type", "TRNMultiScale") == "TRNMultiScale"
        self.scales = list(range(self.segments, 1, -1)) if several else [self.segments]
        width = 256 if several else 512
        tape = build.tape
        self.relations = [(Linear(tape, scale * hidden, width), Linear(tape, width, classes)) for scale in self.scales]
        self.hidden = hidden

    def scores(self, maps: Maps, clips: Clips) -> Tensor:
        rows = self.classify(ops.dropout(self.pooled(maps[-1]), self.rate))
        rows = rows.view(clips.samples, self.segments * self.hidden)
        found: Tensor | None = None
        for scale, (first, second) in zip(self.scales, self.relations, strict=True):
            for _ in range(min(3, comb(self.segments, scale))):
                picked = ops.gather(rows, (clips.samples, scale * self.hidden), 8 * scale)
                scores = second(ops.relu(first(ops.relu(picked))))
                found = scores if found is None else ops.add(found, scores, inplace=True)
        assert found is not None
        return found
