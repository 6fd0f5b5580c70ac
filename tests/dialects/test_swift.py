"""ms-swift: its defaults, its releases' names, DeepSpeed by name, GPUs over which one process spreads the model."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import Precision

LINE = "swift sft --model Qwen/Qwen2.5-7B-Instruct --dataset d --max_length 2048 {}\n"


def test_defaults() -> None:
    found = reading("run.sh", LINE.format(""))
    assert found.plan.dialect == "swift"
    assert values(found, "grad_checkpointing", "adapter", "adapter_rank", "workers_per_rank", "eval_batch") == (
        True,
        "lora",
        8,
        1,
        1,
    )
    assert told(found.plan.precision) == (Precision.PURE_BF16, "default", None)
    assert values(found, "adapter_targets", "adapter_dropout") == ("all-linear", 0.05)


@pytest.mark.parametrize(
    ("flags", "precision", "adapter", "sharding"),
    [
        ("--torch_dtype bfloat16 --tuner_type full", Precision.PURE_BF16, "none", None),
        ("--torch_dtype float16 --train_type lora", Precision.PURE_FP16, "lora", None),
        ("--torch_dtype float32 --sft_type full", Precision.FP16, "none", None),
        ("--torch_dtype float32 --bf16 true --tuner_type full", Precision.BF16, "none", None),
        ("--torch_dtype float32 --fp16 false --tuner_type full", Precision.FP32, "none", None),
        ("--torch_dtype bfloat16 --bf16 true --tuner_type full", Precision.PURE_BF16, "none", None),
        ("--bf16 true", Precision.PURE_BF16, "lora", None),
        ("--bf16 false", Precision.PURE_BF16, "lora", None),
        ("--torch_dtype float16 --fp16 true", Precision.PURE_FP16, "lora", None),
        ("--fp16 true", None, "lora", None),
        ("--dtype fp16 --sft_type lora", Precision.PURE_FP16, "lora", None),
        ("--dtype AUTO --sft_type lora", Precision.PURE_BF16, "lora", None),
        ("--quantization_bit 0 --sft_type lora", Precision.PURE_BF16, "lora", None),
        ("--quant_bits 4 --quant_method bnb", Precision.PURE_BF16, "qlora", None),
        ("--quantization_bit 4 --sft_type lora", Precision.PURE_BF16, "qlora", None),
        ("--deepspeed zero2", Precision.PURE_BF16, "lora", "zero2"),
        ("--deepspeed zero3_offload --tuner_type full", Precision.PURE_BF16, "none", "zero3"),
        ("--deepspeed zero0", Precision.PURE_BF16, "lora", "ddp"),
    ],
)
def test_what_a_run_holds(flags: str, precision: Precision | None, adapter: str, sharding: str | None) -> None:
    found = reading("run.sh", LINE.format(flags))
    assert values(found, "precision", "adapter", "sharding") == (precision, adapter, sharding)


@pytest.mark.parametrize(
    ("name", "optimizer", "parameters"),
    [("zero2_offload", True, None), ("zero3_offload", True, True), ("zero3", None, None)],
)
def test_offload_by_name(name: str, optimizer: bool | None, parameters: bool | None) -> None:
    found = reading("run.sh", LINE.format(f"--deepspeed {name}"))
    assert values(found, "offload_optimizer", "offload_parameters") == (optimizer, parameters)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (LINE.format("--quant_bits 8 --quant_method hqq"), "weights of 8 bits by hqq are not worked out"),
        (LINE.format("--tuner_type boft"), "the memory of tuner boft is not worked out"),
        (LINE.format("--task_type embedding"), "the memory of task_type embedding is not worked out"),
        ("CUDA_VISIBLE_DEVICES=0,1 " + LINE.format(""), "2 GPUs for 1 process: device_map spreads the layers"),
        ("CUDA_VISIBLE_DEVICES=0,1,2,3 NPROC_PER_NODE=2 " + LINE.format(""), "4 GPUs for 2 processes"),
    ],
)
def test_memory_that_is_not_worked_out(line: str, reason: str) -> None:
    model = reading("run.sh", line).plan.model
    assert not model.known
    assert reason in model.note


def test_one_process_spreads_over_the_machine() -> None:
    line = LINE.format("")
    assert "8 GPUs for 1 process" in reading("run.sh", line, Surroundings(gpus=8)).plan.model.note
    assert reading("run.sh", line, Surroundings(gpus=1)).plan.model.known
    assert reading("run.sh", "NPROC_PER_NODE=8 " + line, Surroundings(gpus=8)).plan.model.known


def test_one_process_that_is_told_to_use_one_gpu() -> None:
    line = "SWIFT_SINGLE_DEVICE_MODE=1 CUDA_VISIBLE_DEVICES=0,1 " + LINE.format("")
    assert reading("run.sh", line).plan.model.known


YAML = "ENV:\n  NPROC_PER_NODE: {}\nmodel: m\ntuner_type: lora\ndataset: d\nmax_length: 2048\n"


@pytest.mark.parametrize(
    ("launch", "ranks"),
    [
        ("", 4),
        ("swift sft sft.yaml", 4),
        ("NPROC_PER_NODE=2 swift sft sft.yaml", 2),
        ("NNODES=2 swift sft sft.yaml", 8),
        ("torchrun --nproc_per_node 3 swift/cli/sft.py sft.yaml", 3),
    ],
)
def test_ranks_of_the_environment_that_a_file_spells(launch: str, ranks: int) -> None:
    for count in ("4", "'4'"):
        plan = reading("sft.yaml", YAML.format(count), Surroundings(launched_by=launch)).plan
        assert (plan.world_size.value, plan.accumulation.value) == (ranks, -(-16 // ranks))


def test_ranks_of_the_file_that_a_command_names() -> None:
    around = Surroundings({"sft.yaml": YAML.format(2)})
    found = reading("run.sh", "swift sft sft.yaml --learning_rate 1e-4 --max_length 512\n", around)
    assert values(found, "world_size", "seq_len") == (2, 512)


@pytest.mark.parametrize(("flags", "steps"), [("", 1), ("--gradient_accumulation_steps 4", 4)])
def test_grpo_accumulates_nothing_by_itself(flags: str, steps: int) -> None:
    line = LINE.format(f"--rlhf_type grpo {flags}").replace("swift sft", "NPROC_PER_NODE=2 swift rlhf")
    assert reading("run.sh", line).plan.accumulation.value == steps


@pytest.mark.parametrize(
    "text",
    [
        "train_type: supervised\ndataset: cifar10\nmodel: resnet50\n",
        "train_type: full\ndataset: cifar10\nmodel: resnet50\nbatch_size: 128\nlr: 0.1\n",
        "tuner_type: lora\nmodel: m\ndataset: d\nmax_length: 2048\nmicro_batch_size: 1\nglobal_batch_size: 4\n",
    ],
)
def test_files_of_others(text: str) -> None:
    assert all(found.plan.dialect != "swift" for found in readings("a.yaml", text))


def test_a_yaml_for_megatron_core_is_nobodys() -> None:
    text = "tuner_type: lora\nmodel: m\ndataset: d\nmax_length: 2048\npacking: true\npadding_free: true\n"
    batches = "num_train_epochs: 1\nmicro_batch_size: 1\nglobal_batch_size: 4\n"
    assert readings("a.yaml", text + batches) == []
    assert readings("a.yaml", f"rlhf_type: grpo\nnum_generations: 8\nuse_vllm: true\n{batches}") == []


def test_ranks_that_are_no_constant() -> None:
    found = reading("run.sh", "NNODES=$WORLD_SIZE NPROC_PER_NODE=8 " + LINE.format(""))
    assert not found.plan.world_size.known
    assert not found.plan.accumulation.known


@pytest.mark.parametrize(
    ("kind", "unit", "knows_model"), [("dpo", "pairs", True), ("kto", "samples", True), ("grpo", "completions", False)]
)
def test_what_a_sample_is(kind: str, unit: str, knows_model: bool) -> None:
    found = reading("run.sh", LINE.format(f"--rlhf_type {kind}").replace("swift sft", "swift rlhf"))
    assert (found.plan.batch_unit.value, found.plan.model.known) == (unit, knows_model)


def test_a_call() -> None:
    text = "from swift import SftArguments, sft_main\nsft_main(SftArguments(model='Qwen/Qwen3-8B', max_length=1024))\n"
    found = reading("train.py", text)
    assert (found.plan.dialect, found.plan.seq_len.value, found.plan.micro_batch.value) == ("swift", 1024, 1)


@pytest.mark.parametrize(
    "line",
    [
        "swift infer --model m --max_batch_size 8",
        "swift build -c release",
        "swift run sft --batch 3",
        "megatron export --model m",
    ],
)
def test_commands_that_train_nothing(line: str) -> None:
    assert readings("run.sh", line + "\n") == []
