"""Models that ranks share: each framework's words for the degrees, and what the estimator makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.support import Surroundings, reading
from vramlint.hardware import Target
from vramlint.memory import estimate

AXOLOTL = """\
base_model: meta-llama/Llama-3.1-8B
micro_batch_size: 1
gradient_accumulation_steps: 1
sequence_len: 4096
sample_packing: true
optimizer: adamw_torch_fused
bf16: true
fsdp_version: 2
fsdp_config: {offload_params: false}
"""
LLAMAFACTORY = """\
model_name_or_path: Qwen/Qwen3-30B-A3B-Instruct-2507
stage: sft
do_train: true
finetuning_type: full
template: qwen3_nothink
dataset: alpaca_en_demo
cutoff_len: 4096
per_device_train_batch_size: 1
bf16: true
use_distributed_optimizer: true
"""
TITAN = """\
[model]
name = "llama3"
flavor = "8B"
hf_assets_path = "./assets/hf/Llama-3.1-8B"
[training]
local_batch_size = 8
seq_len = 4096
[activation_checkpoint]
mode = "{mode}"
{more}
[parallelism]
"""
TITAN_TP = TITAN.format(mode="full", more="")

CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("x.yml", f"{AXOLOTL}tensor_parallel_size: 2\n", {"tensor_parallel": 2, "data_parallel": 8}, "over tensor 2, "),
    (
        "x.yml",
        f"{AXOLOTL}tensor_parallel_size: 2\ncontext_parallel_size: 2\ndp_replicate_size: 2\n",
        {"tensor_parallel": 2, "context_parallel": 2, "shard_replicas": 2, "data_parallel": 4},
        "over tensor 2, context 2, ",
    ),
    (
        "x.yaml",
        f"{LLAMAFACTORY}pipeline_model_parallel_size: 4\nexpert_model_parallel_size: 2\n",
        {"implementation": "megatron", "pipeline_parallel": 4, "expert_parallel": 2, "sharding": "zero1"},
        "Megatron-LM (parallel over pipeline 4, expert 2, stage",
    ),
    (
        "x.toml",
        f"{TITAN_TP}tensor_parallel_degree = 2\ndisable_loss_parallel = true\n",
        {"loss_parallel": False, "data_parallel": 8},
        "over tensor 2 with sequence parallelism, logits whole on every rank",
    ),
    (
        "x.toml",
        f'{TITAN_TP}pipeline_parallel_degree = 4\npipeline_parallel_schedule = "ZBVZeroBubble"\n',
        {"pipeline_schedule": "ZBVZeroBubble", "pipeline_micro_batch": 1, "stage_less_layers": (1, 1)},
        "with the embedding and the head, schedule zbvzerobubble",
    ),
    (
        "x.toml",
        f"{TITAN_TP}data_parallel_replicate_degree = 2\n",
        {"shard_replicas": 2, "sharding": "fsdp"},
        "torchtitan implementation",
    ),
    (
        "x.toml",
        TITAN.format(mode="selective", more='selective_ac_option = "op"'),
        {"checkpointing_kind": "op", "checkpoint_every": None},
        "torchtitan implementation",
    ),
    (
        "x.toml",
        TITAN.format(mode="selective", more=""),
        {"checkpointing_kind": None, "checkpoint_every": 2},
        "torchtitan implementation",
    ),
]


@pytest.mark.parametrize(("path", "text", "facts", "said"), CASES)
def test_degrees_are_read_and_worked_out(path: str, text: str, facts: dict[str, Any], said: str) -> None:
    plan = reading(path, text, Surroundings(gpus=16)).plan
    assert {name: plan.fact(name).value for name in facts} == facts
    found = estimate(plan, Target())
    assert found.allocated is not None, found.unknown_because
    assert any(said in text for text in found.assumptions), found.assumptions


def test_stages_cut_by_the_config_itself_are_unknown() -> None:
    more = 'pipeline_parallel_degree = 2\nmodule_fqns_per_model_part = [["tok_embeddings"], ["output"]]\n'
    found = estimate(reading("x.toml", TITAN_TP + more, Surroundings(gpus=16)).plan, Target())
    assert found.allocated is None
    assert "cuts itself" in found.unknown_because


def test_tensor_parallelism_alone_computes_in_fp32() -> None:
    alone, sharded = (
        reading("x.toml", f"{TITAN_TP}tensor_parallel_degree = 8\n", Surroundings(gpus=gpus)).plan for gpus in (8, 16)
    )
    assert (str(alone.precision.value), str(sharded.precision.value)) == ("fp32", "bf16")


def test_hybrid_shards_lie_on_one_machine() -> None:
    text = f"{AXOLOTL}\n".replace("{offload_params: false}", "{offload_params: false, sharding_strategy: HYBRID_SHARD}")
    machines = Surroundings(gpus=8)
    machines.target = Target(None, 8, 4, source="--gpus")
    hybrid = estimate(reading("x.yml", text, machines).plan, Target())
    alone = estimate(reading("x.yml", AXOLOTL, Surroundings(gpus=8)).plan, Target())
    spread = estimate(reading("x.yml", AXOLOTL, machines).plan, Target())
    assert hybrid.allocated is not None
    assert spread.allocated is not None
    assert hybrid.allocated == alone.allocated
    assert spread.allocated.value < hybrid.allocated.value
