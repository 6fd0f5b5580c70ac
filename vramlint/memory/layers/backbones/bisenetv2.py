"""BiSeNetV2. Source: mmsegmentation 1.2.2 ``models/backbones/bisenetv2.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import BN
from vramlint.memory.layers.bricks import RELU, ConvModule, SeparableConv, activation, norm
from vramlint.memory.layers.nn import Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor


class _Made:
    def __init__(self, tape: Tape, config: Config) -> None:
        self.tape = tape
        self.norm: Config = config.get("norm_cfg") or BN
        self.act: Config = config.get("act_cfg") or RELU

    def conv(self, inside: int, out: int, kernel: int = 1, stride: int = 1, **options: Any) -> ConvModule:
        options = {"norm_cfg": self.norm, "act_cfg": self.act, **options}
        return ConvModule(self.tape, inside, out, kernel, stride, kernel // 2, **options)


class _Expansion:
    """GELayer: a convolution, depthwise expansion, projection, and a sum."""

    def __init__(self, made: _Made, inside: int, out: int, ratio: int, stride: int) -> None:
        tape, middle = made.tape, inside * ratio
        plain: Any = {"act_cfg": None}
        self.first = made.conv(inside, inside, 3)
        self.shortcut: Layer | None = None
        if stride == 1:
            self.depthwise: Layer = made.conv(inside, middle, 3, groups=inside)
        else:
            self.depthwise = chain(
                made.conv(inside, middle, 3, stride, groups=inside, bias=False, **plain),
                made.conv(middle, middle, 3, groups=middle),
            )
            self.shortcut = SeparableConv(tape, inside, out, 3, stride, 1, norm_cfg=made.norm, act_cfg=None)
        self.project = made.conv(middle, out, bias=False, **plain)
        self.act = activation(made.act, inplace=False)

    def __call__(self, x: Tensor) -> Tensor:
        identity = x
        x = self.project(self.depthwise(self.first(x)))
        x = ops.add(x, identity if self.shortcut is None else self.shortcut(identity))
        return self.act(x)


class _Stem:
    def __init__(self, made: _Made, inside: int, out: int) -> None:
        self.first = made.conv(inside, out, 3, 2)
        self.left = chain(made.conv(out, out // 2), made.conv(out // 2, out, 3, 2))
        self.join = made.conv(out * 2, out, 3)

    def __call__(self, x: Tensor) -> Tensor:
        x = self.first(x)
        left = self.left(x)
        right = ops.max_pool(x, 3, 2, 1)
        return self.join(ops.concatenate([left, right]))


class _Context:
    """CEBlock: the normed mean of the image added to every pixel."""

    def __init__(self, made: _Made, inside: int, out: int) -> None:
        self.norm = norm(made.tape, made.norm, inside)
        self.whole, self.last = made.conv(inside, out), made.conv(out, out, 3)

    def __call__(self, x: Tensor) -> Tensor:
        whole = self.whole(self.norm(ops.adaptive_avg_pool(x, 1)))
        return self.last(ops.add(x, whole))


class _Aggregation:
    """BGALayer: detail and semantics gate each other."""

    def __init__(self, made: _Made, out: int) -> None:
        tape = made.tape
        plain: Any = {"act_cfg": None}

        def separable() -> SeparableConv:
            return SeparableConv(tape, out, out, 3, 1, 1, norm_cfg=None, act_cfg=None, dw_norm_cfg=made.norm)

        self.detail = separable()
        self.detail_down = made.conv(out, out, 3, 2, bias=False, **plain)
        self.semantic = made.conv(out, out, 3, bias=False, **plain)
        self.semantic_flat = separable()
        self.last = made.conv(out, out, 3)

    def __call__(self, detail: Tensor, semantic: Tensor) -> Tensor:
        first = self.detail(detail)
        down = ops.avg_pool(self.detail_down(detail), 3, 2, 1)
        up = self.semantic(semantic)
        flat = self.semantic_flat(semantic)
        up = ops.resize(up, first.size)
        fuse = ops.mul(first, ops.sigmoid(up))
        other = ops.mul(down, ops.sigmoid(flat))
        other = ops.resize(other, fuse.size)
        return self.last(ops.add(fuse, other))


@backbone("BiSeNetV2")
class BiSeNetV2:
    """A detail branch and a semantic branch."""

    def __init__(self, build: Build, config: Config) -> None:
        made = _Made(build.tape, config)
        inside = int(config.get("in_channels", 3))
        self.out = tuple(config.get("out_indices", (0, 1, 2, 3, 4)))
        layers: list[Layer] = []
        source = inside
        for index, width in enumerate(config.get("detail_channels", (64, 64, 128))):
            layers.append(made.conv(source, width, 3, 2))
            layers += [made.conv(width, width, 3) for _ in range(2 if index else 1)]
            source = width
        self.detail = chain(*layers)
        widths = [int(each) for each in config.get("semantic_channels", (16, 32, 64, 128))]
        ratio = int(config.get("semantic_expansion_ratio", 6))
        self.semantic: list[Layer] = [_Stem(made, inside, widths[0])]
        for index in range(1, len(widths)):
            count = 4 if index == len(widths) - 1 else 2
            before, width = widths[index - 1], widths[index]
            blocks = [
                _Expansion(made, width if number else before, width, ratio, 1 if number else 2)
                for number in range(count)
            ]
            self.semantic.append(chain(*blocks))
        self.semantic.append(_Context(made, widths[-1], widths[-1]))
        self.join = _Aggregation(made, int(config.get("bga_channels", 128)))

    def __call__(self, x: Tensor) -> Maps:
        detail = self.detail(x)
        semantic: Maps = []
        for stage in self.semantic:
            x = stage(x)
            semantic.append(x)
        outs = [self.join(detail, semantic[-1]), *semantic[:-1]]
        return [outs[index] for index in self.out]
