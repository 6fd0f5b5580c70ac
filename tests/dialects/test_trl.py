"""TRL: flipped defaults, older files, what each trainer counts."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, told, values
from vramlint.plan import Precision

SFT = """\
model_name_or_path: Qwen/Qwen2.5-0.5B
dataset_text_field: text
per_device_train_batch_size: 2
gradient_accumulation_steps: 4
learning_rate: 1e-4
{}
"""


@pytest.mark.parametrize(("gpus", "effective"), [(1, 8), (2, 16), (3, 24), (8, 64)])
def test_yaml(gpus: int, effective: int) -> None:
    # transformers 5.23.0 trainer.py#get_total_train_batch_size; TRL changes nothing of it.
    found = reading("sft.yaml", SFT.format(""), Surroundings(gpus=gpus))
    assert (found.plan.dialect, found.plan.effective_batch.value) == ("trl", effective)
    assert values(found, "precision", "grad_checkpointing", "seq_len") == (Precision.BF16, True, 1024)
    assert found.findings == []


@pytest.mark.parametrize(
    ("line", "precision", "checkpointing", "length"),
    [
        ("fp16: true", Precision.FP16, True, 1024),
        ("bf16: false", Precision.FP32, True, 1024),
        ("gradient_checkpointing: false", Precision.BF16, False, 1024),
        ("max_length: 4096", Precision.BF16, True, 4096),
        ("max_seq_length: 2048", None, None, 2048),
        ("max_seq_length: 2048\nbf16: true", Precision.BF16, None, 2048),
    ],
)
def test_defaults(line: str, precision: Precision | None, checkpointing: bool | None, length: int) -> None:
    found = reading("sft.yaml", SFT.format(line))
    assert values(found, "precision", "grad_checkpointing", "seq_len") == (precision, checkpointing, length)


@pytest.mark.parametrize(
    ("path", "text", "unit", "knows_model"),
    [
        ("a.yaml", SFT.format(""), "samples", True),
        ("a.yaml", SFT.format("num_generations: 16"), "completions", True),
        ("a.yaml", SFT.format("beta: 0.1\nmax_prompt_length: 512"), "pairs", True),
        ("a.sh", "trl dpo --model_name_or_path x --per_device_train_batch_size 2", "pairs", True),
        ("a.sh", "trl sft --model_name_or_path x --per_device_train_batch_size 2", "samples", True),
        (
            "a.py",
            "from trl import GRPOConfig\na = GRPOConfig(output_dir='x', num_generations=4)\n",
            "completions",
            False,
        ),
        ("a.py", "from trl import DPOConfig\na = DPOConfig(per_device_train_batch_size=2)\n", "pairs", False),
        ("a.py", "from trl import SFTConfig\na = SFTConfig(per_device_train_batch_size=2)\n", "samples", False),
    ],
)
def test_units(path: str, text: str, unit: str, knows_model: bool) -> None:
    found = reading(path, text)
    assert (found.plan.dialect, found.plan.batch_unit.value, found.plan.model.known) == ("trl", unit, knows_model)
    assert found.plan.fact("preference").value == {"pairs": "dpo", "completions": "grpo"}.get(unit)


@pytest.mark.parametrize(("gpus", "effective"), [(1, 32), (2, 64), (3, 96), (8, 256)])
def test_grpo(gpus: int, effective: int) -> None:
    text = SFT.format("num_generations: 8\nmax_prompt_length: 512\nmax_completion_length: 256")
    text = text.replace("batch_size: 2", "batch_size: 8")
    found = reading("grpo.yaml", text, Surroundings(gpus=gpus))
    assert values(found, "effective_batch", "responses_per_prompt", "seq_len") == (effective, 8, 768)


def test_the_launching_line_tells_the_trainer() -> None:
    line = "accelerate launch --num_processes 2 scripts/dpo.py --config x.yaml"
    found = reading("x.yaml", SFT.format(""), Surroundings(launched_by=line))
    assert values(found, "batch_unit", "effective_batch") == ("pairs", 16)


def test_a_default_that_somebody_wrote_is_theirs() -> None:
    assert told(reading("x.yaml", SFT.format("gradient_checkpointing: true")).plan.grad_checkpointing)[1] == "file"


GRPO = SFT.format("num_generations: 8\n{}").replace("batch_size: 2", "batch_size: 8")


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        ("", {"reference_model": False, "completion_length": 512, "seq_len": 1024, "generated_sequences": 32}),
        ("beta: 0.04", {"reference_model": True}),
        ("beta: 0.0", {"reference_model": False}),
        ("steps_per_generation: 2", {"generated_sequences": 16}),
        ("generation_batch_size: 24", {"generated_sequences": 24}),
        ("use_vllm: true", {"rollout_engine": ("vLLM", 0.3, False, False, False), "generated_sequences": None}),
        (
            "use_vllm: true\nvllm_gpu_memory_utilization: 0.55\nvllm_enable_sleep_mode: true",
            {"rollout_engine": ("vLLM", 0.55, True, False, False)},
        ),
        ("use_vllm: true\nvllm_mode: server", {"rollout_engine": None, "generated_sequences": None}),
        ("max_prompt_length: 256\nmax_completion_length: 2048", {"completion_length": 2048, "seq_len": 2304}),
    ],
)
def test_grpo_says_who_writes_and_what_is_compared(lines: str, facts: dict[str, object]) -> None:
    plan = reading("grpo.yaml", GRPO.format(lines)).plan
    assert {name: plan.fact(name).value for name in facts} == facts


@pytest.mark.parametrize(
    ("call", "kind", "known"),
    [
        ("KTOConfig", "kto", True),
        ("experimental.orpo.ORPOConfig", "orpo", True),
        ("CPOConfig", "cpo", True),
        ("RewardConfig", "reward", True),
        ("PRMConfig", "prm", True),
        ("GKDConfig", "gkd", True),
        ("RLOOConfig", "rloo", True),
        ("PPOConfig", None, False),
        ("OnlineDPOConfig", None, False),
        ("NashMDConfig", None, False),
    ],
)
def test_which_trainers_are_worked_out(call: str, kind: str | None, known: bool) -> None:
    lines = (
        f"from trl import {call.rpartition('.')[2]}\n"
        f'model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B")\n'
        f'args = {call.rpartition(".")[2]}("out", per_device_train_batch_size=2)\n'
    )
    plan = reading("train.py", lines).plan
    assert plan.fact("preference").value == kind
    assert plan.model.known == known


@pytest.mark.parametrize(
    ("arguments", "known"), [("", True), (", fast_inference=True, gpu_memory_utilization=0.6", False)]
)
def test_unsloths_engine_shares_the_weights(arguments: str, known: bool) -> None:
    text = (
        "from unsloth import FastLanguageModel\nfrom trl import GRPOConfig\n"
        f'model, tok = FastLanguageModel.from_pretrained("unsloth/Qwen2.5-0.5B", max_seq_length=1024{arguments})\n'
        'args = GRPOConfig("out", per_device_train_batch_size=4, num_generations=4, max_steps=5)\n'
    )
    plan = reading("train.py", text).plan
    assert plan.model.known == known
    assert plan.fact("preference").value == "grpo"


@pytest.mark.parametrize("script", ["trl/scripts/dpo.py", "examples/scripts/dpo.py", "examples/scripts/dpo_vlm.py"])
def test_scripts_of_trl_by_their_path(script: str) -> None:
    plan = reading("run.sh", f"python {script} --model_name_or_path m --per_device_train_batch_size 2\n").plan
    assert (plan.dialect, plan.batch_unit.value) == ("trl", "pairs")
