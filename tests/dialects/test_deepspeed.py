"""DeepSpeed JSON and accelerate YAML: two of three batch keys, ranks over all machines, stages."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, told, values
from vramlint.plan import Precision


@pytest.mark.parametrize(
    ("batch", "micro", "accumulation", "effective"),
    [
        ('"train_batch_size": 64, "train_micro_batch_size_per_gpu": 4', 4, 2, 64),
        ('"train_batch_size": 64, "gradient_accumulation_steps": 4', 2, 4, 64),
        ('"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 4', 4, 4, 128),
        ('"train_batch_size": 64', 8, 1, 64),
        ('"train_micro_batch_size_per_gpu": 4', 4, 1, 32),
        ('"train_batch_size": 4', None, 1, None),
        ('"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto"', None, 1, None),
        (
            '"train_batch_size": 64, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": "auto"',
            4, None, None,
        ),
    ],
)  # fmt: skip
def test_two_of_three_on_8_gpus(batch: str, micro: int | None, accumulation: int | None, effective: int | None) -> None:
    text = '{"zero_optimization": {"stage": 2}, %s}' % batch  # noqa: UP031
    found = reading("ds.json", text, Surroundings(gpus=8))
    assert found.plan.dialect == "deepspeed"
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (micro, accumulation, effective)


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ('"bf16": {"enabled": true}', Precision.BF16),
        ('"fp16": {"enabled": true}', Precision.FP16),
        ('"fp16": {"enabled": "auto"}', None),
        ('"fp16": {"enabled": false}', Precision.FP32),
    ],
)
def test_precision_and_stage(text: str, precision: Precision | None) -> None:
    found = reading("ds.json", '{"zero_optimization": {"stage": 3}, "train_batch_size": 8, %s}' % text)  # noqa: UP031
    assert found.plan.precision.value is precision
    assert told(found.plan.sharding) == ("zero3", "file", 1)


ACCELERATE = "compute_environment: LOCAL_MACHINE\ndistributed_type: {kind}\nnum_machines: 2\nnum_processes: 8\n"


@pytest.mark.parametrize(
    ("kind", "more", "sharding"),
    [
        ("FSDP", "", "fsdp"),
        ("MULTI_GPU", "", "ddp"),
        ("DEEPSPEED", "deepspeed_config: {zero_stage: 3}\n", "zero3"),
        ("DEEPSPEED", "deepspeed_config: {deepspeed_config_file: z.json}\n", None),
        ("'NO'", "", "none"),
    ],
)
def test_accelerate(kind: str, more: str, sharding: str | None) -> None:
    found = reading("acc.yaml", ACCELERATE.format(kind=kind) + more)
    assert values(found, "world_size", "nodes", "sharding", "precision") == (8, 2, sharding, Precision.FP32)
    assert not found.plan.micro_batch.known


@pytest.mark.parametrize(
    ("word", "precision"), [("bf16", Precision.BF16), ("'no'", Precision.FP32), ("no", Precision.FP32)]
)
def test_accelerate_precision(word: str, precision: Precision) -> None:
    found = reading("acc.yaml", ACCELERATE.format(kind="MULTI_GPU") + f"mixed_precision: {word}\n")
    assert found.plan.precision.value is precision
