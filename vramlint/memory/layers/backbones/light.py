"""Light two-branch networks: BiSeNet, ICNet, Fast-SCNN, STDC.

Source: mmsegmentation 1.2.2 ``models/backbones/{bisenetv1,icnet,fast_scnn,stdc}.py``.
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import InvertedResidual
from vramlint.memory.layers.backbones.resnet import BN, ResNet, run_block
from vramlint.memory.layers.bricks import RELU, ConvModule, SeparableConv
from vramlint.memory.layers.nn import Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor


class _Made:
    """ConvModules of one network."""

    def __init__(self, tape: Tape, config: Config) -> None:
        self.tape = tape
        self.options: Any = {"norm_cfg": config.get("norm_cfg") or BN, "act_cfg": config.get("act_cfg") or RELU}

    def conv(
        self, inside: int, out: int, kernel: int = 1, stride: int = 1, padding: int = 0, **options: Any
    ) -> ConvModule:
        return ConvModule(self.tape, inside, out, kernel, stride, padding, **{**self.options, **options})

    def separable(self, inside: int, out: int, stride: int, dw_act: Config | None) -> SeparableConv:
        return SeparableConv(self.tape, inside, out, 3, stride, 1, dw_act_cfg=dw_act, **self.options)


class _Pyramid:
    """Pyramid pooling inside a backbone."""

    def __init__(self, made: _Made, scales: Any, inside: int, out: int) -> None:
        self.scales = [int(scale) for scale in scales]
        self.convs = [made.conv(inside, out) for _ in self.scales]

    def __call__(self, x: Tensor) -> Maps:
        return [
            ops.resize(conv(ops.adaptive_avg_pool(x, scale)), x.size)
            for scale, conv in zip(self.scales, self.convs, strict=True)
        ]


class _Refinement:
    """A convolution gated by the mean of its result."""

    def __init__(self, made: _Made, inside: int, out: int) -> None:
        self.conv = made.conv(inside, out, 3, 1, 1)
        self.gate = made.conv(out, out, bias=False, act_cfg=None)

    def __call__(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return ops.mul(x, ops.sigmoid(self.gate(ops.adaptive_avg_pool(x, 1))))


@backbone("BiSeNetV1")
class BiSeNetV1:
    """A spatial path of strided convolutions beside a context path."""

    def __init__(self, build: Build, config: Config) -> None:
        made = _Made(build.tape, config)
        first, second, third = (int(each) for each in config.get("context_channels", (128, 256, 512)))
        self.out = tuple(config.get("out_indices", (0, 1, 2)))
        self.backbone = build.backbone(config["backbone_cfg"])
        self.fine, self.coarse = _Refinement(made, second, first), _Refinement(made, third, first)
        self.head_coarse, self.head_fine = made.conv(first, first, 3, 1, 1), made.conv(first, first, 3, 1, 1)
        self.whole = made.conv(third, first)
        widths = [int(each) for each in config.get("spatial_channels", (64, 64, 64, 128))]
        inside = int(config.get("in_channels", 3))
        self.spatial = chain(
            made.conv(inside, widths[0], 7, 2, 3),
            made.conv(widths[0], widths[1], 3, 2, 1),
            made.conv(widths[1], widths[2], 3, 2, 1),
            made.conv(widths[2], widths[3]),
        )
        out = int(config.get("out_channels", 256))
        self.join, self.gate = made.conv(second, out), made.conv(out, out, bias=False)

    def __call__(self, x: Tensor) -> Maps:
        fine, coarse = self._context(x)
        spatial = self.spatial(x)
        fused = self.join(ops.concatenate([spatial, fine]))
        gated = ops.mul(fused, ops.sigmoid(self.gate(ops.adaptive_avg_pool(fused, 1))))
        outs = [ops.add(gated, fused), fine, coarse]
        return [outs[index] for index in self.out]

    def _context(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, eighth, sixteenth, last = self.backbone(x)
        whole = self.whole(ops.adaptive_avg_pool(last, 1))
        coarse = self.head_coarse(ops.resize(ops.add(self.coarse(last), whole), sixteenth.size))
        fine = self.head_fine(ops.resize(ops.add(self.fine(sixteenth), coarse), eighth.size))
        return fine, coarse


@backbone("ICNet")
class ICNet:
    """Three resolutions, of which the coarsest passes the whole ResNet."""

    def __init__(self, build: Build, config: Config) -> None:
        made = _Made(build.tape, config)
        backbone_ = build.backbone(config["backbone_cfg"])
        if not isinstance(backbone_, ResNet):
            raise TypeError("ICNet around something else than a ResNet")
        self.backbone = backbone_
        middle, last = (int(each) for each in config.get("layer_channels", (512, 2048)))
        pooled, scales = int(config.get("psp_out_channels", 512)), config.get("pool_scales", (1, 2, 3, 6))
        self.pyramid = _Pyramid(made, scales, last, pooled)
        self.join = made.conv(last + len(scales) * pooled, pooled, 3, 1, 1)
        light, outs = int(config.get("light_branch_middle_channels", 32)), config.get("out_channels", (64, 256, 256))
        plain: Any = {"act_cfg": RELU}
        self.first = chain(
            made.conv(int(config.get("in_channels", 3)), light, 3, 2, 1, **plain),
            made.conv(light, light, 3, 2, 1, **plain),
            made.conv(light, int(outs[0]), 3, 2, 1, **plain),
        )
        self.second = made.conv(middle, int(outs[1]), **plain)
        self.third = made.conv(pooled, int(outs[2]), **plain)

    def __call__(self, x: Tensor) -> Maps:
        outs = [self.first(x)]
        x = _halved(x)
        x = ops.max_pool(self.backbone.stem(x), 3, 2, 1, ceil=True)
        x = self._stages(x, 0)
        outs.append(self.second(x))
        x = self._stages(_halved(x), 2)
        joined = self.pyramid(x)
        joined.append(x)
        x = self.join(ops.concatenate(joined))
        outs.append(self.third(x))
        return outs

    def _stages(self, x: Tensor, start: int) -> Tensor:
        for stage in self.backbone.stages[start : start + 2]:
            for block in stage:
                x = run_block(block, x, checkpointing=self.backbone.checkpointing)
        return x


def _halved(x: Tensor) -> Tensor:
    return ops.resize(x, [side // 2 for side in x.size])


@backbone("FastSCNN")
class FastSCNN:
    """Learning to downsample, a global extractor, and their fusion."""

    def __init__(self, build: Build, config: Config) -> None:
        made = _Made(build.tape, config)
        first, second = (int(each) for each in config.get("downsample_dw_channels", (32, 48)))
        high, dw_act = int(config.get("higher_in_channels", 64)), config.get("dw_act_cfg")
        self.down = chain(
            made.conv(int(config.get("in_channels", 3)), first, 3, 2, 1),
            made.separable(first, second, 2, dw_act),
            made.separable(second, high, 2, dw_act),
        )
        widths = [int(each) for each in config.get("global_block_channels", (64, 96, 128))]
        strides = config.get("global_block_strides", (2, 2, 1))
        self.blocks: list[Layer] = []
        inside = int(config.get("global_in_channels", 64))
        for width, stride in zip(widths, strides, strict=True):
            for index in range(3):
                step = 1 if index else int(stride)
                self.blocks.append(InvertedResidual(build.tape, inside, width, step, 6, **made.options))
                inside = width
        self.pyramid = _Pyramid(made, (1, 2, 3, 6), inside, inside // 4)
        low, out = int(config.get("global_out_channels", 128)), int(config.get("fusion_out_channels", 128))
        self.last = made.conv(inside * 2, low, 3, 1, 1)
        self.depthwise = made.conv(low, out, 3, 1, 1, groups=out, act_cfg=config.get("act_cfg") or RELU)
        self.low, self.high = made.conv(out, out, act_cfg=None), made.conv(high, out, act_cfg=None)
        self.out = tuple(config.get("out_indices", (0, 1, 2)))

    def __call__(self, x: Tensor) -> Maps:
        high = self.down(x)
        low = high
        for block in self.blocks:
            low = block(low)
        low = self.last(ops.concatenate([low, *self.pyramid(low)]))
        found = self.low(self.depthwise(ops.resize(low, high.size)))
        fused = ops.relu(ops.add(self.high(high), found), inplace=True)
        outs = [high, low, fused]
        return [outs[index] for index in self.out]


class _StdcModule:
    """Convolutions of falling width joined, or also added to the input."""

    def __init__(self, made: _Made, inside: int, out: int, stride: int, count: int, kind: str) -> None:
        self.kind, self.down = kind, stride == 2
        plain: Any = {"act_cfg": None}
        half = out // 2
        first = made.conv(inside, half, act_cfg=RELU)
        self.first: Layer = first
        self.shrink = made.conv(half, half, 3, 2, 1, groups=half, **plain) if self.down else None
        if self.down and kind == "add":
            self.skip: Layer = chain(
                made.conv(inside, inside, 3, 2, 1, groups=inside, **plain), made.conv(inside, out, **plain)
            )
        else:
            self.skip = lambda x: ops.avg_pool(x, 3, 2, 1)
        self.rest = [
            made.conv(out // 2**index, out // (2**index if index == count - 1 else 2 ** (index + 1)), 3, 1, 1)
            for index in range(1, count)
        ]

    def __call__(self, x: Tensor) -> Tensor:
        return self._added(x) if self.kind == "add" else self._joined(x)

    def _added(self, inputs: Tensor) -> Tensor:
        x = self.first(ops.copy(inputs))
        x = x if self.shrink is None else self.shrink(x)
        outs = [x]
        for layer in self.rest:
            x = layer(x)
            outs.append(x)
        return ops.add(ops.concatenate(outs), self.skip(inputs) if self.down else inputs)

    def _joined(self, inputs: Tensor) -> Tensor:
        first = self.first(inputs)
        outs = [first]
        x = first if self.shrink is None else self.shrink(first)
        for layer in self.rest:
            x = layer(x)
            outs.append(x)
        if self.down:
            outs[0] = self.skip(first)
        return ops.concatenate(outs)


_STDC = {"STDCNet1": ((2, 1), (2, 1), (2, 1)), "STDCNet2": ((2, 1, 1, 1), (2, 1, 1, 1, 1), (2, 1, 1))}


@backbone("STDCNet")
class STDCNet:
    """Two strided convolutions and three stages of short-term dense modules."""

    def __init__(self, build: Build, config: Config) -> None:
        made = _Made(build.tape, config)
        widths = [int(each) for each in config["channels"]]
        count, kind = int(config.get("num_convs", 4)), str(config["bottleneck_type"])
        self.stages: list[Layer] = [
            made.conv(int(config["in_channels"]), widths[0], 3, 2, 1), made.conv(widths[0], widths[1], 3, 2, 1)
        ]  # fmt: skip
        for index, strides in enumerate(_STDC[str(config["stdc_type"])]):
            source, out = widths[index + 1], widths[index + 2]
            modules = [
                _StdcModule(made, out if number else source, out, stride, count, kind)
                for number, stride in enumerate(strides)
            ]
            self.stages.append(chain(*modules))
        self.final = made.conv(widths[-1], max(1024, widths[-1])) if config.get("with_final_conv") else None

    def __call__(self, x: Tensor) -> Maps:
        outs: Maps = []
        for stage in self.stages:
            x = stage(x)
            outs.append(x)
        if self.final is not None:
            outs[-1] = self.final(outs[-1])
        return outs[2:]


@backbone("STDCContextPathNet")
class STDCContextPathNet:
    """STDC with attention refinement and feature fusion."""

    def __init__(self, build: Build, config: Config) -> None:
        made = _Made(build.tape, config)
        self.backbone = build.backbone(config["backbone_cfg"])
        inside = [int(each) for each in config.get("last_in_channels", (1024, 512))]
        out = int(config.get("out_channels", 128))
        self.arms, self.convs = [], []
        for width in inside:
            self.arms.append(_Refinement(_Made(build.tape, {}), width, out))
            self.convs.append(made.conv(out, out, 3, 1, 1))
        self.whole = made.conv(inside[0], out)
        fusion = config.get("ffm_cfg") or {"in_channels": 512, "out_channels": 256, "scale_factor": 4}
        joined, fused = int(fusion["in_channels"]), int(fusion["out_channels"])
        narrow = fused // int(fusion.get("scale_factor", 4))
        other = _Made(build.tape, fusion)
        self.join = other.conv(joined, fused)
        self.gates = [
            other.conv(fused, narrow, norm_cfg=None, bias=False),
            other.conv(narrow, fused, norm_cfg=None, bias=False, act_cfg=None),
        ]

    def __call__(self, x: Tensor) -> Maps:
        outs = self.backbone(x)
        up = ops.resize(self.whole(ops.adaptive_avg_pool(outs[-1], 1)), outs[-1].size)
        arms: Maps = []
        for index, (arm, conv) in enumerate(zip(self.arms, self.convs, strict=True)):
            found = ops.add(arm(outs[len(outs) - 1 - index]), up)
            up = conv(ops.resize(found, outs[len(outs) - 2 - index].size))
            arms.append(up)
        fused = self.join(ops.concatenate([outs[0], arms[1]]))
        gate = self.gates[1](self.gates[0](ops.adaptive_avg_pool(fused, 1)))
        fused = ops.add(ops.mul(fused, ops.sigmoid(gate)), fused)
        return [outs[0], *arms, fused]
