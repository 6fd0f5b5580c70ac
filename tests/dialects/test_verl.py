"""verl: prompts times answers over the ranks, both micro-batch keys, token budgets, fine-tuning."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import Precision

PPO = "python3 -m verl.trainer.main_ppo data.train_batch_size=1024 {}"
ACTOR = "actor_rollout_ref.actor."
SFT = "torchrun --nproc_per_node={} -m verl.trainer.fsdp_sft_trainer data.micro_batch_size_per_gpu=4 {}"


@pytest.mark.parametrize(
    ("gpus", "mini", "answers", "micro", "steps", "effective"),
    [
        # workers/fsdp_workers.py:241: mini *= n; mini //= ranks; dp_actor.py:555: steps = mini // micro.
        (1, 256, 5, 40, 32, 1280),
        (2, 256, 5, 40, 16, 1280),
        (3, 256, 5, 40, None, None),  # 1280 // 3 = 426, and 426 % 40 stops the run (line 258)
        (8, 256, 5, 40, 4, 1280),
        (8, 256, 1, 32, 1, 256),
        (8, 64, 8, 64, 1, 512),
        (3, 48, 4, 8, 8, 192),
    ],
)
def test_ppo(gpus: int, mini: int, answers: int, micro: int, steps: int | None, effective: int | None) -> None:
    words = f"{ACTOR}ppo_mini_batch_size={mini} {ACTOR}ppo_micro_batch_size_per_gpu={micro} "
    words += f"actor_rollout_ref.rollout.n={answers} trainer.n_gpus_per_node={gpus}"
    found = reading("run.sh", PPO.format(words))
    assert values(found, "micro_batch", "world_size", "accumulation", "effective_batch", "batch_unit") == (
        *(micro, gpus, steps, effective),
        "sequences",
    )


def test_defaults_come_from_the_generated_config() -> None:
    found = reading("run.sh", PPO.format(f"{ACTOR}ppo_micro_batch_size_per_gpu=8"))
    # trainer/config/_generated_ppo_trainer.yaml: mini 256, n 1, 8 GPUs on one node.
    assert values(found, "world_size", "nodes", "effective_batch", "accumulation") == (8, 1, 256, 4)
    assert told(found.plan.world_size)[1] == "default"


@pytest.mark.parametrize(("gpus", "steps"), [(1, 32), (2, 16), (8, 4)])
def test_the_target_gives_the_world_that_nobody_spells(gpus: int, steps: int) -> None:
    found = reading("run.sh", PPO.format(f"{ACTOR}ppo_micro_batch_size_per_gpu=8"), Surroundings(gpus=gpus))
    assert values(found, "world_size", "accumulation") == (gpus, steps)


@pytest.mark.parametrize(
    ("words", "data_parallel", "steps"),
    [
        (f"{ACTOR}ulysses_sequence_parallel_size=2", 4, 8),
        (f"{ACTOR}fsdp_config.ulysses_sequence_parallel_size=4", 2, 16),
        (f"--config-name=ppo_megatron_trainer.yaml {ACTOR}megatron.tensor_model_parallel_size=2", 4, 8),
        (
            f"{ACTOR}strategy=megatron {ACTOR}megatron.tensor_model_parallel_size=2 "
            f"{ACTOR}megatron.pipeline_model_parallel_size=2",
            2,
            16,
        ),
        ("trainer.nnodes=2", 16, 2),
    ],
)
def test_ranks_that_share_a_model(words: str, data_parallel: int, steps: int) -> None:
    found = reading("run.sh", PPO.format(f"{ACTOR}ppo_micro_batch_size_per_gpu=8 {words}"))
    assert values(found, "data_parallel", "accumulation", "effective_batch") == (data_parallel, steps, 256)


@pytest.mark.parametrize(
    ("words", "micro", "effective"),
    [
        (f"{ACTOR}ppo_micro_batch_size=64", 8, 256),
        (f"{ACTOR}use_dynamic_bsz=True {ACTOR}ppo_max_token_len_per_gpu=24000", None, 256),
        ("", None, 256),  # the actor refuses to start without a micro batch (config/actor.py:185)
        (f"{ACTOR}ppo_micro_batch_size_per_gpu=$MICRO", None, 256),
    ],
)
def test_other_micro_batches(words: str, micro: int | None, effective: int) -> None:
    assert values(reading("run.sh", PPO.format(words)), "micro_batch", "effective_batch") == (micro, effective)


@pytest.mark.parametrize(
    ("words", "precision", "adapter"),
    [
        ("", Precision.BF16, None),
        (f"{ACTOR}fsdp_config.model_dtype=bf16", Precision.PURE_BF16, None),
        ("actor_rollout_ref.model.lora_rank=32", Precision.BF16, "lora"),
    ],
)
def test_precision_and_adapter(words: str, precision: Precision, adapter: str | None) -> None:
    found = reading("run.sh", PPO.format(words))
    assert found.plan.precision.value is precision
    assert found.plan.adapter.value in (adapter, "none")


YAML = "defaults: [ppo_trainer, _self_]\ndata: {train_batch_size: 256}\nactor_rollout_ref: {rollout: {n: 4}}\n"


def test_the_line_that_launches_a_yaml_wins() -> None:
    line = f"python3 -m verl.trainer.main_ppo --config-name=x data.train_batch_size=64 {ACTOR}ppo_mini_batch_size=32"
    found = reading("x.yaml", YAML, Surroundings(launched_by=line))
    assert values(found, "prompts_per_rollout", "nominal_batch", "responses_per_prompt") == (64, 128, 4)
    assert [document.path for document in found.documents] == ["x.yaml", "launch.sh"]


def test_a_command_reads_the_yaml_it_names() -> None:
    line = "python3 -m verl.trainer.main_ppo --config-path=config --config-name=x trainer.n_gpus_per_node=2"
    found = reading("run.sh", line, Surroundings({"config/x.yaml": YAML}))
    assert values(found, "prompts_per_rollout", "effective_batch", "world_size") == (256, 1024, 2)


@pytest.mark.parametrize(
    ("gpus", "words", "steps", "effective"),
    [
        # trainer/fsdp_sft_trainer.py#_normalize_config_bsz: global % ranks, then (global / ranks) % micro.
        (1, "data.train_batch_size=64", 16, 64),
        (2, "data.train_batch_size=64", 8, 64),
        (3, "data.train_batch_size=64", None, None),
        (8, "data.train_batch_size=64", 2, 64),
        (8, "", 8, 256),
        (8, "ulysses_sequence_parallel_size=2", 16, 256),
    ],
)
def test_fine_tuning(gpus: int, words: str, steps: int | None, effective: int | None) -> None:
    found = reading("sft.sh", SFT.format(gpus, words))
    assert values(found, "accumulation", "effective_batch", "batch_unit") == (steps, effective, "samples")


def test_the_fine_tuning_engine_fills_micro_batches_by_tokens() -> None:
    found = reading("sft.sh", "torchrun --nproc_per_node=2 -m verl.trainer.sft_trainer data.train_batch_size=64")
    assert values(found, "micro_batch", "effective_batch", "accumulation") == (None, 64, None)


def test_generation_trains_nothing() -> None:
    assert readings("gen.sh", "python3 -m verl.trainer.main_generation data.batch_size=64 data.n_samples=1") == []


def test_a_part_of_a_config_is_no_run() -> None:
    assert readings("actor/actor.yaml", "ppo_mini_batch_size: 256\nppo_micro_batch_size_per_gpu: 4\n") == []


MEMORY = (
    "python3 -m verl.trainer.main_ppo data.max_prompt_length=512 data.max_response_length=1024 "
    "actor_rollout_ref.model.path=Qwen/Qwen2-7B-Instruct actor_rollout_ref.actor.ppo_mini_batch_size=256 "
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4 trainer.n_gpus_per_node=8 {}\n"
)
_GRPO = "algorithm.adv_estimator=grpo"


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (_GRPO, {"preference": "verl", "open_lengths": True, "rollout_engine": ("vllm", 0.5, True, False)}),
        (f"{_GRPO} actor_rollout_ref.model.use_remove_padding=False", {"open_lengths": None}),
        (f"{_GRPO} actor_rollout_ref.actor.entropy_coeff=0.001", {"preference": "verl with entropy"}),
        (
            f"{_GRPO} actor_rollout_ref.actor.use_dynamic_bsz=True "
            "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=24000 "
            "actor_rollout_ref.actor.ulysses_sequence_parallel_size=2",
            {"token_budget": 48000, "context_parallel": 2, "open_lengths": None},
        ),
        (
            f"{_GRPO} actor_rollout_ref.actor.fsdp_config.param_offload=True "
            "actor_rollout_ref.actor.fsdp_config.optimizer_offload=True "
            "actor_rollout_ref.rollout.gpu_memory_utilization=0.8 actor_rollout_ref.rollout.name=sglang",
            {"rollout_engine": ("sglang", 0.8, True, True)},
        ),
        (f"{_GRPO} actor_rollout_ref.model.use_fused_kernels=True", {"fused_preference_loss": True}),
    ],
)
def test_what_the_estimator_hears_of_the_actor(words: str, facts: dict[str, object]) -> None:
    found = reading("run.sh", MEMORY.format(words)).plan
    assert found.model.value == "Qwen/Qwen2-7B-Instruct"
    assert {name: found.fact(name).value for name in facts} == facts


@pytest.mark.parametrize("words", ["", f"{_GRPO} actor_rollout_ref.actor.strategy=megatron"])
def test_a_critic_and_megatron_are_not_worked_out(words: str) -> None:
    assert not reading("run.sh", MEMORY.format(words)).plan.model.known
