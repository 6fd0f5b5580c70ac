"""What a script says beside TrainingArguments: checkpoint, adapters, dtype, length, checkpointing."""

from __future__ import annotations

import pytest

from tests.dialects.support import reading, told
from vramlint.plan import TrainingPlan

SCRIPT = """\
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, Trainer, TrainingArguments
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

MODEL = "Qwen/Qwen2.5-7B"
LENGTH = 1024
tokenizer = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForCausalLM.from_pretrained(MODEL{loading})
{between}
data = data.map(lambda x: tokenizer(x["text"], truncation=True, max_length=LENGTH{padding}))
args = TrainingArguments(output_dir="out", per_device_train_batch_size=2, bf16=True)
Trainer(model, args).train()
"""
LORA = 'model = get_peft_model(model, LoraConfig(r=32, target_modules=["q_proj", "v_proj"], lora_dropout=0.05))'


def plan_of(loading: str = "", between: str = "", padding: str = "") -> TrainingPlan:
    return reading("train.py", SCRIPT.format(loading=loading, between=between, padding=padding)).plan


def test_the_checkpoint_and_the_length_stand_where_they_are_used() -> None:
    plan = plan_of()
    assert told(plan.model) == ("Qwen/Qwen2.5-7B", "file", 8)
    assert told(plan.seq_len) == (1024, "file", 10)
    assert plan.task.value == "causal-lm"
    assert plan.fact("packing").value is False
    assert not plan.adapter.known


def test_samples_that_are_padded_to_the_limit_or_joined_are_not_said_to_be_shorter() -> None:
    assert not plan_of(padding=', padding="max_length"').fact("packing").known
    assert not plan_of(between="def group_texts(examples): ...").fact("packing").known


@pytest.mark.parametrize(
    ("loading", "precision", "as_saved"),
    [
        ("", "bf16", True),
        (', torch_dtype="auto"', "bf16", True),
        (", torch_dtype=torch.bfloat16", "pure-bf16", None),
        (", dtype=torch.bfloat16", "pure-bf16", None),
        (", dtype=torch.float32", "bf16", None),
        (", torch_dtype=DTYPE", "bf16", None),
    ],
)
def test_the_dtype_of_the_weights(loading: str, precision: str, as_saved: bool | None) -> None:
    plan = plan_of(loading)
    assert plan.precision.value == precision
    assert plan.fact("weights_as_saved").value is as_saved


@pytest.mark.parametrize(
    ("loading", "between", "adapter", "rank", "targets", "checkpointing"),
    [
        ("", LORA, "lora", 32, ["q_proj", "v_proj"], False),
        ("", "model = get_peft_model(model, LoraConfig())", "lora", 8, None, False),
        (", load_in_4bit=True", LORA, "qlora", 32, ["q_proj", "v_proj"], False),
        (
            ", quantization_config=BitsAndBytesConfig(load_in_4bit=True)",
            "model = prepare_model_for_kbit_training(model)\n" + LORA,
            "qlora", 32, ["q_proj", "v_proj"], True,
        ),
        ("", "model.gradient_checkpointing_enable()", None, None, None, True),
        ("", "prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)", None, None, None, False),
    ],
)  # fmt: skip
def test_adapters_and_checkpointing(
    loading: str,
    between: str,
    adapter: str | None,
    rank: int | None,
    targets: object,
    checkpointing: bool,
) -> None:
    plan = plan_of(loading, between)
    assert plan.adapter.value == adapter
    assert plan.adapter_rank.value == rank
    assert plan.fact("adapter_targets").value == targets
    assert plan.grad_checkpointing.value is checkpointing


def test_checkpoints_that_differ_are_nobodys() -> None:
    plan = plan_of(between='teacher = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-14B")')
    assert not plan.model.known


def test_an_argument_of_the_call_wins_over_the_script() -> None:
    text = SCRIPT.format(loading="", between="", padding="").replace(
        "bf16=True", "bf16=True, gradient_checkpointing=False"
    )
    off = reading("train.py", text.replace("data = ", "model.gradient_checkpointing_enable()\ndata = ", 1)).plan
    assert told(off.grad_checkpointing)[0] is False


def test_trl_takes_a_name_and_unsloth_has_kernels_of_its_own() -> None:
    sft = """\
from trl import SFTConfig, SFTTrainer
args = SFTConfig(output_dir="out", per_device_train_batch_size=2, max_length=512)
SFTTrainer(model="Qwen/Qwen2.5-0.5B", args=args, train_dataset=data).train()
"""
    plan = reading("sft.py", sft).plan
    assert (plan.model.value, plan.seq_len.value) == ("Qwen/Qwen2.5-0.5B", 512)
    unsloth = """\
from unsloth import FastLanguageModel
from trl import SFTConfig, SFTTrainer
model, tokenizer = FastLanguageModel.from_pretrained("unsloth/Llama-3.2-1B", max_seq_length=4096, load_in_4bit=True)
model = FastLanguageModel.get_peft_model(model, r=16, use_gradient_checkpointing="unsloth")
SFTTrainer(model=model, args=SFTConfig(output_dir="out", per_device_train_batch_size=2)).train()
"""
    plan = reading("sft.py", unsloth).plan
    assert plan.model.value == "unsloth/Llama-3.2-1B"
    assert plan.fact("implementation").value == "unsloth"
    assert (plan.adapter.value, plan.adapter_rank.value, plan.grad_checkpointing.value) == ("qlora", 16, True)
    assert plan.seq_len.value == 4096


def test_a_vision_checkpoint_names_its_size() -> None:
    text = """\
from transformers import AutoModelForImageClassification, Trainer, TrainingArguments
model = AutoModelForImageClassification.from_pretrained("google/vit-base-patch16-384", num_labels=10)
Trainer(model=model, args=TrainingArguments(output_dir="o", per_device_train_batch_size=8), train_dataset=ds).train()
"""
    plan = reading("vit.py", text).plan
    assert str(plan.image_size.value) == "384x384"
    assert plan.task.value != "causal-lm"


def test_a_contrastive_model_is_named_by_its_class() -> None:
    text = (
        "from transformers import CLIPModel, TrainingArguments\n"
        "model = CLIPModel.from_pretrained('openai/clip-vit-base-patch32')\n"
        "args = TrainingArguments(output_dir='o', per_device_train_batch_size=64, fp16=True)\n"
    )
    assert reading("train.py", text).plan.model.value == "openai/clip-vit-base-patch32"
