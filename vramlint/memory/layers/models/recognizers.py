"""Video recognizers. Source: mmaction2 1.2.0 ``models/recognizers``.

The batch comes as (samples, 3, height, width) and is unrolled here to the clips and frames that the pipeline samples.
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.video import Clips
from vramlint.memory.layers.knowledge import LEDGER_SPREAD
from vramlint.memory.layers.necks.video import TemporalPyramid
from vramlint.memory.layers.registry import Build, Config, UnknownType, model
from vramlint.memory.layers.tape import Tensor

NON_LOCAL_SPREAD = 0.15
"""Half-width where non-local blocks stand: of six published runs with them, two are 12 % below the ledger and two 25 %,
which is below the same network without the blocks."""


class Recognizer:
    """Backbone, perhaps a pyramid, a head."""

    flat = False
    """Whether every frame passes the backbone as an image."""
    counts_objects = False

    def __init__(self, build: Build, config: Config) -> None:
        self.build, self.build_config = build, config["backbone"]
        self.backbone = build.backbone(config["backbone"])
        self.neck = build.neck(config["neck"]) if config.get("neck") else None
        self.head = build.make("head", config["cls_head"])

    @property
    def spread(self) -> float:
        """Wider with non-local blocks."""
        return NON_LOCAL_SPREAD if self.build_config.get("non_local") else LEDGER_SPREAD

    def clip(self, images: Tensor) -> tuple[Tensor, Clips]:
        """The input tensor, and how it divides."""
        facts = self.build.facts
        if "clip_len" not in facts:
            raise UnknownType("no clip length in the training pipeline")
        frames, clips = int(facts["clip_len"]), int(facts.get("num_clips", 1))
        samples, channels, height, width = images.shape
        tape = self.build.tape
        if self.flat:
            return tape.new(samples * clips * frames, channels, height, width), Clips(samples, clips * frames)
        return tape.new(samples * clips, channels, frames, height, width), Clips(samples * clips, 1)

    def loss(self, images: Tensor) -> Tensor:
        x, clips = self.clip(images)
        maps = self.backbone(x)
        losses: list[Tensor] = []
        if self.neck is not None:
            if self.flat:
                maps = [
                    ops.copy(each, (clips.samples, each.shape[1], clips.segments, *each.shape[2:])) for each in maps
                ]
                clips = clips._replace(segments=1)
            losses += self.neck.losses(maps) if isinstance(self.neck, TemporalPyramid) else []
            maps = self.neck(maps)
        losses += self.head.loss(maps, clips)
        return ops.total_loss(losses)


@model("Recognizer3D")
class ClipRecognizer(Recognizer):
    """Whole clips pass the backbone."""


@model("Recognizer2D")
class FrameRecognizer(Recognizer):
    """Frames pass the backbone on their own."""

    flat = True
