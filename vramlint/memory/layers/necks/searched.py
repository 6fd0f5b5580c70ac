"""NAS-FCOS's pyramid: searched cells over three levels. Sources: mmdet 3.3.0 ``nasfcos_fpn.py``, mmcv 2.1.0."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule, norm
from vramlint.memory.layers.necks.pyramids import sized
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, neck
from vramlint.memory.layers.tape import Tape, Tensor

BATCH_NORM: Config = {"type": "BN"}
CELLS = ((2, 2, True), (2, 2, True), (3, 2, False), (0, 2, False), (4, 2, True), (3, 6, True), (6, 1, True))
"""Which features each cell joins, and whether the second one goes through a convolution too (``c22_1`` to ``c61``)."""

OUTPUTS = ((9, 1), (8, 2), (7, 3))
"""Which feature becomes which level: its size is that of the backbone's map of this index."""


class _Cell:
    """mmcv's ConcatCell: both inputs convolved, resized to the larger one, joined; norm, ReLU, a grouped 1x1."""

    def __init__(self, tape: Tape, channels: int, config: Config, *, both: bool) -> None:
        def inner() -> ConvModule:
            return ConvModule(
                tape, channels, channels, 3, padding=1, norm_cfg=config.get("norm_cfg"), act_cfg=RELU, bias=True,
                conv_cfg=config.get("conv_cfg"),
            )  # fmt: skip

        self.first, self.second = inner(), inner() if both else None
        self.norm = norm(tape, BATCH_NORM, 2 * channels)
        self.out = Conv(tape, 2 * channels, channels, 1, groups=channels, bias=False)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        size = max(x.size, y.size)
        x = self.first(x)
        y = y if self.second is None else self.second(y)
        joined = ops.concatenate([sized(x, size), sized(y, size)])
        return self.out(ops.relu(self.norm(joined), inplace=True))


@neck("NASFCOS_FPN")
class SearchedPyramid:
    """Seven cells, each over two of the features found so far; further levels by convolutions."""

    def __init__(self, build: Build, config: Config) -> None:
        tape, channels = build.tape, int(config["out_channels"])
        inside, self.first = list(config["in_channels"]), int(config.get("start_level", 1))
        if self.first != 1 or len(inside) != 4 or int(config.get("end_level", -1)) not in (-1, 3):
            raise KeyError("levels of NASFCOS_FPN")
        self.adapt = [
            ConvModule(tape, width, channels, 1, norm_cfg=BATCH_NORM, act_cfg=RELU, bias=False, inplace=False)
            for width in inside[1:]
        ]
        self.cells = [_Cell(tape, channels, config, both=both) for _, _, both in CELLS]
        extra = int(config["num_outs"]) - len(self.adapt)
        self.extra = [Conv(tape, channels, channels, 3, 2, 1) for _ in range(extra)]

    def __call__(self, maps: Maps) -> Maps:
        feats = [conv(x) for conv, x in zip(self.adapt, maps[1:], strict=True)]
        for cell, (first, second, _) in zip(self.cells, CELLS, strict=True):
            feats.append(cell(feats[first], feats[second]))
        outs: Maps = []
        for index, level in OUTPUTS:
            found = feats[index]
            found = ops.add(found, ops.resize(feats[5], found.size))
            outs.append(ops.resize(found, maps[level].size))
        for number, conv in enumerate(self.extra):
            outs.append(conv(outs[-1] if number == 0 else ops.relu(outs[-1])))
        return outs
