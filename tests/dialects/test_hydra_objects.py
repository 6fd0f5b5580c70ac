"""Hydra configs that build loader and trainer with ``_target_``: references, words of the launch line, what is left."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import Precision

YAML = """\
batch_size: 32
data:
  train:
    _target_: torch.utils.data.DataLoader
    batch_size: ${batch_size}
    num_workers: ${oc.env:WORKERS}
  val:
    _target_: torch.utils.data.DataLoader
    batch_size: 1
trainer:
  _target_: lightning.pytorch.Trainer
  devices: 2
  precision: bf16-mixed
optimizer:
  _target_: torch.optim.AdamW
  lr: 1e-4
"""


def test_references_are_followed_to_the_place_that_spells_them() -> None:
    found = reading("conf/config.yaml", YAML)
    assert told(found.plan.micro_batch) == (32, "file", 1)
    assert values(found, "accumulation", "effective_batch", "precision") == (1, 64, Precision.BF16)
    assert not found.plan.workers_per_rank.known


def test_words_of_the_launch_line_win() -> None:
    line = "python train.py --config-name config trainer.devices=4 data.train.batch_size=8\n"
    found = reading("conf/config.yaml", YAML, Surroundings(launched_by=line))
    assert values(found, "micro_batch", "world_size", "effective_batch") == (8, 4, 32)
    assert told(found.plan.micro_batch)[1] == "launch"


def test_loaders_that_do_not_say_which_is_for_training() -> None:
    text = YAML.replace("  train:", "  first:").replace("  val:", "  second:")
    assert not reading("conf/config.yaml", text).plan.micro_batch.known


@pytest.mark.parametrize(
    "text",
    [
        "loader:\n  _target_: torch.utils.data.DataLoader\n  batch_size: 8\n",
        "trainer:\n  _target_: lightning.Trainer\n  devices: 2\n",
        "optimizer:\n  _target_: torch.optim.AdamW\n  lr: 0.1\nbatch_size: 8\n",
    ],
)
def test_parts_are_left_alone(text: str) -> None:
    assert readings("conf/part.yaml", text) == []
