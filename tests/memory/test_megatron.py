"""Megatron-LM's closed forms against the golden peaks of its own functional tests, and their properties."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tests.memory.support import LANGUAGE, plan
from vramlint.hardware import GIB, Target, find_gpu
from vramlint.memory import estimate
from vramlint.memory.architecture import DecoderConfig, Experts, LatentAttention
from vramlint.memory.knowledge import Workload
from vramlint.memory.megatron import MegatronModel
from vramlint.memory.megatron_ledger import MegatronOptions, Recompute
from vramlint.memory.parallel import Parallelism
from vramlint.plan import DecoderShape, Precision

GPT = DecoderShape(512, 12, 8, 8, 64, 2048, 50688, tied=True, gated=False, norm="layer", biases=True)
GPT_TP2 = GPT._replace(vocabulary=50432)
GPT_7B = DecoderShape(4096, 32, 32, 8, 128, 16384, 131584, tied=False, gated=False, norm="layer", biases=True)
T5 = DecoderShape(768, 12, 12, 12, 64, 3072, 29184, tied=True, gated=False, norm="layer", biases=True)
T5_11B = DecoderShape(4096, 24, 64, 64, 64, 10240, 29184, tied=True, gated=False, norm="layer", biases=True)
RING = {"sequence_parallel": True, "context_parallel": 2, "hidden_dropout": 0.0, "attention_kernel": "flash"}
TEST = {"deterministic": True, "learned_positions": 1024}

# Published mem-max-allocated-bytes (GiB) of tests/functional_tests/test_cases in Megatron-LM, 2026-08: shape, tensor
# parallel ranks, data-parallel ranks, sharding, micro batch, length, card, other facts, measured.
GOLDEN: dict[str, tuple[DecoderShape, int, int, str, int, int, str, dict[str, Any], float]] = {
    "gpt3_7b_tp4_pp1": (GPT_7B, 4, 2, "zero1", 2, 8192, "a100-80gb", TEST | {"learned_positions": 8192}, 54.1919),
    "gpt3_7b_tp4_pp1 H100": (GPT_7B, 4, 2, "zero1", 2, 8192, "h100", TEST | {"learned_positions": 8192}, 53.2193),
    "tp4_qk_layernorm": (GPT, 4, 2, "ddp", 4, 1024, "a100-80gb", TEST | {"qk_norm": True}, 1.0813),
    "tp4_unfused": (GPT, 4, 2, "zero1", 4, 1024, "a100-80gb", TEST | {"attention_kernel": "unfused"}, 1.4096),
    "tp2_cp2": (GPT_TP2, 2, 2, "ddp", 4, 1024, "a100-80gb", RING | {"learned_positions": 1024}, 1.0662),
    "tp2_zero3": (GPT_TP2, 2, 4, "fsdp", 4, 1024, "a100-80gb", TEST, 1.3626),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_peaks(name: str) -> None:
    shape, tensor, ranks, sharding, batch, length, card, facts, measured = GOLDEN[name]
    extra = {"implementation": "megatron", "low_precision_weights": True, "tensor_parallel": tensor, **facts}
    run = plan(
        extra, model_shape=shape, micro_batch=batch, seq_len=length, precision=Precision.BF16, sharding=sharding,
        data_parallel=ranks, grad_checkpointing=False, accumulation=2, optimizer="adam",
    )  # fmt: skip
    found = estimate(run, Target(find_gpu(card)))
    assert found.allocated is not None
    assert found.allocated.value / GIB == pytest.approx(measured, rel=0.03)
    assert found.allocated.low <= measured * GIB <= found.allocated.high


@pytest.mark.parametrize(
    ("shape", "tensor", "layers", "card", "measured"),
    [(T5_11B, 4, 24, "a100-80gb", 42.1534), (T5_11B, 4, 24, "h100", 41.9001), (T5, 1, 12, "a100-80gb", 5.7646)],
)
def test_golden_peaks_of_t5(shape: DecoderShape, tensor: int, layers: int, card: str, measured: float) -> None:
    local = {"attention_kernel": "unfused"} if layers == 12 else {}
    extra = {
        "implementation": "megatron", "low_precision_weights": True, "tensor_parallel": tensor,
        "encoder_layers": layers, "decoder_seq_len": 128, "learned_positions": 512, "deterministic": True, **local,
    }  # fmt: skip
    run = plan(
        extra, model_shape=shape, micro_batch=4, seq_len=512, precision=Precision.BF16, sharding="ddp",
        data_parallel=2, grad_checkpointing=False, accumulation=1, optimizer="adam",
    )  # fmt: skip
    found = estimate(run, Target(find_gpu(card)))
    assert found.allocated is not None
    assert found.allocated.value / GIB == pytest.approx(measured, rel=0.03)


WORK = Workload(2, Precision.PURE_BF16, checkpointing=False, seq_len=1024)
MODEL = MegatronModel("gpt", DecoderConfig(GPT, gated=False, norm="layer", biases=True, positions=1024), "test")


def peak(model: MegatronModel, work: Workload = WORK) -> int:
    return max(moment.activation_bytes for moment in model.moments(work))


def test_parameters_of_one_rank_are_the_models_own_without_parallelism() -> None:
    assert MODEL.parameters == MODEL.config.parameters


@pytest.mark.parametrize(
    "config",
    [
        DecoderConfig(GPT._replace(tied=False), gated=True, experts=Experts(8, 2, 512, shared_ffn=256, dense_layers=1)),
        DecoderConfig(GPT._replace(head_dim=96), latent=LatentAttention(128, 64, 64, 32, 64)),
    ],
)
def test_parameters_with_experts_and_latent_attention(config: DecoderConfig) -> None:
    assert MODEL._replace(config=config).parameters == config.parameters


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_pipeline_stages_hold_the_whole_model(stages: int) -> None:
    untied = MODEL._replace(config=MODEL.config._replace(shape=GPT._replace(tied=False)))
    on_stages = [
        untied._replace(parallel=Parallelism(pipeline=stages, stage=stage)).parameters for stage in range(stages)
    ]
    assert sum(on_stages) == untied.config.parameters


def test_every_kind_of_parallelism_and_recomputation_needs_less() -> None:
    split = [
        Parallelism(tensor=2),
        Parallelism(tensor=2, sequence=True),
        Parallelism(tensor=2, sequence=True, context=2),
    ]
    peaks = [peak(MODEL), *(peak(MODEL._replace(parallel=each)) for each in split)]
    assert peaks == sorted(peaks, reverse=True)
    recomputed = MODEL._replace(options=MegatronOptions(recompute=Recompute("full")))
    some = MODEL._replace(options=MegatronOptions(recompute=Recompute("full", "block", 4)))
    assert peak(recomputed) < peak(some) < peak(MODEL)


def test_micro_batches_in_flight() -> None:
    """1F1B: as many as stages follow; interleaved: (2 x stages after it + (chunks - 1) x stages + 1) chunks."""
    stages = [Parallelism(pipeline=4, stage=stage).in_flight(8) for stage in range(4)]
    assert stages == [4, 3, 2, 1]
    assert Parallelism(pipeline=4).in_flight(2) == 2
    assert Parallelism(pipeline=4, chunks=2, stage=0).in_flight(8) == pytest.approx(11 / 2)


def test_fp32_is_not_covered() -> None:
    assert MODEL.moments(WORK._replace(precision=Precision.FP32)) == ()


# The test's folder, parallelism, micro batch, micro batches of a step, card, measured: more kinds of models, whose
# settings tools/scoring/megatron_configs.json has.
KINDS = {
    "hybrid": ("hybrid/hybrid_mr_mcore_te_tp2_pp1_cp1_dgx_a100_1N8G", "tp2 pp1 dp4", 4, 2, "H100", 5.5022),
    "hybrid stages": ("hybrid/hybrid_mr_mcore_te_tp1_pp4_cp1_dgx_a100_1N8G", "tp1 pp4 dp2", 4, 4, "A100", 4.1758),
    "uneven chunks": (
        "gpt/gpt3_mcore_te_tp1_pp4_vp2_account_for_embedding_loss_in_pipeline_split", "tp1 pp4 dp2", 4, 4,
        "H100", 2.646,
    ),
    "deferred": ("gpt/gpt3_mcore_te_tp2_pp2_defer_embedding_wgrad_compute", "tp2 pp2 dp2", 4, 4, "A100", 2.1798),
    "fp8": (
        "gpt/gpt3_weekly_mcore_tp2_pp2_current_scaling_native_fp8_tp_pp_sp_tp_overlap", "tp2 pp2 dp2 sp", 2, 32,
        "H100", 0.8231,
    ),
    "predicted tokens and latent attention": (
        "moe/gpt3_mcore_te_tp2_pp2_ep4_etp1_memory_speed", "tp2 pp2 ep4 dp2 sp", 4, 4, "H100", 55.9833,
    ),
    "local": ("gpt/gpt3_mcore_tp1_pp4", "tp1 pp4 dp2", 4, 4, "A100", 2.5599),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_golden_peaks_of_other_kinds(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    predictions, rows = (importlib.import_module(f"scoring.{name}") for name in ("predictions", "rows_megatron"))
    folder, parallelism, batch, micro_batches, card, measured = KINDS[kind]
    row = {
        "config_path": f"tests/functional_tests/test_cases/{folder}/model_config.yaml", "model": folder,
        "n_gpus": "8", "parallelism": parallelism, "batch_per_gpu": str(batch), "grad_accum": str(micro_batches),
    }  # fmt: skip
    run = rows.megatron_plan(row)
    assert run is not None
    found = estimate(run, predictions.target_of({"gpu_model": card}))
    assert found.allocated is not None, found.unknown_because
    assert found.allocated.value / GIB == pytest.approx(measured, rel=0.05)
    assert found.allocated.low <= measured * GIB <= found.allocated.high


def test_an_unknown_number_of_ranks_is_as_few_as_may_be() -> None:
    extra = {
        "implementation": "megatron", "low_precision_weights": True, "tensor_parallel": 2, "expert_parallel": 8,
        "expert_tensor_parallel": 1, "expert_mixture": (8, 2, 1024), "model_parallel": 2,
    }  # fmt: skip
    facts: dict[str, Any] = {
        "model_shape": GPT, "micro_batch": 4, "seq_len": 1024, "precision": Precision.BF16, "sharding": "zero1",
        "accumulation": 1, "optimizer": "adam",
    }  # fmt: skip
    unknown, few, many = (
        estimate(plan(extra, **facts, **ranks), Target()) for ranks in ({}, {"data_parallel": 4}, {"data_parallel": 64})
    )
    assert unknown.allocated is not None
    assert few.allocated is not None
    assert many.allocated is not None
    assert unknown.allocated.value == few.allocated.value
    assert unknown.allocated.low < few.allocated.low
    assert unknown.allocated.low <= many.allocated.value
    assert any("number of ranks unknown: 4 data-parallel assumed" in text for text in unknown.assumptions)


def test_no_instances_of_the_distributed_optimizer_are_one() -> None:
    facts = {**LANGUAGE, "sharding": "zero1", "world_size": 4, "data_parallel": 4}
    extra = {"implementation": "megatron"}
    none, one = (
        estimate(plan({**extra, "distributed_optimizer_instances": number}, **facts), Target()) for number in (0, 1)
    )
    assert none.allocated == one.allocated
