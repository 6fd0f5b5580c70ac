"""Detectors. Source: mmdet 3.3.0 ``models/detectors``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.common import OBJECT_SPREAD, Batch, batch_of
from vramlint.memory.layers.registry import Build, Config, Maps, model
from vramlint.memory.layers.tape import Tensor


def with_train(section: Config, train: Any) -> dict[str, Any]:
    """A head's section with the part of ``train_cfg`` that its detector hands on."""
    return {**section, "train_cfg": section.get("train_cfg") or train}


def _part(config: Config, name: str) -> Any:
    train = config.get("train_cfg")
    return train.get(name) if isinstance(train, Mapping) else None


@model(
    "FasterRCNN", "MaskRCNN", "CascadeRCNN", "TwoStageDetector", "HybridTaskCascade", "GridRCNN", "MaskScoringRCNN",
    "PointRend", "SCNet", "HTC", "SparseRCNN", "QueryInst",
)  # fmt: skip
class TwoStage:
    """Backbone, neck, proposals, regions."""

    spread = OBJECT_SPREAD

    def __init__(self, build: Build, config: Config) -> None:
        self.build = build
        self.backbone = build.backbone(config["backbone"])
        self.neck = build.neck(config.get("neck"))
        rpn = config.get("rpn_head")
        proposal = dict(_part(config, "rpn_proposal") or {})
        most = proposal.get("max_per_img", proposal.get("max_num", 1000))
        classes = {} if str((rpn or {}).get("type")) != "RPNHead" else {"num_classes": 1}
        own = _part(config, "rpn") or {}
        train = {**({"stages": own} if isinstance(own, list) else own), "max_per_img": most}
        self.proposals = build.make("head", {**with_train(rpn, train), **classes}) if rpn else None
        regions = config.get("roi_head")
        self.regions = build.make("head", with_train(regions, _part(config, "rcnn"))) if regions else None

        if self.regions is not None and hasattr(self.regions, "proposals"):
            self.regions.proposals = self.proposals

    def features(self, images: Tensor) -> Maps:
        return self.neck(self.backbone(images))

    def batch(self, images: Tensor) -> Batch:
        """The batch as the heads see it."""
        return batch_of(self.build, images)

    def loss(self, images: Tensor) -> Tensor:
        batch = self.batch(images)
        maps = self.features(images)
        losses: list[Tensor] = []
        if self.proposals is not None:
            found, _ = self.proposals.loss(maps, batch)
            losses += found
        if self.regions is not None:
            losses += self.regions.loss(maps, batch)
        losses += self.further(maps)
        return ops.total_loss(losses)

    def further(self, maps: Maps) -> list[Tensor]:
        """Losses of further branches over the pyramid."""
        del maps
        return []


@model("TridentFasterRCNN")
class TridentTwoStage(TwoStage):
    """Every branch of the backbone is one more image with the same objects."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.branches = len(config["backbone"]["trident_dilations"])

    def batch(self, images: Tensor) -> Batch:
        found = super().batch(images)
        return found._replace(images=found.images * self.branches)


@model("RPN")
def rpn(build: Build, config: Config) -> TwoStage:
    """Proposals alone."""
    return TwoStage(build, {**config, "roi_head": None})


@model(
    "SingleStageDetector", "RetinaNet", "ATSS", "FCOS", "GFL", "PAA", "FSAF", "FOVEA", "RepPointsDetector", "VFNet",
    "TOOD", "AutoAssign", "YOLOF", "DDOD", "YOLOX", "RTMDet", "SSD", "YOLOV3", "CenterNet",
    "CornerNet", "NASFCOS", "FreeAnchor", "FCOSMono3D",
)  # fmt: skip
class SingleStage:
    """Backbone, neck, one dense head."""

    spread = OBJECT_SPREAD

    def __init__(self, build: Build, config: Config) -> None:
        self.build = build
        self.backbone = build.backbone(config["backbone"])
        self.neck = build.neck(config.get("neck"))
        self.head = build.make("head", with_train(config["bbox_head"], config.get("train_cfg")))

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        maps = self.neck(self.backbone(images))
        losses = self.head.loss(maps, batch)
        return ops.total_loss(losses)


@model("SOLO", "SOLOv2", "SingleStageInstanceSegmentor", "DecoupledSOLO")
class ByLocation:
    """Backbone, neck, a head of masks."""

    spread = OBJECT_SPREAD

    def __init__(self, build: Build, config: Config) -> None:
        self.build = build
        self.backbone = build.backbone(config["backbone"])
        self.neck = build.neck(config.get("neck"))
        self.head = build.make("head", with_train(config["mask_head"], config.get("train_cfg")))

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        maps = self.neck(self.backbone(images))
        return ops.total_loss(self.head.loss(maps, batch))


@model("CondInst", "BoxInst")
class ByKernels(SingleStage):
    """A dense head of boxes and kernels, a head of the masks that these kernels make."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.masks = build.make("head", config["mask_head"])

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        maps = self.neck(self.backbone(images))
        losses = self.head.loss(maps, batch)
        losses += self.masks.loss(maps, self.head.taken(), batch)
        return ops.total_loss(losses)


@model("YOLACT")
class ByPrototypes(SingleStage):
    """A dense head of boxes and coefficients, a head of prototypes.

    The spread covers masks of 100 to 630 positive anchors an image, which differ by that much.
    """

    spread = 0.2

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.masks = build.make("head", config["mask_head"])

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        maps = self.neck(self.backbone(images))
        losses, coefficients = self.head.loss(maps, batch)
        losses += self.masks.loss(maps, coefficients, batch)
        return ops.total_loss(losses)


@model("Mask2Former", "MaskFormer")
class QueryMasks:
    """Backbone, neck, a panoptic head of queries."""

    spread = OBJECT_SPREAD

    def __init__(self, build: Build, config: Config) -> None:
        self.build = build
        self.backbone = build.backbone(config["backbone"])
        self.neck = build.neck(config.get("neck"))
        self.head = build.make("head", with_train(config["panoptic_head"], config.get("train_cfg")))

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        maps = self.neck(self.backbone(images))
        return ops.total_loss(self.head.loss(maps, batch))


@model("LAD")
class LabelDistillation(SingleStage):
    """A second detector, not trained, chooses which anchors are positive."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        with build.tape.frozen():
            self.teacher_backbone = build.backbone(config["teacher_backbone"])
            self.teacher_neck = build.neck(config.get("teacher_neck"))
            self.teacher_head = build.make("head", with_train(config["teacher_bbox_head"], config.get("train_cfg")))

    def loss(self, images: Tensor) -> Tensor:
        batch = batch_of(self.build, images)
        with self.build.tape.no_grad():
            outs = self.teacher_neck(self.teacher_backbone(images))
            kept = [self.teacher_head.one(x, level) for level, x in enumerate(outs)]
            del outs
        maps = self.neck(self.backbone(images))
        losses = self.head.loss(maps, batch)
        del kept
        return ops.total_loss(losses)
