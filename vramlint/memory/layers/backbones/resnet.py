"""ResNet and its kin by configuration. Source: mmsegmentation 1.2.2 and mmdet 3.3.0 ``models/backbones/resnet.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.plugins import plugin_of
from vramlint.memory.layers.bricks import conv, norm
from vramlint.memory.layers.nn import Layer, chain
from vramlint.memory.layers.registry import Backbone, Build, Config, Maps, UnknownType, backbone
from vramlint.memory.layers.tape import Tape, Tensor

DEPTHS: Mapping[int, tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
"""Blocks a stage."""

BN: Config = {"type": "BN"}


class BasicBlock:
    """Two 3x3 convolutions and a sum."""

    expansion = 1

    def __init__(
        self, tape: Tape, inside: int, planes: int, stride: int, dilation: int, shortcut: Layer | None, options: Config
    ) -> None:
        norms, convs = options["norm"], options.get("conv")
        self.first = chain(
            conv(tape, convs, inside, planes, 3, stride, dilation, dilation, bias=False), norm(tape, norms, planes)
        )
        self.second = chain(conv(tape, convs, planes, planes, 3, 1, 1, bias=False), norm(tape, norms, planes))
        self.shortcut = shortcut

    def inner(self, x: Tensor) -> Tensor:
        out = ops.relu(self.first(x), inplace=True)
        out = self.second(out)
        return ops.add(out, x if self.shortcut is None else self.shortcut(x), inplace=True)


class Bottleneck:
    """1x1, 3x3 (grouped, dilated or deformable), 1x1 and a sum."""

    expansion = 4

    def __init__(
        self, tape: Tape, inside: int, planes: int, stride: int, dilation: int, shortcut: Layer | None, options: Config
    ) -> None:
        norms, convs = options["norm"], options.get("conv")
        groups = int(options.get("groups", 1))
        width = int(planes * (options.get("base_width", 4) / options.get("base_channels", 64))) * groups
        width = planes if groups == 1 else width
        early = stride if options.get("style") == "caffe" else 1
        late = 1 if options.get("style") == "caffe" else stride
        self.first = chain(conv(tape, convs, inside, width, 1, early, bias=False), norm(tape, norms, width))
        middle = options.get("dcn") or convs
        self.second = chain(
            conv(tape, middle, width, width, 3, late, dilation, dilation, groups, bias=False), norm(tape, norms, width)
        )
        outside = planes * self.expansion
        self.third = chain(conv(tape, convs, width, outside, 1, bias=False), norm(tape, norms, outside))
        self.shortcut = shortcut
        self.between: list[Layer] = []
        self.after: list[Layer] = []

    def inner(self, x: Tensor) -> Tensor:
        out = ops.relu(self.first(x), inplace=True)
        out = ops.relu(self.second(out), inplace=True)
        for layer in self.between:
            out = layer(out)
        out = self.third(out)
        for layer in self.after:
            out = layer(out)
        return ops.add(out, x if self.shortcut is None else self.shortcut(x), inplace=True)


Block = type[BasicBlock] | type[Bottleneck]


def run_block(block: Any, x: Tensor, *, checkpointing: bool) -> Tensor:
    """The block and its last ReLU, which stays outside of the checkpoint."""
    if checkpointing and x.node is not None:
        return ops.relu(x.storage.tape.checkpoint(block.inner, x), inplace=True)
    return ops.relu(block.inner(x), inplace=True)


class ResNet:
    """The stages of any ResNet whose blocks have ``inner``."""

    def __init__(self, build: Build, config: Config, block: Any, options: dict[str, Any]) -> None:
        tape = self.tape = build.tape
        self.checkpointing = bool(config.get("with_cp", False))
        self.out = tuple(config.get("out_indices", (0, 1, 2, 3)))
        frozen = int(config.get("frozen_stages", -1))
        count = int(config.get("num_stages", 4))
        norms = options["norm"]
        if config.get("expansion") not in (None, block.expansion):
            raise UnknownType(f"a ResNet that expands by {config['expansion']}")
        stem = int(config.get("stem_channels") or 64)
        with tape.frozen(active=frozen >= 0):
            self.stem = _stem(tape, config, int(config.get("in_channels", 3)), stem, norms)
        strides, dilations = config.get("strides", (1, 2, 2, 2)), config.get("dilations", (1, 1, 1, 1))
        dcn, with_dcn = config.get("dcn"), config.get("stage_with_dcn", (False,) * 4)
        base = int(config.get("base_channels", 64))
        grid = config.get("multi_grid")
        plugins = config.get("plugins") or ()
        inside = stem
        self.stages: list[list[Any]] = []
        for index, blocks in enumerate(DEPTHS[int(config["depth"])][:count]):
            planes = base * 2**index
            last = index == count - 1
            here = {**options, "dcn": dcn if dcn and with_dcn[index] else None, "base_channels": base}
            dilation = int(dilations[index])
            first = dilation // 2 if dilation > 1 and config.get("contract_dilation") else dilation
            each = [first, *[dilation] * (blocks - 1)] if grid is None or not last else list(grid)
            with tape.frozen(active=index < frozen):
                self.stages.append(stage_of(tape, block, inside, planes, int(strides[index]), each, here))
                _plug(tape, self.stages[-1], planes, index, plugins)
            inside = planes * block.expansion
        if config.get("norm_eval"):
            _evaluate(self)

    def __call__(self, x: Tensor) -> Maps:
        x = ops.max_pool(self.stem(x), 3, 2, 1)
        outs: Maps = []
        for index, stage in enumerate(self.stages):
            for block in stage:
                x = run_block(block, x, checkpointing=self.checkpointing)
            if index in self.out:
                outs.append(x)
        return outs


def stage_of(
    tape: Tape, block: Any, inside: int, planes: int, stride: int, dilations: Sequence[int], options: Config
) -> list[Any]:
    """The blocks of one stage; ``stride`` and the shortcut's convolution are the first one's."""
    outside = planes * block.expansion
    shortcut = None
    if stride != 1 or inside != outside:
        norms, convs = options["norm"], options.get("conv")
        if options.get("avg_down"):
            shortcut = chain(
                lambda x: ops.avg_pool(x, stride, stride, ceil=True),
                conv(tape, convs, inside, outside, 1, bias=False),
                norm(tape, norms, outside),
            )
        else:
            shortcut = chain(conv(tape, convs, inside, outside, 1, stride, bias=False), norm(tape, norms, outside))
    blocks = [block(tape, inside, planes, stride, dilations[0], shortcut, options)]
    blocks += [block(tape, outside, planes, 1, dilation, None, options) for dilation in dilations[1:]]
    return blocks


def _plug(tape: Tape, stage: list[Any], planes: int, index: int, plugins: Sequence[Config]) -> None:
    """``make_stage_plugins``: each plugin of a stage goes into every one of its blocks."""
    for plugin in plugins:
        if plugin.get("stages") is None or plugin["stages"][index]:
            for block in stage:
                if plugin.get("position") == "after_conv2":
                    block.between.append(plugin_of(tape, planes, plugin))
                else:
                    block.after.append(plugin_of(tape, planes * block.expansion, plugin))


def _stem(tape: Tape, config: Config, inside: int, stem: int, norms: Config) -> Layer:
    convs = config.get("conv_cfg")
    if not config.get("deep_stem"):
        first = chain(conv(tape, convs, inside, stem, 7, 2, 3, bias=False), norm(tape, norms, stem))
        return lambda x: ops.relu(first(x), inplace=True)
    layers: list[Layer] = []
    for source, width, stride in ((inside, stem // 2, 2), (stem // 2, stem // 2, 1), (stem // 2, stem, 1)):
        layers += [
            conv(tape, convs, source, width, 3, stride, 1, bias=False),
            norm(tape, norms, width),
            lambda x: ops.relu(x, inplace=True),
        ]
    return chain(*layers)


def _evaluate(model: ResNet) -> None:
    """``norm_eval``: batch norms run with their running statistics and keep no batch statistics."""
    del model  # their input is kept all the same; two numbers a channel are not worth a walk


def options_of(config: Config) -> dict[str, Any]:
    """The options that blocks share."""
    return {
        "norm": config.get("norm_cfg") or BN,
        "conv": config.get("conv_cfg"),
        "style": config.get("style", "pytorch"),
        "avg_down": bool(config.get("avg_down", False)),
    }


@backbone("ResNet")
def resnet(build: Build, config: Config) -> Backbone:
    """Plain, dilated or deformable ResNet."""
    block = BasicBlock if int(config["depth"]) < 50 else Bottleneck
    return ResNet(build, config, block, options_of(config))


@backbone("ResNetV1c")
def resnet_v1c(build: Build, config: Config) -> Backbone:
    """Three 3x3 convolutions as stem."""
    return resnet(build, {**config, "deep_stem": True, "avg_down": False})


@backbone("ResNetV1d")
def resnet_v1d(build: Build, config: Config) -> Backbone:
    """The deep stem, and average pooling before the shortcuts' convolutions."""
    return resnet(build, {**config, "deep_stem": True, "avg_down": True})


@backbone("ResNeXt")
def resnext(build: Build, config: Config) -> Backbone:
    """Grouped 3x3 convolutions of ``groups`` x ``base_width`` channels."""
    options = options_of(config) | {
        "groups": config.get("groups", 1),
        "base_width": config.get("base_width", config.get("width_per_group", 4)),
    }
    return ResNet(build, config, Bottleneck, options)
