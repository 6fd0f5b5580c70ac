"""axolotl, LLaMA-Factory and torchtune: batches, adapters, precision, the files they name."""

from __future__ import annotations

import pytest

from tests.dialects.support import AMPERE, TURING, Surroundings, reading, readings, told, values
from vramlint.plan import Precision

AXOLOTL = """\
base_model: meta-llama/Llama-3.2-1B
datasets: [{path: x, type: alpaca}]
sequence_len: 4096
micro_batch_size: 2
gradient_accumulation_steps: 4
bf16: auto
"""

FACTORY = """\
model_name_or_path: Qwen/Qwen2.5-7B
stage: sft
finetuning_type: full
cutoff_len: 1024
per_device_train_batch_size: 2
gradient_accumulation_steps: 4
bf16: true
learning_rate: 1e-5
"""

TUNE = """\
model:
  _component_: torchtune.models.qwen2.qwen2_7b
tokenizer:
  _component_: torchtune.models.qwen2.qwen2_tokenizer
  max_seq_len: null
batch_size: 2
optimizer: {_component_: bitsandbytes.optim.PagedAdamW8bit, lr: 2e-5}
gradient_accumulation_steps: 8
dtype: bf16
"""


@pytest.mark.parametrize(("gpus", "effective"), [(1, 8), (2, 16), (3, 24), (8, 64)])
@pytest.mark.parametrize(("dialect", "text"), [("axolotl", AXOLOTL), ("llamafactory", FACTORY)])
def test_effective_batch(dialect: str, text: str, gpus: int, effective: int) -> None:
    found = reading("run.yaml", text, Surroundings(gpus=gpus))
    assert (found.plan.dialect, found.plan.effective_batch.value) == (dialect, effective)


@pytest.mark.parametrize(("gpus", "effective"), [(1, 16), (2, 32), (8, 128)])
def test_torchtune_effective_batch(gpus: int, effective: int) -> None:
    found = reading("full.yaml", TUNE, Surroundings(gpus=gpus))
    assert values(found, "effective_batch", "optimizer", "adapter") == (effective, "PagedAdamW8bit", "none")
    assert told(found.plan.precision) == (Precision.PURE_BF16, "file", 9)
    assert not found.plan.seq_len.known


def test_a_single_device_recipe_has_one_rank() -> None:
    assert reading("8B_single_device.yaml", TUNE, Surroundings(gpus=8)).plan.effective_batch.value == 16


@pytest.mark.parametrize(
    ("lines", "gpus", "effective"),
    [
        ("tensor_parallel_size: 2\n", 8, 32),
        ("context_parallel_size: 4\n", 8, 16),
        ("sequence_parallel_degree: 2\ntensor_parallel_size: 2\n", 8, 16),
        ("tensor_parallel_size: 3\n", 8, None),
    ],
)
def test_ranks_that_share_a_model_do_not_multiply(lines: str, gpus: int, effective: int | None) -> None:
    assert reading("run.yaml", AXOLOTL + lines, Surroundings(gpus=gpus)).plan.effective_batch.value == effective


@pytest.mark.parametrize(
    ("line", "accumulation"), [("batch_size: 16", 8), ("batch_size: 5", None), ("learning_rate: 1", 1)]
)
def test_axolotl_batch_size_is_the_product(line: str, accumulation: int | None) -> None:
    text = AXOLOTL.replace("gradient_accumulation_steps: 4", line)
    assert reading("run.yaml", text).plan.accumulation.value == accumulation


@pytest.mark.parametrize(
    ("line", "gpu", "precision"),
    [
        ("bf16: auto", AMPERE, Precision.PURE_BF16),
        ("bf16: auto", TURING, Precision.FP16),
        ("bf16: true", None, Precision.PURE_BF16),
        ("bf16: full", None, Precision.PURE_BF16),
        ("fp16: true", None, Precision.FP16),
        ("bf16: false", None, Precision.FP32),
    ],
)
def test_axolotl_precision(line: str, gpu: object, precision: Precision) -> None:
    text = AXOLOTL.replace("bf16: auto", line)
    assert reading("run.yaml", text, Surroundings(gpu=gpu)).plan.precision.value is precision  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lines", "checkpointing"),
    [
        ("", False),
        ("gradient_checkpointing: true\n", True),
        ("gradient_checkpointing: offload\n", True),
        ("gradient_checkpointing:\nfsdp_config:\n  fsdp_activation_checkpointing: true\n", True),
    ],
)
def test_axolotl_checkpointing(lines: str, checkpointing: bool) -> None:
    found = reading("run.yaml", AXOLOTL + lines)
    assert found.plan.grad_checkpointing.value is checkpointing
    assert "grad_checkpointing" in found.slots


@pytest.mark.parametrize(("stage", "sharding"), [(0, "ddp"), (1, "zero1"), (2, "zero2"), (3, "zero3"), (7, None)])
@pytest.mark.parametrize("text", [AXOLOTL, FACTORY, "output_dir: x\nper_device_train_batch_size: 1\n"])
def test_the_deepspeed_file_gives_the_stage(text: str, stage: int, sharding: str | None) -> None:
    files = {"ds/z.json": '{"zero_optimization": {"stage": %d}}' % stage}  # noqa: UP031
    found = reading("cfg/run.yaml", text + "deepspeed: ds/z.json\n", Surroundings(files))
    assert found.plan.sharding.value == sharding
    assert [document.path for document in found.documents] == ["cfg/run.yaml", "ds/z.json"]


