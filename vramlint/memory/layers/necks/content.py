"""Necks whose kernels or attention follow the content: CARAFE, DyHead.

Source: mmdet 3.3.0 ``models/necks``, mmcv 2.1.0 ``ops``.
"""

from __future__ import annotations

from collections.abc import Callable

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import ConvModule, activation
from vramlint.memory.layers.nn import Conv, GroupNorm
from vramlint.memory.layers.registry import Build, Config, Maps, Neck, UnknownType, neck
from vramlint.memory.layers.tape import Tape, Tensor


class Carafe:
    """mmcv's CARAFEPack: content-aware upsampling by a predicted kernel a pixel."""

    def __init__(self, tape: Tape, channels: int, config: Config) -> None:
        self.tape, self.factor = tape, 2
        self.kernel, self.groups = int(config.get("up_kernel", 5)), int(config.get("up_group", 1))
        width = int(config.get("compressed_channels", 64))
        self.compress = Conv(tape, channels, width)
        self.encode = Conv(
            tape, width, self.kernel**2 * self.groups * self.factor**2, int(config.get("encoder_kernel", 3)),
            padding=None, dilation=int(config.get("encoder_dilation", 1)),
        )  # fmt: skip

    def __call__(self, x: Tensor) -> Tensor:
        tape = self.tape
        batch, channels, height, width = x.shape
        size = height * self.factor, width * self.factor
        mask = self.encode(self.compress(x))
        mask = ops.copy(mask, (batch, self.kernel**2 * self.groups, *size))  # pixel_shuffle
        mask = ops.softmax(mask)
        output = (batch, channels, *size)
        out_bytes = x.itemsize * batch * channels * size[0] * size[1]
        # The kernel works in channels-last copies: of the output, the input (kept for backward) and the mask.
        copies = [tape.new(out_bytes, itemsize=1), tape.new(mask.bytes, itemsize=1)]
        found = tape.record(
            output, x.itemsize, (x, mask), (x.bytes, mask.bytes), (x, mask), extra_saved_bytes=x.bytes,
            transient=2 * out_bytes + x.bytes + mask.bytes,
        )  # fmt: skip
        del copies
        return found


@neck("FPN_CARAFE")
def fpn_carafe(build: Build, config: Config) -> Neck:
    """FPN with CARAFE as its upsampling, over all its levels."""
    upsample = config.get("upsample_cfg", {"type": "carafe"})
    if upsample.get("type") != "carafe":
        raise UnknownType(f"FPN_CARAFE with upsampling {upsample.get('type')!r}")
    tape, channels, inside = build.tape, int(config["out_channels"]), list(config["in_channels"])
    first, outputs = int(config.get("start_level", 0)), int(config["num_outs"])
    norm_cfg, act_cfg = config.get("norm_cfg"), config.get("act_cfg")
    order_first = next(iter(config.get("order", ("conv",)))) == "act"

    def module(width: int, kernel: int, stride: int = 1) -> ConvModule:
        return ConvModule(
            tape, width, channels, kernel, stride, kernel // 2, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False,
            act_first=order_first,
        )  # fmt: skip

    laterals = [module(inside[i], 1) for i in range(first, len(inside))]
    extra = [module(inside[-1] if i == 0 else channels, 3, 2) for i in range(outputs - len(laterals))]
    convs = [module(channels, 3) for _ in range(outputs)]
    ups = [Carafe(tape, channels, upsample) for _ in range(outputs - 1)]

    def run(maps: Maps) -> Maps:
        found = [conv(maps[first + i]) for i, conv in enumerate(laterals)]
        for i, conv in enumerate(extra):
            found.append(conv(maps[-1] if i == 0 else found[-1]))
        for i in range(len(found) - 1, 0, -1):
            above = ups[i - 1](found[i])
            if above.size != found[i - 1].size:
                above = ops.select(above, found[i - 1].shape)
            found[i - 1] = ops.add(found[i - 1], above)
        return [conv(x) for conv, x in zip(convs, found, strict=True)]

    return run


@neck("DyHead")
def dyhead(build: Build, config: Config) -> Neck:
    """Dynamic head: deformable convolutions over three levels with scale, space and task attention."""
    channels = int(config["out_channels"])
    blocks = [
        _DyBlock(build.tape, int(config["in_channels"]) if i == 0 else channels, channels)
        for i in range(int(config.get("num_blocks", 6)))
    ]

    def run(maps: Maps) -> Maps:
        for block in blocks:
            maps = block(maps)
        return maps

    return run


class _DyBlock:
    def __init__(self, tape: Tape, inside: int, channels: int) -> None:
        from vramlint.memory.layers.nn import DeformConv

        self.tape = tape

        def deformable(stride: int) -> tuple[DeformConv, GroupNorm]:
            conv = DeformConv(tape, inside, channels, 3, stride, 1, modulated=True, bias=False, own_offsets=False)
            return conv, GroupNorm(tape, 16, channels)

        self.high, self.middle, self.low = deformable(1), deformable(1), deformable(2)
        self.offset = Conv(tape, inside, 27, 3, padding=1)
        self.scale = Conv(tape, channels, 1)
        self.scale_act = activation({"type": "HSigmoid"})
        reduced = channels // 4
        self.task = Conv(tape, channels, reduced), Conv(tape, reduced, channels * 4)

    def _weighted(self, x: Tensor) -> Tensor:
        weight = self.scale_act(ops.relu(self.scale(ops.adaptive_avg_pool(x, 1)), inplace=True))
        return ops.mul(x, weight)

    def _dynamic_relu(self, x: Tensor) -> Tensor:
        """DyReLU: the greater of two predicted linear functions of every channel."""
        squeeze, expand = self.task
        coefficients = ops.scaled(expand(ops.relu(squeeze(ops.adaptive_avg_pool(x, 1)), inplace=True)))
        count = x.shape[1]
        first, shift, second, second_shift = ops.split(coefficients, [count] * 4)
        one = ops.add(ops.mul(x, first), shift)
        two = ops.add(ops.mul(x, second), second_shift)
        tape = self.tape
        return tape.record(x.shape, x.itemsize, (one, two), (one.bytes, two.bytes), (one, two))

    def __call__(self, maps: Maps) -> Maps:
        outs: Maps = []
        for level, x in enumerate(maps):
            offsets = self.offset(x)
            offset, raw = ops.split(offsets, [18, 9])
            mask = ops.sigmoid(raw)
            del offsets, raw

            def at(pair: tuple[Callable[..., Tensor], GroupNorm], source: Tensor) -> Tensor:
                conv, after = pair
                return after(conv(source, offset, mask))  # noqa: B023 - called within this turn of the loop

            total = self._weighted(at(self.middle, x))
            if level > 0:
                total = ops.add(total, self._weighted(at(self.low, maps[level - 1])), inplace=True)
            if level < len(maps) - 1:
                high = ops.resize(at(self.high, maps[level + 1]), x.size)
                total = ops.add(total, self._weighted(high), inplace=True)
            outs.append(self._dynamic_relu(ops.scaled(total)))
        return outs
