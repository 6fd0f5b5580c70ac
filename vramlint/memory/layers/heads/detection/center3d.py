"""CenterPoint's head: a heat map and numbers of a box at every place, for each group of classes.

Source: mmdetection3d 1.4.0 ``models/dense_heads/centerpoint_head.py``.
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule, conv
from vramlint.memory.layers.heads.detection.common import Losses, through
from vramlint.memory.layers.nn import Conv, Layer
from vramlint.memory.layers.registry import Build, Config, Maps, UnknownType, head
from vramlint.memory.layers.tape import Tape, Tensor

BN: Config = {"type": "BN"}
MOST_BOXES = 500
"""Rows of targets a sample and task (``train_cfg.pts.max_objs``)."""


class _Task:
    """Small stacks of convolutions from the shared features; after deformable ones in ``DCNSeparateHead``."""

    def __init__(
        self, tape: Tape, config: Config, inside: int, heads: dict[str, tuple[int, int]], norms: Config
    ) -> None:
        kind = str(config["type"]).rpartition(".")[2]
        if kind not in ("SeparateHead", "DCNSeparateHead"):
            raise UnknownType(f"separate head {kind!r}")
        width, kernel = int(config.get("head_conv", 64)), int(config.get("final_kernel", 1))
        self.adapt: list[Layer] = []
        if kind == "DCNSeparateHead":
            adapted = config["dcn_config"]
            self.adapt = [
                conv(tape, adapted, inside, inside, int(adapted.get("kernel_size", 3)), 1, 1, bias=False)
                for _ in range(2)
            ]
        self.parts: dict[str, list[Layer]] = {}
        for name, (out, count) in heads.items():
            layers: list[Layer] = []
            side = 3 if self.adapt and name == "heatmap" else kernel
            for index in range(count - 1):
                layers.append(
                    ConvModule(
                        tape, width if index else inside, width, side, 1, side // 2, norm_cfg=norms, act_cfg=RELU
                    )
                )
            layers.append(Conv(tape, width, out, side, 1, side // 2))
            self.parts[name] = layers

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The heat map, and the other maps."""
        for_classes, for_boxes = (self.adapt[0](x), self.adapt[1](x)) if self.adapt else (x, x)
        heat = through(self.parts["heatmap"], for_classes)
        return heat, [through(layers, for_boxes) for name, layers in self.parts.items() if name != "heatmap"]


@head("CenterHead")
class CenterHead3d:
    """A shared convolution, then the tasks."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        norms: Config = config.get("norm_cfg") or BN
        given = config.get("in_channels")
        inside = given if isinstance(given, int) else int(config["inside"])
        width = int(config.get("share_conv_channel", 64))
        self.shared = ConvModule(tape, inside, width, 3, 1, 1, norm_cfg=norms, act_cfg=RELU)
        common = {str(name): (int(two[0]), int(two[1])) for name, two in config["common_heads"].items()}
        depth = int(config.get("num_heatmap_convs", 2))
        self.tasks = [
            _Task(tape, config["separate_head"], width, {**common, "heatmap": (len(task["class_names"]), depth)}, norms)
            for task in config["tasks"]
        ]
        self.classify = Losses(config.get("loss_cls") or {"type": "GaussianFocalLoss"})

    def loss(self, maps: Maps, images: int) -> list[Tensor]:
        x = self.shared(maps[0])
        outs = [task(x) for task in self.tasks]
        del x
        targets = [self.tape.new(*heat.shape) for heat, _ in outs]
        losses: list[Tensor] = []
        for heat, others in outs:
            chance = ops.sigmoid(heat)
            clamped = ops.keeps_input(chance)
            losses.append(self.classify(clamped))
            joined = ops.concatenate(others)
            rows = ops.copy(joined, (joined.elements // joined.channels, joined.channels))
            picked = ops.gather(rows, (images * MOST_BOXES, joined.channels), 8 * images * MOST_BOXES * joined.channels)
            losses.append(ops.total(ops.pointwise_loss(picked, kept=2)))
        del targets
        return losses
