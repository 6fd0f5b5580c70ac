"""detectron2's meta architectures, from the keys of its configs. Source: detectron2 2026-06 ``modeling/meta_arch``."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.detectron2 import Named, at, backbone_of
from vramlint.memory.layers.heads.deeplab import InstanceHead, semantic_head
from vramlint.memory.layers.heads.densepose import DensePose
from vramlint.memory.layers.heads.detection.common import OBJECT_SPREAD, Batch, batch_of
from vramlint.memory.layers.heads.detectron2 import (
    BoxBranch,
    KeypointBranch,
    LastStageBranch,
    MaskBranch,
    Pooler,
    Proposals,
    RetinaBranch,
    SemanticBranch,
)
from vramlint.memory.layers.registry import Build, Config, UnknownType, model
from vramlint.memory.layers.tape import Tensor

LVIS_OBJECTS = 750
"""Annotated objects in the fullest image of LVIS, as the three published LVIS runs of the model zoo imply: beside their
layers they take 4.2 to 4.8 GB, at 24 bytes a pair of anchor and object."""

MATCHING_SPREAD = 0.4
"""Half-width for DensePose: 95 % of 41 published runs lie within it."""

MASK_HEAD = "MaskRCNNConvUpsampleHead"
_STANDARD = ("StandardROIHeads", "CascadeROIHeads", "DensePoseROIHeads")


@model("detectron2.GeneralizedRCNN", "detectron2.ProposalNetwork")
class RegionNetwork:
    """Backbone, proposals, regions with boxes, masks, keypoints or DensePose."""

    @property
    def spread(self) -> float:
        """Wider with DensePose, whose regions depend on how well people are found."""
        return MATCHING_SPREAD if getattr(self, "dense", None) is not None else OBJECT_SPREAD

    def __init__(self, build: Build, tree: Config) -> None:
        tape = build.tape
        self.build, self.tree = build, tree
        self.backbone, channels = backbone_of(tape, tree)
        self.proposals = Proposals(tape, tree, channels)
        sampled = int(at(tree, "ROI_HEADS.BATCH_SIZE_PER_IMAGE", 512))
        self.sampled = sampled, int(sampled * float(at(tree, "ROI_HEADS.POSITIVE_FRACTION", 0.25)))
        self.name = str(at(tree, "ROI_HEADS.NAME", "Res5ROIHeads"))
        self.inputs = list(at(tree, "ROI_HEADS.IN_FEATURES", ["res4"]))
        self.with_masks = bool(at(tree, "MASK_ON", default=False))
        kind = str(at(tree, "ROI_MASK_HEAD.NAME", MASK_HEAD))
        if self.with_masks and kind != MASK_HEAD:
            raise UnknownType(f"mask head {kind!r} of detectron2")
        self.alone = str(tree.get("type")) == "ProposalNetwork"
        if self.alone:
            return
        if self.name in _STANDARD:
            self._standard(channels[self.inputs[0]])
        elif self.name == "Res5ROIHeads":
            self.pool = Pooler(int(at(tree, "ROI_BOX_HEAD.POOLER_RESOLUTION", 14)))
            self.last = LastStageBranch(tape, tree)
            self.masks = MaskBranch(tape, tree, self.last.channels) if self.with_masks else None
        else:
            raise UnknownType(f"RoI heads {self.name!r} of detectron2")

    def _standard(self, inside: int) -> None:
        tape, tree = self.build.tape, self.tree
        side = int(at(tree, "ROI_BOX_HEAD.POOLER_RESOLUTION", 14))
        self.pool = Pooler(side)
        cascade = self.name == "CascadeROIHeads"
        agnostic = bool(at(tree, "ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", default=False)) or cascade
        self.boxes = [BoxBranch(tape, tree, inside, side, agnostic=agnostic) for _ in range(3 if cascade else 1)]
        self.pool_masks = Pooler(int(at(tree, "ROI_MASK_HEAD.POOLER_RESOLUTION", 14)))
        self.masks = MaskBranch(tape, tree, inside) if self.with_masks else None
        self.pool_points = Pooler(int(at(tree, "ROI_KEYPOINT_HEAD.POOLER_RESOLUTION", 14)))
        self.points = KeypointBranch(tape, tree, inside) if at(tree, "KEYPOINT_ON", default=False) else None
        dense = self.name == "DensePoseROIHeads" and at(tree, "DENSEPOSE_ON", default=True)
        self.dense = DensePose(tape, tree, self.inputs, inside) if dense else None

    def batch(self, images: Tensor) -> Batch:
        """The batch; more than a thousand classes mean LVIS, whose images hold more objects."""
        found = batch_of(self.build, images)
        many = int(at(self.tree, "ROI_HEADS.NUM_CLASSES", 80)) > 1000
        return found._replace(objects=LVIS_OBJECTS) if many and "ground_truths" not in self.build.facts else found

    def loss(self, images: Tensor) -> Tensor:
        batch = self.batch(images)
        maps = self.backbone(images)
        losses = self.further(maps)
        losses += self.proposals.losses(maps, batch)
        if not self.alone:
            losses += self.regions(maps, batch)
        return ops.total_loss(losses)

    def further(self, maps: Named) -> list[Tensor]:
        """Losses of branches that come before the proposals."""
        del maps
        return []

    def regions(self, maps: Named, batch: Batch) -> list[Tensor]:
        number, positives = (each * batch.images for each in self.sampled)
        levels = [maps[name] for name in self.inputs]
        if self.name == "Res5ROIHeads":
            features = self.last.features(self.pool(levels, number))
            losses = self.last.losses(features, positives)
            if self.masks is not None:
                losses += self.masks.losses(ops.gather(features, (positives, *features.shape[1:]), 8 * positives))
            return losses
        losses = []
        for branch in self.boxes:
            losses += branch.losses(self.pool(levels, number), positives)
        if self.masks is not None:
            losses += self.masks.losses(self.pool_masks(levels, positives))
        if self.points is not None:
            losses += self.points.losses(self.pool_points(levels, positives))
        if self.dense is not None:
            losses += self.dense.losses(maps, positives, batch.images)
        return losses


@model("detectron2.PanopticFPN")
class PanopticNetwork(RegionNetwork):
    """Regions and a semantic branch over the same pyramid."""

    def __init__(self, build: Build, tree: Config) -> None:
        super().__init__(build, tree)
        channels = int(at(tree, "FPN.OUT_CHANNELS", 256))
        self.semantic = SemanticBranch(build.tape, tree, {f"p{level}": channels for level in range(2, 8)})

    def further(self, maps: Named) -> list[Tensor]:
        return self.semantic.losses(maps)


@model("detectron2.RetinaNet")
class DenseNetwork:
    """RetinaNet."""

    spread = OBJECT_SPREAD

    def __init__(self, build: Build, tree: Config) -> None:
        self.build = build
        self.backbone, channels = backbone_of(build.tape, tree)
        self.head = RetinaBranch(build.tape, tree, channels)

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        return ops.total_loss(self.head.losses(self.backbone(images), batch))


@model("detectron2.SemanticSegmentor")
class SemanticNetwork:
    """Semantic FPN, or DeepLab."""

    def __init__(self, build: Build, tree: Config) -> None:
        self.backbone, self.channels = backbone_of(build.tape, tree)
        own = str(at(tree, "SEM_SEG_HEAD.NAME", "SemSegFPNHead")) == "SemSegFPNHead"
        make = SemanticBranch if own else semantic_head
        self.head = make(build.tape, tree, self.channels)

    def loss(self, images: Tensor) -> Tensor:
        return ops.total_loss(self.head.losses(self.backbone(images)))


@model("detectron2.PanopticDeepLab")
class PanopticByCentres(SemanticNetwork):
    """A semantic head, and one for centres and offsets."""

    def __init__(self, build: Build, tree: Config) -> None:
        super().__init__(build, tree)
        self.instances = InstanceHead(build.tape, tree, self.channels)

    def loss(self, images: Tensor) -> Tensor:
        maps = self.backbone(images)
        return ops.total_loss([*self.head.losses(maps), *self.instances.losses(maps)])
