"""How a plan's ranks share states and model: the sharding, the pipeline's worst stage, and what was assumed of them."""

from __future__ import annotations

from dataclasses import replace

from vramlint.memory.decoder import Decoder
from vramlint.memory.deepspeed import with_buffers
from vramlint.memory.division_plan import on_stage, on_stages, stage_in_words
from vramlint.memory.knowledge import ModelKnowledge
from vramlint.memory.megatron import MegatronModel
from vramlint.memory.parallel import context_alone, fewest_ranks
from vramlint.memory.peak import peak_of
from vramlint.memory.setting import Setting, Settings
from vramlint.memory.states import Sharding, sharding_of
from vramlint.plan import TrainingPlan


def fewest_of(knowledge: ModelKnowledge) -> int:
    """Data-parallel ranks where nobody says how many: the fewest that the degrees allow."""
    return fewest_ranks(knowledge.parallel) if isinstance(knowledge, MegatronModel) else 1


def on_worst_stage(chosen: Setting) -> Setting:
    """Of a pipeline, the stage whose ranks need most."""
    if not isinstance(chosen.knowledge, Decoder) or len(stages := on_stages(chosen.knowledge)) == 1:
        return chosen

    def allocated(stage: Setting) -> int:
        peak = peak_of(stage, deterministic=False)
        return peak.allocated.value if peak else 0

    return max((replace(chosen, knowledge=stage) for stage in stages), key=allocated)


def on_stage_of(chosen: ModelKnowledge, other: ModelKnowledge) -> ModelKnowledge:
    """Another reading of the model on the same stage."""
    if not isinstance(chosen, Decoder) or not isinstance(other, Decoder) or chosen.division is None:
        return other
    return on_stage(other, chosen.division.parallel.stage)


def sharding_for(plan: TrainingPlan, ranks: int, knowledge: ModelKnowledge) -> Sharding:
    """What the plan divides. ``low_precision_weights`` keep fp32 main copies; ``sharded_accumulation`` reduces the
    gradients at every micro step, so that a rank keeps its shard alone."""
    if isinstance(knowledge, MegatronModel):
        return _megatron_sharding(plan, ranks, knowledge)
    ranks *= _sharing_sequences(plan, knowledge)  # they hold the same parameters
    if plan.sharding.value == "fsdp":
        ranks = max(1, ranks // _replicas(plan))
    found = sharding_of(plan.sharding.value or ("ddp" if ranks > 1 else None), ranks)
    if plan.fact("low_precision_weights").value:
        shards = found.kind == "fsdp"
        found = found._replace(fp32_shards=shards, master_weights=not shards)
    if plan.fact("sharded_accumulation").value:
        found = found._replace(kept_gradients=found.gradients)
    if found.kind.startswith("zero"):
        found = with_buffers(plan, found, knowledge)
    return _offloading(plan, found)


def _replicas(plan: TrainingPlan) -> int:
    """Copies of the shards: spelled, or one a machine (torch 2.13 ``ShardingStrategy.HYBRID_SHARD``)."""
    spelled = plan.fact("shard_replicas").value
    if isinstance(spelled, int) and spelled > 0:
        return spelled
    return (plan.nodes.value or 1) if plan.fact("hybrid_sharding").value else 1


def _sharing_sequences(plan: TrainingPlan, knowledge: ModelKnowledge) -> int:
    if isinstance(knowledge, Decoder) and knowledge.division is not None:
        return max(context_alone(plan), knowledge.division.parallel.context)
    return context_alone(plan)


def _offloading(plan: TrainingPlan, found: Sharding) -> Sharding:
    """What waits in host memory. Only sharded parameters can; where they do, so does the optimizer."""
    parameters = bool(plan.fact("offload_parameters").value) and found.parameters > 1
    whole = found.kind in ("zero3", "fsdp") and bool(plan.fact("cpu_offload").value)
    states = bool(plan.fact("offload_optimizer").value or plan.fact("cpu_offload").value)
    return found._replace(parameters_on_host=parameters or whole, states_on_host=states or parameters or whole)


def _megatron_sharding(plan: TrainingPlan, ranks: int, model: MegatronModel) -> Sharding:
    """Ranks that share a sequence hold the same parameters, so the distributed optimizer divides among them too."""
    instances = plan.fact("distributed_optimizer_instances").value
    among = ranks * model.parallel.context // (instances if isinstance(instances, int) and instances > 0 else 1)
    kinds = {"zero1": "megatron-distributed", "zero2": "megatron-distributed", "zero3": "megatron-fsdp"}
    kind = {**kinds, "fsdp": "megatron-fsdp"}.get(str(plan.sharding.value), "megatron")
    on_host = bool(plan.fact("cpu_offload").value)
    return sharding_of(kind, max(1, among))._replace(states_on_host=on_host)


def assume_parallelism(plan: TrainingPlan, settings: Settings, ranks: int) -> None:
    """Say which ranks are meant and what is not known of them."""
    if (degree := context_alone(plan)) > 1 and isinstance(settings.chosen.knowledge, Decoder):
        settings.assume(f"each of {degree} ranks works on its part of a sequence; what the ring passes on is left out")
    model = settings.chosen.knowledge
    if isinstance(model, Decoder) and model.division is not None and model.division.parallel.pipeline > 1:
        settings.assume(stage_in_words(model.division))
    unsaid = plan.data_parallel.value is None and plan.world_size.value is None
    if unsaid and isinstance(model, MegatronModel) and settings.chosen.sharding.optimizer >= ranks:
        _assume_ranks(plan, settings, ranks)
    if ranks > 1 and plan.sharding.value is None:
        settings.assume(f"{ranks} ranks, sharding unknown: DistributedDataParallel assumed")
    if settings.chosen.sharding.parameters > 1 and not isinstance(settings.chosen.knowledge, (Decoder, MegatronModel)):
        settings.assume("wrapping unknown: the whole model is taken as gathered in its forward pass")


def _assume_ranks(plan: TrainingPlan, settings: Settings, ranks: int) -> None:
    """Nobody says how many ranks share the optimizer's states: as few as may be, the lower bound for as many as the
    global batch feeds."""
    if settings.chosen.sharding.kind not in ("megatron-distributed", "megatron-fsdp"):
        return
    batch, most = plan.nominal_batch.value, _MANY_RANKS
    if batch and plan.micro_batch.value:
        most = max(ranks, batch // plan.micro_batch.value)
    settings.assume(f"number of ranks unknown: {ranks} data-parallel assumed, the lower bound is for {most}")
    model = settings.chosen.knowledge
    if isinstance(model, MegatronModel):
        settings.also(sharding=_megatron_sharding(plan, most, model))


_MANY_RANKS = 64
"""Data-parallel ranks of a large run, for the lower bound where nobody says how many there are."""
