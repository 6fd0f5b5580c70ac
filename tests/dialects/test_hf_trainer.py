"""Hugging Face TrainingArguments: flat YAML, JSON, calls."""

from __future__ import annotations

import pytest

from tests.dialects.support import AMPERE, TURING, Surroundings, reading, readings, told, values
from vramlint.errors import EditRefused
from vramlint.plan import Precision

YAML = """\
model_name_or_path: Qwen/Qwen2.5-0.5B
output_dir: out
max_seq_length: 2048
per_device_train_batch_size: 4
gradient_accumulation_steps: 8
learning_rate: 2.0e-5
bf16: true
dataloader_num_workers: 2
"""


@pytest.mark.parametrize(("gpus", "effective"), [(1, 32), (2, 64), (3, 96), (8, 256)])
def test_effective_batch(gpus: int, effective: int) -> None:
    found = reading("sft.yaml", YAML, Surroundings(gpus=gpus))
    assert found.plan.dialect == "hf_trainer"
    assert told(found.plan.micro_batch) == (4, "file", 4)
    assert told(found.plan.accumulation) == (8, "file", 5)
    assert told(found.plan.data_parallel) == (gpus, "derived", None)
    assert told(found.plan.effective_batch) == (effective, "derived", None)


def test_without_a_launch_line_or_target_the_world_is_unknown() -> None:
    plan = reading("sft.yaml", YAML).plan
    assert not plan.world_size.known
    assert not plan.effective_batch.known


@pytest.mark.parametrize(
    ("launcher", "ranks"),
    [
        ("torchrun --nproc_per_node=4 sft.py sft.yaml", 4),
        ("torchrun --nproc-per-node 4 --nnodes 2 sft.py sft.yaml", 8),
        ("accelerate launch --num_processes 8 --num_machines 2 sft.py sft.yaml", 8),
        ("deepspeed --num_gpus 3 sft.py sft.yaml", 3),
        ("deepspeed --include localhost:0,2 sft.py sft.yaml", 2),
        ("mpirun -np 6 python sft.py sft.yaml", 6),
    ],
)
def test_the_launch_line_gives_the_world(launcher: str, ranks: int) -> None:
    plan = reading("sft.yaml", YAML, Surroundings(gpus=16, launched_by=launcher)).plan
    assert told(plan.world_size) == (ranks, "launch", 1)
    assert plan.effective_batch.value == 32 * ranks


def test_defaults_carry_their_version() -> None:
    plan = reading(
        "sft.yaml", "output_dir: out\nlearning_rate: 2.0e-5\nnum_train_epochs: 1\n", Surroundings(gpus=1)
    ).plan
    assert told(plan.micro_batch) == (8, "default", None)
    assert "transformers 5.23.0" in plan.micro_batch.note
    assert values(reading("sft.yaml", YAML), "pin_memory", "persistent_workers", "prefetch_factor") == (True, False, 2)


@pytest.mark.parametrize(
    ("lines", "precision", "origin"),
    [
        ("bf16: true\n", Precision.BF16, "file"),
        ("fp16: true\n", Precision.FP16, "file"),
        ("bf16: false\nfp16: true\n", Precision.FP16, "file"),
        ("", Precision.FP32, "default"),
        ("bf16: auto\n", None, "unknown"),
    ],
)
def test_precision(lines: str, precision: Precision | None, origin: str) -> None:
    text = YAML.replace("bf16: true\n", lines)
    fact = reading("sft.yaml", text).plan.precision
    assert (fact.value, fact.origin.value) == (precision, origin)


@pytest.mark.parametrize(("gpu", "key"), [(AMPERE, "bf16"), (TURING, "fp16"), (None, "fp16")])
def test_a_missing_precision_can_be_added_as_the_card_has_it(gpu: object, key: str) -> None:
    found = reading("sft.yaml", YAML.replace("bf16: true\n", ""), Surroundings(gpu=gpu))  # type: ignore[arg-type]
    slot = found.slots["precision"]
    assert (slot.node, slot.key, slot.after) == (None, key, "gradient_accumulation_steps")
    assert slot.spell(Precision(key)) is True
    with pytest.raises(EditRefused):
        slot.spell(Precision.FP8)


