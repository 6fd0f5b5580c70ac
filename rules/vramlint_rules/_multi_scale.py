"""The largest shape of multi-scale training, estimated for itself."""

from __future__ import annotations

from vramlint.rule import Estimate, ImageSize, MemoryVerdict, Run, revise


def largest_alone_is_over(run: Run) -> Estimate | None:
    """The estimate at the largest shape, where that does not fit and the run without multi-scale does; else None."""
    plan = run.plan
    largest = plan.fact("largest_image_size").value
    if not plan.multi_scale.value or not isinstance(largest, ImageSize):
        return None
    usual = run.estimate(revise(plan, {"multi_scale": False}))
    if usual.verdict is not MemoryVerdict.FITS:
        return None
    drawn = run.estimate(revise(plan, {"multi_scale": False, "image_size": largest}))
    return drawn if drawn.verdict is MemoryVerdict.OVER else None
