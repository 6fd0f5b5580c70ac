"""Masks of a project's own head, by hand."""

from __future__ import annotations

from vramlint.memory.knowledge import Workload
from vramlint.memory.masks import COPIES, FullSizeMasks
from vramlint.memory.profile_catalogue import find_profile
from vramlint.plan import Precision


def test_every_moment_but_the_optimizers_holds_the_masks() -> None:
    profile = find_profile("rfdetr_seg_nano")
    assert profile is not None
    work = Workload(2, Precision.FP16, checkpointing=False, height=384, width=384)
    masks = COPIES * 2 * 300 * 384 * 384 * 4
    for plain, held in zip(profile.moments(work), FullSizeMasks(profile, 300).moments(work), strict=True):
        added = held.activation_bytes - plain.activation_bytes
        assert added == (0 if plain.phase == "optimizer" else masks)
