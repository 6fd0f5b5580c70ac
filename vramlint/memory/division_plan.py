"""From a plan's facts to how its decoder is divided among ranks, outside Megatron-LM."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.decoder import Decoder
from vramlint.memory.division import Division
from vramlint.memory.knowledge import Resolution
from vramlint.memory.parallel import TWO_CHUNKS, Parallelism, context_alone, parallelism_of
from vramlint.plan import TrainingPlan


class Style(NamedTuple):
    """What a codebase's own tensor parallelism divides beside the linear layers; ``source`` says where that stands."""

    source: str
    sequence: bool = False
    vocabulary: bool = False
    loss_parallel: bool = False
    torch_pipeline: bool = False


TORCHTITAN = Style(
    "torchtitan 0.2.2 models/llama3/infra/parallelize.py",
    sequence=True,
    vocabulary=True,
    loss_parallel=True,
    torch_pipeline=True,
)
STYLES = {
    "torchtitan": TORCHTITAN,
    "torchtune": Style("torchtune 0.6.1 models/llama3/_parallelism.py", vocabulary=True),
    "gpt-neox": Style("gpt-neox 2026-05 megatron/mpu", vocabulary=True, loss_parallel=True),
}
HUGGING_FACE = Style("transformers 5.24 base_model_tp_plan: embeddings whole, logits gathered")
"""``integrations/tensor_parallel.py`` ``colwise_gather_output``; axolotl, LLaMA-Factory, TRL and accelerate run it."""


def shared(plan: TrainingPlan, found: Resolution) -> Resolution:
    """``found`` as one rank holds it, where the plan's ranks share the model; the reason where that is not known."""
    if not isinstance(found.knowledge, Decoder):
        return found
    implementation = str(plan.fact("implementation").value)
    parallel = _degrees(plan)
    alone = parallel.tensor * parallel.pipeline * parallel.expert * parallel.context == 1
    if alone and implementation != "torchtitan":
        return found
    style = STYLES.get(implementation, HUGGING_FACE)
    because = _refused(plan, found.knowledge, parallel)
    if because:
        return Resolution(None, because=because)
    sequence = plan.fact("sequence_parallel").value
    parallel = parallel._replace(
        sequence=parallel.tensor > 1 and (style.sequence if sequence is None else bool(sequence))
    )
    layers = found.knowledge.config.shape.layers
    division = _division(plan, style, parallel).with_sizes(layers)
    if _runs_short(division, layers):
        return Resolution(None, because=f"{layers} blocks do not make {len(division.parallel.sizes)} pipeline stages")
    decoders = [each for each in (found.knowledge, *found.alternatives) if isinstance(each, Decoder)]
    first, *others = (each._replace(division=division) for each in decoders)
    return Resolution(first, tuple(others), (*found.assumptions, *_described(division, style, first)))


def _degrees(plan: TrainingPlan) -> Parallelism:
    """The plan's degrees; a context that is the only thing shared is worked out with the sequence's length."""
    parallel = parallelism_of(plan)
    if parallel.schedule in TWO_CHUNKS and parallel.chunks == 1:
        parallel = parallel._replace(chunks=2)
    if not plan.fact("expert_tensor_parallel").known and parallel.expert > 1:
        parallel = parallel._replace(expert_tensor=1)
    return parallel._replace(context=1) if context_alone(plan) > 1 else parallel


def _refused(plan: TrainingPlan, decoder: Decoder, parallel: Parallelism) -> str:
    """Why this division is not worked out; empty where it is."""
    ranks = plan.fact("model_parallel").value
    spelled = parallel.tensor * parallel.pipeline * max(parallel.context, context_alone(plan))
    counted = ranks if isinstance(ranks, int) else 1
    if counted != spelled and counted > 1:
        return f"the model is split over {counted} ranks in a way that the config does not say"
    if counted != spelled:
        return f"the model is split over {spelled} ranks, which the run's data-parallel ranks do not count"
    if parallel.tensor > 1 and decoder.quantised:
        return "tensor parallelism over 4-bit layers is not worked out"
    if parallel.expert > 1 and decoder.config.experts is None:
        return f"expert parallelism of {parallel.expert} with a model that has no experts"
    return _does_not_divide(plan, decoder, parallel)


