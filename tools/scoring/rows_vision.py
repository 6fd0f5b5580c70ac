"""Truth rows of vision models as training plans: what each source's columns and notes mean."""

from __future__ import annotations

from scoring.rows import Row, common_plan, fact, group_of
from scoring.wheel_plans import wheel
from vramlint.hardware import Target
from vramlint.memory.layers.stack import stack_of
from vramlint.plan import ImageSize, Precision, TrainingPlan

WHEELS = {
    "mmseg": "mmsegmentation",
    "mmdet": "mmdet",
    "mmdet3d": "mmdet3d",
    "mmaction2": "mmaction2-0.24.1",
    "detectron2": "detectron2",
}
"""Frameworks whose rows name a config, with the wheel, or the repository, that holds it."""


_UNDATED = {"mmdet": (2020, 2), "detectron2": (2019, 10)}
"""Checkpoints without a date: mmdet's were taken over from its first version, detectron2's model zoo is of 2019."""


def vision_plan(row: Row) -> TrainingPlan | None:
    if not row["batch_per_gpu"] or "backward is nan" in row["settings_note"]:
        return None  # without a backward pass the graph of one round lives on into the next one's: no training step
    project = WHEELS.get(row["framework"])
    return _named_plan(row) if project is None else _config_plan(row, project)


def _config_plan(row: Row, project: str) -> TrainingPlan | None:
    """The plan of the row's config on the row's GPUs, with the stack of its date.

    What the row says beside the config (batch, precision) is what was measured; the config's own values differ where a
    later version of the project changed them.
    """
    found = wheel(project)
    ranks = int(float(row["n_gpus"] or 1))
    path = row["config_path"]
    path = path if project == "detectron2" else path.partition("configs/")[2] or path
    plan = None if found is None else found.plan(found.near(path), Target(None, ranks, source="--gpus"))
    if plan is None:
        return None
    common = common_plan(row)
    for name in ("micro_batch", "accumulation", "world_size", "data_parallel"):
        setattr(plan, name, getattr(common, name))
    mixed = "fp16" in row["precision"] or "amp" in row["precision"]
    plan.precision = fact(Precision.FP16 if mixed else Precision.FP32)
    plan.sharding = fact("ddp" if row["parallelism"] == "ddp" else "none")
    date = row["ckpt_date"]
    year, month = (int(date[:4]), int(date[4:6] or 6)) if date[:4].isdigit() else _UNDATED.get(project, (2021, 6))
    plan.extra["stack"] = fact(stack_of(year, month))
    return plan


def _named_plan(row: Row) -> TrainingPlan:
    """The plan of a row that has no config at hand, from its columns alone."""
    plan = common_plan(row)
    plan.image_size = fact(ImageSize(int(float(row["image_h"])), int(float(row["image_w"] or row["image_h"]))))
    mixed = "fp16" in row["precision"] or "amp" in row["precision"]
    plan.precision = fact(Precision.FP16 if mixed else Precision.FP32)
    plan.task = fact({"segmentation": "segment", "detection": "detect"}.get(group_of(row), "classify"))
    plan.sharding = fact("ddp" if row["parallelism"] == "ddp" else "none")
    if row["framework"] == "ultralytics":
        _ultralytics(plan, row)
    return plan


def _ultralytics(plan: TrainingPlan, row: Row) -> None:
    """YOLOv5's own repository has its own head.

    The batch finder's table is of forward and backward of a copy of the model, without a step (``utils/autobatch.py``:
    ``autobatch(deepcopy(model).train(), imgsz)``): as if an average of the weights were kept and nothing else.
    """
    if row["source_repo"].endswith("/yolov5"):
        plan.extra["implementation"] = fact("yolov5")
    if row["optimizer"] == "none":
        plan.optimizer, plan.extra["momentum"], plan.ema = fact("SGD"), fact(0), fact(value=True)
