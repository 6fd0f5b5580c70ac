"""YOLO and RT-DETR models of the Ultralytics package, for each of its tasks, with its own training loss.

Ultralytics is AGPL-3.0: it is imported from the user's installation, and none of its code is here. The loss assigns
ground truths to anchors by their overlap, which fake tensors do not have; how many there are is modelled.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import torch
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.families.detr_models import positives as detr_positives
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

CLASSES = 80
TARGETS_PER_IMAGE = 20
"""Ground truths the targets are padded to: the fullest image of a COCO batch after mosaic; COCO has 7.3 an image."""

ANCHORS_INSIDE = 0.05
"""Share of (ground truth, anchor) pairs where the anchor lies in the box: the mean box covers some 5 % of its image."""

TOP_K = 10
"""Anchors that the task-aligned assigner keeps for each ground truth."""

_TERMS = ("1", "B", "HW", "BHW", "B(HW)^2")
"""The attention blocks of YOLO11 and YOLO12 hold their scores, the square of the pixels."""

_SHAPES = (Shape(2, 128, 128), Shape(3, 128, 128), Shape(2, 320, 320), Shape(3, 256, 192), Shape(2, 512, 512))
_CONFIRM = (Shape(5, 640, 640), Shape(2, 1024, 768))


def positives(shape: tuple[int, ...]) -> int:
    """How many are true in the loss's masks: of (image, truth, anchor) pairs, or of (image, anchor) foreground."""
    if len(shape) == 3:
        return round(shape[0] * shape[1] * shape[2] * ANCHORS_INSIDE)
    if len(shape) == 1:
        return TARGETS_PER_IMAGE * TOP_K
    return shape[0] * TARGETS_PER_IMAGE * TOP_K


_SIZES = {
    "yolov5": "nsmlx", "yolov8": "nsmlx", "yolov9": "tsmce", "yolov10": "nsmblx", "yolo11": "nsmlx", "yolo12": "nsmlx",
    "yolo26": "nsmlx", "yolov6": "nsmlx",
}  # fmt: skip
"""Generations and their sizes. The package's YOLOv5 has the heads of v8 ("u")."""

_TASKED = ("yolo11", "yolov8", "yolo26", "yolo12")
"""Generations with models for every task."""

_TASKS = {"seg": "SegmentationModel", "pose": "PoseModel", "obb": "OBBModel", "cls": "ClassificationModel"}
_LONG = {"seg": "segment", "cls": "classify"}
"""What people write for a task beside the package's own suffix."""

_UNSIZED = ("rtdetr-l", "rtdetr-x", "rtdetr-resnet50", "rtdetr-resnet101", "yolov3", "yolov3-spp", "yolov3-tiny")

KEYPOINTS = 17
"""Keypoints of a person in COCO, the package's default."""

_NAME = re.compile(r"yolo\D*\d+[nstmblxce](-(seg|pose|obb|cls))?|" + "|".join(_UNSIZED))


def names() -> list[str]:
    """Detectors of every generation and size, then models for other tasks."""
    detectors = [f"{generation}{size}" for generation, sizes in _SIZES.items() for size in sizes]
    tasked = [f"{each}{size}-{task}" for task in _TASKS for each in _TASKED for size in _SIZES[each]]
    return [*detectors, *_UNSIZED, *tasked, "yolov9c-seg", "yolov9e-seg"]


def other_names() -> dict[str, str]:
    """``yolov11s`` for ``yolo11s``, ``yolov5su`` for ``yolov5s``, ``yolov8n-segment`` for the models with masks."""
    found: dict[str, str] = {}
    for name in names():
        task = name.rpartition("-")[2]
        spelled = [name, *([name.replace(f"-{task}", f"-{_LONG[task]}")] if task in _LONG else [])]
        if name.startswith(("yolov5", "yolov3")):
            spelled.append(f"{name}u")
        if re.match(r"yolo\d", name):
            spelled += [each.replace("yolo", "yolov") for each in spelled]
        found.update(dict.fromkeys(spelled, name))
    return {other: name for other, name in found.items() if other != name}


def find(name: str) -> Target:
    """The model ``name`` (``yolo12s``, ``yolov8n-seg``). Raises UnknownModel where the package has no such model."""
    torchvision_schemas()
    tasks = importlib.import_module("ultralytics.nn.tasks")
    if not _NAME.fullmatch(name):
        raise UnknownModel(f"{name!r} is no YOLO detector with a size")
    try:
        tasks.yaml_model_load(f"{name}.yaml")
    except FileNotFoundError as error:
        raise UnknownModel(f"ultralytics has no model {name!r}") from error
    task = _task(name)

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        return Job(_model(name, task), lambda: _batch(shape, task), _loss, _forward)

    return Target(
        name,
        make,
        ("ultralytics", "torch"),
        _words(task),
        terms=_TERMS,
        shapes=_SHAPES,
        confirm=_CONFIRM,
        positives=detr_positives if task == "rtdetr" else positives,
        real_second_step=False,
    )


