"""Sparse R-CNN: learnt proposals refined by heads whose weights they predict; the shared head of C4 detectors.

Source: mmdet 3.3.0 ``roi_heads/sparse_roi_head.py``, ``bbox_heads/dii_head.py``, ``dense_heads/embedding_rpn_head.py``,
``roi_heads/shared_heads/res_layer.py``, mmcv 2.1.0 ``cnn/bricks/transformer.py`` (DynamicConv is mmdet's ``layers``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import MultiheadAttention
from vramlint.memory.layers.backbones.resnet import DEPTHS, Bottleneck, options_of, run_block, stage_of
from vramlint.memory.layers.heads.detection.common import Batch, Losses, RegionExtractor
from vramlint.memory.layers.heads.detection.roi_heads import listed
from vramlint.memory.layers.heads.detection.transformers import FeedForward
from vramlint.memory.layers.nn import LayerNorm, Linear, as_input
from vramlint.memory.layers.registry import Build, Config, Maps, head, register
from vramlint.memory.layers.tape import Parameter, Tensor


@head("EmbeddingRPNHead")
class LearntProposals:
    """Boxes and features that are parameters; no loss of their own."""

    def __init__(self, build: Build, config: Config) -> None:
        self.count, self.channels = int(config["num_proposals"]), int(config.get("proposal_feature_channel", 256))
        self.boxes = build.tape.parameter(self.count * 4)
        self.features = build.tape.parameter(self.count * self.channels)

    def loss(self, maps: Maps, batch: Batch) -> tuple[list[Tensor], LearntProposals]:
        del maps, batch
        return [], self


@head("DIIHead")
class DynamicHead:
    """Self-attention of the proposals, a convolution over each region by weights from its proposal, branches."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        channels = self.channels = int(config.get("in_channels", 256))
        dynamic = config["dynamic_conv_cfg"]
        inner, side = int(dynamic.get("feat_channels", 64)), int(dynamic.get("input_feat_shape", 7))
        self.inner, self.places = inner, side * side
        self.attention = MultiheadAttention(
            tape, channels, int(config.get("num_heads", 8)), dropout=float(config.get("dropout", 0.0))
        )
        self.norms = [LayerNorm(tape, channels) for _ in range(3)]
        self.weights = Linear(tape, channels, 2 * channels * inner)
        self.norm_in, self.norm_out = LayerNorm(tape, inner), LayerNorm(tape, channels)
        self.flat, self.flat_norm = Linear(tape, channels * self.places, channels), LayerNorm(tape, channels)
        self.feed = FeedForward(tape, channels, int(config.get("feedforward_channels", 2048)))
        self.cls = [
            (Linear(tape, channels, channels, bias=False), LayerNorm(tape, channels))
            for _ in range(int(config.get("num_cls_fcs", 1)))
        ]
        self.reg = [
            (Linear(tape, channels, channels, bias=False), LayerNorm(tape, channels))
            for _ in range(int(config.get("num_reg_fcs", 3)))
        ]
        loss_cls = config.get("loss_cls") or {"type": "FocalLoss", "use_sigmoid": True}
        self.classify, self.iou = Losses(loss_cls), Losses(config.get("loss_iou") or {"type": "GIoULoss"})
        self.to_classes = Linear(tape, channels, int(config["num_classes"]) + (not self.classify.sigmoid))
        self.to_boxes = Linear(tape, channels, 4)

    def _dynamic(self, proposals: Tensor, regions: Tensor) -> Tensor:
        count, channels, inner = proposals.shape[0], self.channels, self.inner
        weights = self.weights(proposals)
        first, second = ops.split(weights, [channels * inner, channels * inner], axis=1)
        x = regions.view(count, self.places, channels)
        x = ops.relu(
            self.norm_in(ops.matmul(x, first.view(count, channels, inner), (count, self.places, inner))), inplace=True
        )
        x = ops.matmul(x, second.view(count, inner, channels), (count, self.places, channels))
        x = ops.relu(self.norm_out(x), inplace=True)
        return ops.relu(self.flat_norm(self.flat(x.view(count, self.places * channels))), inplace=True)

    def forward(self, proposals: Tensor, regions: Tensor, images: int) -> tuple[Tensor, list[Tensor]]:
        """The refined proposals, and the losses of this stage."""
        first, second, third = self.norms
        count = proposals.shape[0] // images
        rows = proposals.view(images, count, self.channels)
        rows = first(ops.add(rows, self.attention(rows))).view(*proposals.shape)
        refined = second(ops.add(rows, self._dynamic(rows, regions)))
        refined = third(self.feed(refined))
        scores, boxes = self._branch(self.cls, refined), self._branch(self.reg, refined)
        losses = [self.classify(self.to_classes(scores))]
        deltas = self.to_boxes(boxes)
        return refined, [*losses, ops.total(ops.pointwise_loss(deltas)), self.iou(deltas)]

    @staticmethod
    def _branch(layers: list[tuple[Linear, LayerNorm]], x: Tensor) -> Tensor:
        for linear, norm in layers:
            x = ops.relu(norm(linear(x)), inplace=True)
        return x


