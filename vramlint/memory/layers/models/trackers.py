"""Detectors with a further branch: panoptic FPN, trackers that train on pairs of frames.

Source: mmdet 3.3.0 ``models/detectors/panoptic_two_stage_segmentor.py``, ``models/vis/masktrack_rcnn.py``,
``models/mot/qdtrack.py``, ``models/seg_heads/panoptic_fpn_head.py``, ``models/tracking_heads``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import OBJECT_SPREAD, RegionExtractor, batch_of, row_entropy
from vramlint.memory.layers.models.detectors import TwoStage
from vramlint.memory.layers.nn import Conv, Linear
from vramlint.memory.layers.registry import Build, Config, Maps, head, model
from vramlint.memory.layers.tape import Tensor

GN: Config = {"type": "GN", "num_groups": 32}


@head("PanopticFPNHead")
class PanopticBranch:
    """Levels brought to stride four and summed; logits of stuff classes at that size."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, width = int(config.get("in_channels", 256)), int(config.get("inner_channels", 128))
        norm_cfg: Config = config.get("norm_cfg") or GN
        self.levels = range(int(config.get("start_level", 0)), int(config.get("end_level", 4)))
        self.convs = [
            [
                ConvModule(tape, inside if i == 0 else width, width, 3, 1, 1, norm_cfg=norm_cfg, act_cfg=RELU)
                for i in range(max(1, level))
            ]
            for level in self.levels
        ]
        self.logits = Conv(tape, width, int(config.get("num_stuff_classes", 53)) + 1)

    def loss(self, maps: Maps) -> list[Tensor]:
        total: Tensor | None = None
        for level, convs in zip(self.levels, self.convs, strict=True):
            x = maps[level]
            for conv in convs:
                x = conv(x)
                x = ops.enlarged(x, 2) if level > 0 else x
            total = x if total is None else ops.add(total, x)
        assert total is not None
        logits = self.logits(total)
        rows = ops.copy(logits, (logits.elements // logits.channels, logits.channels))
        return [ops.total(row_entropy(rows))]


@model("PanopticFPN")
class PanopticFpn(TwoStage):
    """A two-stage detector with a semantic branch."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.semantic = build.make("head", config["semantic_head"])

    def further(self, maps: Maps) -> list[Tensor]:
        found: list[Tensor] = self.semantic.loss(maps)
        return found


class _Embeddings:
    """A head of linear layers over pooled regions of a key and a reference frame."""

    def __init__(self, build: Build, config: Config, extractor: Config) -> None:
        tape = build.tape
        self.extract = RegionExtractor(build, extractor)
        side = int(config.get("roi_feat_size", 7))
        inside, width = int(config.get("in_channels", 256)), int(config.get("fc_out_channels", 1024))
        channels = int(config.get("conv_out_channels", 256))
        self.convs = [
            ConvModule(
                tape, inside if i == 0 else channels, channels, 3, padding=1, norm_cfg=config.get("norm_cfg"),
                act_cfg=RELU,
            )
            for i in range(int(config.get("num_convs", 0)))
        ]  # fmt: skip
        rows = (channels if self.convs else inside) * side * side
        self.linear: list[Linear] = []
        for _ in range(int(config.get("num_fcs", 0))):
            self.linear.append(Linear(tape, rows, width))
            rows = width
        embeds = config.get("embed_channels")
        self.out = Linear(tape, rows, int(embeds)) if embeds else None

    def rows(self, maps: Maps, regions: int) -> Tensor:
        x = self.extract(maps, regions)
        for conv in self.convs:
            x = conv(x)
        x = x.view(regions, x.elements // regions)
        for layer in self.linear:
            x = ops.relu(layer(x), inplace=True)
        return x if self.out is None else self.out(x)


@model("MaskTrackRCNN", "QDTrack")
class Tracker:
    """A detector trained on the key frame; the reference frame gives features to match with."""

    spread = OBJECT_SPREAD

    def __init__(self, build: Build, config: Config) -> None:
        self.build = build
        self.detector: TwoStage = build.make("model", config["detector"])
        track = config["track_head"]
        embed = track.get("embed_head") or {}
        self.embeddings = _Embeddings(build, embed, track["roi_extractor"])
        train: Any = track.get("train_cfg") or {}
        sampler = train.get("sampler") if isinstance(train, Mapping) else None
        self.regions = int((sampler or {}).get("num", 256))

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        tape = self.build.tape
        other = tape.new(*images.shape)
        key, reference = self.detector.features(images), self.detector.features(other)
        losses: list[Tensor] = []
        if self.detector.proposals is not None:
            found, _ = self.detector.proposals.loss(key, batch)
            losses += found
        if self.detector.regions is not None:
            losses += self.detector.regions.loss(key, batch)
        first = self.embeddings.rows(key, self.regions * batch.images)
        second = self.embeddings.rows(reference, self.regions * batch.images)
        scores = ops.matmul(first, second, (first.shape[0], second.shape[0]))
        losses.append(ops.total(row_entropy(scores)))
        return ops.total_loss(losses)


@model("ByteTrack", "OCSORT")
def detector_alone(build: Build, config: Config) -> Any:
    """Trackers that associate boxes by their places: training is the detector's (mmdet 3.3.0 ``models/mot``)."""
    return build.make("model", config["detector"])
