"""Models that ranks share outside Megatron-LM: what each rank holds, and how schedules keep micro batches."""

from __future__ import annotations

from typing import Any

import pytest

from tests.memory.support import LANGUAGE, plan
from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.memory.architecture import DecoderConfig, Experts, LatentAttention
from vramlint.memory.arithmetic import arithmetic
from vramlint.memory.divided import DISPATCHED, STREAM
from vramlint.memory.division import Division, rank_parameters
from vramlint.memory.implementations import HUGGING_FACE, TORCHTITAN
from vramlint.memory.ledger import layer_ledger
from vramlint.memory.parallel import SCHEDULES, Parallelism
from vramlint.plan import DecoderShape, Precision

LLAMA_8B = DecoderConfig(DecoderShape(4096, 32, 32, 8, 128, 14336, 128256, tied=False))
MIXTRAL = DecoderConfig(DecoderShape(4096, 32, 32, 8, 128, 14336, 32000, tied=False), experts=Experts(8, 2, 14336))
DEEPSEEK = DecoderConfig(
    DecoderShape(2048, 27, 16, 16, 192, 10944, 102400, tied=False),
    experts=Experts(64, 6, 1408, shared_ffn=2816, dense_layers=1),
    latent=LatentAttention(0, 512, 128, 64, 128),
)


@pytest.mark.parametrize("config", [LLAMA_8B, MIXTRAL, DEEPSEEK], ids=["llama", "mixtral", "deepseek"])
@pytest.mark.parametrize(
    "parallel",
    [
        Parallelism(),
        Parallelism(pipeline=4),
        Parallelism(expert=8, expert_tensor=1),
        Parallelism(pipeline=2, expert=4, expert_tensor=1),
        Parallelism(pipeline=4, chunks=2, schedule="zbvzerobubble"),
        Parallelism(pipeline=3, chunks=2, schedule="interleaved1f1b"),
    ],
)
def test_the_stages_together_hold_the_model(config: DecoderConfig, parallel: Parallelism) -> None:
    division = Division(parallel, less_layers=(1, 1)).with_sizes(config.shape.layers)
    counted = [
        rank_parameters(config, division._replace(parallel=division.parallel._replace(stage=stage)))
        for stage in range(parallel.pipeline)
    ]
    held = sum(stage.dense + parallel.expert * stage.experts for stage in counted)
    assert held == config.parameters


def test_tensor_parallel_ranks_hold_their_part_and_whole_norms() -> None:
    one = rank_parameters(LLAMA_8B, Division(Parallelism(tensor=8)))
    norms = 65 * 4096
    assert one.dense == (LLAMA_8B.parameters - norms) // 8 + norms


def test_transformers_leaves_the_embedding_whole() -> None:
    divided, whole = (
        rank_parameters(LLAMA_8B, Division(Parallelism(tensor=4), vocabulary=vocabulary)).outside
        for vocabulary in (True, False)
    )
    assert whole - divided == 128256 * 4096 * 3 // 4


def test_torchtitan_counts_embedding_and_head_as_blocks() -> None:
    """``generate_llm_fqn_per_model_part(4, 32)`` of torchtitan 0.2.2: 8, 9, 8 and 7 blocks."""
    division = Division(Parallelism(pipeline=4), less_layers=(1, 1)).with_sizes(32)
    assert division.parallel.sizes == (8, 9, 8, 7)


@pytest.mark.parametrize("config", [LLAMA_8B, MIXTRAL, DEEPSEEK], ids=["llama", "mixtral", "deepseek"])
@pytest.mark.parametrize("implementation", [HUGGING_FACE, TORCHTITAN], ids=["transformers", "torchtitan"])
def test_what_the_sequence_divides_is_there_under_these_names(config: DecoderConfig, implementation: Any) -> None:
    names = {each.name for each in layer_ledger(config, arithmetic(Precision.PURE_BF16), None, implementation, 4096)}
    assert {"norm statistics"} | ({"norm inputs"} if implementation.fused_norm else {"norm inputs in fp32"}) <= names
    assert names & STREAM
    assert (config.experts is not None) == (names >= DISPATCHED)


def _held_by_torch(name: str, stages: int, micro_batches: int, chunks: int, rank: int) -> int:
    """Most micro batches of a stage's chunks between forward and the end of backward, in torch's own schedule."""
    schedules: Any = pytest.importorskip("torch.distributed.pipelining.schedules")
    kind = getattr(schedules, name)
    schedule = object.__new__(kind)
    schedule.pp_group_size, schedule.n_local_stages, schedule.rank = stages, chunks, rank
    schedule._n_microbatches, schedule._num_stages = micro_batches, stages * chunks
    schedule.number_of_rounds = max(1, micro_batches // stages)
    schedule.microbatches_per_round = micro_batches // schedule.number_of_rounds
    if not hasattr(kind, "num_stages"):
        schedule.num_stages = schedule._num_stages
    live: set[tuple[int, int]] = set()
    most = 0
    for action in kind._calculate_single_rank_operations(schedule, rank):
        for each in (action.sub_actions or (action,)) if action is not None else ():
            key = (each.stage_index, each.microbatch_index)
            if each.computation_type == schedules.FORWARD:
                live.add(key)
            elif each.computation_type in (schedules.FULL_BACKWARD, schedules.BACKWARD_WEIGHT):
                live.discard(key)
            most = max(most, len(live))
    return most


@pytest.mark.parametrize(
    ("name", "chunks"),
    [
        ("ScheduleInterleaved1F1B", 2),
        ("ScheduleInterleaved1F1B", 4),
        ("ScheduleInterleavedZeroBubble", 2),
        ("ScheduleZBVZeroBubble", 2),
        ("ScheduleDualPipeV", 2),
    ],
)
@pytest.mark.parametrize(("stages", "micro_batches"), [(2, 8), (4, 8), (4, 16), (8, 32)])
def test_as_many_micro_batches_wait_as_in_torchs_schedules(
    name: str, chunks: int, stages: int, micro_batches: int
) -> None:
    schedule = name.removeprefix("Schedule").lower()
    assert schedule in SCHEDULES
    for rank in range(stages):
        parallel = Parallelism(pipeline=stages, chunks=chunks, schedule=schedule, stage=rank)
        held = _held_by_torch(name, stages, micro_batches, chunks, rank)
        assert parallel.in_flight(micro_batches) == held / chunks


TITAN = {"implementation": "torchtitan", "packing": True, "low_precision_weights": True, "sharded_accumulation": True}
RUN: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-8B",
    "micro_batch": 8,
    "seq_len": 8192,
    "precision": Precision.BF16,
    "grad_checkpointing": True,
    "optimizer": "AdamW",
    "sharding": "fsdp",
    "accumulation": 1,
}