@head("SparseRoIHead")
class SparseRegionHead:
    """Six stages over the same proposals."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = build.tape
        count = int(config.get("num_stages", 6))
        self.heads = [build.make("head", each) for each in listed(config["bbox_head"], count)]
        self.extract = [RegionExtractor(build, each) for each in listed(config["bbox_roi_extractor"], count)]
        masks, given = config.get("mask_head"), config.get("mask_roi_extractor")
        self.masks = [build.make("head", each) for each in listed(masks, count)] if masks else []
        pooled = listed(given or config["bbox_roi_extractor"], count) if masks else []
        self.extract_masks = [RegionExtractor(build, each) for each in pooled]
        self.proposals: LearntProposals | None = None
        self.learnt: Parameter | None = None

    def loss(self, maps: Maps, batch: Batch) -> list[Tensor]:
        proposals = self.proposals
        assert proposals is not None
        count = proposals.count * batch.images
        x = ops.copy(as_input(proposals.features, (1, proposals.count, proposals.channels), self.tape),
                     (count, proposals.channels))  # fmt: skip
        losses: list[Tensor] = []
        for index, (stage, extract) in enumerate(zip(self.heads, self.extract, strict=True)):
            x, found = stage.forward(x, extract(maps, count), batch.images)
            losses += found
            if self.masks:
                losses += self._mask_losses(index, maps, batch, x)
        return losses

    def _mask_losses(self, index: int, maps: Maps, batch: Batch, x: Tensor) -> list[Tensor]:
        """Masks of the proposals that an object was matched to, one each."""
        assert self.proposals is not None
        matched = sum(min(objects, self.proposals.count) for objects in batch.counts)
        regions = self.extract_masks[index](maps, matched)
        logits = self.masks[index].forward_with(regions, ops.gather(x, (matched, x.shape[1]), 8 * matched))
        found: list[Tensor] = self.masks[index].loss(logits, batch)
        return found


@register("layer", "ResLayer")
def last_stage(build: Build, config: Config) -> Callable[[Tensor], Tensor]:
    """One stage of a ResNet over regions (``shared_head`` of C4 detectors)."""
    depth, stage = int(config["depth"]), int(config.get("stage", 3))
    tape = build.tape
    planes = 64 * 2**stage
    inside = 64 * 2 ** (stage - 1) * Bottleneck.expansion
    options: dict[str, Any] = options_of(config)
    dilation = int(config.get("dilation", 1))
    blocks = stage_of(
        tape, Bottleneck, inside, planes, int(config.get("stride", 2)), [dilation] * DEPTHS[depth][stage], options
    )

    def run(x: Tensor) -> Tensor:
        for block in blocks:
            x = run_block(block, x, checkpointing=bool(config.get("with_cp", False)))
        return x

    return run
