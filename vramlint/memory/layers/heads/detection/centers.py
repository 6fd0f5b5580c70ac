"""CenterNet: objects as the peaks of a heat map. Source: mmdet 3.3.0 ``dense_heads/centernet_head.py``."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.common import Batch, Losses
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor


@head("CenterNetHead")
class CenterHead:
    """Three pairs of convolutions: heat maps of every class, sizes, offsets."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside, width = int(config["in_channels"]), int(config["feat_channels"])
        self.branches = [
            (Conv(tape, inside, width, 3, padding=1), Conv(tape, width, count))
            for count in (int(config["num_classes"]), 2, 2)
        ]
        self.heat = Losses(config.get("loss_center_heatmap") or {"type": "GaussianFocalLoss"})

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        del batch
        losses: list[Tensor] = []
        for x in maps:
            outs = [second(ops.relu(first(x), inplace=True)) for first, second in self.branches]
            heat = ops.sigmoid(outs[0])
            targets = [self.tape.new(*each.shape) for each in outs]
            losses.append(self.heat(heat))
            losses += [ops.total(ops.pointwise_loss(each, kept=2)) for each in outs[1:]]
            del targets, outs
        return losses
