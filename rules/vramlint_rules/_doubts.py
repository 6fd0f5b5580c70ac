"""What data or a launch line that nobody sees may change about a run that does not fit."""

from vramlint.rule import MemoryVerdict, Precision, Run, revise

_AMP_ON_THE_LINE = ("mmengine",)
"""Dialects whose configs leave AMP to a switch of the launch line (``tools/train.py --amp`` of mmdet 3.3, mmpose 1.3
and their kin, as mmpose's own READMEs of RTMO and UniFormer launch them)."""


def fits_shorter_samples(run: Run) -> bool:
    """Unpacked samples are seldom as long as the limit: would the run fit at a sixteenth of it?"""
    limit = run.plan.seq_len.value
    if limit is None or run.plan.fact("packing").value:
        return False
    return run.estimate(revise(run.plan, {"seq_len": max(limit // 16, 1)})).verdict is MemoryVerdict.FITS


def fits_switched_to_half(run: Run) -> bool:
    """Would the run fit with the switch that nobody knows of where no launch line is known?"""
    plan = run.plan
    if plan.dialect not in _AMP_ON_THE_LINE or plan.precision.value is not Precision.FP32 or plan.world_size.spelled:
        return False
    return run.estimate(revise(plan, {"precision": Precision.FP16})).verdict is not MemoryVerdict.OVER
