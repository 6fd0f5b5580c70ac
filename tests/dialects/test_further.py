"""The table of further facts: its readers, and each kind of source it is read from."""

from __future__ import annotations

from typing import Any

import pytest

from vramlint.dialects import further_images, further_language, further_readers, registry
from vramlint.engine import CheckOptions, check_source
from vramlint.plan import Fact, Origin, TrainingPlan

READERS = [
    (further_readers.whole, 500, 500),
    (further_readers.whole, "500", 500),
    (further_readers.whole, 2.0, 2),
    (further_readers.whole, 0.1, None),
    (further_readers.whole, -1, None),
    (further_readers.number, "1e-4", 1e-4),
    (further_readers.number, [0.0005], 0.0005),
    (further_readers.number, [0.1, 0.2], None),
    (further_readers.offloaded, "cpu", True),
    (further_readers.offloaded, "none", False),
    (further_readers.flash, True, "flash_attention_2"),
    (further_readers.flash, False, None),
    (further_readers.attention, "fa2", "flash_attention_2"),
    (further_readers.attention, "auto", None),
    (further_readers.capped, "train[:100]", 100),
    (further_readers.capped, "train[:5%]", None),
    (further_readers.capped, "train", None),
    (further_readers.batches, "100ba", 100),
    (further_readers.batches, "1ep", None),
    (further_readers.static_scale, "dynamic", 0.0),
    (further_readers.static_scale, 1, 1.0),
    (further_readers.searched, -1, True),
    (further_readers.searched, 0.7, True),
    (further_readers.searched, 16, False),
]


@pytest.mark.parametrize(("read", "value", "meant"), READERS)
def test_readers(read: Any, value: object, meant: object) -> None:
    assert read(value) == meant


def test_every_group_belongs_to_a_dialect_and_has_a_version() -> None:
    dialects = {row.name for row in registry.rows()}
    groups = {**further_language.FACTS, **further_images.FACTS}
    assert groups.keys() <= dialects
    assert all(group.source for group in groups.values())
    assert all(base in groups for group in groups.values() for base in group.extends)


HF = "output_dir: out\nper_device_train_batch_size: 4\ngradient_accumulation_steps: 2\n"
MEGATRON = "torchrun --nproc_per_node=8 pretrain_gpt.py --micro-batch-size 2 --global-batch-size 64 --lr 1e-4 --bf16"


def plan(path: str, text: str) -> TrainingPlan:
    (run,) = check_source(path, text.encode(), CheckOptions(isolated=True)).runs
    return run.reading.plan


SPELLED = [
    ("sft.yaml", HF + "warmup_steps: 500\n", "warmup_steps", 500),
    ("sft.yaml", HF + "gradient_checkpointing_kwargs:\n  use_reentrant: true\n", "reentrant", True),
    ("train.sh", MEGATRON + " --tensor-model-parallel-size 4\n", "tensor_parallel", 4),
    ("train.sh", MEGATRON + " --lr-warmup-iters 100\n", "warmup_steps", 100),
    ("train.sh", "yolo detect train model=yolo11s.pt data=coco.yaml batch=-1\n", "batch_search", True),
    (
        "train.sh",
        "python train.py --model resnet50 --batch_size 4 --epochs 3 --lr 0.1 --drop_last True\n",
        "drop_last",
        True,
    ),
    (
        "config.py",
        "class Config:\n    batch_size = 4\n    epochs = 3\n    learning_rate = 0.1\n    drop_last = False\n",
        "drop_last",
        False,
    ),
]


@pytest.mark.parametrize(("path", "text", "fact", "value"), SPELLED)
def test_a_spelled_fact_knows_its_place(path: str, text: str, fact: str, value: object) -> None:
    found: Fact[Any] = plan(path, text).fact(fact)
    assert found.value == value
    assert found.spelled
    assert found.location is not None


def test_a_default_names_its_framework_and_a_reference_is_unknown() -> None:
    silent = plan("sft.yaml", HF).fact("drop_last")
    assert (silent.value, silent.origin) == (False, Origin.DEFAULT)
    assert "transformers" in silent.note
    referred = plan("sft.yaml", HF + "warmup_steps: ${oc.env:WARMUP}\n").fact("warmup_steps")
    assert not referred.known
    unreadable = plan("sft.yaml", HF + "tf32: sometimes\n").fact("tf32")
    assert not unreadable.known