def test_slots_of_what_is_spelled_and_of_what_can_be_added() -> None:
    slots = reading("sft.yaml", YAML).slots
    assert slots["micro_batch"].node is not None
    assert slots["micro_batch"].name == "per_device_train_batch_size"
    assert slots["grad_checkpointing"].node is None
    assert slots["grad_checkpointing"].key == "gradient_checkpointing"


@pytest.mark.parametrize(
    ("text", "doubted"), [("1e-4", True), ("2e5", True), ("1.0e-4", False), ("0.0001", False), ('"abc"', False)]
)
def test_a_learning_rate_that_pyyaml_reads_as_text(text: str, doubted: bool) -> None:
    found = reading("sft.yaml", YAML.replace("2.0e-5", text))
    assert [finding.name for finding in found.findings] == (["value-misread"] if doubted else [])
    if doubted:
        assert found.findings[0].location.line == 6


_READS_YAML = "from transformers import HfArgumentParser\nHfArgumentParser(X).parse_yaml_file(sys.argv[1])\n"


@pytest.mark.parametrize(
    ("launch", "files", "told"),
    [
        ("", {}, [("warning", "medium")]),
        ("torchrun run.py sft.yaml", {}, [("warning", "medium")]),
        ("torchrun run.py sft.yaml", {"run.py": _READS_YAML}, [("error", "high")]),
        ("python sft.py --config sft.yaml", {}, []),
        ("trl sft --config sft.yaml", {}, []),
    ],
)
def test_a_text_of_a_learning_rate_is_an_error_only_where_nobody_converts_it(
    launch: str, files: dict[str, str], told: list[tuple[str, str]]
) -> None:
    text = YAML.replace("2.0e-5", "1e-4")
    found = reading("sft.yaml", text, Surroundings(files, launched_by=launch))
    assert [(finding.severity.value, finding.confidence.value) for finding in found.findings] == told


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("per_device_train_batch_size: four", "four"),
        ("per_device_train_batch_size: true", "switch"),
        ("per_device_train_batch_size: -1", "-1"),
    ],
)
def test_a_value_of_the_wrong_type_is_unknown_with_its_place(text: str, name: str) -> None:
    fact = reading(
        "sft.yaml", YAML.replace("per_device_train_batch_size: 4", text), Surroundings(gpus=1)
    ).plan.micro_batch
    assert (fact.known, fact.location.line if fact.location else None) == (False, 4)
    assert name in fact.note


CALL = """\
from transformers import TrainingArguments
from trl import SFTConfig

def main(batch):
    args = {callee}(output_dir="out", per_device_train_batch_size={batch}, gradient_accumulation_steps=2)
"""


@pytest.mark.parametrize(
    ("callee", "precision", "checkpointing"),
    [("TrainingArguments", Precision.FP32, False), ("SFTConfig", Precision.BF16, True)],
)
def test_a_call_and_its_classs_own_defaults(callee: str, precision: Precision, checkpointing: bool) -> None:
    found = reading("train.py", CALL.format(callee=callee, batch=16), Surroundings(gpus=2))
    assert told(found.plan.micro_batch) == (16, "file", 5)
    assert values(found, "effective_batch", "precision", "grad_checkpointing") == (64, precision, checkpointing)


def test_a_variable_in_a_call_is_unknown() -> None:
    plan = reading("train.py", CALL.format(callee="TrainingArguments", batch="batch"), Surroundings(gpus=2)).plan
    assert not plan.micro_batch.known
    assert plan.micro_batch.location is not None
    assert not plan.effective_batch.known


def test_a_call_that_only_passes_variables_on_is_no_run() -> None:
    text = "from transformers import TrainingArguments\n\n\ndef f(a):\n    TrainingArguments(output_dir=a.o)\n"
    assert readings("train.py", text) == []


@pytest.mark.parametrize(
    "text",
    [
        "stage: sft\nfinetuning_type: lora\n" + YAML,
        "base_model: x\ndatasets: []\nmicro_batch_size: 1\n" + YAML,
        "architectures: [Qwen2ForCausalLM]\n" + YAML,
    ],
)
def test_frameworks_with_the_same_keys_are_not_taken(text: str) -> None:
    assert all(found.plan.dialect != "hf_trainer" for found in readings("x.yaml", text))


