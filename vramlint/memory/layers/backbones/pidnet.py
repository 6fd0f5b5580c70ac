"""PIDNet. Source: mmsegmentation 1.2.2 ``backbones/pidnet.py``, ``utils/ppm.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.ddrnet import PRE, DeepPyramid, Units
from vramlint.memory.layers.nn import Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tensor

_PLAIN: dict[str, Any] = {"act_cfg": None}


class _ParallelPyramid(DeepPyramid):
    """PAPPM: all scales refined by one grouped convolution."""

    @staticmethod
    def _processes(units: Units, branch: int, scales: int, pre: Any) -> list[Layer]:
        width = branch * (scales - 1)
        return [units.conv(width, width, 3, groups=scales - 1, **pre)]

    def __call__(self, x: Tensor) -> Tensor:
        first = self.scales[0](x)
        feats = [ops.add(self.pooled(x, index), first) for index in range(1, len(self.scales))]
        refined = self.processes[0](ops.concatenate(feats))
        return ops.add(self.compress(ops.concatenate([first, refined])), self.shortcut(x))


class _Gate:
    """PagFM: the fine map kept where the coarse one disagrees with it."""

    def __init__(self, units: Units, inside: int, channels: int) -> None:
        self.coarse = units.conv(inside, channels, norm_cfg={"type": "BN"}, **_PLAIN)
        self.fine = units.conv(inside, channels, norm_cfg={"type": "BN"}, **_PLAIN)

    def __call__(self, fine: Tensor, coarse: Tensor) -> Tensor:
        first = ops.resize(self.coarse(coarse), fine.size)
        second = self.fine(fine)
        share = ops.sigmoid(ops.total(ops.mul(second, first), (fine.shape[0], 1, *fine.size)))
        coarse = ops.resize(coarse, fine.size)
        return ops.add(ops.mul(share, coarse), ops.mul(ops.shifted(share), fine))


@backbone("PIDNet")
class PIDNet:
    """Branches for detail, context and boundaries."""

    def __init__(self, build: Build, config: Config) -> None:
        units = Units(build.tape, config)
        width, count = int(config.get("channels", 64)), int(config.get("num_branch_blocks", 3))
        stems = int(config.get("num_stem_blocks", 2))
        small = stems == 2
        self.stem = chain(
            units.conv(int(config.get("in_channels", 3)), width, 3, 2),
            units.conv(width, width, 3, 2),
            units.layer(wide=False, inside=width, planes=width, count=stems),
            ops.relu,
            units.layer(wide=False, inside=width, planes=width * 2, count=stems, stride=2),
            ops.relu,
        )
        self.context = [
            units.layer(
                wide=index == 2, inside=width * 2 ** (index + 1), planes=width * (8 if index else 4),
                count=2 if index == 2 else count, stride=2,
            )
            for index in range(3)
        ]  # fmt: skip
        self.detail = [
            units.layer(wide=index == 2, inside=width * 2, planes=width * 2, count=1 if index == 2 else stems)
            for index in range(3)
        ]
        self.compress = [units.conv(width * times, width * 2, bias=False, **_PLAIN) for times in (4, 8)]
        self.gates = [_Gate(units, width * 2, width) for _ in range(2)]
        if small:
            first, second = units.single(width * 2, width), units.layer(wide=True, inside=width, planes=width, count=1)
        else:
            first, second = units.single(width * 2, width * 2), units.single(width * 2, width * 2)
        self.boundary = [first, second]
        self.differences = [
            units.conv(width * 4, width * (1 if small else 2), 3, bias=False, **_PLAIN),
            units.conv(width * 8, width * 2, 3, bias=False, **_PLAIN),
        ]
        pyramid = _ParallelPyramid if small else DeepPyramid
        self.pyramid = pyramid(units, width * 16, int(config.get("ppm_channels", 96)), width * 4, 5)
        self.small, wide = small, width * 4
        pre = {key: value for key, value in PRE.items() if key != "bias"}
        self.fuse = (
            [units.conv(wide, wide, **_PLAIN) for _ in range(2)] if small else [units.conv(wide, wide, 3, **pre)]
        )
        self.boundary.append(units.layer(wide=True, inside=width * 2, planes=width * 2, count=1))

    def __call__(self, x: Tensor) -> Maps:
        size = (x.size[0] // 8, x.size[1] // 8)
        x = self.stem(x)
        context = ops.relu(self.context[0](x))
        detail, boundary = self.detail[0](x), self.boundary[0](x)
        detail = self.gates[0](detail, self.compress[0](context))
        boundary = ops.add(boundary, ops.resize(self.differences[0](context), size), inplace=True)
        kept = ops.copy(detail)
        context = ops.relu(self.context[1](context))
        detail, boundary = self.detail[1](ops.relu(detail)), self.boundary[1](ops.relu(boundary))
        detail = self.gates[1](detail, self.compress[1](context))
        boundary = ops.add(boundary, ops.resize(self.differences[1](context), size), inplace=True)
        edges = ops.copy(boundary)
        context = self.context[2](context)
        detail, boundary = self.detail[2](ops.relu(detail)), self.boundary[2](ops.relu(boundary))
        context = ops.resize(self.pyramid(context), size)
        return [kept, self._fused(detail, context, boundary), edges]

    def _fused(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        share = ops.sigmoid(boundary)
        if not self.small:
            return self.fuse[0](ops.add(ops.mul(share, detail), ops.mul(ops.shifted(share), context)))
        first = self.fuse[0](ops.add(ops.mul(ops.shifted(share), context), detail))
        second = self.fuse[1](ops.add(context, ops.mul(share, detail)))
        return ops.add(first, second)
