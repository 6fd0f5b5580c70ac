"""RegNet X and Y as torchvision writes them. Source: torchvision 0.28 ``models/regnet.py`` (arXiv 2003.13678)."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import divisible
from vramlint.memory.layers.backbones.regnet import Recipe
from vramlint.memory.layers.named.encoders import SqueezeExcite, relu
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, chain
from vramlint.memory.layers.tape import Tape, Tensor

REGNETS: Mapping[str, Recipe] = {
    "regnet_x_400mf": Recipe(24, 24.48, 2.54, 16, 22), "regnet_x_800mf": Recipe(56, 35.73, 2.28, 16, 16),
    "regnet_x_1_6gf": Recipe(80, 34.01, 2.25, 24, 18), "regnet_x_3_2gf": Recipe(88, 26.31, 2.25, 48, 25),
    "regnet_x_8gf": Recipe(80, 49.56, 2.88, 120, 23), "regnet_x_16gf": Recipe(216, 55.59, 2.1, 128, 22),
    "regnet_x_32gf": Recipe(320, 69.86, 2.0, 168, 23), "regnet_y_400mf": Recipe(48, 27.89, 2.09, 8, 16),
    "regnet_y_800mf": Recipe(56, 38.84, 2.4, 16, 14), "regnet_y_1_6gf": Recipe(48, 20.71, 2.65, 24, 27),
    "regnet_y_3_2gf": Recipe(80, 42.63, 2.66, 24, 21), "regnet_y_8gf": Recipe(192, 76.82, 2.19, 56, 17),
    "regnet_y_16gf": Recipe(200, 106.23, 2.48, 112, 18), "regnet_y_32gf": Recipe(232, 115.89, 2.53, 232, 20),
}  # fmt: skip


def _stages(recipe: Recipe) -> list[tuple[int, int, int]]:
    """Width, channels of a group and blocks of every stage; widths are made multiples of the group."""
    widths = [
        round(recipe.first * recipe.factor ** round(log((index * recipe.slope + recipe.first) / recipe.first)
        / log(recipe.factor)) / 8) * 8
        for index in range(recipe.depth)
    ]  # fmt: skip
    found: list[tuple[int, int, int]] = []
    for width in dict.fromkeys(widths):
        group = min(recipe.group, width)
        found.append((divisible(width, group), group, widths.count(width)))
    return found


class _Block:
    """A grouped bottleneck as wide inside as outside, gated in Y."""

    def __init__(self, tape: Tape, inside: int, width: int, group: int, stride: int, *, gated: bool) -> None:
        self.side = _unit(tape, inside, width, 1, stride, 1) if stride != 1 or inside != width else None
        layers: list[Layer] = [_unit(tape, inside, width, 1, 1, 1), relu]
        layers += [_unit(tape, width, width, 3, stride, width // group), relu]
        if gated:
            layers.append(SqueezeExcite(tape, width, round(0.25 * inside), ops.relu))
        self.main = chain(*layers, _unit(tape, width, width, 1, 1, 1))

    def __call__(self, x: Tensor) -> Tensor:
        side = x if self.side is None else self.side(x)
        return relu(ops.add(side, self.main(x)))


def _unit(tape: Tape, inside: int, width: int, kernel: int, stride: int, groups: int) -> Layer:
    conv = Conv(tape, inside, width, kernel, stride, kernel // 2, 1, groups, bias=False)
    return chain(conv, BatchNorm(tape, width))


def regnet(tape: Tape, name: str) -> tuple[Layer, int]:
    """All of it before the pooling, and the channels it ends with."""
    layers: list[Layer] = [_unit(tape, 3, 32, 3, 2, 1), relu]
    inside = 32
    for width, group, count in _stages(REGNETS[name]):
        for number in range(count):
            stride = 2 if number == 0 else 1
            layers.append(_Block(tape, inside, width, group, stride, gated="_y_" in name))
            inside = width
    return chain(*layers), inside
