"""Attention without fused kernels, as before torch 2.0: the score matrices of every block are kept for backward.

Profiles are traced with today's kernels, which keep none. How many scores a model computes is counted once, by
``tools/count_scores.py``, at the model's own image size; a model that takes other sizes has the square of the pixels'
ratio more.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import NamedTuple

from vramlint.memory.knowledge import Moment, Workload, Wrapped
from vramlint.memory.pack import pack_key
from vramlint.memory.profile import Profile

_FILE = os.path.join(os.path.dirname(__file__), "data", "attention_scores.json")

KEPT_BYTES = {True: 6, False: 4}
"""Bytes a score that backward needs, under autocast and in fp32: softmax's result in fp32 (CUDA's autocast runs softmax
so), and the half-precision copy that the product with the values takes. Sources: torch 1.12 ``autocast_mode.cpp``,
``derivatives.yaml`` (``_softmax`` saves its result); timm 0.6 ``vision_transformer.py``, ``Attention.forward``."""

TRANSIENT_BYTES = {True: 14, False: 12}
"""Bytes a score of one block while its backward runs: the gradient that arrives (in half precision and, cast, in fp32),
softmax's product of gradient and result, and the gradient it gives."""


class Scores(NamedTuple):
    """Attention scores per image: over all blocks, of the largest block, and the image side they were counted at."""

    total: int
    largest: int
    side: int


class EagerAttention(Wrapped):
    """A traced profile with the score matrices of eager attention on top."""

    def __init__(self, profile: Profile, scores: Scores) -> None:
        super().__init__(profile)
        self.scores = scores

    @property
    def source(self) -> str:
        return f"{self.inside.source}, with eager attention"

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The profile's moments; at each as large a share of the scores is alive as of the activations."""
        found = self.inside.moments(workload)
        most = max((moment.activation_bytes for moment in found if moment.phase in _TRAINING), default=0)
        kept = self._kept_bytes(workload)
        return tuple(
            moment._replace(activation_bytes=moment.activation_bytes + round(kept * moment.activation_bytes / most))
            if moment.phase in _TRAINING
            else moment
            for moment in found
        )

    def _kept_bytes(self, workload: Workload) -> int:
        ratio = workload.height * workload.width / self.scores.side**2
        images = workload.micro_batch * ratio**2
        alive = self.scores.largest if workload.checkpointing else self.scores.total
        half = workload.precision.mixed
        return round(images * (alive * KEPT_BYTES[half] + self.scores.largest * TRANSIENT_BYTES[half]))


_TRAINING = ("forward", "loss", "backward")


def with_eager_attention(profile: Profile) -> Profile | EagerAttention:
    """The profile as torch before 2.0 runs it: itself where its model computes no scores that kernels fuse today."""
    found = _all_scores().get(pack_key(profile.name))
    return profile if found is None else EagerAttention(profile, Scores(*found))


@cache
def _all_scores() -> dict[str, list[int]]:
    with open(_FILE, "rb") as file:
        scores: dict[str, list[int]] = json.load(file)["scores"]
    return scores
