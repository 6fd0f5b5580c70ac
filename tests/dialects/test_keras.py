"""Keras: replicas share the batch, policies, what is no run."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, values
from vramlint.plan import Precision

SCRIPT = """\
import tensorflow as tf
{}
model = tf.keras.Sequential([])
model.compile(optimizer="adam")
model.fit(x, y, batch_size={}, epochs=3)
"""
MIRRORED = "strategy = tf.distribute.MirroredStrategy()"


@pytest.mark.parametrize(
    ("gpus", "batch", "micro", "effective"),
    # keras.io/guides/distributed_training_with_tensorflow: "the global batch size", divided over the replicas.
    [(1, 64, 64, 64), (2, 64, 32, 64), (3, 64, None, None), (8, 64, 8, 64), (3, 96, 32, 96)],
)
def test_replicas_share_the_batch(gpus: int, batch: int, micro: int | None, effective: int | None) -> None:
    found = reading("t.py", SCRIPT.format(MIRRORED, batch), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "effective_batch") == (micro, effective)


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
def test_without_a_strategy_one_device_trains(gpus: int) -> None:
    found = reading("t.py", SCRIPT.format("", 64), Surroundings(gpus=gpus))
    assert values(found, "world_size", "micro_batch", "effective_batch") == (1, 64, 64)


def test_a_new_micro_batch_is_spelled_for_all_replicas() -> None:
    found = reading("t.py", SCRIPT.format(MIRRORED, 64), Surroundings(gpus=4))
    assert found.slots["micro_batch"].spell(8) == 32


@pytest.mark.parametrize(
    ("line", "precision"),
    [
        ("", Precision.FP32),
        ('tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")', Precision.BF16),
        ('keras.config.set_dtype_policy("mixed_float16")', Precision.FP16),
        ('a.set_global_policy("mixed_float16"); a.set_global_policy("float32")', None),
    ],
)
def test_precision(line: str, precision: Precision | None) -> None:
    assert reading("t.py", SCRIPT.format(line, 8)).plan.precision.value is precision


def test_an_optimizer_that_accumulates_leaves_the_step_open() -> None:
    text = SCRIPT.format("opt = tf.keras.optimizers.Adam(gradient_accumulation_steps=4)", 8)
    assert values(reading("t.py", text), "micro_batch", "effective_batch") == (8, None)


@pytest.mark.parametrize(
    "text",
    [
        "from sklearn.svm import SVC\nclf = SVC()\nclf.fit(x, y, batch_size=4)\n",
        "import tensorflow as tf\nmodel = tf.keras.Sequential([])\nmodel.fit(dataset, epochs=3)\n",
        "import tensorflow as tf\nmodel = tf.keras.Sequential([])\nmodel.fit(x, batch_size=size)\n",
    ],
)
def test_no_run(text: str) -> None:
    assert readings("t.py", text) == []