def _task(name: str) -> str:
    suffix = name.rpartition("-")[2]
    return "rtdetr" if name.startswith("rtdetr") else suffix if suffix in _TASKS else "detect"


def _words(task: str) -> tuple[str, ...]:
    if task == "cls":
        return ("1000 classes, cross-entropy",)
    if task == "rtdetr":
        return (f"{CLASSES} classes, the package's own loss with one ground truth an image",)
    classes = {"pose": "one class", "obb": "15 classes"}.get(task, f"{CLASSES} classes")
    return (
        f"{classes}, the package's own loss with targets padded to {TARGETS_PER_IMAGE} an image",
        f"{ANCHORS_INSIDE:.0%} of the anchors inside a ground truth, {TOP_K} positives each",
    )


def _model(name: str, task: str) -> nn.Module:
    tasks = importlib.import_module("ultralytics.nn.tasks")
    kind = "RTDETRDetectionModel" if task == "rtdetr" else _TASKS.get(task, "DetectionModel")
    classes = {"pose": 1, "obb": 15, "cls": 1000}.get(task, CLASSES)
    model: Any = getattr(tasks, kind)(f"{name}.yaml", nc=classes, verbose=False)
    model.nc = classes  # as the package's trainer sets it
    model.args = importlib.import_module("ultralytics.cfg").get_cfg()
    model.criterion = model.init_criterion()
    for each in (model.criterion, *vars(model.criterion).values()):
        if hasattr(each, "preprocess"):  # detectors without suppression hold two losses
            _pad_targets(each)
        if hasattr(each, "_batch_keypoints"):
            each._batch_keypoints = _padded_keypoints
        if hasattr(each, "calculate_segmentation_loss"):
            _mask_at_once(each)
    if task == "rtdetr":
        matching: Any = importlib.import_module("ultralytics.models.utils.ops")
        matching.linear_sum_assignment = _assigned
    module: nn.Module = model
    return module


def _assigned(cost: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Every ground truth gets a query; which one is data."""
    count = min(cost.shape)
    return torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)


def _padded_keypoints(batch: dict[str, Any], batch_size: int, imgsz: torch.Tensor) -> torch.Tensor:
    """Keypoints padded to as many persons as there are targets; the package counts them by value."""
    del imgsz
    padded: torch.Tensor = batch["keypoints"].new_zeros(batch_size, TARGETS_PER_IMAGE, KEYPOINTS, 3)
    return padded


def _pad_targets(criterion: Any) -> None:
    """Replaces the padding of targets, which counts them by value, by the shape it would give."""

    def padded(targets: torch.Tensor, batch_size: int, scale_tensor: torch.Tensor) -> torch.Tensor:
        return torch.zeros(batch_size, TARGETS_PER_IMAGE, targets.shape[1] - 1) * scale_tensor.new_ones(())

    criterion.preprocess = padded


def _mask_at_once(criterion: Any) -> None:
    """Makes the masks of all images in one turn instead of image by image: the same bytes are kept either way.

    Which positive belongs to which image is data, and a loop over images would make the number of operations depend on
    the batch.
    """

    def of_all(
        fg_mask: torch.Tensor, masks: torch.Tensor, target_gt_idx: torch.Tensor, target_bboxes: torch.Tensor,
        _: torch.Tensor, proto: torch.Tensor, pred_masks: torch.Tensor, imgsz: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        boxes = target_bboxes / imgsz[[1, 0, 1, 0]]
        truths = masks[0] == (target_gt_idx[fg_mask] + 1).view(-1, 1, 1)
        found = criterion.single_mask_loss(
            truths.float(), pred_masks[fg_mask], proto[0], boxes[fg_mask], boxes[fg_mask][:, 0]
        )
        total: torch.Tensor = found / fg_mask.sum()
        return total

    criterion.calculate_segmentation_loss = of_all


def _batch(shape: Shape, task: str) -> dict[str, torch.Tensor]:
    """A batch as the trainer has it after preprocessing: images as fp32 in [0, 1], masks of a quarter the size.

    Overlapping masks are one map an image (``overlap_mask``, ``mask_ratio=4``, the package's defaults).
    """
    count = shape.batch * (1 if task == "rtdetr" else TARGETS_PER_IMAGE)
    pixels = torch.empty(shape.batch, 3, shape.height, shape.width, dtype=torch.uint8)
    found = {"img": pixels.float() / 255}
    if task == "cls":
        return found | {"cls": torch.zeros(shape.batch, dtype=torch.int64)}
    found["cls"] = torch.empty(count, 1)
    found["bboxes"] = torch.empty(count, 5 if task == "obb" else 4)
    found["batch_idx"] = torch.empty(count)
    if task == "seg":
        found["masks"] = torch.empty(shape.batch, shape.height // 4, shape.width // 4)
    if task == "pose":
        found["keypoints"] = torch.empty(count, KEYPOINTS, 3)
    return found


def _loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss, _ = model(batch)
    total: torch.Tensor = loss.sum()
    return total


def _forward(model: nn.Module, batch: dict[str, torch.Tensor]) -> Any:
    return model(batch["img"])
