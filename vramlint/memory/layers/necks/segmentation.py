"""Necks of mmsegmentation. Source: 1.2.2 ``models/necks``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule, SeparableConv, norm
from vramlint.memory.layers.nn import Conv, Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, neck
from vramlint.memory.layers.tape import Tape, Tensor

_BN: Config = {"type": "BN"}


@neck("mmseg.FPN")
class FPN:
    """Feature pyramid: laterals, top-down sums, outputs, and further levels by pooling or convolution."""

    def __init__(self, build: Build, config: Config) -> None:
        tape, out = build.tape, int(config["out_channels"])
        inside = [int(each) for each in config["in_channels"]]
        self.start, end = int(config.get("start_level", 0)), int(config.get("end_level", -1))
        self.end = len(inside) if end == -1 else end
        self.count = int(config["num_outs"])
        options: Any = {
            "norm_cfg": config.get("norm_cfg"), "act_cfg": config.get("act_cfg"), "conv_cfg": config.get("conv_cfg"),
            "inplace": False,
        }  # fmt: skip
        lateral = {**options, "norm_cfg": None} if config.get("no_norm_on_lateral") else options
        used = inside[self.start : self.end]
        self.laterals = [ConvModule(tape, width, out, 1, **lateral) for width in used]
        self.outs = [ConvModule(tape, out, out, 3, 1, 1, **options) for _ in used]
        extra = config.get("add_extra_convs", False)
        default = "on_input" if config.get("extra_convs_on_inputs") else "on_output"
        self.extra: str = extra if isinstance(extra, str) else default if extra else ""
        self.relu = bool(config.get("relu_before_extra_convs", False))
        self.more: list[Layer] = []
        if self.extra:
            for index in range(self.count - len(used)):
                source = inside[self.end - 1] if index == 0 and self.extra == "on_input" else out
                self.more.append(ConvModule(tape, source, out, 3, 2, 1, **options))
        self.scale = (config.get("upsample_cfg") or {}).get("scale_factor")

    def __call__(self, maps: Maps) -> Maps:
        laterals = [layer(maps[index + self.start]) for index, layer in enumerate(self.laterals)]
        for index in range(len(laterals) - 1, 0, -1):
            finer = laterals[index - 1]
            size = finer.size if self.scale is None else [int(side * self.scale) for side in laterals[index].size]
            laterals[index - 1] = ops.add(finer, ops.resize(laterals[index], size))
            del finer
        outs = [layer(x) for layer, x in zip(self.outs, laterals, strict=True)]
        if not self.extra:
            while len(outs) < self.count:
                outs.append(ops.max_pool(outs[-1], 1, 2))
        for index, layer in enumerate(self.more):
            if index == 0:
                source = {"on_input": maps[self.end - 1], "on_lateral": laterals[-1]}.get(self.extra, outs[-1])
            else:
                source = ops.relu(outs[-1]) if self.relu else outs[-1]
            outs.append(layer(source))
        return outs


class _Fusion:
    """ICNet's cascade feature fusion."""

    def __init__(self, tape: Tape, low: int, high: int, out: int, options: Any) -> None:
        self.low = ConvModule(tape, low, out, 3, 1, 2, 2, **options)
        self.high = ConvModule(tape, high, out, 1, **options)

    def __call__(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        low = self.low(ops.resize(low, high.size))
        high = self.high(high)
        return ops.relu(ops.add(low, high), inplace=True), low


@neck("ICNeck")
class ICNeck:
    """Two cascade fusions."""

    def __init__(self, build: Build, config: Config) -> None:
        fine, middle, coarse = config.get("in_channels", (64, 256, 256))
        out = int(config.get("out_channels", 128))
        options: Any = {"norm_cfg": config.get("norm_cfg") or _BN, "act_cfg": config.get("act_cfg", RELU)}
        self.first = _Fusion(build.tape, coarse, middle, out, options)
        self.second = _Fusion(build.tape, out, fine, out, options)

    def __call__(self, maps: Maps) -> Maps:
        fine, middle, coarse = maps
        joined, first = self.first(coarse, middle)
        last, second = self.second(joined, fine)
        return [first, second, last]


@neck("JPU")
class JPU:
    """Joint pyramid upsampling: three maps joined, then dilated separable convolutions side by side."""

    def __init__(self, build: Build, config: Config) -> None:
        tape, middle = build.tape, int(config.get("mid_channels", 512))
        inside = [int(each) for each in config.get("in_channels", (512, 1024, 2048))]
        self.start, end = int(config.get("start_level", 0)), int(config.get("end_level", -1))
        self.end = len(inside) if end == -1 else end
        norms: Config = config.get("norm_cfg") or _BN
        options: Any = {"norm_cfg": norms, "act_cfg": config.get("act_cfg", RELU)}
        used = inside[self.start : self.end]
        self.convs = [ConvModule(tape, width, middle, 3, 1, 1, **options) for width in used]
        self.dilated = [
            SeparableConv(tape, len(used) * middle, middle, 3, 1, int(each), int(each), dw_act_cfg=None, **options)
            for each in config.get("dilations", (1, 2, 4, 8))
        ]

    def __call__(self, maps: Maps) -> Maps:
        feats = [layer(maps[index + self.start]) for index, layer in enumerate(self.convs)]
        for index in range(1, len(feats)):
            feats[index] = ops.resize(feats[index], feats[0].size)
        feat = ops.concatenate(feats)
        joined = ops.concatenate([layer(feat) for layer in self.dilated])
        return [*maps[self.start : self.end - 1], joined]


@neck("MultiLevelNeck")
class MultiLevelNeck:
    """One map a level, each at its own scale."""

    def __init__(self, build: Build, config: Config) -> None:
        tape, out = build.tape, int(config["out_channels"])
        self.scales = [float(each) for each in config.get("scales", (0.5, 1, 2, 4))]
        options: Any = {"norm_cfg": config.get("norm_cfg"), "act_cfg": config.get("act_cfg")}
        self.laterals = [ConvModule(tape, int(each), out, 1, **options) for each in config["in_channels"]]
        self.convs = [ConvModule(tape, out, out, 3, 1, 1, **options) for _ in self.scales]

    def __call__(self, maps: Maps) -> Maps:
        inputs = [layer(x) for layer, x in zip(self.laterals, maps, strict=False)]
        if len(inputs) == 1:
            inputs = inputs * len(self.scales)
        outs: Maps = []
        for x, scale, conv in zip(inputs, self.scales, self.convs, strict=True):
            outs.append(conv(ops.resize(x, [int(side * scale) for side in x.size])))
        return outs


@neck("Feature2Pyramid")
class Feature2Pyramid:
    """A pyramid from maps of one size by transposed convolutions and pooling."""

    def __init__(self, build: Build, config: Config) -> None:
        tape, width = build.tape, int(config["embed_dim"])
        norms: Config = config.get("norm_cfg") or _BN
        rescales = config.get("rescales", (4, 2, 1, 0.5))
        self.layers = [self._layer(tape, float(scale), width, norms) for scale in rescales]

    @staticmethod
    def _layer(tape: Tape, scale: float, width: int, norms: Config) -> Layer:
        def up() -> Layer:
            return Conv(tape, width, width, 2, 2, transposed=True)

        if scale == 4:
            return chain(up(), norm(tape, norms, width), ops.keeps_input, up())
        if scale == 2:
            return up()
        if scale == 1:
            return lambda x: x
        factor = round(1 / scale)
        return lambda x: ops.max_pool(x, factor, factor)

    def __call__(self, maps: Maps) -> Maps:
        return [layer(x) for layer, x in zip(self.layers, maps, strict=False)]


@neck("MLANeck")
class MLANeck:
    """SETR-MLA: norms, projections, and sums from the last map on."""

    def __init__(self, build: Build, config: Config) -> None:
        tape, out = build.tape, int(config["out_channels"])
        inside = [int(each) for each in config["in_channels"]]
        norms: Config = config.get("norm_layer") or {"type": "LN"}
        self.norms = [norm(tape, norms, width) for width in inside]
        options: Any = {"norm_cfg": config.get("norm_cfg"), "act_cfg": config.get("act_cfg")}
        self.projections = [ConvModule(tape, width, out, 1, **options) for width in inside]
        self.convs = [ConvModule(tape, out, out, 3, 1, 1, **options) for _ in inside]

    def __call__(self, maps: Maps) -> Maps:
        normed = [normed_tokens(x, layer) for layer, x in zip(self.norms, maps, strict=True)]
        feats = [layer(x) for layer, x in zip(self.projections, normed, strict=True)][::-1]
        sums: Maps = []
        for feat in feats:
            sums.append(ops.add(sums[-1], feat) if sums else feat)
        return [layer(x) for layer, x in zip(self.convs, sums, strict=True)]


def normed_tokens(x: Tensor, layer: Layer) -> Tensor:
    """A map copied to tokens, normed, and copied back."""
    batch, channels, height, width = x.shape
    found = layer(ops.copy(x, (batch, height * width, channels)))
    return ops.copy(found, (batch, channels, height, width))
