"""DeepSpeed ZeRO's buffers beside the states: where gradients wait to be reduced, and weights that stay gathered.

Read in DeepSpeed 0.19.8: ``runtime/zero/stage_1_and_2.py`` ``backward`` makes one buffer of ``reduce_bucket_size``
elements before the loss's backward where gradients are contiguous, and a second one where communication overlaps;
``runtime/zero/stage3.py`` keeps one from its start. ``partitioned_param_coordinator.py`` ``__params_to_release`` keeps
what is used again within ``stage3_max_reuse_distance`` elements: on the way from a block's forward to its backward
every later block is passed twice, so that at the end of the forward pass the last half of that distance is still
gathered (``stage3_max_live_parameters`` only bounds what is fetched ahead). The defaults are those of
``runtime/zero/config.py``; ``auto`` is what transformers 5.24 makes of it (``integrations/deepspeed.py``: hidden width
squared).
"""

from __future__ import annotations

from vramlint.memory.decoder import Decoder
from vramlint.memory.knowledge import ModelKnowledge
from vramlint.memory.states import Sharding
from vramlint.plan import TrainingPlan

REDUCE_BUCKET = 500_000_000
MAX_REUSE_DISTANCE = 1_000_000_000


def with_buffers(plan: TrainingPlan, sharding: Sharding, knowledge: ModelKnowledge) -> Sharding:
    """``sharding`` with the buffers that a plan's ZeRO keeps."""
    live = min(knowledge.parameters, _reuse_distance(plan) // 2) if sharding.kind == "zero3" else 0
    if plan.fact("contiguous_gradients").value is False:
        return sharding._replace(live_elements=live)
    bucket = plan.fact("reduce_bucket").value
    if bucket == "auto":
        bucket = knowledge.config.shape.hidden**2 if isinstance(knowledge, Decoder) else None
    size = bucket if isinstance(bucket, int) else REDUCE_BUCKET
    doubled = sharding.kind != "zero3" and bool(plan.fact("overlap_comm").value)
    return sharding._replace(bucket_elements=size * (2 if doubled else 1), live_elements=live)


def _reuse_distance(plan: TrainingPlan) -> int:
    spelled = plan.fact("max_reuse_distance").value
    return spelled if isinstance(spelled, int) else MAX_REUSE_DISTANCE
