"""detectron2's ResNet and FPN, from the keys of its configs. Source: detectron2 2026-06 ``modeling/backbone``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import DEPTHS
from vramlint.memory.layers.nn import AffineNorm, BatchNorm, ChannelNorm, Conv, DeformConv, GroupNorm, Layer
from vramlint.memory.layers.registry import UnknownType
from vramlint.memory.layers.tape import Tape, Tensor

Named = dict[str, Tensor]


def at(tree: Mapping[str, Any], dotted: str, default: Any) -> Any:
    """The key of a config under ``MODEL``, or detectron2's default (``config/defaults.py``)."""
    node: Any = tree
    for key in dotted.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return default
        node = node[key]
    return node


def normalised(tape: Tape, kind: str, channels: int) -> Layer | None:
    """``get_norm``: batch, group or frozen norm, or none."""
    if kind == "":
        return None
    if kind == "FrozenBN":
        return AffineNorm(tape, channels)
    if kind in ("BN", "SyncBN", "nnSyncBN", "naiveSyncBN"):
        return BatchNorm(tape, channels)
    if kind == "GN":
        return GroupNorm(tape, 32, channels)
    if kind == "LN":
        return ChannelNorm(tape, channels)
    raise UnknownType(f"norm {kind!r}")


class Convolution:
    """detectron2's Conv2d: convolution, norm, ReLU. ``inplace`` as residual blocks write it (``F.relu_``)."""

    def __init__(
        self, tape: Tape, inside: int, channels: int, kernel: int = 1, *, stride: int = 1, dilation: int = 1,
        groups: int = 1, kind: str = "", relu: bool = False, inplace: bool = False, deform: int = 0,
        modulated: bool = False, bias: bool | None = None,
    ) -> None:  # fmt: skip
        padding = dilation * (kernel // 2)
        with_bias = kind == "" if bias is None else bias
        self.conv: Layer = (
            DeformConv(
                tape, inside, channels, kernel, stride, padding, dilation, groups, deform_groups=deform,
                modulated=modulated,
            )
            if deform
            else Conv(tape, inside, channels, kernel, stride, padding, dilation, groups, bias=with_bias)
        )  # fmt: skip
        self.norm = normalised(tape, kind, channels)
        self.relu, self.inplace = relu, inplace

    def __call__(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x if self.norm is None else self.norm(x)
        return ops.relu(x, inplace=self.inplace) if self.relu else x


class _Residual:
    """Bottleneck or basic block: the sum and its ReLU are in place."""

    def __init__(self, layers: Sequence[Convolution], shortcut: Convolution | None) -> None:
        self.layers, self.shortcut = layers, shortcut

    def __call__(self, x: Tensor) -> Tensor:
        out = x
        for layer in self.layers:
            out = layer(out)
        other = x if self.shortcut is None else self.shortcut(x)
        return ops.relu(ops.add(out, other, inplace=True), inplace=True)


class ResNet:
    """``build_resnet_backbone``; ``FREEZE_AT`` 1 is the stem, each further one a stage."""

    def __init__(self, tape: Tape, tree: Mapping[str, Any]) -> None:
        depth = int(at(tree, "RESNETS.DEPTH", 50))
        self.kind = str(at(tree, "RESNETS.NORM", "FrozenBN"))
        frozen = int(at(tree, "BACKBONE.FREEZE_AT", 2))
        stem = int(at(tree, "RESNETS.STEM_OUT_CHANNELS", 64))
        self.out = list(at(tree, "RESNETS.OUT_FEATURES", ["res4"]))
        self.wide = depth >= 50
        self.tape, self.tree = tape, tree
        with tape.frozen(active=frozen >= 1):
            self.stem = self._stem(stem)
        last = max(int(name[-1]) for name in self.out)
        groups, per_group = int(at(tree, "RESNETS.NUM_GROUPS", 1)), int(at(tree, "RESNETS.WIDTH_PER_GROUP", 64))
        inside, channels, width = stem, int(at(tree, "RESNETS.RES2_OUT_CHANNELS", 256)), groups * per_group
        self.stages: list[list[_Residual]] = []
        self.channels: dict[str, int] = {}
        for index in range(last - 1):
            dilation = self._dilation(index)
            stride = 1 if index == 0 or dilation > 1 else 2
            with tape.frozen(active=frozen >= index + 2):
                self.stages.append(
                    self.stage(DEPTHS[depth][index], inside, channels, width, stride, self._dilations(index, depth))
                )
            self.channels[f"res{index + 2}"] = channels
            inside, channels, width = channels, 2 * channels, 2 * width

    def _dilation(self, index: int) -> int:
        return int(at(self.tree, f"RESNETS.RES{index + 2}_DILATION", 1)) if index >= 2 else 1

    def _dilations(self, index: int, depth: int) -> list[int]:
        count, each = DEPTHS[depth][index], self._dilation(index)
        grid = at(self.tree, "RESNETS.RES5_MULTI_GRID", None) if index == 3 else None
        return [each * int(step) for step in grid] if grid and len(grid) == count else [each] * count

    def _stem(self, channels: int) -> Layer:
        if str(at(self.tree, "RESNETS.STEM_TYPE", "basic")) != "deeplab":
            return Convolution(self.tape, 3, channels, 7, stride=2, kind=self.kind, relu=True, inplace=True)
        widths = ((3, channels // 2, 2), (channels // 2, channels // 2, 1), (channels // 2, channels, 1))
        layers = [
            Convolution(self.tape, a, b, 3, stride=stride, kind=self.kind, relu=True, inplace=True)
            for a, b, stride in widths
        ]

        def run(x: Tensor) -> Tensor:
            for layer in layers:
                x = layer(x)
            return x

        return run

    def stage(
        self, blocks: int, inside: int, channels: int, width: int, stride: int, dilations: Sequence[int]
    ) -> list[_Residual]:
        """One stage of residual blocks."""
        tape, tree, kind = self.tape, self.tree, self.kind
        groups = int(at(tree, "RESNETS.NUM_GROUPS", 1))
        index = {256: 0, 512: 1, 1024: 2, 2048: 3}.get(channels, 0)
        deform = at(tree, "RESNETS.DEFORM_ON_PER_STAGE", [False] * 4)[index]
        early = bool(at(tree, "RESNETS.STRIDE_IN_1X1", default=True))
        made: list[_Residual] = []
        for number in range(blocks):
            step, source = (stride, inside) if number == 0 else (1, channels)
            shortcut = Convolution(tape, source, channels, stride=step, kind=kind) if source != channels else None
            if not self.wide:
                layers = [
                    Convolution(tape, source, channels, 3, stride=step, kind=kind, relu=True, inplace=True),
                    Convolution(tape, channels, channels, 3, kind=kind),
                ]
            else:
                first, second = (step, 1) if early else (1, step)
                layers = [
                    Convolution(tape, source, width, stride=first, kind=kind, relu=True, inplace=True),
                    Convolution(
                        tape, width, width, 3, stride=second, dilation=dilations[number], groups=groups, kind=kind,
                        relu=True, inplace=True,
                        deform=int(at(tree, "RESNETS.DEFORM_NUM_GROUPS", 1)) if deform else 0,
                        modulated=bool(at(tree, "RESNETS.DEFORM_MODULATED", default=False)),
                    ),
                    Convolution(tape, width, channels, kind=kind),
                ]  # fmt: skip
            made.append(_Residual(layers, shortcut))
        return made

    def __call__(self, images: Tensor) -> Named:
        x = ops.max_pool(self.stem(images), 3, 2, 1)
        found: Named = {"stem": x} if "stem" in self.out else {}
        for index, stage in enumerate(self.stages):
            for block in stage:
                x = block(x)
            if f"res{index + 2}" in self.out:
                found[f"res{index + 2}"] = x
        return found


class Fpn:
    """FPN over a ResNet; RetinaNet's has p6 and p7 by convolution, the others p6 by pooling."""

    def __init__(self, tape: Tape, tree: Mapping[str, Any], *, retina: bool) -> None:
        self.bottom = ResNet(tape, tree)
        self.inputs = list(at(tree, "FPN.IN_FEATURES", []))
        channels, kind = int(at(tree, "FPN.OUT_CHANNELS", 256)), str(at(tree, "FPN.NORM", ""))
        widths = [self.bottom.channels[name] for name in self.inputs]
        self.lateral = [Convolution(tape, width, channels, kind=kind) for width in widths]
        self.output = [Convolution(tape, channels, channels, 3, kind=kind) for _ in widths]
        self.top = (
            [Conv(tape, widths[-1], channels, 3, 2, 1), Conv(tape, channels, channels, 3, 2, 1)] if retina else None
        )

    def __call__(self, images: Tensor) -> Named:
        below = self.bottom(images)
        found: Named = {}
        x: Tensor | None = None
        for name, lateral, output in reversed(list(zip(self.inputs, self.lateral, self.output, strict=True))):
            here = lateral(below[name])
            x = here if x is None else ops.add(here, ops.resize(x, here.size))
            found[f"p{name[-1]}"] = output(x)
        level = int(self.inputs[-1][-1])
        if self.top is None:
            found[f"p{level + 1}"] = ops.max_pool(found[f"p{level}"], 1, 2)
            return found
        first, second = self.top
        six = first(below[self.inputs[-1]])
        found[f"p{level + 1}"] = six
        found[f"p{level + 2}"] = second(ops.relu(six))
        return found


def backbone_of(tape: Tape, tree: Mapping[str, Any]) -> tuple[Any, Mapping[str, int]]:
    """The backbone a config names, and the channels of its features. Raises UnknownType for others than these."""
    name = str(at(tree, "BACKBONE.NAME", "build_resnet_backbone"))
    if name in ("build_resnet_backbone", "build_resnet_deeplab_backbone"):
        resnet = ResNet(tape, tree)
        return resnet, resnet.channels
    if name in ("build_resnet_fpn_backbone", "build_retinanet_resnet_fpn_backbone"):
        pyramid = Fpn(tape, tree, retina="retinanet" in name)
        channels = int(at(tree, "FPN.OUT_CHANNELS", 256))
        return pyramid, {f"p{level}": channels for level in range(2, 8)}
    from vramlint.memory.layers.backbones.detectron2_further import further_backbone

    return further_backbone(tape, tree, name)
