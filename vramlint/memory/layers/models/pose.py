"""Top-down pose estimators and image classifiers: a backbone and one head.

Source: mmpose 1.3.2 ``models/pose_estimators/topdown.py``, ``models/heads/{heatmap_heads,coord_cls_heads,
regression_heads}``, ``models/utils/rtmcc_block.py``; mmpretrain 1.2.0 ``models/classifiers/image.py``,
``models/heads/linear_head.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.hrnet import HRNet
from vramlint.memory.layers.heads.detection.common import row_entropy
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, Linear
from vramlint.memory.layers.registry import Build, Config, Maps, Neck, UnknownType, backbone, head, model, neck
from vramlint.memory.layers.tape import Tape, Tensor


@backbone("mmpose.HRNet")
def pose_hrnet(build: Build, config: Config) -> HRNet:
    """mmpose's ends in the finest branch alone unless stage 4 says otherwise."""
    last = config["extra"]["stage4"]
    return HRNet(build, {**config, "multiscale_output": bool(last.get("multiscale_output", False))})


_PADDINGS = {4: (1, 0), 3: (1, 1), 2: (0, 0)}


def _enlarging(tape: Tape, inside: int, channels: Sequence[int], kernels: Sequence[int]) -> list[Layer]:
    """Transposed convolutions with norms and ReLUs in place, each doubling the size."""
    layers: list[Layer] = []
    for width, kernel in zip(channels, kernels, strict=True):
        padding, outside = _PADDINGS[int(kernel)]
        conv = Conv(
            tape, inside, int(width), int(kernel), 2, padding, transposed=True, output_padding=outside, bias=False
        )
        layers += [conv, BatchNorm(tape, int(width)), lambda x: ops.relu(x, inplace=True)]
        inside = int(width)
    return layers


