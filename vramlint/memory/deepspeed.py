"""DeepSpeed ZeRO's buffers beside the states: where gradients wait to be reduced, and weights that stay gathered.

Read in DeepSpeed 0.18: ``runtime/zero/stage_1_and_2.py`` ``backward`` makes one buffer of ``reduce_bucket_size``
elements before the loss's backward where gradients are contiguous, and a second one where communication overlaps;
``runtime/zero/stage3.py`` keeps one from its start. The defaults are those of ``runtime/zero/config.py``; ``auto`` is
what transformers 5.24 makes of it (``integrations/deepspeed.py``: hidden width squared).
"""

from __future__ import annotations

from vramlint.memory.decoder import Decoder
from vramlint.memory.knowledge import ModelKnowledge
from vramlint.memory.states import Sharding
from vramlint.plan import TrainingPlan

REDUCE_BUCKET = 500_000_000
MAX_LIVE = 1_000_000_000
"""Also ``stage3_max_reuse_distance``: a model with fewer parameters never releases any."""


def with_buffers(plan: TrainingPlan, sharding: Sharding, knowledge: ModelKnowledge) -> Sharding:
    """``sharding`` with the buffers that a plan's ZeRO keeps."""
    live = knowledge.parameters if sharding.kind == "zero3" and knowledge.parameters <= _live(plan) else 0
    if plan.fact("contiguous_gradients").value is False:
        return sharding._replace(live_elements=live)
    bucket = plan.fact("reduce_bucket").value
    if bucket == "auto":
        bucket = knowledge.config.shape.hidden**2 if isinstance(knowledge, Decoder) else None
    size = bucket if isinstance(bucket, int) else REDUCE_BUCKET
    doubled = sharding.kind != "zero3" and bool(plan.fact("overlap_comm").value)
    return sharding._replace(bucket_elements=size * (2 if doubled else 1), live_elements=live)


def most_live(plan: TrainingPlan, sharding: Sharding, knowledge: ModelKnowledge) -> int:
    """Parameters that ZeRO 3 may leave gathered at most where it does release some; else 0."""
    return min(_live(plan), knowledge.parameters) if sharding.kind == "zero3" and not sharding.live_elements else 0


def _live(plan: TrainingPlan) -> int:
    spelled = plan.fact("max_live_parameters").value
    return spelled if isinstance(spelled, int) else MAX_LIVE