def test_a_deepspeed_file_that_is_not_at_hand_leaves_the_sharding_open() -> None:
    assert not reading("run.yaml", AXOLOTL + "deepspeed: ds/z.json\n").plan.sharding.known


@pytest.mark.parametrize(
    ("lines", "adapter", "rank", "precision"),
    [
        ("", "none", None, Precision.BF16),
        ("lora_rank: 16\n", "lora", 16, Precision.PURE_BF16),
        ("quantization_bit: 4\n", "qlora", 8, Precision.PURE_BF16),
    ],
)
def test_llamafactory_adapters(lines: str, adapter: str, rank: int | None, precision: Precision) -> None:
    text = FACTORY if adapter == "none" else FACTORY.replace("full", "lora")
    found = reading("run.yaml", text + lines)
    assert values(found, "adapter", "adapter_rank", "precision") == (adapter, rank, precision)


def test_llamafactory_checkpoints_unless_disabled() -> None:
    assert told(reading("run.yaml", FACTORY).plan.grad_checkpointing) == (True, "default", None)
    found = reading("run.yaml", FACTORY + "disable_gradient_checkpointing: true\n")
    assert told(found.plan.grad_checkpointing) == (False, "file", 9)
    assert found.slots["grad_checkpointing"].spell(True) is False


@pytest.mark.parametrize(
    ("builder", "model", "adapter"),
    [
        ("llama3.llama3_8b", "llama3_8b", "none"),
        ("llama3.lora_llama3_8b", "llama3_8b", "lora"),
        ("llama3.qlora_llama3_8b", "llama3_8b", "qlora"),
    ],
)
def test_torchtune_builders(builder: str, model: str, adapter: str) -> None:
    found = reading("x.yaml", TUNE.replace("qwen2.qwen2_7b", builder))
    assert values(found, "model", "adapter") == (model, adapter)


@pytest.mark.parametrize(
    "text",
    [
        "base_model: a/b\nmerge_method: linear\nslices: []\ndatasets: []\n",
        "model: {_component_: torchtune.models.llama2.llama2_7b}\ntasks: [x]\nbatch_size: 8\n",
        "apiVersion: v1\nkind: X\nbase_model: a\ndatasets: []\n",
    ],
)
def test_look_alikes(text: str) -> None:
    assert readings("x.yaml", text) == []


@pytest.mark.parametrize(
    ("lines", "fact"),
    [
        ("liger_fused_linear_cross_entropy: true\n", "fused_loss"),
        ("plugins:\n  - axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin\n", "fused_loss"),
        ("gradient_checkpointing: offload\n", "activation_offload"),
        ("activation_offloading: legacy\n", "activation_offload"),
        ("fsdp_config: {activation_checkpointing: true}\n", "grad_checkpointing"),
    ],
)
def test_what_the_estimator_has_to_know_of_axolotls_kernels(lines: str, fact: str) -> None:
    assert reading("run.yaml", AXOLOTL).plan.fact(fact).value in (None, False)
    assert reading("run.yaml", AXOLOTL + lines).plan.fact(fact).value is True


AXOLOTL_RL = (
    "base_model: a/b\nmicro_batch_size: 4\ngradient_accumulation_steps: 2\nsequence_len: 2048\nbf16: true\n{}\n"
)


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        ("rl: dpo", {"preference": "dpo", "reference_model": None}),
        ("rl: ipo\nprecompute_ref_log_probs: true", {"preference": "ipo", "reference_model": False}),
        ("rl: simpo", {"preference": "simpo"}),
        ("rl: kto", {"preference": "kto"}),
        ("reward_model: true", {"preference": "reward"}),
        ("process_reward_model: true", {"preference": "prm"}),
        (
            "rl: grpo\ntrl:\n  beta: 0.001\n  max_completion_length: 256\n  num_generations: 4\n  use_vllm: true\n"
            "  vllm_mode: colocate\nvllm:\n  gpu_memory_utilization: 0.85",
            {
                "preference": "grpo", "reference_model": True, "completion_length": 256,
                "rollout_engine": ("vLLM", 0.85, False, False, True), "responses_per_prompt": 4,
            },
        ),
        ("rl: grpo\ntrl:\n  max_completion_length: 256", {"generated_sequences": 8, "reference_model": False}),
    ],
)  # fmt: skip
def test_axolotls_preference_runs(lines: str, facts: dict[str, object]) -> None:
    found = reading("a.yaml", AXOLOTL_RL.format(lines)).plan
    assert {name: found.fact(name).value for name in facts} == facts


@pytest.mark.parametrize(
    ("lines", "kind", "known"),
    [
        ("stage: dpo", "llamafactory dpo", True),
        ("stage: dpo\npref_loss: simpo", "llamafactory orpo", True),
        ("stage: kto", "llamafactory kto", True),
        ("stage: rm", "llamafactory rm", True),
        ("stage: ppo", None, False),
        ("stage: sft", None, True),
    ],
)
def test_llama_factorys_stages(lines: str, kind: str | None, known: bool) -> None:
    text = f"model_name_or_path: a/b\n{lines}\nfinetuning_type: lora\ntemplate: llama3\ncutoff_len: 1024\n"
    found = reading("a.yaml", text + "per_device_train_batch_size: 2\n").plan
    assert found.fact("preference").value == kind
    assert found.model.known == known
