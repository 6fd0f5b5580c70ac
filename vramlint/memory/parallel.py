"""How one copy of a model is divided among ranks: tensor, sequence, context, pipeline and expert parallelism."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vramlint.plan import TrainingPlan


class Parallelism(NamedTuple):
    """Degrees of model parallelism, and which pipeline stage is looked at.

    ``tensor``: ranks that share each linear layer and the vocabulary (arXiv 1909.08053). ``sequence``: the parts
    outside tensor parallelism are divided along the sequence too (arXiv 2205.05198). ``context``: ranks that share a
    sequence. ``pipeline``: stages; ``chunks``: model chunks of one stage (interleaved schedule, arXiv 2104.04473).
    ``expert``: ranks that share the experts; ``expert_tensor``: tensor parallelism inside an expert. ``stage`` counts
    from 0. ``schedule``: one of ``SCHEDULES``, plain 1F1B or its interleaved form where empty. ``sizes``: blocks of
    each stage where they are uneven, of the first round of chunks first.
    """

    tensor: int = 1
    sequence: bool = False
    context: int = 1
    pipeline: int = 1
    chunks: int = 1
    expert: int = 1
    expert_tensor: int = 1
    stage: int = 0
    schedule: str = ""
    sizes: tuple[int, ...] = ()

    @property
    def first(self) -> bool:
        """Whether this stage embeds the tokens."""
        return self.stage == 0

    @property
    def last(self) -> bool:
        """Whether this stage has the head and the loss; where stages lie as a V, the first rank has both ends."""
        return self.stage == (0 if self.schedule in _AS_A_V else self.pipeline - 1)

    @property
    def stream(self) -> int:
        """What divides the tensors outside tensor parallelism, the residual stream among them."""
        return self.tensor if self.sequence else 1

    def stages_of(self, rank: int) -> tuple[int, ...]:
        """Stages of the model that lie on a rank of the pipeline: round and round, or down and up a V (torch 2.13
        ``generate_rank_to_stage_mapping``)."""
        stages = self.pipeline * self.chunks
        if self.schedule in _AS_A_V:
            return rank, stages - 1 - rank
        return tuple(range(rank, stages, self.pipeline))

    def layers_of(self, layers: int) -> int:
        """Blocks on one stage; the first stages take the rest of an uneven division."""
        if self.sizes:
            return sum(self.sizes[stage] for stage in self.stages_of(self.stage))
        whole, rest = divmod(layers, self.pipeline)
        return whole + (self.stage < rest)

    def in_flight(self, micro_batches: int) -> float:
        """Micro batches whose activations this stage holds at once, in units of the whole stage.

        1F1B: as many as stages follow, itself included (arXiv 2006.09503). Interleaved: the warm-up holds two chunks
        for each later stage and one round for each further chunk (Megatron-LM ``schedules.py``
        ``get_pp_rank_microbatches``), of ``1 / chunks`` of a stage each. The others: torch 2.13
        ``distributed/pipelining/schedules.py``, ``_calculate_single_rank_operations`` of each.
        """
        if self.pipeline == 1:
            return 1.0
        if self.schedule in _IN_FLIGHT:
            return _IN_FLIGHT[self.schedule](self.pipeline, micro_batches)
        if self.chunks == 1:
            return float(min(micro_batches, self.pipeline - self.stage))
        warm_up = (self.pipeline - self.stage - 1) * 2 + (self.chunks - 1) * self.pipeline
        passes = min(micro_batches * self.chunks, warm_up + 1)
        return self._weighed(passes) if self.sizes else passes / self.chunks

    def _weighed(self, passes: int) -> float:
        """So many forward passes in units of the rank's blocks, where its chunks are uneven: the chunks take turns, as
        many passes each as there are stages."""
        rounds, rest = divmod(passes, self.pipeline * self.chunks)
        held = 0
        for chunk, stage in enumerate(self.stages_of(self.stage)):
            more = min(self.pipeline, max(0, rest - chunk * self.pipeline))
            held += self.sizes[stage] * (rounds * self.pipeline + more)
        return held / max(1, self.layers_of(0))


_IN_FLIGHT: dict[str, Callable[[int, int], float]] = {
    "gpipe": lambda _stages, micro_batches: float(micro_batches),
    "loopedbfs": lambda _stages, micro_batches: float(micro_batches),
    "interleavedzerobubble": lambda stages, micro_batches: float(min(stages, micro_batches)),
    "zbvzerobubble": lambda stages, micro_batches: float(min(stages, micro_batches)),
    "dualpipev": lambda stages, micro_batches: min(stages + 0.5, micro_batches),
}
"""Micro batches in flight on every stage, in units of all that a rank holds: a zero-bubble schedule keeps a micro batch
until its weights' gradients are done."""

_AS_A_V = ("zbvzerobubble", "dualpipev")
ALL_FORWARD = ("gpipe", "loopedbfs")
"""Schedules that run every micro batch forward before the first goes back."""

SCHEDULES = ("1f1b", "interleaved1f1b", *_IN_FLIGHT)
"""Pipeline schedules of torch by their names in lower case."""

TWO_CHUNKS = ("interleaved1f1b", "interleavedzerobubble", "loopedbfs", *_AS_A_V)
"""Those that put at least two stages of the model on a rank."""


def parallelism_of(plan: TrainingPlan) -> Parallelism:
    """The degrees that a plan spells in ``tensor_parallel`` and the like, 1 where it is silent; stage 0."""
    tensor = _degree(plan, "tensor_parallel")
    return Parallelism(
        tensor=tensor,
        sequence=bool(plan.fact("sequence_parallel").value) and tensor > 1,
        context=_degree(plan, "context_parallel"),
        pipeline=_degree(plan, "pipeline_parallel"),
        chunks=_degree(plan, "pipeline_chunks"),
        expert=_degree(plan, "expert_parallel"),
        expert_tensor=_degree(plan, "expert_tensor_parallel", tensor),
        schedule=str(plan.fact("pipeline_schedule").value or "").lower(),
        sizes=_sizes(plan),
    )


def _sizes(plan: TrainingPlan) -> tuple[int, ...]:
    """Blocks of each stage, where a dialect knows that they are uneven."""
    spelled = plan.fact("stage_layers").value
    return tuple(spelled) if isinstance(spelled, tuple) else ()


def fewest_ranks(parallel: Parallelism) -> int:
    """The fewest data-parallel ranks that such degrees allow: experts lie on as many ranks as share them."""
    return max(1, -(-parallel.expert * parallel.expert_tensor // (parallel.tensor * parallel.context)))


def _degree(plan: TrainingPlan, name: str, absent: int = 1) -> int:
    value = plan.fact(name).value
    return value if isinstance(value, int) and value > 0 else absent


def context_alone(plan: TrainingPlan) -> int:
    """Ranks that share each sequence, where nothing else divides the model (ring attention, Ulysses); else 1."""
    degree = _degree(plan, "context_parallel")
    return degree if plan.fact("model_parallel").value == degree else 1
