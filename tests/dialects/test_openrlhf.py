"""OpenRLHF: a global batch over the data-parallel ranks, two eras of flags, the actor's own world."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import Precision

SFT = "deepspeed --num_gpus {} --module openrlhf.cli.train_sft {}"
PPO = "python3 -m openrlhf.cli.train_ppo_ray {}"


@pytest.mark.parametrize(
    ("gpus", "flags", "micro", "steps", "effective"),
    [
        # utils/deepspeed/deepspeed.py:110: train * ring * tp // micro // world; DeepSpeed asserts the product.
        (1, "--train.batch_size 256 --train.micro_batch_size 2", 2, 128, 256),
        (2, "--train.batch_size 256 --train.micro_batch_size 2", 2, 64, 256),
        (3, "--train.batch_size 256 --train.micro_batch_size 2", 2, None, None),
        (8, "--train.batch_size 256 --train.micro_batch_size 2", 2, 16, 256),
        (8, "", 8, 2, 128),
        (7, "--train_batch_size 256 --micro_train_batch_size 2", 2, None, None),
        (8, "--train_batch_size 128 --micro_train_batch_size 4", 4, 4, 128),
        (8, "--train.batch_size 64 --train.micro_batch_size 4 --ds.ring_attn_size 2", 4, 4, 64),
        (8, "--train.batch_size 64 --train.micro_batch_size 4 --ds.tensor_parallel_size 4", 4, 8, 64),
    ],
)
def test_fine_tuning(gpus: int, flags: str, micro: int, steps: int | None, effective: int | None) -> None:
    found = reading("sft.sh", SFT.format(gpus, flags))
    assert values(found, "micro_batch", "world_size", "accumulation", "effective_batch") == (
        *(micro, gpus, steps, effective),
    )


@pytest.mark.parametrize(
    ("flags", "gpus", "ranks", "steps"),
    [
        ("", None, 8, 16),
        ("", 2, 2, 64),
        ("--actor.num_gpus_per_node 1", 8, 1, 128),
        ("--actor.num_gpus_per_node 4 --actor.num_nodes 2", None, 8, 16),
        ("--actor_num_gpus_per_node 2 --micro_train_batch_size 8", None, 2, 8),
        ("--actor.num_gpus_per_node 3", None, 3, None),
    ],
)
def test_ppo_runs_on_the_actors_gpus(flags: str, gpus: int | None, ranks: int, steps: int | None) -> None:
    found = reading("ppo.sh", PPO.format(flags), Surroundings(gpus=gpus))
    assert values(found, "world_size", "accumulation", "batch_unit") == (ranks, steps, "sequences")
    assert not found.plan.model.known


def test_a_token_budget_leaves_the_micro_batch_open() -> None:
    found = reading("ppo.sh", PPO.format("--train.batch_size 128 --train.dynamic_batch_enable"))
    assert values(found, "micro_batch", "effective_batch") == (None, 128)


@pytest.mark.parametrize(
    ("flags", "precision", "origin"),
    [
        ("--ds.param_dtype fp16", Precision.FP16, "launch"),
        ("--train.batch_size 64", Precision.BF16, "default"),
        ("--train_batch_size 64 --bf16", Precision.BF16, "launch"),
        ("--train_batch_size 64", Precision.FP32, "default"),
    ],
)
def test_precision_by_era(flags: str, precision: Precision, origin: str) -> None:
    assert told(reading("sft.sh", SFT.format(1, flags)).plan.precision)[:2] == (precision, origin)


@pytest.mark.parametrize(
    ("trainer", "unit", "length", "micro"),
    [("sft", "samples", 2048, 8), ("dpo", "pairs", 512, 8), ("rm", "pairs", 512, 1), ("ppo_ray", "sequences", 2048, 1)],
)
def test_each_trainer_counts_its_own_unit(trainer: str, unit: str, length: int, micro: int) -> None:
    found = reading("x.sh", f"deepspeed --module openrlhf.cli.train_{trainer} --train.batch_size 64")
    assert values(found, "batch_unit", "seq_len", "micro_batch", "sharding") == (unit, length, micro, "zero2")


def test_serving_trains_nothing() -> None:
    assert readings("serve.sh", "python -m openrlhf.cli.serve_rm --batch_size 32 --max_len 8192") == []
