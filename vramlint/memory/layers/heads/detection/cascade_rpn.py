"""Cascade RPN: anchors refined in stages, features adapted to them. Source: mmdet 3.3.0 ``cascade_rpn_head.py``."""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.common import Batch, Losses, decode, per_anchor
from vramlint.memory.layers.heads.detection.rpn import PROPOSALS, anchor_targets
from vramlint.memory.layers.nn import Conv, DeformConv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor


class _Stage:
    """An adaptive convolution, boxes, scores where asked for."""

    def __init__(self, build: Build, config: Config, train: Config) -> None:
        tape = self.tape = build.tape
        inside, channels = int(config["in_channels"]), int(config.get("feat_channels", 256))
        adapt = config["adapt_cfg"]
        self.by_offset = adapt["type"] == "offset"
        dilation = int(adapt.get("dilation", 3))
        self.deformable = DeformConv(tape, inside, channels, own_offsets=False) if self.by_offset else None
        self.plain = None if self.by_offset else Conv(tape, inside, channels, 3, 1, dilation, dilation)
        self.scores = Conv(tape, channels, 1) if config.get("with_cls", True) else None
        self.deltas = Conv(tape, channels, 4)
        self.bridged = bool(config.get("bridged_feature", False))
        self.assigner = train.get("assigner")
        self.classify, self.regress = Losses(config.get("loss_cls")), Losses(config.get("loss_bbox"))

    def run(self, maps: Maps, batch: Batch) -> tuple[Maps, list[Tensor]]:
        """The features for the next stage, and the losses."""
        tape = self.tape
        places = [x.size[0] * x.size[1] for x in maps]
        offsets = [tape.new(x.shape[0], 18, *x.size) for x in maps] if self.by_offset else []
        outs: list[tuple[Tensor | None, Tensor]] = []
        bridged: Maps = []
        for index, x in enumerate(maps):
            made = self.plain(x) if self.plain is not None else self._deformed(x, offsets[index])
            found = ops.relu(made, inplace=True)
            del made
            outs.append((None if self.scores is None else self.scores(found), self.deltas(found)))
            bridged.append(found if self.bridged else x)
        del offsets
        kept = anchor_targets(tape, self.assigner, sum(places), batch)
        losses: list[Tensor] = []
        for score, delta in outs:
            if score is not None:
                losses.append(self.classify(per_anchor(score, 1)))
            losses.append(self.regress(decode(per_anchor(delta, 4))))
        del kept
        return bridged, losses

    def _deformed(self, x: Tensor, offset: Tensor) -> Tensor:
        assert self.deformable is not None
        return self.deformable(x, offset)


@head("CascadeRPNHead")
class CascadeProposals:
    """Stages in a row; the last one's boxes become proposals."""

    def __init__(self, build: Build, config: Config) -> None:
        train = config.get("train_cfg") or {}
        each: Sequence[Config] = train.get("stages") or [{}] * len(config["stages"])
        self.stages = [_Stage(build, stage, own) for stage, own in zip(config["stages"], each, strict=False)]
        self.most = int(train.get("max_per_img", PROPOSALS))

    def loss(self, maps: Maps, batch: Batch) -> tuple[list[Tensor], int]:
        losses: list[Tensor] = []
        for stage in self.stages:
            maps, found = stage.run(maps, batch)
            losses += found
        return losses, self.most
