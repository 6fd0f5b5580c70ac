"""Detectors by queries: DETR, Deformable DETR, DINO.

Source: mmdet 3.3.0 ``models/detectors/{detr,deformable_detr,dino}.py``,
``layers/transformer``, ``dense_heads/{detr,deformable_detr,dino}_head.py``.
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.common import OBJECT_SPREAD, Batch, Losses, batch_of, focal, row_entropy
from vramlint.memory.layers.heads.detection.transformers import Decoder, Encoder
from vramlint.memory.layers.nn import LayerNorm, Linear, as_input
from vramlint.memory.layers.registry import Build, Config, Maps, model
from vramlint.memory.layers.tape import Tensor

DENOISING_QUERIES = 200
"""DINO's noised copies of the objects (``num_dn_queries=100`` groups of pairs at least)."""


@model("DETR", "DeformableDETR", "DINO")
class QueryDetector:
    """Backbone, neck, encoder, decoder; classes and boxes of every query after every decoder layer."""

    spread = OBJECT_SPREAD

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.build = build
        self.kind = str(config["type"]).rpartition(".")[2]
        self.backbone, self.neck = build.backbone(config["backbone"]), build.neck(config.get("neck"))
        neck = config["neck"]
        levels = int(neck.get("num_outs") or len(neck["in_channels"]))
        channels = self.channels = int(neck["out_channels"])
        encoder, decoder = config["encoder"], config["decoder"]
        self.encoder, self.decoder = (
            Encoder(tape, encoder, channels, levels),
            Decoder(tape, decoder, channels, levels),
        )
        self.queries = int(config.get("num_queries", 100))
        self.level = tape.parameter(levels * channels) if levels > 1 else None
        # Deformable DETR learns the queries' places beside them; DETR norms the decoder's outputs once more.
        doubled = 2 if self.kind == "DeformableDETR" and not config.get("as_two_stage", False) else 1
        self.embedding = tape.parameter(doubled * self.queries * channels)
        self.last = LayerNorm(tape, channels) if self.kind != "DeformableDETR" else None
        head = config["bbox_head"]
        self.focal = bool((head.get("loss_cls") or {}).get("use_sigmoid", self.kind != "DETR"))
        self.classes = int(head["num_classes"]) + (0 if self.focal else 1)
        self.two_stage = bool(config.get("as_two_stage", self.kind == "DINO"))
        refine = bool(config.get("with_box_refine", self.kind == "DINO"))
        count = int(decoder["num_layers"]) + self.two_stage
        copies = count if refine or self.kind == "DINO" else 1
        self.cls = [Linear(tape, channels, self.classes) for _ in range(copies)]
        self.reg = [
            [Linear(tape, channels, channels), Linear(tape, channels, channels), Linear(tape, channels, 4)]
            for _ in range(copies)
        ]
        self.memory = (Linear(tape, channels, channels), LayerNorm(tape, channels)) if self.two_stage else None
        self.iou = Losses({"type": "GIoULoss"})

    def _tokens(self, maps: Maps) -> tuple[Tensor, Tensor]:
        rows = [x.view(x.shape[0], x.size[0] * x.size[1], x.channels) for x in maps]
        joined = ops.concatenate(rows, axis=1) if len(rows) > 1 else ops.copy(rows[0])
        position: Tensor = self.tape.new(*joined.shape)
        if self.level is not None:
            learnt = as_input(self.level, (1, 1, self.channels), self.tape)
            position = ops.add(position, learnt)
        return joined, position

    def _outputs(self, x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        cls, reg = self.cls[min(index, len(self.cls) - 1)], self.reg[min(index, len(self.reg) - 1)]
        hidden = x
        for layer in reg[:2]:
            hidden = ops.relu(layer(hidden), inplace=True)
        return cls(x), ops.sigmoid(reg[2](hidden))

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        maps = self.neck(self.backbone(images))
        tokens, position = self._tokens(maps)
        del maps
        memory = self.encoder(tokens, position)
        del tokens
        losses: list[Tensor] = []
        if self.memory is not None:
            project, after = self.memory
            proposed = after(project(ops.mul(memory, self.tape.new(1, memory.shape[1], 1))))
            scores, boxes = self._outputs(proposed, len(self.cls) - 1)
            picked = (batch.images, self.queries)
            scores = ops.gather(scores, (*picked, self.classes), 8 * self.queries)
            boxes = ops.gather(boxes, (*picked, 4), 8 * self.queries)
            losses += self._losses(scores, boxes, batch)
        count = self.queries + (DENOISING_QUERIES if self.kind == "DINO" else 0)
        shape = (batch.images, count, self.channels)
        query = ops.copy(as_input(self.embedding, (1, count, self.channels), self.tape), shape)
        for index, found in enumerate(self.decoder(query, ops.shifted(query), memory, position)):
            normed = found if self.last is None else self.last(found)
            losses += self._losses(*self._outputs(normed, index), batch)
        return ops.total_loss(losses)

    def _losses(self, scores: Tensor, boxes: Tensor, batch: Batch) -> list[Tensor]:
        costs = [self.tape.new(scores.shape[1], batch.objects) for _ in range(6)]
        del costs
        rows = scores.view(scores.shape[0] * scores.shape[1], scores.shape[2])
        entropy: Any = focal(rows) if self.focal else row_entropy(rows)
        return [ops.total(entropy), ops.total(ops.pointwise_loss(boxes)), self.iou(boxes)]
