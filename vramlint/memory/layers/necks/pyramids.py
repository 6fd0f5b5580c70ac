"""Feature pyramids: FPN and what was made of it.

Sources: mmdet 3.3.0 ``models/necks`` (fpn, pafpn, bfp, nas_fpn, hrfpn, fpn_carafe, channel_mapper, dyhead,
dilated_encoder), mmsegmentation 1.2.2 ``models/necks`` (the same FPN), mmcv 2.1.0 ``ops/carafe.py``,
``ops/merge_cells.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import ConvModule, norm
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, Neck, neck
from vramlint.memory.layers.tape import Tape, Tensor


class Pyramid:
    """FPN: lateral 1x1 convolutions, top-down sums, 3x3 convolutions, further levels by pooling or convolution."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        inside, channels = list(config["in_channels"]), int(config["out_channels"])
        self.first = int(config.get("start_level", 0))
        last = int(config.get("end_level", -1))
        self.last = len(inside) if last in (-1, len(inside) - 1) else last + 1
        self.outputs = int(config["num_outs"])
        extra = config.get("add_extra_convs", False)
        self.extra = "on_input" if extra is True else extra
        self.relu = bool(config.get("relu_before_extra_convs", False))
        self.nearest_by_factor = "scale_factor" in config.get("upsample_cfg", {})
        parts: dict[str, Any] = {
            "norm_cfg": config.get("norm_cfg"), "act_cfg": config.get("act_cfg"), "conv_cfg": config.get("conv_cfg"),
        }  # fmt: skip
        lateral = {**parts, "norm_cfg": None if config.get("no_norm_on_lateral") else parts["norm_cfg"]}
        levels = range(self.first, self.last)
        self.laterals = [ConvModule(tape, inside[i], channels, 1, inplace=False, **lateral) for i in levels]
        self.convs = [ConvModule(tape, channels, channels, 3, padding=None, inplace=False, **parts) for _ in levels]
        missing = self.outputs - len(self.laterals)
        for number in range(missing if self.extra else 0):
            width = inside[self.last - 1] if number == 0 and self.extra == "on_input" else channels
            self.convs.append(ConvModule(tape, width, channels, 3, 2, padding=1, inplace=False, **parts))

    def top_down(self, maps: Maps) -> Maps:
        """Lateral maps with what comes from above added."""
        found = [conv(maps[self.first + i]) for i, conv in enumerate(self.laterals)]
        for i in range(len(found) - 1, 0, -1):
            found[i - 1] = ops.add(found[i - 1], ops.resize(found[i], found[i - 1].size))
        return found

    def further(self, maps: Maps, laterals: Maps, outs: Maps) -> Maps:
        """The levels beyond the backbone's own."""
        used = len(laterals)
        if self.outputs <= len(outs):
            return outs
        if not self.extra:
            for _ in range(self.outputs - used):
                outs.append(ops.max_pool(outs[-1], 1, 2))
            return outs
        source = {"on_input": maps[self.last - 1], "on_lateral": laterals[-1], "on_output": outs[-1]}[self.extra]
        outs.append(self.convs[used](source))
        for i in range(used + 1, self.outputs):
            outs.append(self.convs[i](ops.relu(outs[-1]) if self.relu else outs[-1]))
        return outs

    def __call__(self, maps: Maps) -> Maps:
        laterals = self.top_down(maps)
        outs = [self.convs[i](each) for i, each in enumerate(laterals)]
        return self.further(maps, laterals, outs)


@neck("FPN", "mmdet.FPN", "mmpose.FPN")
def fpn(build: Build, config: Config) -> Neck:
    """The plain pyramid."""
    return Pyramid(build, config)


@neck("PAFPN")
def pafpn(build: Build, config: Config) -> Neck:
    """FPN with a second, bottom-up path."""
    pyramid, tape = Pyramid(build, config), build.tape
    channels, norm_cfg, act_cfg = int(config["out_channels"]), config.get("norm_cfg"), config.get("act_cfg")
    count = len(pyramid.laterals) - 1

    def module(stride: int) -> ConvModule:
        return ConvModule(tape, channels, channels, 3, stride, 1, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False)

    down, out = [module(2) for _ in range(count)], [module(1) for _ in range(count)]

    def run(maps: Maps) -> Maps:
        laterals = pyramid.top_down(maps)
        inner = [pyramid.convs[i](each) for i, each in enumerate(laterals)]
        for i in range(count):
            inner[i + 1] = ops.add(inner[i + 1], down[i](inner[i]))
        outs = [inner[0], *(out[i](inner[i + 1]) for i in range(count))]
        return pyramid.further(maps, laterals, outs)

    return run


