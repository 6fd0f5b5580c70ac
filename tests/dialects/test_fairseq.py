"""fairseq and fairseq2: tokens and samples, accumulation lists, worlds that files and flags spell."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import Precision

YAML = """\
common: {{{common}}}
dataset: {{{dataset}}}
optimization: {{update_freq: {freq}, lr: [0.1]}}
criterion: {{_name: x}}
distributed_training: {{{world}}}
"""


def config(dataset: str = "batch_size: 16", freq: str = "[1]", world: str = "", common: str = "") -> str:
    return YAML.format(dataset=dataset, freq=freq, world=world, common=common)


@pytest.mark.parametrize(
    ("gpus", "freq", "effective"),
    # configs.py: batch_size is per GPU; trainer.py#train_step sums update_freq batches; all ranks draw their own.
    [(1, 1, 16), (2, 1, 32), (3, 1, 48), (8, 1, 128), (1, 4, 64), (2, 4, 128), (3, 4, 192), (8, 4, 512)],
)
def test_sentences(gpus: int, freq: int, effective: int) -> None:
    text = config(freq=f"[{freq}]", world=f"distributed_world_size: {gpus}")
    found = reading("x.yaml", text)
    assert values(found, "micro_batch", "world_size", "effective_batch") == (16, gpus, effective)


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
@pytest.mark.parametrize("dataset", ["max_tokens: 1400000", "max_tokens: 4400, batch_size: 16"])
def test_tokens_count_the_batch(dataset: str, gpus: int) -> None:
    found = reading("x.yaml", config(dataset), Surroundings(gpus=gpus))
    bound = 1400000 if "14" in dataset else 4400
    assert values(found, "micro_batch", "effective_batch", "batch_unit", "world_size") == (
        bound, bound * gpus, "tokens", gpus
    )  # fmt: skip


@pytest.mark.parametrize(
    ("freq", "steps"),
    [("[4]", 4), ("[2, 2]", 2), ("[4, 2, 1]", None), ("'4'", 4), ("'${x}'", None), ("[]", None), ("4", 4)],
)
def test_accumulation_is_a_list_of_epochs(freq: str, steps: int | None) -> None:
    assert reading("x.yaml", config(freq=freq)).plan.accumulation.value == steps


def test_a_spelled_world_wins_over_the_target() -> None:
    text = config(world="distributed_world_size: 64, nprocs_per_node: 8")
    assert values(reading("x.yaml", text, Surroundings(gpus=8)), "world_size", "nodes") == (64, 8)


@pytest.mark.parametrize(
    ("common", "precision"),
    [
        ("fp16: true", Precision.FP16),
        ("memory_efficient_fp16: true, fp16: true", Precision.PURE_FP16),
        ("bf16: true", Precision.BF16),
        ("amp: true", Precision.FP16),
        ("", Precision.FP32),
    ],
)
def test_precision(common: str, precision: Precision) -> None:
    assert reading("x.yaml", config(common=common)).plan.precision.value is precision


@pytest.mark.parametrize(("gpus", "effective"), [(1, 64), (2, 128), (3, 192), (8, 512)])
def test_flags(gpus: int, effective: int) -> None:
    line = "fairseq-train data --arch transformer --max-sentences 32 --update-freq 2 --fp16"
    found = reading("t.sh", line, Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (32, 2, effective)
    assert told(found.plan.precision) == (Precision.FP16, "launch", 1)


def test_words_of_the_hydra_command_win_over_its_yaml() -> None:
    line = "fairseq-hydra-train dataset.batch_size=4 optimization.update_freq='[2]' --config-dir conf --config-name x"
    found = reading("t.sh", line, Surroundings({"conf/x.yaml": config(world="distributed_world_size: 2")}))
    assert values(found, "micro_batch", "accumulation", "world_size", "effective_batch") == (4, 2, 2, 16)


def test_generation_trains_nothing() -> None:
    assert readings("g.sh", "fairseq-generate data --path x.pt --batch-size 128 --beam 5 --task translation") == []


FAIRSEQ2 = """\
dataset: {{{dataset}}}
gang: {{tensor_parallel_size: {parallel}}}
trainer: {{grad_accumulation: {{num_batches: {steps}}}{more}}}
regime: {{num_steps: 10}}
"""


def second(dataset: str = "batch_size: 4", parallel: int = 1, steps: int = 1, more: str = "") -> str:
    return FAIRSEQ2.format(dataset=dataset, parallel=parallel, steps=steps, more=more)


@pytest.mark.parametrize(
    ("gpus", "parallel", "steps", "effective"),
    # recipe/config.py: num_batches a step; gang.tensor_parallel_size ranks share a model.
    [(1, 1, 1, 4), (2, 1, 1, 8), (3, 1, 2, 24), (8, 1, 4, 128), (8, 2, 4, 64), (8, 8, 1, 4), (3, 2, 1, None)],
)
def test_fairseq2(gpus: int, parallel: int, steps: int, effective: int | None) -> None:
    found = reading("x.yaml", second(parallel=parallel, steps=steps), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "effective_batch") == (4, effective)


@pytest.mark.parametrize(
    ("dataset", "unit", "bound"),
    [
        ("max_num_tokens: 8192, max_seq_len: 4096", "tokens", 8192),
        ("max_num_elements: 1_200_000", "elements", 1200000),
        ("batch_size: 4, max_num_tokens: 8192", "samples", None),
        ("name: x", "samples", None),
    ],
)
def test_fairseq2_units(dataset: str, unit: str, bound: int | None) -> None:
    found = reading("x.yaml", second(dataset), Surroundings(gpus=2))
    assert values(found, "batch_unit", "batch_tokens") == (unit, bound)


@pytest.mark.parametrize(
    ("more", "precision", "checkpointing"),
    [
        ("", Precision.BF16, None),
        (", mixed_precision: {dtype: torch.float16}", Precision.FP16, None),
        (", mixed_precision: {mode: off}", Precision.FP32, None),
        (", activation_checkpointing: {mode: layerwise}", Precision.BF16, True),
        (", activation_checkpointing: {mode: off}", Precision.BF16, False),
    ],
)
def test_fairseq2_precision_and_checkpointing(more: str, precision: Precision, checkpointing: bool | None) -> None:
    found = reading("x.yaml", second(more=more))
    assert values(found, "precision", "grad_checkpointing") == (precision, checkpointing)