@pytest.mark.parametrize(
    ("flags", "adapter", "eight", "double", "targets"),
    [
        ("--use_peft_lora True --use_4bit_quantization True --use_nested_quant True", "qlora", None, True, None),
        ("--use_peft_lora True --use_8bit_quantization True", "lora", True, None, None),
        ("--lora_enable True --bits 4 --double_quant False", "qlora", None, False, None),
        ("--lora_enable True --bits 8", "lora", True, None, None),
        ("--lora_enable True --bits 16", "lora", None, None, None),
        ("--q_lora True --lora_target_modules q_proj v_proj", "qlora", None, None, ["q_proj", "v_proj"]),
        ("--lora_r 8 --lora_target_modules all-linear", "lora", None, None, "all-linear"),
    ],
)
def test_how_scripts_call_adapters_and_their_base(
    flags: str, adapter: str, eight: bool | None, double: bool | None, targets: object
) -> None:
    plan = reading("run.sh", f"python train.py --output_dir o --per_device_train_batch_size 2 {flags}\n").plan
    assert plan.adapter.value == adapter
    told = tuple(plan.fact(name).value for name in ("double_quantization", "adapter_targets"))
    assert told == (double, targets)
    assert (plan.fact("base_quantization").value == "int8") is bool(eight)


@pytest.mark.parametrize(
    ("line", "adapter"),
    [("use_peft: true\nload_in_4bit: true\n", "qlora"), ("lora_r: 16\n", "lora"), ("", None)],
)
def test_adapters(line: str, adapter: str | None) -> None:
    assert reading("sft.yaml", YAML + line).plan.adapter.value == adapter


@pytest.mark.parametrize(
    ("line", "precision"),
    [
        ("torch_dtype: bfloat16\n", Precision.PURE_BF16),
        ("torch_dtype: float32\n", Precision.BF16),
        ("", Precision.BF16),
    ],
)
def test_weights_loaded_in_bf16_have_no_fp32_copy(line: str, precision: Precision) -> None:
    assert reading("sft.yaml", YAML + line).plan.precision.value is precision


@pytest.mark.parametrize("key", ["learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm"])
def test_numbers_that_pyyaml_takes_for_texts(key: str) -> None:
    """torch's optimizers and the trainer compare them: a text stops the run."""
    text = "output_dir: out\nper_device_train_batch_size: 4\nnum_train_epochs: 1\n{}: {}\n"
    (found,) = reading("a.yaml", text.format(key, "1e-2")).findings
    assert found.message.startswith(f"{key} 1e-2 is text")
    assert "1.0e-2" in found.help
    for good in ("1.0e-2", "0.01", "1"):
        assert not reading("a.yaml", text.format(key, good)).findings


def test_deepspeed_holds_16_bits_and_nothing_autocasts() -> None:
    """accelerate 1.15 ``accelerator.py``: native_amp stays False under DeepSpeed, whose engine casts the model."""
    around = Surroundings({"ds.json": '{"zero_optimization": {"stage": 3}, "bf16": {"enabled": "auto"}}'})
    found = reading("sft.yaml", YAML + "deepspeed: ds.json\n", around).plan
    assert found.sharding.value == "zero3"
    assert found.fact("low_precision_weights").value is True
    assert reading("sft.yaml", YAML).plan.fact("low_precision_weights").value is None


@pytest.mark.parametrize(
    ("lines", "checkpointing"),
    [
        ("fsdp: full_shard\nfsdp_config: {activation_checkpointing: true}\n", True),
        ("fsdp: full_shard\nfsdp_config: {activation_checkpointing: false}\n", False),
        ("fsdp_config: {activation_checkpointing: true}\n", False),
        ("fsdp: full_shard\ngradient_checkpointing: false\nfsdp_config: {activation_checkpointing: true}\n", True),
    ],
)
def test_fsdp_checkpoints_too(lines: str, checkpointing: bool) -> None:
    found = reading("sft.yaml", YAML + lines).plan
    assert found.grad_checkpointing.value is checkpointing


def test_fsdp_gathers_16_bit_weights() -> None:
    """accelerate 1.15 ``state.py``: the plugin's mixed precision is that of the run."""
    found = reading("sft.yaml", YAML + "fsdp: full_shard auto_wrap\n").plan
    assert (found.sharding.value, found.fact("low_precision_weights").value) == ("fsdp", True)
