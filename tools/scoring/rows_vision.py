"""Truth rows of vision models as training plans: what each source's columns and notes mean."""

from __future__ import annotations

from scoring.rows import Row, common_plan, fact, group_of
from vramlint.plan import ImageSize, Precision, TrainingPlan


def vision_plan(row: Row) -> TrainingPlan | None:
    if not row["batch_per_gpu"]:
        return None
    plan = common_plan(row)
    plan.image_size = fact(ImageSize(int(float(row["image_h"])), int(float(row["image_w"] or row["image_h"]))))
    mixed = "fp16" in row["precision"] or "amp" in row["precision"]
    plan.precision = fact(Precision.FP16 if mixed else Precision.FP32)
    plan.task = fact({"segmentation": "segment", "detection": "detect"}.get(group_of(row), "classify"))
    plan.sharding = fact("ddp" if row["parallelism"] == "ddp" else "none")
    return plan
