"""HRNet. Source: mmsegmentation 1.2.2 and mmdet 3.3.0 ``models/backbones/hrnet.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import BN, BasicBlock, Bottleneck, run_block
from vramlint.memory.layers.bricks import conv, norm
from vramlint.memory.layers.nn import Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor

_BLOCKS: dict[str, Any] = {"BASIC": BasicBlock, "BOTTLENECK": Bottleneck}


class _Parts:
    """Layers of one HRNet share tape, norm and convolution."""

    def __init__(self, tape: Tape, config: Config) -> None:
        self.tape = tape
        self.norm: Config = config.get("norm_cfg") or BN
        self.conv: Config | None = config.get("conv_cfg")
        self.checkpointing = bool(config.get("with_cp", False))

    def unit(self, inside: int, channels: int, kernel: int, stride: int, *, act: bool | None) -> Layer:
        """Convolution and norm, with a ReLU in place (True), a ReLU (False) or none."""
        padding = kernel // 2
        layers: list[Layer] = [
            conv(self.tape, self.conv, inside, channels, kernel, stride, padding, bias=False),
            norm(self.tape, self.norm, channels),
        ]
        if act is not None:
            layers.append(lambda x: ops.relu(x, inplace=act))
        return chain(*layers)

    def blocks(self, kind: Any, inside: int, planes: int, count: int) -> Layer:
        """Residual blocks at one resolution."""
        outside = planes * kind.expansion
        options = {"norm": self.norm, "conv": self.conv}
        shortcut = self.unit(inside, outside, 1, 1, act=None) if inside != outside else None
        made = [kind(self.tape, inside, planes, 1, 1, shortcut, options)]
        made += [kind(self.tape, outside, planes, 1, 1, None, options) for _ in range(count - 1)]

        def run(x: Tensor) -> Tensor:
            for block in made:
                x = run_block(block, x, checkpointing=self.checkpointing)
            return x

        return run


class _Module:
    """Branches of blocks, then every branch joined into every other."""

    def __init__(self, parts: _Parts, stage: Config, inside: list[int], *, several: bool) -> None:
        kind = _BLOCKS[stage["block"]]
        self.branches: list[Layer] = []
        for index, (count, planes) in enumerate(zip(stage["num_blocks"], stage["num_channels"], strict=True)):
            self.branches.append(parts.blocks(kind, inside[index], int(planes), int(count)))
            inside[index] = int(planes) * kind.expansion
        self.fuse: list[list[Layer | None]] = []
        for to in range(len(inside) if several else 1):
            self.fuse.append([_joining(parts, inside, source, to) for source in range(len(inside))])

    def __call__(self, x: Maps) -> Maps:
        for index, branch in enumerate(self.branches):
            x[index] = branch(x[index])
        if len(x) == 1:
            return x
        outs: Maps = []
        for to, row in enumerate(self.fuse):
            y = ops.shifted(self._part(row, x, 0, to))
            for source in range(1, len(x)):
                y = ops.add(y, self._part(row, x, source, to), inplace=source <= to)
            outs.append(ops.relu(y))
            del y
        return outs

    @staticmethod
    def _part(row: list[Layer | None], x: Maps, source: int, to: int) -> Tensor:
        layer = row[source]
        found = x[source] if layer is None else layer(x[source])
        return ops.resize(found, x[to].size) if source > to else found


def _joining(parts: _Parts, channels: list[int], source: int, to: int) -> Layer | None:
    if source == to:
        return None
    if source > to:
        factor = 2 ** (source - to)
        return chain(parts.unit(channels[source], channels[to], 1, 1, act=None), lambda x: ops.enlarged(x, factor))
    steps = to - source
    layers = [parts.unit(channels[source], channels[source], 3, 2, act=False) for _ in range(steps - 1)]
    return chain(*layers, parts.unit(channels[source], channels[to], 3, 2, act=None))


@backbone("HRNet")
class HRNet:
    """A stem, one stage of bottlenecks, and three stages of parallel resolutions."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        parts = _Parts(tape, config)
        extra = config["extra"]
        frozen = int(config.get("frozen_stages", -1))
        with tape.frozen(active=frozen >= 0):
            self.stem = chain(
                parts.unit(int(config.get("in_channels", 3)), 64, 3, 2, act=True), parts.unit(64, 64, 3, 2, act=True)
            )
        first = extra["stage1"]
        kind, planes = _BLOCKS[first["block"]], int(first["num_channels"][0])
        with tape.frozen(active=frozen >= 1):
            self.first = parts.blocks(kind, 64, planes, int(first["num_blocks"][0]))
        inside = [planes * kind.expansion]
        self.transitions: list[list[Layer | None]] = []
        self.stages: list[list[_Module]] = []
        for number in (2, 3, 4):
            stage = extra[f"stage{number}"]
            expansion = _BLOCKS[stage["block"]].expansion
            wanted = [int(each) * expansion for each in stage["num_channels"]]
            with tape.frozen(active=frozen >= number - 1):
                self.transitions.append(_transition(parts, inside, wanted))
            inside = wanted
            count = int(stage["num_modules"])
            several = number < 4 or bool(config.get("multiscale_output", True))
            with tape.frozen(active=frozen >= number):
                self.stages.append(
                    [_Module(parts, stage, inside, several=several or index < count - 1) for index in range(count)]
                )

    def __call__(self, x: Tensor) -> Maps:
        x = self.first(self.stem(x))
        maps = [x]
        for transition, modules in zip(self.transitions, self.stages, strict=True):
            maps = [
                maps[min(index, len(maps) - 1)] if layer is None else layer(maps[-1])
                for index, layer in enumerate(transition)
            ]
            for module in modules:
                maps = module(maps)
        return maps


def _transition(parts: _Parts, before: Sequence[int], wanted: Sequence[int]) -> list[Layer | None]:
    layers: list[Layer | None] = []
    for index, channels in enumerate(wanted):
        if index < len(before):
            same = channels == before[index]
            layers.append(None if same else parts.unit(before[index], channels, 3, 1, act=True))
            continue
        steps = index + 1 - len(before)
        down = [parts.unit(before[-1], before[-1], 3, 2, act=True) for _ in range(steps - 1)]
        layers.append(chain(*down, parts.unit(before[-1], channels, 3, 2, act=True)))
    return layers
