"""RegNetX. Source: mmdet 3.3.0 ``models/backbones/regnet.py`` (arXiv 2003.13678)."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any, NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import run_block
from vramlint.memory.layers.bricks import conv, norm
from vramlint.memory.layers.nn import Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor


class Recipe(NamedTuple):
    """How widths grow: first width, slope, factor, channels of a group, blocks in all, ratio of the bottleneck."""

    first: float
    slope: float
    factor: float
    group: int
    depth: int
    ratio: float = 1.0


_NAMED: Mapping[str, Recipe] = {
    "regnetx_400mf": Recipe(24, 24.48, 2.54, 16, 22),
    "regnetx_800mf": Recipe(56, 35.73, 2.28, 16, 16),
    "regnetx_1.6gf": Recipe(80, 34.01, 2.25, 24, 18),
    "regnetx_3.2gf": Recipe(88, 26.31, 2.25, 48, 25),
    "regnetx_4.0gf": Recipe(96, 38.65, 2.43, 40, 23),
    "regnetx_6.4gf": Recipe(184, 60.83, 2.07, 56, 17),
    "regnetx_8.0gf": Recipe(80, 49.56, 2.88, 120, 23),
    "regnetx_12gf": Recipe(168, 73.36, 2.37, 112, 19),
}


def stages_of(recipe: Recipe) -> list[tuple[int, int, int]]:
    """Width, channels of a group and blocks of every stage."""
    widths: list[int] = []
    for index in range(recipe.depth):
        power = round(log((index * recipe.slope + recipe.first) / recipe.first) / log(recipe.factor))
        widths.append(int(round(recipe.first * recipe.factor**power / 8) * 8))
    found: list[tuple[int, int, int]] = []
    for width in dict.fromkeys(widths):
        middle = int(width * recipe.ratio)
        group = min(recipe.group, middle)
        middle = round(middle / group) * group
        found.append((int(middle / recipe.ratio), group, widths.count(width)))
    return found


class _Block:
    """A ResNeXt bottleneck as wide inside as outside."""

    def __init__(self, tape: Tape, inside: int, width: int, group: int, stride: int, options: dict[str, Any]) -> None:
        norms, convs, middle = options["norm"], options["conv"], options["dcn"] or options["conv"]

        def part(cfg: Any, a: int, kernel: int, step: int, groups: int) -> Layer:
            return chain(
                conv(tape, cfg, a, width, kernel, step, kernel // 2, 1, groups, bias=False), norm(tape, norms, width)
            )

        self.first = part(convs, inside, 1, 1, 1)
        self.second = part(middle, width, 3, stride, width // group)
        self.third = part(convs, width, 1, 1, 1)
        self.shortcut = part(convs, inside, 1, stride, 1) if stride != 1 or inside != width else None

    def inner(self, x: Tensor) -> Tensor:
        out = ops.relu(self.first(x), inplace=True)
        out = ops.relu(self.second(out), inplace=True)
        out = self.third(out)
        return ops.add(out, x if self.shortcut is None else self.shortcut(x), inplace=True)


@backbone("RegNet")
class RegNet:
    """A strided 3x3 stem without pooling, four stages."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        arch = config["arch"]
        recipe = _NAMED[arch] if isinstance(arch, str) else _spelled(arch)
        frozen = int(config.get("frozen_stages", -1))
        self.checkpointing, self.out = (
            bool(config.get("with_cp", False)),
            tuple(config.get("out_indices", (0, 1, 2, 3))),
        )
        if config.get("plugins"):
            raise KeyError("plugins")
        stem = int(config.get("stem_channels", 32))
        norms: Config = config.get("norm_cfg") or {"type": "BN"}
        with tape.frozen(active=frozen >= 0):
            self.stem = chain(
                conv(tape, config.get("conv_cfg"), int(config.get("in_channels", 3)), stem, 3, 2, 1, bias=False),
                norm(tape, norms, stem),
            )
        strides = config.get("strides", (2, 2, 2, 2))
        with_dcn, dcn = config.get("stage_with_dcn", (False,) * 4), config.get("dcn")
        self.stages: list[list[_Block]] = []
        inside = stem
        for index, (width, group, blocks) in enumerate(stages_of(recipe)):
            options = {"norm": norms, "conv": config.get("conv_cfg"), "dcn": dcn if dcn and with_dcn[index] else None}
            with tape.frozen(active=index < frozen):
                stage = []
                for number in range(blocks):
                    stride = int(strides[index]) if number == 0 else 1
                    stage.append(_Block(tape, inside if number == 0 else width, width, group, stride, options))
            self.stages.append(stage)
            inside = width

    def __call__(self, x: Tensor) -> Maps:
        return self.staged(ops.relu(self.stem(x), inplace=True))

    def staged(self, x: Tensor) -> Maps:
        """The stages' maps that are asked for."""
        outs: Maps = []
        for index, stage in enumerate(self.stages):
            for block in stage:
                x = run_block(block, x, checkpointing=self.checkpointing)
            if index in self.out:
                outs.append(x)
        return outs


@backbone("NoStemRegNet")
class NoStemRegNet(RegNet):
    """mmdetection3d's: a voxel encoder stands in the stem's place (1.4.0 ``backbones/nostem_regnet.py``)."""

    def __init__(self, build: Build, config: Config) -> None:
        before = len(build.tape.parameters)
        super().__init__(build, {**config, "in_channels": 1})
        del build.tape.parameters[before : before + 3]

    def __call__(self, x: Tensor) -> Maps:
        return self.staged(x)


def _spelled(arch: Config) -> Recipe:
    return Recipe(
        float(arch["w0"]), float(arch["wa"]), float(arch["wm"]), int(arch["group_w"]), int(arch["depth"]),
        float(arch["bot_mul"]),
    )  # fmt: skip