@neck("BFP")
def balanced(build: Build, config: Config) -> Neck:
    """Balanced pyramid of Libra R-CNN: all levels gathered at one, refined, scattered."""
    channels, level = int(config["in_channels"]), int(config.get("refine_level", 2))
    kind = config.get("refine_type")
    refine: Callable[[Tensor], Tensor] | None = None
    if kind == "conv":
        refine = ConvModule(build.tape, channels, channels, 3, padding=1, act_cfg={"type": "ReLU"})
    elif kind == "non_local":
        refine = _non_local(build.tape, channels)

    def run(maps: Maps) -> Maps:
        size = maps[level].size
        feats = [ops.adaptive_max_pool(x, size) if i < level else ops.resize(x, size) for i, x in enumerate(maps)]
        gathered = ops.scaled(feats[0])  # sum() starts from the number 0
        for each in feats[1:]:
            gathered = ops.add(gathered, each)
        gathered = ops.scaled(gathered)
        del feats
        if refine is not None:
            gathered = refine(gathered)
        return [
            ops.add(ops.resize(gathered, x.size) if i < level else ops.adaptive_max_pool(gathered, x.size), x)
            for i, x in enumerate(maps)
        ]

    return run


def _non_local(tape: Tape, channels: int) -> Callable[[Tensor], Tensor]:
    """mmcv's NonLocal2d, embedded Gaussian, reduction 1."""
    g, theta, phi, out = (Conv(tape, channels, channels) for _ in range(4))

    def run(x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        pixels = height * width
        values, queries, keys = g(x), theta(x), phi(x)
        weights = ops.softmax(ops.scaled(ops.matmul(queries, keys, (batch, pixels, pixels))))
        found = ops.copy(ops.matmul(weights, values, (batch, pixels, channels)), (batch, channels, height, width))
        return ops.add(x, out(found))

    return run


class _Cell:
    """mmcv's merge cells: both inputs resized to the output's size, joined, convolved (ReLU, conv, norm)."""

    def __init__(self, tape: Tape, channels: int, norm_cfg: Config | None, *, pooling: bool, with_out: bool) -> None:
        self.pooling = pooling
        self.out = (
            ConvModule(
                tape, channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg={"type": "ReLU"}, act_first=False
            )
            if with_out
            else None
        )

    def __call__(self, x: Tensor, y: Tensor, size: tuple[int, int]) -> Tensor:
        x, y = sized(x, size), sized(y, size)
        if self.pooling:
            attention = ops.sigmoid(ops.adaptive_avg_pool(y, 1))
            found = ops.add(y, ops.mul(attention, x))
        else:
            found = ops.add(x, y)
        if self.out is None:
            return found
        conv, after = self.out.conv, self.out.norm
        found = conv(ops.relu(found, inplace=False))
        return after(found) if after is not None else found


def sized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """``BaseMergeCell._resize``: enlarged to ``size``, or padded and pooled down to it."""
    if x.size == size:
        return x
    if x.size[0] < size[0]:
        return ops.resize(x, size)
    height, width = x.size
    if height % size[0] or width % size[1]:
        x = ops.pad(x, 0, -width % size[1], 0, -height % size[0])
    kernel = x.size[0] // size[0], x.size[1] // size[1]
    return ops.max_pool(x, kernel, kernel)


@neck("NASFPN")
def nas_fpn(build: Build, config: Config) -> Neck:
    """Seven merging cells, ``stack_times`` over."""
    tape, channels, norm_cfg = build.tape, int(config["out_channels"]), config.get("norm_cfg")
    inside, first = list(config["in_channels"]), int(config.get("start_level", 0))
    last = int(config.get("end_level", -1))
    stop = len(inside) if last in (-1, len(inside) - 1) else last + 1
    laterals = [ConvModule(tape, inside[i], channels, 1, norm_cfg=norm_cfg) for i in range(first, stop)]
    count = int(config["num_outs"]) - stop + first
    extra = [ConvModule(tape, channels, channels, 1, norm_cfg=norm_cfg) for _ in range(count)]

    def cell(*, pooling: bool, with_out: bool = True) -> _Cell:
        return _Cell(tape, channels, norm_cfg, pooling=pooling, with_out=with_out)

    stages = [
        (
            cell(pooling=True), cell(pooling=False), cell(pooling=False), cell(pooling=False),
            cell(pooling=True, with_out=False), cell(pooling=False), cell(pooling=True, with_out=False),
            cell(pooling=False), cell(pooling=True),
        )
        for _ in range(int(config["stack_times"]))
    ]  # fmt: skip

    def run(maps: Maps) -> Maps:
        feats = [conv(maps[i + first]) for i, conv in enumerate(laterals)]
        for conv in extra:
            feats.append(ops.max_pool(conv(feats[-1]), 2, 2))
        p3, p4, p5, p6, p7 = feats
        del feats
        for a, b, c, d, e, f, g, h, i in stages:
            joined = b(a(p6, p4, p4.size), p4, p4.size)
            p3 = c(joined, p3, p3.size)
            p4 = d(p3, joined, p4.size)
            p5 = f(p5, e(p4, p3, p5.size), p5.size)
            p7 = h(p7, g(p5, joined, p7.size), p7.size)
            p6 = i(p7, p5, p6.size)
        return [p3, p4, p5, p6, p7]

    return run


@neck("HRFPN")
def hrfpn(build: Build, config: Config) -> Neck:
    """All maps at the finest size, joined, reduced, pooled."""
    tape, channels, count = build.tape, int(config["out_channels"]), int(config.get("num_outs", 5))
    pool = ops.max_pool if config.get("pooling_type", "AVG") == "MAX" else ops.avg_pool
    reduce = ConvModule(tape, sum(config["in_channels"]), channels, 1)
    convs = [ConvModule(tape, channels, channels, 3, config.get("stride", 1), 1) for _ in range(count)]
    checkpointing = bool(config.get("with_cp", False))

    def run(maps: Maps) -> Maps:
        joined = ops.concatenate([maps[0], *(ops.enlarged(maps[i], 2**i) for i in range(1, len(maps)))])
        out = tape.checkpoint(reduce, joined) if checkpointing else reduce(joined)
        del joined
        outs = [out, *(pool(out, 2**i, 2**i) for i in range(1, count))]
        return [tape.checkpoint(c, x) if checkpointing else c(x) for c, x in zip(convs, outs, strict=True)]

    return run


@neck("ChannelMapper")
def channel_mapper(build: Build, config: Config) -> Neck:
    """One convolution a level, further ones with stride 2 (DETR family)."""
    tape, channels, inside = build.tape, int(config["out_channels"]), list(config["in_channels"])
    kernel, norm_cfg = int(config.get("kernel_size", 3)), config.get("norm_cfg")
    act_cfg = config.get("act_cfg", {"type": "ReLU"})
    bias = None if config.get("bias", "auto") == "auto" else bool(config["bias"])
    convs = [
        ConvModule(tape, width, channels, kernel, padding=None, norm_cfg=norm_cfg, act_cfg=act_cfg, bias=bias)
        for width in inside
    ]
    widths = [inside[-1], *[channels] * 9][: int(config.get("num_outs") or len(inside)) - len(inside)]
    extra = [
        ConvModule(tape, width, channels, 3, 2, 1, norm_cfg=norm_cfg, act_cfg=act_cfg, bias=bias) for width in widths
    ]

    def run(maps: Maps) -> Maps:
        outs = [conv(x) for conv, x in zip(convs, maps, strict=True)]
        for i, conv in enumerate(extra):
            outs.append(conv(maps[-1] if i == 0 else outs[-1]))
        return outs

    return run


@neck("DilatedEncoder")
def dilated_encoder(build: Build, config: Config) -> Neck:
    """YOLOF: one level, residual blocks of growing dilation."""
    tape, channels, middle = build.tape, int(config["out_channels"]), int(config["block_mid_channels"])
    batch_norm: Config = {"type": "BN"}
    lateral, lateral_norm = Conv(tape, int(config["in_channels"]), channels), norm(tape, batch_norm, channels)
    conv, conv_norm = Conv(tape, channels, channels, 3, padding=1), norm(tape, batch_norm, channels)
    relu: Config = {"type": "ReLU"}
    blocks = [
        (
            ConvModule(tape, channels, middle, 1, norm_cfg=batch_norm, act_cfg=relu),
            ConvModule(tape, middle, middle, 3, padding=d, dilation=d, norm_cfg=batch_norm, act_cfg=relu),
            ConvModule(tape, middle, channels, 1, norm_cfg=batch_norm, act_cfg=relu),
        )
        for d in config["block_dilations"]
    ]

    def run(maps: Maps) -> Maps:
        x = conv_norm(conv(lateral_norm(lateral(maps[-1]))))
        for first, second, third in blocks:
            x = ops.add(third(second(first(x))), x)
        return [x]

    return run