def _does_not_divide(plan: TrainingPlan, decoder: Decoder, parallel: Parallelism) -> str:
    """What of the model cannot be cut into equal parts, or is cut in a way that the config leaves to others."""
    experts, layers = decoder.config.experts, decoder.config.shape.layers
    if decoder.config.others:
        return "how ranks share blocks of several kinds is not worked out"
    if experts is not None and experts.number % parallel.expert:
        return f"{experts.number} experts do not divide among {parallel.expert} ranks"
    if layers < parallel.pipeline:
        return f"{layers} blocks are fewer than {parallel.pipeline} pipeline stages"
    if parallel.pipeline > 1 and plan.fact("uneven_stages").value:
        return "pipeline stages that the config cuts itself are not worked out"
    return ""


def _runs_short(division: Division, layers: int) -> bool:
    """Whether a stage would have neither a block nor embedding or head in its place."""
    sizes = division.parallel.sizes
    return min(sizes, default=0) < 0 or layers + sum(division.less_layers or ()) < len(sizes)


def _division(plan: TrainingPlan, style: Style, parallel: Parallelism) -> Division:
    spelled = plan.fact("loss_parallel").value
    batch, every = plan.fact("pipeline_micro_batch").value, plan.fact("checkpoint_every").value
    sharded = plan.sharding.value in ("fsdp", "zero3")
    less = plan.fact("stage_less_layers").value
    spoken = plan.fact("reshard_after_forward").value
    kept = spoken is False or (spoken is None and parallel.pipeline > 1)
    return Division(
        parallel,
        vocabulary=style.vocabulary,
        loss_parallel=style.loss_parallel if spelled is None else bool(spelled),
        pipeline_batch=batch if isinstance(batch, int) and parallel.pipeline > 1 else 0,
        micro_batches=plan.accumulation.value or 1,
        torch_pipeline=style.torch_pipeline,
        fully_sharded=sharded,
        stays_gathered=sharded and style.torch_pipeline and kept,
        saved_operations=plan.fact("checkpointing_kind").value == "op",
        checkpoint_every=every if isinstance(every, int) and every > 0 else 1,
        partitions=bool(plan.fact("partitioned_checkpoints").value),
        less_layers=less if isinstance(less, tuple) else None,
    )


def _described(division: Division, style: Style, decoder: Decoder) -> tuple[str, ...]:
    """What the figures are said of, in words."""
    parallel = division.parallel
    if not division.divides and parallel.context == 1:
        return ()
    degrees = [
        f"{name} {degree}"
        for name, degree in (
            ("tensor", parallel.tensor),
            ("pipeline", parallel.pipeline),
            ("context", parallel.context),
            ("expert", parallel.expert),
        )
        if degree > 1
    ]
    text = f"parallel over {', '.join(degrees)}"
    text += " with sequence parallelism" if parallel.sequence else ""
    if parallel.tensor > 1 and not decoder.implementation.fused_loss:
        text += ", logits divided" if division.loss_parallel else ", logits whole on every rank"
    found = [f"one rank of a model {text} ({style.source})"]
    if parallel.expert > 1:
        found.append("tokens spread evenly over the experts; uneven routing takes more")
    return tuple(found)


def on_stages(decoder: Decoder) -> tuple[Decoder, ...]:
    """The decoder on each stage of its pipeline."""
    division = decoder.division
    if division is None or division.parallel.pipeline == 1:
        return (decoder,)
    return tuple(on_stage(decoder, stage) for stage in range(division.parallel.pipeline))


def on_stage(decoder: Decoder, stage: int) -> Decoder:
    """The decoder as the ranks of one stage hold it."""
    assert decoder.division is not None
    parallel = decoder.division.parallel._replace(stage=stage)
    return decoder._replace(division=decoder.division._replace(parallel=parallel))


def stage_in_words(division: Division) -> str:
    """What the worst stage is and holds."""
    parallel = division.parallel
    ends = [name for name, there in (("the embedding", parallel.first), ("the head", parallel.last)) if there]
    holds = f" with {' and '.join(ends)}" if ends else ""
    blocks = parallel.layers_of(0) if parallel.sizes else None
    size = f"{blocks} blocks" if blocks is not None else "its blocks"
    schedule = f", schedule {parallel.schedule}" if parallel.schedule else ""
    return f"stage {parallel.stage + 1} of {parallel.pipeline} needs most: {size}{holds}{schedule}"
