"""An image size that the backbone cannot cut into whole patches or windows.

Why: a vision transformer asserts that height and width are multiples of its patch (times its windows); any other size
stops the run at the first forward pass. Only models whose multiple is certain are judged.

Example: RF-DETR nano at resolution 400: 400 / 32 is 12.5.

Fix safety: unsafe. Another resolution is another experiment.

Sources: rfdetr 1.11.2 and rf-detr 1.4.1, ``models/backbone/dinov2.py`` (patch_size x num_windows: 16 x 2, base 14 x
4); facebookresearch/dinov2 ``dinov2/layers/patch_embed.py`` ("is not a multiple of patch height").
"""

import re
from collections.abc import Iterator

from vramlint.rule import (
    Case,
    Change,
    Confidence,
    ImageSize,
    Repair,
    RuleInfo,
    Run,
    Safety,
    Severity,
    TrainingPlan,
    Verdict,
)

RULE = RuleInfo(
    code="VL202",
    name="image-size-not-divisible",
    summary="the image size is not a multiple of the backbone's patches",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.UNSAFE,
    sources=(
        "https://github.com/roboflow/rf-detr/issues/347",
        "https://github.com/facebookresearch/dinov2/blob/main/dinov2/layers/patch_embed.py",
    ),
)

_DINOV2 = re.compile(r"dinov2_vit[a-z]+14(_reg)?$")
_DINOV2_PATCH = 14
_SEGMENTATION_BLOCK = 12
"""RF-DETR's segmentation models have smaller patches than its detectors; a script named after masks may use either."""

_LINE = "python train_detector.py --size {} --batch 2 --accum 4 --resolution {} --multi_scale 0 --workers 2\n"
VALID = (
    Case("train.sh", _LINE.format("nano", 384)),
    Case("train.sh", _LINE.format("base", 560)),
)
INVALID = (
    Case("train.sh", _LINE.format("nano", 400), fixed=_LINE.format("nano", 384), unsafe=True),
    Case("train.sh", _LINE.format("base", 512), fixed=_LINE.format("base", 504), unsafe=True),
)


def check(run: Run) -> Iterator[Verdict]:
    """Divide both sides by the multiple of the plan's model."""
    size = run.plan.image_size.value
    multiple = None if size is None else _multiple(run.plan, size)
    if size is None or multiple is None or not any(side % multiple for side in size):
        return
    name = run.spelling("image_size")
    shown = str(size.height) if size.height == size.width else str(size)
    yield Verdict(
        "image_size",
        f"{name} {shown} is not a multiple of {multiple}, as {run.plan.model.value} needs: the first batch fails",
        label=f"not a multiple of {multiple}",
        help=f"Use a multiple of {multiple}",
        repairs=tuple(_repairs(run, size, multiple)) if run.editable("image_size") else (),
    )


def _multiple(plan: TrainingPlan, size: ImageSize) -> int | None:
    """What the dialect says of the model, else what its name says; None where it is not certain."""
    known = plan.fact("image_multiple").value
    if isinstance(known, int):
        unsure = plan.task.value == "segment" and not any(side % _SEGMENTATION_BLOCK for side in size)
        return None if unsure else known
    return _DINOV2_PATCH if _DINOV2.match((plan.model.value or "").lower()) else None


def _repairs(run: Run, size: ImageSize, multiple: int) -> Iterator[Repair]:
    """The next smaller size, which costs no memory, then the next larger one."""
    for up in (0, 1):
        height, width = ((side // multiple + (up if side % multiple else 0)) * multiple for side in size)
        if not height or not width:
            continue
        shown = str(height) if height == width else f"{height}x{width}"
        change = Change("image_size", ImageSize(height, width))
        yield Repair(f"set {run.spelling('image_size')} to {shown}", Safety.UNSAFE, (change,))
