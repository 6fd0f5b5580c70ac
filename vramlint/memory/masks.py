"""Masks beside a detector: heads of the project's own, heads that were not traced, masks of every ground truth."""

from __future__ import annotations

import re
from typing import NamedTuple

from vramlint.memory.knowledge import ModelKnowledge, Moment, Resolution, Workload
from vramlint.memory.profile import Profile
from vramlint.memory.profile_catalogue import find_profile
from vramlint.plan import TrainingPlan

COPIES = 12
"""Full-size fp32 masks alive at the loss: three decoder layers and the encoder's proposals (deep supervision, as in
DETR and MaskFormer), each with logits, probabilities and the gradient of the logits.

Read off the structure and held against the second-stage table of field report D, which grows by 18.9 kB a pixel; the
package's own head grows by 4 kB, the rest is 12 masks of 300 queries.
"""


class FullSizeMasks(NamedTuple):
    """``detector`` with masks of all ``queries`` at the size of the image, as the upper bound of an unknown head."""

    detector: ModelKnowledge
    queries: int

    @property
    def name(self) -> str:
        return self.detector.name

    @property
    def source(self) -> str:
        return f"{COPIES} full-size masks of {self.queries} queries beside the {self.detector.source}"

    @property
    def spread(self) -> float:
        return self.detector.spread

    @property
    def parameters(self) -> int:
        return self.detector.parameters

    @property
    def trainable(self) -> int:
        return self.detector.trainable

    @property
    def buffer_bytes(self) -> int:
        return self.detector.buffer_bytes

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The detector's moments, the masks alive in forward, loss and backward."""
        masks = COPIES * 4 * workload.micro_batch * self.queries * workload.height * workload.width
        return tuple(
            moment._replace(activation_bytes=moment.activation_bytes + masks) if moment.phase != "optimizer" else moment
            for moment in self.detector.moments(workload)
        )


def with_masks(plan: TrainingPlan, profile: Profile) -> Resolution:
    """The profile, with what is known of its mask head or of the ground truths' masks."""
    if profile.targets:
        return _with_targets(profile)
    found = _packaged_masks(plan, profile)
    queries = plan.num_queries.value
    if plan.fact("mask_head").value != "own" or queries is None:
        return found
    text = f"mask head of the project's own: the upper bound holds the masks of all {queries} queries at full size"
    return found._replace(
        alternatives=(*found.alternatives, FullSizeMasks(profile, queries)), assumptions=(*found.assumptions, text)
    )


def _packaged_masks(plan: TrainingPlan, profile: Profile) -> Resolution:
    """A detector's profile where masks are trained too and no such profile exists: the largest one bounds it."""
    if plan.task.value != "segment" or not re.fullmatch(r"rfdetr_(?!seg)\w+", profile.name):
        return Resolution(profile, assumptions=profile.assumptions)
    larger = find_profile("rfdetr_seg_2xlarge") or find_profile("rfdetr_seg_large")
    text = f"no profile of {profile.name} with masks: the value lacks them, the upper bound is of a larger model"
    return Resolution(profile, () if larger is None else (larger,), (text, *profile.assumptions))


_MOST_TARGETS = 93
"""Objects in the fullest image of COCO's training set, as the ledgers of detectors by config have it."""


def _with_targets(profile: Profile) -> Resolution:
    """A segmenter whose loss makes a mask of every ground truth; how many an image has is data."""
    text = (
        f"{profile.targets} ground truths with masks an image; the upper bound is for {_MOST_TARGETS}, as COCO's "
        "fullest image has"
    )
    fullest = profile._replace(targets=_MOST_TARGETS)
    return Resolution(profile, (fullest,), (text, *profile.assumptions))
