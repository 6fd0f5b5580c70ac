"""DeepLab's heads in detectron2: ASPP, the decoder of DeepLabV3+, and Panoptic-DeepLab's two branches over it.

Source: detectron2 2026-06 ``projects/DeepLab/deeplab/semantic_seg.py`` and ``loss.py``,
``projects/Panoptic-DeepLab/panoptic_deeplab/panoptic_seg.py``, ``layers/aspp.py``, ``layers/blocks.py``; defaults of
the two ``config.py``. A head has ``losses(maps) -> losses``; labels and weights of every pixel are made by the mapper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.detectron2 import Convolution, Named, at
from vramlint.memory.layers.heads.detection.common import through
from vramlint.memory.layers.nn import Conv, Layer
from vramlint.memory.layers.registry import UnknownType
from vramlint.memory.layers.tape import Tape, Tensor

Tree = Mapping[str, Any]
_LEVELS = ["res2", "res3", "res5"]


def _separable(tape: Tape, inside: int, channels: int, kernel: int, kind: str, dilation: int = 1) -> list[Convolution]:
    """DepthwiseSeparableConv2d, a norm and a ReLU behind each half."""
    return [
        Convolution(tape, inside, inside, kernel, dilation=dilation, groups=inside, kind=kind, relu=True),
        Convolution(tape, inside, channels, kind=kind, relu=True),
    ]


def _pair(tape: Tape, inside: int, between: int, channels: int, kind: str, *, separable: bool) -> list[Convolution]:
    """Two 3x3 convolutions, or one separable 5x5 in their place."""
    if separable:
        return _separable(tape, inside, channels, 5, kind)
    return [
        Convolution(tape, inside, between, 3, kind=kind, relu=True),
        Convolution(tape, between, channels, 3, kind=kind, relu=True),
    ]


class Aspp:
    """One 1x1 convolution, three dilated ones, the mean of the map; joined and projected."""

    def __init__(self, tape: Tape, section: Tree, inside: int, kind: str, *, separable: bool) -> None:
        channels = int(section.get("ASPP_CHANNELS", 256))
        self.branches: list[list[Convolution]] = [[Convolution(tape, inside, channels, kind=kind, relu=True)]]
        for dilation in section.get("ASPP_DILATIONS", [6, 12, 18]):
            self.branches.append(
                _separable(tape, inside, channels, 3, kind, int(dilation))
                if separable
                else [Convolution(tape, inside, channels, 3, dilation=int(dilation), kind=kind, relu=True)]
            )
        self.pooled = Convolution(tape, inside, channels, relu=True)
        self.project = Convolution(tape, 5 * channels, channels, kind=kind, relu=True)
        self.dropout = float(section.get("ASPP_DROPOUT", 0.1))

    def __call__(self, x: Tensor) -> Tensor:
        found = [through(branch, x) for branch in self.branches]
        found.append(ops.resize(self.pooled(ops.adaptive_avg_pool(x, 1)), x.size))
        joined = ops.concatenate(found)
        del found
        return ops.dropout(self.project(joined), self.dropout)


class Decoder:
    """DeepLabV3+: ASPP over the last level, then each finer one projected, joined and fused."""

    def __init__(self, tape: Tape, section: Tree, channels: Mapping[str, int], *, separable: bool) -> None:
        self.names = sorted(section.get("IN_FEATURES", _LEVELS))
        width, kind = int(section.get("CONVS_DIM", 256)), str(section.get("NORM", "SyncBN"))
        projected = [int(each) for each in section.get("PROJECT_CHANNELS", [48])]
        self.aspp = Aspp(tape, section, channels[self.names[-1]], kind, separable=separable)
        after = int(section.get("ASPP_CHANNELS", 256))
        self.stages: list[tuple[str, Convolution, list[Convolution]]] = []
        for name, narrow in reversed(list(zip(self.names[:-1], projected, strict=True))):
            project = Convolution(tape, channels[name], narrow, kind=kind, relu=True)
            fuse = _pair(tape, narrow + after, width, width, kind, separable=separable)
            self.stages.append((name, project, fuse))
            after = width
        self.width, self.kind = after, kind

    def __call__(self, maps: Named) -> Tensor:
        y = self.aspp(maps[self.names[-1]])
        for name, project, fuse in self.stages:
            x = project(maps[name])
            y = through(fuse, ops.concatenate([x, ops.resize(y, x.size)]))
        return y


class _Pixels:
    """What the heads share: logits at full size, the loss over pixels."""

    def __init__(self, tape: Tape, section: Tree) -> None:
        self.tape = tape
        self.stride = int(section.get("COMMON_STRIDE", 4))
        self.kind = str(section.get("LOSS_TYPE", "hard_pixel_mining"))
        self.share = float(section.get("LOSS_TOP_K", 0.2))

    def cross_entropy(self, x: Tensor, *, weighted: bool) -> list[Tensor]:
        """``DeepLabCE``: entropy of every pixel, times weights where the mapper gives some, the hardest share."""
        logits = ops.enlarged(x, self.stride)
        del x
        labels = self.tape.new(logits.shape[0], *logits.size, itemsize=8)
        if self.kind == "cross_entropy":
            return [ops.cross_entropy(logits, labels, reduced=True)]
        found = ops.cross_entropy(logits, labels)
        if weighted:
            found = ops.mul(found, self.tape.new(*found.shape))
        hardest = int(self.share * found.elements)
        return [ops.total(ops.gather(found, (hardest,), 8 * hardest))]

    def absolute(self, x: Tensor, *, scaled: bool) -> Tensor:
        """A difference to the target of every pixel, times weights."""
        found = ops.enlarged(x, self.stride)
        found = ops.scaled(found) if scaled else found
        target = self.tape.new(*found.shape)
        loss = self.tape.record(found.shape, found.itemsize, (found,), (found.bytes,), (found, target))
        return ops.total(ops.mul(loss, self.tape.new(loss.shape[0], 1, *loss.size)))


class DeepLabHead(_Pixels):
    """``DeepLabV3Head`` and ``DeepLabV3PlusHead``: ASPP or the whole decoder, then the classes."""

    def __init__(self, tape: Tape, tree: Tree, channels: Mapping[str, int]) -> None:
        section = at(tree, "SEM_SEG_HEAD", {})
        super().__init__(tape, section)
        separable = bool(section.get("USE_DEPTHWISE_SEPARABLE_CONV", False))
        classes = int(section.get("NUM_CLASSES", 54))
        self.body: Any
        if section.get("NAME") == "DeepLabV3Head":
            self.name = str(section["IN_FEATURES"][0])
            kind = str(section.get("NORM", "GN"))
            self.body = Aspp(tape, section, channels[self.name], kind, separable=separable)
            self.predict = Conv(tape, int(section.get("CONVS_DIM", 128)), classes)
        else:
            self.name = ""
            self.body = Decoder(tape, section, channels, separable=separable)
            self.predict = Conv(tape, self.body.width, classes)

    def losses(self, maps: Named) -> list[Tensor]:
        found = self.predict(self.body(maps[self.name] if self.name else maps))
        return self.cross_entropy(found, weighted=False)


class PanopticSemanticHead(_Pixels):
    """``PanopticDeepLabSemSegHead``: decoder, two more convolutions, classes."""

    def __init__(self, tape: Tape, tree: Tree, channels: Mapping[str, int]) -> None:
        section = at(tree, "SEM_SEG_HEAD", {})
        super().__init__(tape, section)
        separable = bool(section.get("USE_DEPTHWISE_SEPARABLE_CONV", False))
        self.body = Decoder(tape, section, channels, separable=separable)
        width, head = self.body.width, int(section.get("HEAD_CHANNELS", 256))
        self.layers = _pair(tape, width, width, head, self.body.kind, separable=separable)
        self.predict = Conv(tape, head, int(section.get("NUM_CLASSES", 54)))

    def losses(self, maps: Named) -> list[Tensor]:
        return self.cross_entropy(self.predict(through(self.layers, self.body(maps))), weighted=True)


class InstanceHead(_Pixels):
    """``PanopticDeepLabInsEmbedHead``: a decoder of its own, a branch for centres and one for offsets."""

    def __init__(self, tape: Tape, tree: Tree, channels: Mapping[str, int]) -> None:
        section: Tree = {"CONVS_DIM": 128, "PROJECT_CHANNELS": [32, 64], **at(tree, "INS_EMBED_HEAD", {})}
        super().__init__(tape, section)
        separable = bool(at(tree, "SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV", default=False))
        self.body = Decoder(tape, section, channels, separable=separable)
        width, head, kind = self.body.width, int(section.get("HEAD_CHANNELS", 32)), self.body.kind
        self.centre: Sequence[Layer] = _pair(tape, width, width, head, kind, separable=False)
        self.to_centre = Conv(tape, head, 1)
        self.offset: Sequence[Layer] = _pair(tape, width, width, head, kind, separable=separable)
        self.to_offset = Conv(tape, head, 2)

    def losses(self, maps: Named) -> list[Tensor]:
        y = self.body(maps)
        centre = self.to_centre(through(self.centre, y))
        offset = self.to_offset(through(self.offset, y))
        del y
        return [self.absolute(centre, scaled=False), self.absolute(offset, scaled=True)]


def semantic_head(tape: Tape, tree: Tree, channels: Mapping[str, int]) -> Any:
    """The head that ``SEM_SEG_HEAD.NAME`` names, other than detectron2's own. Raises UnknownType."""
    name = str(at(tree, "SEM_SEG_HEAD.NAME", "SemSegFPNHead"))
    if name in ("DeepLabV3Head", "DeepLabV3PlusHead"):
        return DeepLabHead(tape, tree, channels)
    if name == "PanopticDeepLabSemSegHead":
        return PanopticSemanticHead(tape, tree, channels)
    raise UnknownType(f"semantic head {name!r} of detectron2")
