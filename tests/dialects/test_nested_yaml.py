"""A program's own YAML: project E and its relatives."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import ImageSize, Precision

FIVES = """\
model:
  name: unet
trainer:
  epochs: 120
  lr: 1.0e-4
  optimizer: adamw
dataset:
  FIVES:
    image_size: 1024
    batch_size: 4
    num_workers: 4
"""


@pytest.mark.parametrize(("gpus", "effective"), [(1, 4), (2, 8), (8, 32)])
def test_project_e_before(gpus: int, effective: int) -> None:
    found = reading("config.yml", FIVES, Surroundings(gpus=gpus))
    plan = found.plan
    assert told(plan.micro_batch) == (4, "file", 10)
    assert told(plan.image_size) == (ImageSize(1024, 1024), "file", 9)
    assert told(plan.model) == ("unet", "file", 2)
    assert values(found, "accumulation", "precision", "effective_batch") == (1, Precision.FP32, effective)
    assert (plan.accumulation.origin, plan.precision.origin) == ("default", "default")


def test_missing_keys_go_into_the_trainers_section_in_the_files_own_family() -> None:
    found = reading("config.yml", FIVES, Surroundings(gpus=1))
    root = found.document.root
    trainer = root.get("trainer")  # type: ignore[union-attr]
    for fact, key in (("accumulation", "gradient_accumulation_steps"), ("precision", "mixed_precision")):
        slot = found.slots[fact]
        assert (slot.node, slot.parent, slot.key, slot.after) == (None, trainer, key, None)
    assert found.slots["precision"].spell(Precision.FP16) == "fp16"
    assert found.slots["prefetch_factor"].after == "num_workers"


def test_a_file_that_abbreviates_gets_short_keys() -> None:
    text = "train:\n  batch: 4\n  lr: 0.1\n  epochs: 3\n  workers: 2\n"
    slots = reading("config.yml", text).slots
    assert (slots["accumulation"].key, slots["precision"].key) == ("accum", "amp")
    assert slots["precision"].spell(Precision.FP16) is True
    assert "grad_checkpointing" not in slots


@pytest.mark.parametrize(
    ("line", "precision"),
    [
        ("mixed_precision: fp16", Precision.FP16),
        ("mixed_precision: bf16", Precision.BF16),
        ("mixed_precision: no", Precision.FP32),
        ('mixed_precision: "no"', Precision.FP32),
        ("precision: 16", Precision.FP16),
        ("precision: bf16-true", Precision.PURE_BF16),
        ("use_amp: true", Precision.FP16),
        ("use_amp: false", Precision.FP32),
        ("use_amp: true\n  amp_dtype: bfloat16", Precision.BF16),
        ("use_amp: false\n  amp_dtype: bfloat16", Precision.FP32),
        ("fp16: true\n  bf16: true", None),
        ("precision: ${oc.env:PRECISION}", None),
    ],
)
def test_precision(line: str, precision: Precision | None) -> None:
    found = reading("config.yml", FIVES.replace("  epochs: 120", f"  {line}\n  epochs: 120"))
    assert found.plan.precision.value is precision


def test_two_data_sets_make_the_batch_unknown_unless_one_is_named() -> None:
    text = FIVES + "  DRIVE:\n    image_size: 512\n    batch_size: 16\n    num_workers: 4\n"
    plan = reading("config.yml", text, Surroundings(gpus=1)).plan
    assert not plan.micro_batch.known
    assert "dataset.FIVES.batch_size = 4" in plan.micro_batch.note
    assert not plan.effective_batch.known
    assert plan.workers_per_rank.value == 4
    chosen = reading("config.yml", text.replace("dataset:\n", "dataset:\n  name: DRIVE\n"), Surroundings(gpus=1))
    assert told(chosen.plan.micro_batch) == (16, "file", 15)


def test_evaluation_sections_do_not_count() -> None:
    text = FIVES + "val:\n  batch_size: 64\ntest_dataloader:\n  batch_size: 32\n"
    assert reading("config.yml", text).plan.micro_batch.value == 4


def test_the_last_of_a_duplicate_key_counts() -> None:
    text = FIVES.replace("    batch_size: 4\n", "    batch_size: 4\n    batch_size: 2\n")
    assert told(reading("config.yml", text).plan.micro_batch) == (2, "file", 11)


def test_crlf_and_a_byte_order_mark_keep_the_lines() -> None:
    text = "\ufeff" + FIVES.replace("\n", "\r\n")
    assert told(reading("config.yml", text).plan.micro_batch) == (4, "file", 10)


@pytest.mark.parametrize(
    ("line", "ranks"), [("gpus: 2", 2), ("devices: [0, 1, 2]", 3), ("gpus: -1", None), ("devices: auto", None)]
)
def test_the_files_own_gpu_count(line: str, ranks: int | None) -> None:
    plan = reading("config.yml", f"{line}\n{FIVES}").plan
    assert plan.world_size.value == ranks


@pytest.mark.parametrize(
    "text",
    [
        "batch_size: 4\nname: x\n",
        "server:\n  batch_size: 4\n  workers: 2\n",
        "defaults:\n  - model: unet\ntrainer:\n  lr: 0.1\n  epochs: 3\nbatch_size: 4\n",
        "apiVersion: v1\nkind: Job\nspec: {batch_size: 4, epochs: 3, lr: 1, num_workers: 2}\n",
        "model: {train_ds: {batch_size: 4}}\noptim: {lr: 1}\ntrainer: {max_epochs: 3}\n",
        "MODEL: {NAME: hrnet}\nTRAIN: {BATCH_SIZE_PER_GPU: 16, LR: 1}\nWORKERS: 4\nTEST: {EPOCH: 3}\n",
        "vllm: {batch_size: 8}\n",
        "validation:\n  batch_size: 4\n  num_workers: 3\n  lr: 1\n  epochs: 3\n",
    ],
)
def test_not_a_training_program_of_its_own(text: str) -> None:
    assert [found for found in readings("config.yml", text) if found.plan.dialect == "nested_yaml"] == []
