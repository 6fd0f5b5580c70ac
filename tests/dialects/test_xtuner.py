"""XTuner: what stands beside the language model, its precision, DeepSpeed by name."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, told, values
from vramlint.plan import Precision

CONFIG = """\
from torch.optim import AdamW
from xtuner.model import SupervisedFinetune

optim_type = AdamW
model = dict(
    type={kind},
    llm=dict(pretrained_model_name_or_path="Qwen/Qwen2.5-7B", {llm}),
    {beside}
)
train_dataloader = dict(batch_size=2, dataset=dict(max_length=1024))
optim_wrapper = dict(type={wrapper}, optimizer=dict(type=optim_type, lr=1e-4), dtype="bfloat16")
"""
FOUR = "torch_dtype=torch.float16, quantization_config=dict(load_in_4bit=True, bnb_4bit_use_double_quant=True)"
LORA = "lora=dict(r=64, lora_dropout=0.1),"


def config(llm: str = "", beside: str = "", kind: str = "SupervisedFinetune", wrapper: str = "AmpOptimWrapper") -> str:
    return CONFIG.format(llm=llm, beside=beside, kind=kind, wrapper=wrapper)


def test_qlora() -> None:
    found = reading("c.py", config(FOUR, LORA))
    assert found.plan.dialect == "xtuner"
    assert values(found, "adapter", "adapter_rank", "double_quantization", "adapter_targets") == (
        "qlora",
        64,
        True,
        "all-linear",
    )
    assert told(found.plan.grad_checkpointing) == (True, "default", None)
    assert values(found, "optimizer", "seq_len", "micro_batch") == ("AdamW", 1024, 2)


@pytest.mark.parametrize(
    ("llm", "wrapper", "precision"),
    [
        ("torch_dtype=torch.float16", "AmpOptimWrapper", Precision.PURE_FP16),
        ("torch_dtype=torch.bfloat16", "OptimWrapper", Precision.PURE_BF16),
        ("", "AmpOptimWrapper", Precision.BF16),
        ("", "OptimWrapper", Precision.FP32),
    ],
)
def test_precision(llm: str, wrapper: str, precision: Precision) -> None:
    assert reading("c.py", config(llm, wrapper=wrapper)).plan.precision.value is precision


@pytest.mark.parametrize(
    ("kind", "unit", "knows_model"),
    [("SupervisedFinetune", "samples", True), ("DPO", "pairs", True), ("LLaVAModel", "samples", False)],
)
def test_what_is_trained(kind: str, unit: str, knows_model: bool) -> None:
    plan = reading("c.py", config(kind=kind)).plan
    assert (plan.batch_unit.value, plan.model.known) == (unit, knows_model)


@pytest.mark.parametrize(
    ("name", "sharding", "optimizer", "parameters"),
    [
        ("deepspeed_zero2", "zero2", None, None),
        ("deepspeed_zero2_offload", "zero2", True, None),
        ("deepspeed_zero3_offload", "zero3", True, True),
        ("mine.json", None, None, None),
    ],
)
def test_deepspeed_by_name(name: str, sharding: str | None, optimizer: bool | None, parameters: bool | None) -> None:
    around = Surroundings(launched_by=f"NPROC_PER_NODE=4 xtuner train c.py --deepspeed {name}")
    found = reading("c.py", config(), around)
    assert values(found, "sharding", "offload_optimizer", "offload_parameters", "world_size") == (
        sharding,
        optimizer,
        parameters,
        4,
    )


def test_adapters_on_8_bits_and_named_layers() -> None:
    found = reading(
        "c.py", config("quantization_config=dict(load_in_8bit=True)", "lora=dict(r=8, target_modules=['q_proj']),")
    )
    assert values(found, "adapter", "base_quantization", "adapter_targets") == ("lora", "int8", ["q_proj"])


def test_parts_beside_the_language_model_have_dtypes_of_their_own() -> None:
    plan = reading("c.py", config("torch_dtype=torch.float16", "freeze_llm=True,", kind="LLaVAModel")).plan
    assert not plan.precision.known
    assert not plan.adapter.known


@pytest.mark.parametrize(
    ("old", "new", "precision", "adapter"),
    [
        ("type=AmpOptimWrapper", "type='mmengine.optim.AmpOptimWrapper'", Precision.BF16, "none"),
        ("optim_wrapper = dict(type=AmpOptimWrapper, ", "optim_wrapper = dict(", None, "none"),
        ("lora=dict()", "lora=shared_lora", Precision.BF16, None),
    ],
)
def test_what_the_file_does_not_say(old: str, new: str, precision: Precision | None, adapter: str | None) -> None:
    text = config("", "lora=dict()," if "lora" in old else "")
    assert old in text
    found = reading("c.py", text.replace(old, new))
    assert values(found, "precision", "adapter") == (precision, adapter)


def test_classes_named_by_text() -> None:
    text = config("torch_dtype='float16'").replace("type=optim_type", "type='torch.optim.AdamW'")
    found = reading("c.py", text)
    assert values(found, "precision", "optimizer") == (Precision.PURE_FP16, "AdamW")