def _allocated(extra: dict[str, Any], **facts: Any) -> int:
    found = estimate(plan({**TITAN, **extra}, **{**RUN, **facts}), Target())
    assert found.allocated is not None, found.unknown_because
    return found.allocated.value


def test_every_kind_of_division_leaves_less_on_a_rank() -> None:
    alone = _allocated({}, data_parallel=8)
    shared = {"model_parallel": 4}
    assert _allocated({"tensor_parallel": 4, **shared}, data_parallel=8) < alone
    assert _allocated({"context_parallel": 2, "tensor_parallel": 2, **shared}, data_parallel=8) < alone
    pipeline = {"pipeline_parallel": 4, "pipeline_micro_batch": 1, "pipeline_schedule": "1F1B", **shared}
    assert _allocated(pipeline, data_parallel=8) < alone


def test_replicas_of_shards_share_nothing() -> None:
    assert _allocated({"shard_replicas": 2}, data_parallel=16) == _allocated({}, data_parallel=8)


def test_the_worst_stage_is_named() -> None:
    extra = {"pipeline_parallel": 4, "pipeline_micro_batch": 1, "pipeline_schedule": "GPipe", "model_parallel": 4}
    found = estimate(plan({**TITAN, **extra}, **RUN, data_parallel=2), Target())
    assert any(
        text.startswith("stage 4 of 4 needs most: 8 blocks with the head, schedule gpipe") for text in found.assumptions
    )


@pytest.mark.parametrize(
    ("extra", "because"),
    [
        ({"expert_parallel": 2}, "no experts"),
        ({"pipeline_parallel": 64, "model_parallel": 64}, "fewer than 64 pipeline stages"),
        ({"pipeline_parallel": 16, "pipeline_chunks": 4, "model_parallel": 16}, "do not make 64 pipeline stages"),
        (
            {"pipeline_parallel": 16, "pipeline_chunks": 4, "model_parallel": 16, "stage_less_layers": (1, 1)},
            "do not make 64 pipeline stages",
        ),
        ({"tensor_parallel": 2, "model_parallel": 8}, "does not say"),
        ({"tensor_parallel": 2}, "do not count"),
        ({"pipeline_parallel": 2, "model_parallel": 2, "uneven_stages": "4,28"}, "cuts itself"),
    ],
)
def test_what_cannot_be_known_says_why(extra: dict[str, Any], because: str) -> None:
    found = estimate(plan({**TITAN, **extra}, **RUN, data_parallel=2), Target())
    assert found.allocated is None
    assert because in found.unknown_because


def _parts(model: str, extra: dict[str, Any], **facts: Any) -> dict[str, int]:
    found = estimate(plan(extra, **{**LANGUAGE, "model": model, **facts}), Target())
    assert found.allocated is not None, found.unknown_because
    return {part.name: part.bytes for part in found.components}


def test_a_frozen_tower_stays_frozen_where_ranks_share_the_language_model() -> None:
    alone = _parts("Qwen/Qwen2-VL-2B-Instruct", {})
    shared = _parts("Qwen/Qwen2-VL-2B-Instruct", {"tensor_parallel": 2, "model_parallel": 2}, world_size=2)
    assert shared["frozen parameters"] == alone["frozen parameters"]
    assert shared["AdamW states"] == 2 * shared["parameters"]


def test_a_stage_without_the_embedding_has_no_wide_states_of_it() -> None:
    extra = {"pipeline_parallel": 4, "model_parallel": 4, "packing": True}
    facts = {"world_size": 4, "optimizer": "adamw_8bit", "grad_checkpointing": True}
    found = estimate(plan(extra, **{**LANGUAGE, "model": "Qwen/Qwen2.5-7B", **facts}), Target())
    assert any(text.startswith("stage 4 of 4") for text in found.assumptions), found.assumptions
    assert "embeddings" not in {part.name for part in found.components}


def test_a_hybrid_is_not_divided() -> None:
    extra = {"tensor_parallel": 2, "model_parallel": 2}
    found = estimate(plan(extra, **{**LANGUAGE, "model": "Qwen/Qwen3.5-4B", "adapter": "lora"}), Target())
    assert "several kinds" in found.unknown_because
    assert not found.components


def test_the_reference_of_a_mixture_stands_beside_it_on_every_rank() -> None:
    extra = {"expert_parallel": 8, "model_parallel": 1, "preference": "dpo"}
    found = _parts("Qwen/Qwen3-30B-A3B", extra, world_size=8, data_parallel=8, sharding="fsdp")
    assert found["frozen parameters"] == pytest.approx(found["parameters"] + found["experts"])
