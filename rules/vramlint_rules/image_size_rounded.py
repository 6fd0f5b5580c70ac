"""An image size that the framework rounds up.

Why: Ultralytics and YOLOv5 train at the next multiple of the model's largest stride (32) and say so in one line of the
log. Memory and results are those of the rounded size.

Example: ``imgsz=650`` trains at 672.

Fix safety: safe. The file says what happens anyway.

Sources: ultralytics 8.4.190 ``utils/checks.py#check_imgsz`` ("imgsz must be multiple of max stride"); yolov5 7.0
``utils/general.py#check_img_size``.
"""

import math
from collections.abc import Iterator

from vramlint.rule import Case, Change, Confidence, ImageSize, Repair, RuleInfo, Run, Safety, Severity, Verdict

RULE = RuleInfo(
    code="VL207",
    name="image-size-rounded",
    summary="an image size that the framework rounds up",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    fix=Safety.SAFE,
    sources=("https://github.com/ultralytics/ultralytics/blob/main/ultralytics/utils/checks.py",),
)

_STRIDE = 32
"""Largest stride of the detectors that both ship (P5 models); P6 models round to 64, which is a multiple."""
_LINE = "yolo detect train model=yolo11s.pt data=coco.yaml batch=16 imgsz={} epochs=30 device=0\n"
VALID = (Case("train.sh", _LINE.format(640)), Case("train.sh", _LINE.format(1280)))
INVALID = (
    Case("train.sh", _LINE.format(650), fixed=_LINE.format(672)),
    Case("train.sh", _LINE.format(600), fixed=_LINE.format(608)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Round as the framework does."""
    plan = run.plan
    size = plan.image_size.value
    if plan.dialect not in ("ultralytics", "yolov5") or plan.task.value == "classify" or size is None:
        return
    rounded = ImageSize(*(math.ceil(side / _STRIDE) * _STRIDE for side in size))
    if rounded == size or not plan.image_size.spelled or size.height != size.width:
        return
    name = run.spelling("image_size")
    title = f"set {name} to {rounded.height}"
    repair = Repair(title, Safety.SAFE, (Change("image_size", rounded),))
    yield Verdict(
        "image_size",
        f"{name} {size.height} is not a multiple of {_STRIDE}: the run trains at {rounded.height}",
        label=f"trains at {rounded.height}",
        help=f"Write {rounded.height}",
        repairs=(repair,) if run.editable("image_size") else (),
    )
