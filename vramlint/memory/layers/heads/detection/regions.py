"""Box heads over regions: ``forward(features) -> (scores, deltas)``, ``loss(scores, deltas) -> losses``.

Source: mmdet 3.3.0 ``models/roi_heads/bbox_heads``.
"""

from __future__ import annotations

from math import prod
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.heads.detection.common import Losses, decode, stack, through
from vramlint.memory.layers.nn import Linear
from vramlint.memory.layers.registry import Build, Config, head
from vramlint.memory.layers.tape import Tensor


class BoxHead:
    """Shared convolutions and linear layers, then branches for classes and boxes (ConvFCBBoxHead)."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        side = config.get("roi_feat_size", 7)
        self.area = side * side if isinstance(side, int) else int(prod(side))
        self.width, self.channels = int(config.get("fc_out_channels", 1024)), int(config.get("conv_out_channels", 256))
        self.config = config
        self.pooled = bool(config.get("with_avg_pool", False))
        self.shared_fcs = int(config.get("num_shared_fcs", 0))
        inside = int(config.get("in_channels", 256))
        self.shared, after = self._branch(int(config.get("num_shared_convs", 0)), self.shared_fcs, inside, shared=True)
        self.cls, cls_width = self._branch(
            int(config.get("num_cls_convs", 0)), int(config.get("num_cls_fcs", 0)), after
        )
        self.reg, reg_width = self._branch(
            int(config.get("num_reg_convs", 0)), int(config.get("num_reg_fcs", 0)), after
        )
        if self.shared_fcs == 0 and not self.pooled:
            cls_width *= self.area if not self.cls[1] else 1
            reg_width *= self.area if not self.reg[1] else 1
        classes = int(config.get("num_classes", 80))
        loss_cls = config.get("loss_cls") or {"type": "CrossEntropyLoss"}
        outputs = classes + (2 if str(loss_cls.get("type")) == "SeesawLoss" else 1)
        self.boxes = 4 if config.get("reg_class_agnostic", False) else 4 * classes
        self.fc_cls = Linear(tape, cls_width, outputs) if config.get("with_cls", True) else None
        self.fc_reg = Linear(tape, reg_width, self.boxes) if config.get("with_reg", True) else None
        self.classify, self.regress = Losses(loss_cls), Losses(config.get("loss_bbox"))

    def _branch(self, convs: int, fcs: int, inside: int, *, shared: bool = False) -> tuple[Any, int]:
        config = self.config
        layers = stack(
            self.tape, convs, inside, self.channels, norm_cfg=config.get("norm_cfg"), conv_cfg=config.get("conv_cfg")
        )
        width = self.channels if convs else inside
        linear: list[Linear] = []
        if fcs:
            if (shared or self.shared_fcs == 0) and not self.pooled:
                width *= self.area
            for _ in range(fcs):
                linear.append(Linear(self.tape, width, self.width))
                width = self.width
        return (layers, linear), width

    def _flat(self, x: Tensor) -> Tensor:
        if len(x.shape) == 2:
            return x
        if self.pooled:
            x = ops.avg_pool(x, x.size)
        return x.view(x.shape[0], prod(x.shape[1:]))

    def _run(self, branch: Any, x: Tensor, *, flatten: bool) -> Tensor:
        convs, linear = branch
        x = through(convs, x)
        if flatten or linear:
            x = self._flat(x)
        for layer in linear:
            x = ops.relu(layer(x), inplace=True)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        scores, deltas, _ = self.forward_shared(x)
        return scores, deltas

    def forward_shared(self, x: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Scores, deltas and the rows that both come from."""
        x = self._run(self.shared, x, flatten=False)
        for_classes = self._run(self.cls, x, flatten=True)
        for_boxes = self._run(self.reg, x, flatten=True)
        return (
            None if self.fc_cls is None else self.fc_cls(for_classes),
            None if self.fc_reg is None else self.fc_reg(for_boxes),
            x,
        )

    def loss(self, scores: Tensor | None, deltas: Tensor | None, positives: int) -> list[Tensor]:
        losses = [] if scores is None else [self.classify(scores)]
        if deltas is not None:
            rows = deltas.view(deltas.shape[0], deltas.shape[1] // 4, 4)
            picked = ops.gather(rows, (positives, 4), 16 * positives)
            losses.append(self.regress(decode(picked) if self.regress.on_boxes else picked))
        return losses


@head("ConvFCBBoxHead", "BBoxHead")
def conv_fc(build: Build, config: Config) -> BoxHead:
    """Layers as counted in the configuration."""
    return BoxHead(build, config)


@head("Shared2FCBBoxHead", "SCNetBBoxHead")
def shared_2fc(build: Build, config: Config) -> BoxHead:
    """Two shared linear layers."""
    return BoxHead(build, {"num_shared_fcs": 2, **config})


@head("Shared4Conv1FCBBoxHead")
def shared_4conv_1fc(build: Build, config: Config) -> BoxHead:
    """Four shared convolutions, one linear layer."""
    return BoxHead(build, {"num_shared_convs": 4, "num_shared_fcs": 1, **config})


@head("DoubleConvFCBBoxHead")
class DoubleBoxHead(BoxHead):
    """Double-Head R-CNN: residual convolutions for boxes, linear layers for classes."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        convs, fcs = int(config["num_convs"]), int(config["num_fcs"])
        width, channels = int(config.get("fc_out_channels", 1024)), int(config.get("conv_out_channels", 1024))
        super().__init__(build, {**config, "with_cls": False, "with_reg": False})
        inside = int(config.get("in_channels", 256))
        norm: Config = config.get("norm_cfg") or {"type": "BN"}
        self.residual = (
            ConvModule(tape, inside, inside, 3, padding=1, norm_cfg=norm, act_cfg=RELU),
            ConvModule(tape, inside, channels, 1, norm_cfg=norm),
            ConvModule(tape, inside, channels, 1, norm_cfg=norm),
        )
        self.blocks = [
            (
                ConvModule(tape, channels, channels // 4, 1, norm_cfg=norm, act_cfg=RELU),
                ConvModule(tape, channels // 4, channels // 4, 3, padding=1, norm_cfg=norm, act_cfg=RELU),
                ConvModule(tape, channels // 4, channels, 1, norm_cfg=norm),
            )
            for _ in range(convs)
        ]
        self.linear = [Linear(tape, inside * self.area if i == 0 else width, width) for i in range(fcs)]
        self.fc_cls = Linear(tape, width, int(config["num_classes"]) + 1)
        self.fc_reg = Linear(tape, channels, self.boxes)

    def forward_both(self, for_classes: Tensor, for_boxes: Tensor) -> tuple[Tensor, Tensor]:
        first, second, short = self.residual
        x = ops.relu(ops.add(second(first(for_boxes)), short(for_boxes)), inplace=True)
        for a, b, c in self.blocks:
            x = ops.relu(ops.add(c(b(a(x))), x), inplace=True)
        x = ops.avg_pool(x, x.size)
        assert self.fc_reg is not None
        assert self.fc_cls is not None
        deltas = self.fc_reg(x.view(x.shape[0], x.shape[1]))
        rows = for_classes.view(for_classes.shape[0], prod(for_classes.shape[1:]))
        for layer in self.linear:
            rows = ops.relu(layer(rows), inplace=True)
        return self.fc_cls(rows), deltas
