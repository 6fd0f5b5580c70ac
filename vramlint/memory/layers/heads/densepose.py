"""DensePose's heads over people. Source: detectron2 2026-06 ``projects/DensePose/densepose`` (config, roi_heads,
predictors, losses).

How many proposals match a person with annotations well enough (``FG_IOU_THRESHOLD``) is not in the config: a quarter of
the positives an image may have is taken.
"""

from __future__ import annotations

from math import log2
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.detectron2 import Convolution, Named, at
from vramlint.memory.layers.heads.detectron2 import Pooler, Tree
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.nonlocal_blocks import NonLocal
from vramlint.memory.layers.registry import UnknownType
from vramlint.memory.layers.tape import Tape, Tensor

MATCHED_SHARE = 0.25
POINTS_A_PERSON = 100
"""Annotated points of one person (DensePose-COCO: 100 to 150, arXiv 1802.00434, section 2)."""

VERTICES = 27554
"""Vertices of the SMPL mesh that CSE embeds (``densepose/data/meshes/builtin.py``, smpl_27554)."""

NAME = "ROI_DENSEPOSE_HEAD"


class DensePose:
    """Decoder over the levels, pooling, stacked convolutions, predictor, losses."""

    def __init__(self, tape: Tape, tree: Tree, inputs: list[str], inside: int) -> None:
        self.tape, self.tree, self.inputs = tape, tree, inputs
        self.decoder = self._decoder(inside) if at(tree, f"{NAME}.DECODER_ON", default=True) else None
        pooled = int(at(tree, f"{NAME}.DECODER_NUM_CLASSES", 256)) if self.decoder else inside
        self.pool = Pooler(int(at(tree, f"{NAME}.POOLER_RESOLUTION", 28)))
        self.body, width = self._body(pooled)
        self.outputs = self._outputs()
        self.embedding = int(at(tree, f"{NAME}.CSE.EMBED_SIZE", 16)) if self._embeds else 0
        kernel = int(at(tree, f"{NAME}.DECONV_KERNEL", 4))
        self.predict = [Conv(tape, width, count, kernel, 2, kernel // 2 - 1, transposed=True) for count in self.outputs]

    @property
    def _embeds(self) -> bool:
        return "Embedding" in str(at(self.tree, f"{NAME}.PREDICTOR_NAME", ""))

    def _decoder(self, inside: int) -> tuple[list[list[Convolution]], Conv]:
        tree, tape = self.tree, self.tape
        width, kind = int(at(tree, f"{NAME}.DECODER_CONV_DIMS", 256)), str(at(tree, f"{NAME}.DECODER_NORM", ""))
        scales = []
        for name in self.inputs:
            steps = max(1, int(log2(2 ** int(name[1:])) - 2))
            scales.append(
                [Convolution(tape, inside if i == 0 else width, width, 3, kind=kind, relu=True) for i in range(steps)]
            )
        return scales, Conv(tape, width, int(at(tree, f"{NAME}.DECODER_NUM_CLASSES", 256)))

    def _body(self, inside: int) -> tuple[Any, int]:
        tree, tape = self.tree, self.tape
        name = str(at(tree, f"{NAME}.NAME", "DensePoseV1ConvXHead"))
        width, kernel = int(at(tree, f"{NAME}.CONV_HEAD_DIM", 512)), int(at(tree, f"{NAME}.CONV_HEAD_KERNEL", 3))
        count = int(at(tree, f"{NAME}.NUM_STACKED_CONVS", 8))
        if name not in ("DensePoseV1ConvXHead", "DensePoseDeepLabHead"):
            raise UnknownType(f"DensePose head {name!r}")
        deep = name == "DensePoseDeepLabHead"
        kind = str(at(tree, f"{NAME}.DEEPLAB.NORM", "GN")) if deep else ""
        layers: list[Any] = []
        if deep:
            layers.append(_Aspp(tape, inside))
            if at(tree, f"{NAME}.DEEPLAB.NONLOCAL_ON", 0):
                layers.append(
                    NonLocal(tape, inside, {"sub_sample": True, "norm_cfg": {"type": "GN", "num_groups": 32}})
                )
        layers += [
            Convolution(tape, inside if i == 0 else width, width, kernel, kind=kind, relu=True) for i in range(count)
        ]
        return layers, width

    def _outputs(self) -> list[int]:
        tree = self.tree
        coarse = int(at(tree, f"{NAME}.NUM_COARSE_SEGM_CHANNELS", 2))
        if self._embeds:
            return [coarse, int(at(tree, f"{NAME}.CSE.EMBED_SIZE", 16))]
        parts = int(at(tree, f"{NAME}.NUM_PATCHES", 24)) + 1
        found = [coarse, parts, parts, parts]
        if at(tree, f"{NAME}.UV_CONFIDENCE.ENABLED", default=False):
            isotropic = str(at(tree, f"{NAME}.UV_CONFIDENCE.TYPE", "iid_iso")) == "iid_iso"
            found += [parts] * (1 if isotropic else 3)
        if at(tree, f"{NAME}.SEGM_CONFIDENCE.ENABLED", default=False):
            found += [1, 1]
        return found

    def losses(self, maps: Named, positives: int, images: int) -> list[Tensor]:
        people = max(1, round(positives * MATCHED_SHARE))
        features = [maps[name] for name in self.inputs]
        if self.decoder is not None:
            features = [self._decoded(features)]
        x = self.pool(features, people)
        for layer in self.body:
            x = layer(x)
        scores = [ops.enlarged(conv(x), int(at(self.tree, f"{NAME}.UP_SCALE", 2))) for conv in self.predict]
        del x, features
        points = POINTS_A_PERSON * people
        del images
        losses: list[Tensor] = []
        for each in scores:
            # Four neighbours of every annotated point are picked and weighted.
            corners = [ops.gather(each, (points, each.channels), 32 * points) for _ in range(4)]
            value = ops.add(ops.add(corners[0], corners[1]), ops.add(corners[2], corners[3]))
            losses.append(ops.total(ops.pointwise_loss(value, kept=2)))
            if self._embeds and each is scores[-1]:
                losses.append(self._embedding_loss(value, points))
        return losses

    def _embedding_loss(self, value: Tensor, points: int) -> Tensor:
        """Distances of every point to every vertex, log softmax; soft: times a softmax of geodesic distances."""
        tape = self.tape
        soft = "Soft" in str(at(self.tree, f"{NAME}.CSE.EMBED_LOSS_NAME", "EmbeddingLoss"))
        shape = (points, VERTICES)
        distances = ops.scaled(tape.record(shape, 4, (value,), (value.bytes,), (value,)))
        likely = ops.softmax(distances)
        del distances
        if not soft:
            return ops.total(ops.gather(likely, (points,), 8 * points))
        target = tape.new(*shape)
        product = tape.record(shape, 4, (likely,), (likely.bytes,), (target,))
        del target, likely
        return ops.total(product)

    def _decoded(self, features: list[Tensor]) -> Tensor:
        assert self.decoder is not None
        scales, predict = self.decoder
        total: Tensor | None = None
        for name, layers, x in zip(self.inputs, scales, features, strict=True):
            for layer in layers:
                x = layer(x)
                if name != "p2":
                    x = ops.enlarged(x, 2)
            total = x if total is None else ops.add(total, x)
        assert total is not None
        return predict(total)


class _Aspp:
    """Five branches with group norm, joined and projected."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.branches = [Convolution(tape, channels, channels, kind="GN", relu=True)]
        self.branches += [
            Convolution(tape, channels, channels, 3, dilation=rate, kind="GN", relu=True) for rate in (6, 12, 56)
        ]
        self.pooled = Convolution(tape, channels, channels, kind="GN", relu=True)
        self.project = Convolution(tape, 5 * channels, channels, bias=False, relu=True)

    def __call__(self, x: Tensor) -> Tensor:
        found = [branch(x) for branch in self.branches]
        found.append(ops.resize(self.pooled(ops.adaptive_avg_pool(x, 1)), x.size))
        joined = ops.concatenate(found)
        del found
        return self.project(joined)
