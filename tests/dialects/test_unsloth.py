"""unsloth Studio: batches, 4-bit adapters, checkpointing words."""

from __future__ import annotations

import pytest

from tests.dialects.support import AMPERE, TURING, Surroundings, reading, values
from vramlint.hardware.model import Gpu
from vramlint.plan import Precision

YAML = "model: m\ntraining:\n  max_seq_length: 512\n  batch_size: {}\n  gradient_accumulation_steps: {}\n{}"


@pytest.mark.parametrize(
    ("gpus", "batch", "steps", "effective"),
    # studio/backend/core/training/trainer.py: SFTConfig(per_device_train_batch_size=batch_size, ...).
    [(1, 2, 4, 8), (2, 2, 4, 16), (3, 2, 4, 24), (8, 2, 4, 64), (1, 1, 1, 1), (8, 1, 2, 16)],
)
def test_batches(gpus: int, batch: int, steps: int, effective: int) -> None:
    found = reading("x.yaml", YAML.format(batch, steps, ""), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (batch, steps, effective)


@pytest.mark.parametrize(
    ("lines", "adapter"),
    [
        ("  training_type: full\n", "none"),
        ("  training_type: lora\n", "qlora"),
        ("  training_type: lora\n  load_in_4bit: false\n", "lora"),
        ("", None),
    ],
)
def test_adapters(lines: str, adapter: str | None) -> None:
    assert reading("x.yaml", YAML.format(2, 4, lines)).plan.adapter.value == adapter


@pytest.mark.parametrize(
    ("lines", "on", "offloaded"),
    [
        ("", True, True),
        ('  gradient_checkpointing: "unsloth"\n', True, True),
        ("  gradient_checkpointing: true\n", True, None),
        ('  gradient_checkpointing: "none"\n', False, None),
        ("  gradient_checkpointing: maybe\n", None, None),
    ],
)
def test_checkpointing(lines: str, on: bool | None, offloaded: bool | None) -> None:
    found = reading("x.yaml", YAML.format(2, 4, lines))
    assert values(found, "grad_checkpointing", "activation_offload") == (on, offloaded)


@pytest.mark.parametrize(("gpu", "precision"), [(AMPERE, Precision.BF16), (TURING, Precision.FP16)])
def test_precision_is_that_of_the_card(gpu: Gpu, precision: Precision) -> None:
    assert reading("x.yaml", YAML.format(2, 4, ""), Surroundings(gpu=gpu)).plan.precision.value is precision
