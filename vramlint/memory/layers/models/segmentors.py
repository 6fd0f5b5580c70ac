"""Segmentors. Source: mmsegmentation 1.2.2 ``models/segmentors``."""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.segmentation.base import DecodeHead
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
