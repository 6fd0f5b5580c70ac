"""torchtitan's settings that only the memory estimate needs: schedules, experts, replicas, what checkpointing keeps.

Defaults: torchtitan 0.2.2 ``config/job_config.py``; ``models/*/__init__.py`` for flavours that no checkpoint is named
after.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, Whole, keys
from vramlint.plan import Fact, Precision, derived

_SOURCE = "torchtitan 0.2.2"


class Parallel(Schema):
    """The degrees beside those that ``torchtitan.Config`` reads, and how stages and blocks are run."""

    source: ClassVar[str] = _SOURCE

    expert_tensor: Count | None = keys("parallelism.expert_tensor_parallel_degree", default=1)
    sequence: Flag | None = keys("parallelism.enable_sequence_parallel", default=True)
    loss_whole: Flag | None = keys("parallelism.disable_loss_parallel", default=False)
    schedule: Text | None = keys(
        "parallelism.pipeline_parallel_schedule", "experimental.pipeline_parallel_schedule", default="1F1B"
    )
    csv: Text | None = keys("parallelism.pipeline_parallel_schedule_csv")
    stages: Any = keys("parallelism.module_fqns_per_model_part", "parallelism.pipeline_parallel_split_points")
    per_stage: Count | None = keys("parallelism.pipeline_parallel_layers_per_stage")
    first_less: Natural | None = keys("parallelism.pipeline_parallel_first_stage_less_layers", default=1)
    last_less: Natural | None = keys("parallelism.pipeline_parallel_last_stage_less_layers", default=1)
    pipeline_batch: Count | None = keys("parallelism.pipeline_parallel_microbatch_size", default=1)
    reshard: Text | None = keys("parallelism.fsdp_reshard_after_forward", default="default")
    option: Text | None = keys("activation_checkpoint.selective_ac_option", default="2")
    kernel: Text | None = keys("optimizer.implementation", default="fused")
    converters: Any = keys("model.converters")
    replicate: Whole | None = keys("parallelism.data_parallel_replicate_degree", default=1)


def parallel_facts(draft: Draft, settings: Settings[Parallel], pipeline: int) -> None:
    """Put what the estimator reads of a torchtitan run's parallelism."""
    values = settings.values
    if settings.doubts:
        return
    for name, value in (
        ("expert_tensor_parallel", values.expert_tensor),
        ("sequence_parallel", values.sequence),
        ("loss_parallel", not values.loss_whole),
        ("reshard_after_forward", {"never": False, "always": True}.get(str(values.reshard))),
        ("shard_replicas", values.replicate),
        ("optimizer_kernel", values.kernel),
    ):
        if value is not None:
            draft.put(name, derived(value, f"settings of {_SOURCE} and its defaults"))
    _selective(draft, values)
    if re.search(r"float8|mx", str(values.converters or "")):
        draft.put("assumed", derived("8-bit products keep their 16-bit inputs (torchao float8_linear.py)", _SOURCE))
    if pipeline > 1:
        _pipeline(draft, values)


def _selective(draft: Draft, values: Parallel) -> None:
    """``selective`` recomputes every n-th block whole, or with ``op`` all but every second matrix product."""
    if draft.plan.fact("checkpointing_scope").value != "selective":
        return
    option = str(values.option)
    if option.isdecimal():
        draft.put("checkpoint_every", derived(max(1, int(option)), f"selective_ac_option {option}"))
    else:
        draft.put("checkpointing_kind", derived("op", f"selective_ac_option {option}"))


def _pipeline(draft: Draft, values: Parallel) -> None:
    if values.stages or values.csv or values.per_stage:
        draft.put("uneven_stages", derived("spelled", "the config cuts the stages or their schedule itself"))
        return
    draft.put("pipeline_schedule", derived(values.schedule, f"pipeline_parallel_schedule of {_SOURCE}"))
    draft.put("pipeline_micro_batch", derived(values.pipeline_batch, "pipeline_parallel_microbatch_size"))
    draft.put("stage_less_layers", derived((values.first_less, values.last_less), "embedding and head as blocks"))


FLAVOURS = {
    ("deepseek_v3", "16B"): "deepseek-ai/DeepSeek-V2-Lite",
    ("deepseek_v3", "236B"): "deepseek-ai/DeepSeek-V2",
    ("deepseek_v3", "671B"): "deepseek-ai/DeepSeek-V3",
    ("llama4", "17bx16e"): "meta-llama/Llama-4-Scout-17B-16E",
    ("llama4", "17bx128e"): "meta-llama/Llama-4-Maverick-17B-128E",
}
"""Flavours whose shape is a checkpoint's of another name than their assets'."""


def held_precision(precision: Fact[Precision], sharding: str | None, shared: int) -> Fact[Precision]:
    """Tensor or pipeline parallelism without FSDP switches mixed precision off (``distributed/utils.py``
    ``maybe_enable_amp``)."""
    if precision.value is not Precision.BF16 or sharding == "fsdp" or shared == 1:
        return precision
    return derived(Precision.FP32, f"{_SOURCE} mixes precisions under TP and PP only where FSDP does it")
