"""Eager attention of old stacks: by hand on a ViT, and nothing where no attention is fused."""

from __future__ import annotations

import pytest

from vramlint.memory.eager import EagerAttention, with_eager_attention
from vramlint.memory.knowledge import Workload
from vramlint.memory.profile import Profile
from vramlint.memory.profile_catalogue import find_profile
from vramlint.plan import Precision

TOKENS, HEADS, BLOCKS, IMAGES = 197, 12, 12, 16
SCORES = HEADS * TOKENS**2


def profile(name: str) -> Profile:
    found = find_profile(name)
    assert found is not None
    return found


def most(model: Profile | EagerAttention, workload: Workload) -> int:
    return max(moment.activation_bytes for moment in model.moments(workload) if moment.phase == "backward")


@pytest.mark.parametrize(
    ("precision", "checkpointing", "bytes_per_image"),
    [
        (Precision.FP16, False, BLOCKS * SCORES * 6 + SCORES * 14),
        (Precision.FP32, False, BLOCKS * SCORES * 4 + SCORES * 12),
        (Precision.FP32, True, SCORES * 4 + SCORES * 12),
    ],
)
def test_every_score_of_a_vit_is_kept(precision: Precision, checkpointing: bool, bytes_per_image: int) -> None:
    vit = profile("vit_base_patch16_224")
    workload = Workload(IMAGES, precision, checkpointing, 224, 224)
    added = most(with_eager_attention(vit), workload) - most(vit, workload)
    assert added == IMAGES * bytes_per_image


def test_states_and_evaluation_stay() -> None:
    vit = profile("vit_base_patch16_224")
    eager = with_eager_attention(vit)
    workload = Workload(IMAGES, Precision.FP16, checkpointing=False, height=224, width=224)
    assert (eager.parameters, eager.trainable, eager.buffer_bytes) == (vit.parameters, vit.trainable, vit.buffer_bytes)
    rest = [moment for moment in vit.moments(workload) if moment.phase in ("optimizer", "evaluation")]
    assert [moment for moment in eager.moments(workload) if moment.phase in ("optimizer", "evaluation")] == rest


def test_a_network_without_attention_stays_as_it_is() -> None:
    resnet = profile("resnet50")
    assert with_eager_attention(resnet) is resnet
