"""The size of the images that the network sees, which is not always the one that is spelled."""

from __future__ import annotations

import math

from vramlint.plan import ImageSize, TrainingPlan


def trained_size(plan: TrainingPlan) -> ImageSize | None:
    """The largest padded batch where the plan knows one, else its image size, rounded up as the trainer rounds it.

    ``side_multiple`` is what the trainer rounds sides up to (ultralytics 8.4.190 ``utils/checks.py#check_imgsz``).
    """
    padded: ImageSize | None = plan.fact("batch_shape").value
    size = padded or plan.image_size.value
    step = plan.fact("side_multiple").value
    if size is None or not step:
        return size
    return ImageSize(*(math.ceil(side / step) * step for side in size))
