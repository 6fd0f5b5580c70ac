"""detectron2's backbones beside its ResNet: ViTDet's, MViT, Swin and RegNet, under an FPN.

Sources: detectron2 2026-06 ``modeling/backbone/fpn.py``, ``regnet.py``, ``swin.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log2
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.detectron2 import Convolution, Named, at
from vramlint.memory.layers.backbones.detectron2_vit import MViT, SimplePyramid
from vramlint.memory.layers.backbones.regnet import Recipe, stages_of
from vramlint.memory.layers.backbones.swin import SwinTransformer
from vramlint.memory.layers.nn import Conv, Layer
from vramlint.memory.layers.registry import Build, UnknownType
from vramlint.memory.layers.tape import Tape, Tensor

Call = Mapping[str, Any]


def further_backbone(tape: Tape, tree: Call, name: str) -> tuple[Any, Mapping[str, int]]:
    """The backbone called ``name``, and the channels of its levels. Raises UnknownType."""
    channels = int(at(tree, "FPN.OUT_CHANNELS", 256))
    levels = {f"p{level}": channels for level in range(2, 8)}
    if name == "SimpleFeaturePyramid":
        return SimplePyramid(tape, at(tree, "BOTTOM_UP", {}), at(tree, "FPN", {})), levels
    if name == "FPN":
        return Pyramid(tape, bottom_of(tape, at(tree, "BOTTOM_UP", {})), at(tree, "FPN", {})), levels
    raise UnknownType(f"backbone {name!r} of detectron2")


def bottom_of(tape: Tape, call: Call) -> Any:
    """The network under a pyramid, with ``channels`` and ``strides`` by feature."""
    kind = str(call.get("_target_", "")).rpartition(".")[2]
    made = {"MViT": MViT, "SwinTransformer": Swin, "RegNet": RegNet}.get(kind)
    if made is None:
        raise UnknownType(f"backbone {kind!r} of detectron2")
    return made(tape, call)


class Pyramid:
    """FPN over any network."""

    def __init__(self, tape: Tape, bottom: Any, section: Call) -> None:
        self.bottom = bottom
        self.inputs = [str(each) for each in section.get("IN_FEATURES") or bottom.channels]
        channels, kind = int(section.get("OUT_CHANNELS", 256)), str(section.get("NORM", ""))
        widths = [bottom.channels[name] for name in self.inputs]
        self.levels = [int(log2(bottom.strides[name])) for name in self.inputs]
        self.lateral = [Convolution(tape, width, channels, kind=kind) for width in widths]
        self.output = [Convolution(tape, channels, channels, 3, kind=kind) for _ in widths]
        if section.get("TOP_BLOCK", "LastLevelMaxPool") != "LastLevelMaxPool":
            raise UnknownType(f"top block {section.get('TOP_BLOCK')!r} over this backbone")

    def __call__(self, images: Tensor) -> Named:
        below = self.bottom(images)
        found: Named = {}
        x: Tensor | None = None
        for name, level, lateral, output in reversed(
            list(zip(self.inputs, self.levels, self.lateral, self.output, strict=True))
        ):
            here = lateral(below[name])
            x = here if x is None else ops.add(here, ops.resize(x, here.size))
            found[f"p{level}"] = output(x)
        top = max(self.levels)
        found[f"p{top + 1}"] = ops.max_pool(found[f"p{top}"], 1, 2)
        return found


class Swin:
    """detectron2's Swin is mmdet's under other names of its options."""

    def __init__(self, tape: Tape, call: Call) -> None:
        names = {"embed_dim": "embed_dims", "in_chans": "in_channels", "ape": "use_abs_pos_embed"}
        own = ("depths", "num_heads", "window_size", "mlp_ratio", "patch_size", "patch_norm", "out_indices",
               "drop_path_rate", "drop_rate", "attn_drop_rate", "frozen_stages", "qkv_bias")  # fmt: skip
        config = {names.get(key, key): value for key, value in call.items() if key in (*names, *own)}
        config.setdefault("drop_path_rate", 0.2)
        if call.get("use_checkpoint"):
            config["with_cp"] = True
        self.net = SwinTransformer(Build(tape, "mmdet"), config)
        first, out = int(config.get("embed_dims", 96)), config.get("out_indices", (0, 1, 2, 3))
        self.names = [f"p{index}" for index in out]
        self.channels = {f"p{index}": first * 2**index for index in out}
        self.strides = {f"p{index}": 4 * 2**index for index in out}

    def __call__(self, images: Tensor) -> Named:
        return dict(zip(self.names, self.net(images), strict=True))


class _RegNetBlock:
    """Three convolutions with norms, squeeze and excitation after the second; the sum is a new tensor."""

    def __init__(self, tape: Tape, inside: int, width: int, group: int, stride: int, call: Call) -> None:
        kind, ratio = str(call.get("norm", "BN")), float(call.get("bottleneck_ratio", 1.0))
        middle = round(width * ratio)
        changed = inside != width or stride != 1
        self.shortcut = Convolution(tape, inside, width, stride=stride, kind=kind) if changed else None
        self.first = Convolution(tape, inside, middle, kind=kind, relu=True, inplace=True)
        self.second = Convolution(
            tape, middle, middle, 3, stride=stride, groups=middle // group, kind=kind, relu=True, inplace=True
        )
        squeezed = round(inside * float(call.get("se_ratio", 0.0)))
        self.squeeze = (Conv(tape, middle, squeezed), Conv(tape, squeezed, middle)) if squeezed else None
        self.third = Convolution(tape, middle, width, kind=kind)

    def __call__(self, x: Tensor) -> Tensor:
        other = x if self.shortcut is None else self.shortcut(x)
        out = self.second(self.first(x))
        if self.squeeze is not None:
            weight = ops.relu(self.squeeze[0](ops.adaptive_avg_pool(out, 1)), inplace=True)
            out = ops.mul(out, ops.sigmoid(self.squeeze[1](weight)))
        return ops.relu(ops.add(other, self.third(out)), inplace=True)


class RegNet:
    """``RegNet`` by width, slope and depth; ``freeze_at`` 1 is the stem, each further one a stage."""

    def __init__(self, tape: Tape, call: Call) -> None:
        kind, frozen = str(call.get("norm", "BN")), int(call.get("freeze_at", 0))
        stem, block = str(call.get("stem_class")), str(call.get("block_class"))
        if not stem.endswith("SimpleStem") or not block.endswith("ResBottleneckBlock"):
            raise UnknownType(f"RegNet of {stem} and {block}")
        inside = int(call["stem_width"])
        with tape.frozen(active=frozen >= 1):
            self.stem: Layer = Convolution(tape, 3, inside, 3, stride=2, kind=kind, relu=True, inplace=True)
        recipe = Recipe(float(call["w_0"]), float(call["w_a"]), float(call["w_m"]), int(call["group_width"]),
                        int(call["depth"]), float(call.get("bottleneck_ratio", 1.0)))  # fmt: skip
        step = int(call.get("stride", 2))
        self.stages: list[list[_RegNetBlock]] = []
        self.channels: dict[str, int] = {}
        self.strides: dict[str, int] = {}
        for index, (width, group, count) in enumerate(stages_of(recipe)):
            with tape.frozen(active=frozen >= index + 2):
                self.stages.append(
                    [
                        _RegNetBlock(tape, width if number else inside, width, group, 1 if number else step, call)
                        for number in range(count)
                    ]
                )
            inside = width
            self.channels[f"s{index + 1}"], self.strides[f"s{index + 1}"] = width, 2 * step ** (index + 1)
        self.out = [str(each) for each in call.get("out_features") or [f"s{len(self.stages)}"]]

    def __call__(self, images: Tensor) -> Named:
        x = self.stem(images)
        found: Named = {}
        for index, stage in enumerate(self.stages):
            for block in stage:
                x = block(x)
            if f"s{index + 1}" in self.out:
                found[f"s{index + 1}"] = x
        return found
