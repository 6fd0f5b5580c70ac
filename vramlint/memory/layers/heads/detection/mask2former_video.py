"""Mask2Former over the frames of a clip. Source: mmdet 3.3.0 ``models/tracking_heads/mask2former_track_head.py``,
``models/vis/mask2former_vis.py``."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.common import OBJECT_SPREAD, Batch
from vramlint.memory.layers.heads.detection.mask2former import Mask2FormerHead
from vramlint.memory.layers.registry import Build, Config, Maps, head, model
from vramlint.memory.layers.tape import Tensor

VIDEO_OBJECTS = 10
"""Objects of one YouTube-VIS clip at most; they take 4 MB each of two frames of 360x640."""


@head("Mask2FormerTrackHead")
class Mask2FormerTrackHead(Mask2FormerHead):
    """Queries attend to the places of all frames, and make a mask in each."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.frames = int(config.get("num_frames", 2))

    def decoded(self, maps: Maps) -> tuple[Tensor, Maps]:
        features, levels = self.pixels(maps)
        return self._joined(features), [self._joined(each) for each in levels]

    def _joined(self, x: Tensor) -> Tensor:
        """The frames of a clip one below the other: the dimension of frames is moved, which copies."""
        batch, channels, height, width = x.shape
        return ops.copy(x, (batch // self.frames, channels, self.frames * height, width))


@model("Mask2FormerVideo")
class Mask2FormerVideo:
    """Backbone and head; no neck."""

    spread = OBJECT_SPREAD

    def __init__(self, build: Build, config: Config) -> None:
        self.build = build
        self.backbone = build.backbone(config["backbone"])
        self.head = build.make("head", config["track_head"])

    def loss(self, images: Tensor) -> Tensor:
        clips, frames = images.shape[0], self.head.frames
        whole = self.build.tape.new(clips * frames, *images.shape[1:])
        objects = int(self.build.facts.get("ground_truths", VIDEO_OBJECTS))
        batch = Batch(clips, frames * images.shape[2], images.shape[3], objects, objects)
        return ops.total_loss(self.head.loss(self.backbone(whole), batch))
