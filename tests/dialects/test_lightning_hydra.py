"""lightning-hydra-template: a GLOBAL batch in Hydra groups.

Expectations: ``src/data/mnist_datamodule.py`` of the template (divides by the world size, raises where it does not
divide); Hydra 1.3 "The Defaults List" (order, ``_self_``, ``override``).
"""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import Precision

TRAIN = """\
defaults:
  - _self_
  - data: mnist
  - model: mnist
  - trainer: default
  - experiment: null
  - optional local: default

task_name: train
"""
FILES = {
    "configs/train.yaml": TRAIN,
    "configs/data/mnist.yaml": "_target_: src.data.mnist.MNIST\nbatch_size: 128\nnum_workers: 2\npin_memory: false\n",
    "configs/model/mnist.yaml": "_target_: src.models.Lit\noptimizer:\n  lr: 0.001\n",
    "configs/trainer/default.yaml": "_target_: lightning.Trainer\nmax_epochs: 10\naccelerator: cpu\ndevices: 1\n",
    "configs/trainer/ddp.yaml": "defaults:\n  - default\n\nstrategy: ddp\naccelerator: gpu\ndevices: 4\nnum_nodes: 1\n",
    "configs/trainer/all.yaml": "defaults:\n  - default\n\ndevices: auto\nprecision: bf16-mixed\n",
    "configs/experiment/big.yaml": "# @package _global_\ndefaults:\n  - override /data: mnist\n"
    "  - override /trainer: ddp\n\ndata:\n  batch_size: 64\n",
    "src/data/mnist.py": "class MNIST:\n    def setup(self):\n        n = self.batch_size // self.trainer.world_size\n",
    "src/train.py": '@hydra.main(config_path="../configs", config_name="train.yaml")\ndef main(cfg): ...\n',
}


@pytest.mark.parametrize(
    ("words", "micro", "world", "accumulation", "effective"),
    [
        ("trainer.max_epochs=5", 128, 1, 1, 128),
        ("trainer=ddp", 32, 4, 1, 128),
        ("trainer=ddp data.batch_size=256", 64, 4, 1, 256),
        ("trainer=ddp trainer.devices=2 trainer.accumulate_grad_batches=4", 64, 2, 4, 512),
        ("trainer=ddp +trainer.num_nodes=2", 16, 8, 1, 128),
        ("trainer=ddp trainer.devices=3", None, 3, 1, None),
        ("experiment=big", 16, 4, 1, 64),
        ("experiment=big trainer=default", 64, 1, 1, 64),
    ],
)
def test_a_command(words: str, micro: int | None, world: int, accumulation: int, effective: int | None) -> None:
    found = reading("scripts/run.sh", f"python src/train.py {words}\n", Surroundings(FILES))
    assert values(found, "micro_batch", "world_size", "accumulation") == (micro, world, accumulation)
    assert values(found, "effective_batch", "workers_per_rank", "learning_rate") == (effective, 2, 0.001)


@pytest.mark.parametrize(("gpus", "micro"), [(1, 128), (2, 64), (3, None), (8, 16)])
def test_devices_auto_is_every_gpu(gpus: int, micro: int | None) -> None:
    found = reading("run.sh", "python src/train.py trainer=all\n", Surroundings(FILES, gpus=gpus))
    assert values(found, "micro_batch", "world_size", "precision") == (micro, gpus, Precision.BF16)


def test_the_primary_config_and_an_experiment() -> None:
    primary = reading("configs/train.yaml", TRAIN, Surroundings(FILES))
    assert told(primary.plan.global_batch) == (128, "file", 2)
    assert primary.slots["micro_batch"].document.path == "configs/data/mnist.yaml"
    path = "configs/experiment/big.yaml"
    experiment = reading(path, FILES[path], Surroundings(FILES))
    assert values(experiment, "micro_batch", "world_size", "global_batch", "epochs") == (16, 4, 64, 10)


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_a_data_module_that_does_not_divide_has_a_batch_per_device(gpus: int) -> None:
    files = {**FILES, "src/data/mnist.py": "class MNIST:\n    batch_size = 1\n"}
    found = reading("run.sh", f"python src/train.py trainer.devices={gpus}\n", Surroundings(files))
    assert values(found, "micro_batch", "effective_batch", "global_batch") == (128, 128 * gpus, None)


def test_groups_that_are_not_at_hand_leave_it_open() -> None:
    found = reading("configs/train.yaml", TRAIN, Surroundings({}, gpus=8))
    assert values(found, "micro_batch", "accumulation", "precision") == (None, None, None)


@pytest.mark.parametrize("path", ["configs/trainer/ddp.yaml", "configs/data/mnist.yaml", "configs/model/mnist.yaml"])
def test_files_of_a_group_are_left_alone(path: str) -> None:
    assert readings(path, FILES[path]) == []


def test_an_evaluation_is_left_alone() -> None:
    assert readings("configs/eval.yaml", TRAIN + "ckpt_path: ???\n") == []
