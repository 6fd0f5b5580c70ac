"""Segmentors. Source: mmsegmentation 1.2.2 ``models/segmentors``."""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.segmentation.base import DecodeHead
from vramlint.memory.layers.heads.segmentation.relation import CascadeHead
from vramlint.memory.layers.registry import Build, Config, Maps, model
from vramlint.memory.layers.tape import Tensor


@model("EncoderDecoder")
class EncoderDecoder:
    """Backbone, neck, one decode head and auxiliary heads."""

    def __init__(self, build: Build, config: Config) -> None:
        self.build = build
        self.backbone = build.backbone(config["backbone"])
        self.neck = build.neck(config.get("neck"))
        self.heads: list[DecodeHead] = [build.make("head", config["decode_head"])]
        extra = config.get("auxiliary_head") or []
        several: Sequence[Config] = extra if isinstance(extra, (list, tuple)) else [extra]
        self.heads += [build.make("head", each) for each in several]

    def features(self, images: Tensor) -> Maps:
        return self.neck(self.backbone(images))

    def loss(self, images: Tensor) -> Tensor:
        labels = self.build.tape.new(images.shape[0], *images.size, itemsize=8)
        maps = self.features(images)
        losses: list[Tensor] = []
        for head in self.heads:
            losses += head.loss(maps, labels)
        return ops.total_loss(losses)


@model("CascadeEncoderDecoder")
class CascadeEncoderDecoder(EncoderDecoder):
    """Several decode heads, each given the logits of the one before it."""

    def __init__(self, build: Build, config: Config) -> None:
        self.build = build
        self.backbone = build.backbone(config["backbone"])
        self.neck = build.neck(config.get("neck"))
        self.cascade: list[DecodeHead] = [build.make("head", each) for each in config["decode_head"]]
        extra = config.get("auxiliary_head") or []
        several: Sequence[Config] = extra if isinstance(extra, (list, tuple)) else [extra]
        self.heads = [build.make("head", each) for each in several]

    def loss(self, images: Tensor) -> Tensor:
        labels = self.build.tape.new(images.shape[0], *images.size, itemsize=8)
        maps = self.features(images)
        losses = self.cascade[0].loss(maps, labels)
        previous = self.cascade[0].forward(maps)  # once more: the original runs each head again for the next one
        for index, head in enumerate(self.cascade[1:], start=1):
            assert isinstance(head, CascadeHead)
            losses += head.loss_after(maps, previous, labels)
            if index < len(self.cascade) - 1:
                previous = head.forward_after(maps, previous)
        del previous
        for head in self.heads:
            losses += head.loss(maps, labels)
        return ops.total_loss(losses)