@head("HeatmapHead")
class HeatmapHead:
    """Transposed and plain convolutions, one map a keypoint, squared errors."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        inside = config["in_channels"]
        if not isinstance(inside, int):
            raise UnknownType("a heatmap head over several maps")
        widths = config.get("deconv_out_channels", (256, 256, 256)) or ()
        self.layers = _enlarging(
            tape, inside, widths, (config.get("deconv_kernel_sizes", (4, 4, 4)) or ())[: len(widths)]
        )
        inside = int(widths[-1]) if widths else inside
        plain = config.get("conv_out_channels") or ()
        for width, kernel in zip(plain, config.get("conv_kernel_sizes") or (), strict=True):
            self.layers += [
                Conv(tape, inside, int(width), int(kernel), 1, None), BatchNorm(tape, int(width)),
                lambda x: ops.relu(x, inplace=True),
            ]  # fmt: skip
            inside = int(width)
        final = config.get("final_layer", {"kernel_size": 1})
        count = int(config["out_channels"])
        if final is not None:
            kernel = int(final.get("kernel_size", 1))
            self.layers.append(Conv(tape, inside, count, kernel, 1, int(final.get("padding", 0))))

    def loss(self, maps: Maps) -> list[Tensor]:
        x = maps[-1]
        for layer in self.layers:
            x = layer(x)
        target = self.tape.new(*x.shape)
        # The prediction and the target are each multiplied by the keypoints' weights.
        weighted = ops.scaled(x)
        masked = self.tape.new(*x.shape)
        found = ops.total(ops.pointwise_loss(weighted, kept=2, steps=0))
        del target, masked
        return [found]


@head("RegressionHead", "IntegralRegressionHead")
class RegressionHead:
    """Two numbers a keypoint from pooled features."""

    def __init__(self, build: Build, config: Config) -> None:
        if "Integral" in str(config["type"]):
            raise UnknownType("integral regression")
        self.linear = Linear(build.tape, int(config["in_channels"]), 2 * int(config["num_joints"]))

    def loss(self, maps: Maps) -> list[Tensor]:
        return [ops.total(ops.pointwise_loss(self.linear(_pooled(maps[-1]))))]


def _pooled(x: Tensor) -> Tensor:
    """Averaged over the places, where there still are some."""
    return ops.mean(x, x.shape[:2]) if len(x.shape) == 4 else x


class _Bins:
    """Scores of bins along either side."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = build.tape
        size, ratio = config["input_size"], float(config.get("simcc_split_ratio", 2.0))
        self.bins = [int(side * ratio) for side in size]
        self.grid = config["in_featuremap_size"]
        self.points = int(config["out_channels"])

    def scored(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """KLDiscretLoss: log softmax of the scores against a softmax of the labels."""
        losses: list[Tensor] = []
        for x in parts:
            rows = x.view(x.shape[0] * x.shape[1], x.shape[2])
            likely = ops.log_softmax(ops.scaled(rows))
            losses.append(ops.total(ops.pointwise_loss(likely, kept=2, steps=1)))
        return losses


@head("SimCCHead")
class SimccHead(_Bins):
    """Transposed convolutions or none, one row a keypoint, two linear layers."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        tape, inside = self.tape, int(config["in_channels"])
        widths = config.get("deconv_out_channels", (256, 256, 256)) or ()
        kernels = (config.get("deconv_kernel_sizes", (4, 4, 4)) or ())[: len(widths)]
        self.layers = _enlarging(tape, inside, widths, kernels)
        inside = int(widths[-1]) if widths else inside
        self.layers.append(Conv(tape, inside, self.points))
        places = int(self.grid[0]) * int(self.grid[1]) * 4 ** len(widths)
        self.outs = [Linear(tape, places, each) for each in self.bins]

    def loss(self, maps: Maps) -> list[Tensor]:
        x = maps[-1]
        for layer in self.layers:
            x = layer(x)
        rows = x.view(x.shape[0], self.points, x.size[0] * x.size[1])
        return self.scored([out(rows) for out in self.outs])


@head("RTMCCHead")
class RtmHead(_Bins):
    """One row a keypoint, a gated attention unit over them, two linear layers."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        tape, unit = self.tape, config["gau_cfg"]
        kernel = int(config.get("final_layer_kernel_size", 1))
        self.final = Conv(tape, int(config["in_channels"]), self.points, kernel, 1, kernel // 2)
        hidden, self.short = int(unit["hidden_dims"]), int(unit.get("s", 128))
        self.width = int(hidden * float(unit.get("expansion_factor", 2)))
        tape.parameter(1)
        self.squeeze = Linear(tape, int(self.grid[0]) * int(self.grid[1]), hidden, bias=False)
        if unit.get("use_rel_bias", True):
            tape.parameter(2 * self.points - 1)
        self.out = Linear(tape, self.width, hidden, bias=False)
        self.joint = Linear(tape, hidden, 2 * self.width + self.short, bias=False)
        for count in (2 * self.short, 2 * self.short, 1, hidden):  # gamma, beta, the norm's, the shortcut's scale
            tape.parameter(count)
        self.outs = [Linear(tape, hidden, each, bias=False) for each in self.bins]

    def loss(self, maps: Maps) -> list[Tensor]:
        x = self.final(maps[-1])
        x = self.squeeze(ops.scaled(x.view(x.shape[0], self.points, x.size[0] * x.size[1])))
        joined = ops.keeps_input(self.joint(ops.scaled(x)), inplace=True)
        gate, value, base = ops.split(joined, [self.width, self.width, self.short], axis=2)
        query, key = (ops.scaled(base) for _ in range(2))
        scores = ops.relu(ops.scaled(ops.matmul(query, key, (x.shape[0], self.points, self.points))))
        found = ops.mul(gate, ops.matmul(ops.mul(scores, scores), value, gate.shape))
        x = ops.add(ops.scaled(x), self.out(found))
        return self.scored([out(x) for out in self.outs])


@neck("GlobalAveragePooling")
def averaging(build: Build, config: Config) -> Neck:
    """The last map, averaged over its places."""
    del build, config
    return lambda maps: [*maps[:-1], _pooled(maps[-1])]


@neck("FeatureMapProcessor")
def processor(build: Build, config: Config) -> Neck:
    """Levels chosen, joined, a ReLU, resized."""
    del build
    chosen, factor = config.get("select_index"), float(config.get("scale_factor", 1.0))
    indices = [chosen] if isinstance(chosen, int) else chosen
    joins, applies = bool(config.get("concat", False)), bool(config.get("apply_relu", False))

    def run(maps: Maps) -> Maps:
        found = [maps[index] for index in indices] if indices is not None else list(maps)
        if joins:
            found = [ops.concatenate([ops.resize(each, found[0].size) for each in found])]
        if applies:
            found = [ops.relu(each) for each in found]
        return [ops.resize(x, [round(side * factor) for side in x.size]) for x in found] if factor != 1 else found

    return run


@model("TopdownPoseEstimator")
class TopDown:
    """Backbone, perhaps a neck, a head; every person of an image is an image of its own."""

    scopes: tuple[str, ...] = ("mmpose",)
    """Where the type is; new-style configs name no scope, and bare names inside are the first one's."""

    def __init__(self, build: Build, config: Config) -> None:
        build = build if build.scope in self.scopes else build._replace(scope=self.scopes[0])
        self.backbone, self.neck = build.backbone(config["backbone"]), build.neck(config.get("neck"))
        self.head = build.make("head", config["head"])

    def loss(self, images: Tensor) -> Tensor:
        return ops.total_loss(self.head.loss(self.neck(self.backbone(images))))


@head("LinearClsHead", "VisionTransformerClsHead")
class ClassifierHead:
    """One linear layer, cross entropy (or of mixed labels, which keeps as much)."""

    def __init__(self, build: Build, config: Config) -> None:
        if config.get("hidden_dim"):
            raise KeyError("hidden_dim")
        self.linear = Linear(build.tape, int(config["in_channels"]), int(config["num_classes"]))

    def loss(self, maps: Maps) -> list[Tensor]:
        return [ops.total(row_entropy(self.linear(_pooled(maps[-1]))))]


@model("ImageClassifier")
class Classifier(TopDown):
    """mmpretrain's."""

    scopes = ("mmpretrain", "mmcls")
