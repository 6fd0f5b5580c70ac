"""SpeechBrain: references, both backends, dynamic batches."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import Precision

RECIPE = """\
number_of_epochs: 10
batch_size: 8
dynamic_batching: {dynamic}
max_batch_length_train: 850
opt_class: !name:torch.optim.Adam
  lr: 0.001
{more}
train_dataloader_opts:
  batch_size: !ref <batch_size>
  num_workers: 2
"""


def recipe(more: str = "", dynamic: bool = False) -> str:
    return RECIPE.format(dynamic=dynamic, more=more)


@pytest.mark.parametrize(
    ("gpus", "factor", "effective"),
    # core.py:663-720: DistributedSampler shares the data set out, each rank draws batch_size; core.py:836 accumulates.
    [(1, 1, 8), (2, 1, 16), (3, 1, 24), (8, 1, 64), (1, 4, 32), (2, 4, 64), (3, 4, 96), (8, 4, 256)],
)
def test_under_torchrun(gpus: int, factor: int, effective: int) -> None:
    line = f"torchrun --nproc_per_node={gpus} train.py hparams/train.yaml"
    text = recipe(f"grad_accumulation_factor: {factor}")
    found = reading("hparams/train.yaml", text, Surroundings(launched_by=line))
    assert values(found, "micro_batch", "effective_batch", "batch_unit") == (8, effective, "samples")
    assert told(found.plan.micro_batch) == (8, "file", 2)


@pytest.mark.parametrize(("gpus", "micro", "effective"), [(1, 8, 8), (2, 4, 8), (3, None, None), (8, 1, 8)])
def test_one_process_splits_the_batch(gpus: int, micro: int | None, effective: int | None) -> None:
    found = reading("x.yaml", recipe("data_parallel_backend: True"), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "effective_batch") == (micro, effective)


def test_the_flags_of_the_launch_line_win() -> None:
    line = "torchrun --nproc_per_node=2 train.py x.yaml --batch_size=3 --precision=fp16"
    # A flag named batch_size replaces the top-level key that the loader's !ref points to.
    found = reading("x.yaml", recipe("precision: fp32"), Surroundings(launched_by=line))
    assert values(found, "precision", "micro_batch", "effective_batch") == (Precision.FP16, 3, 6)


def test_dynamic_batches_count_seconds() -> None:
    found = reading("x.yaml", recipe(dynamic=True), Surroundings(gpus=2))
    assert values(found, "micro_batch", "effective_batch", "batch_unit", "batch_seconds") == (
        None,
        None,
        "seconds",
        850,
    )
    assert "micro_batch" not in found.slots


def test_a_loader_with_nothing_but_a_dynamic_sampler() -> None:
    text = "number_of_epochs: 1\nbatch_size: 4\ndynamic_batch_sampler:\n  max_batch_length: 40\n"
    found = reading("x.yaml", text + "train_dataloader_opts:\n  num_workers: !ref <workers>\nworkers: 6\n")
    assert values(found, "micro_batch", "workers_per_rank", "batch_seconds") == (None, 6, 40)


@pytest.mark.parametrize(
    ("more", "precision"),
    [
        ("", Precision.FP32),
        ("precision: bf16", Precision.BF16),
        ("auto_mix_prec: True", Precision.FP16),
        ("precision: !ref <x>", None),
    ],
)
def test_precision(more: str, precision: Precision | None) -> None:
    assert reading("x.yaml", recipe(more)).plan.precision.value is precision


def test_arithmetic_on_references_is_unknown() -> None:
    text = recipe().replace("!ref <batch_size>\n", "!ref <batch_size> // 2\n")
    assert not reading("x.yaml", text).plan.micro_batch.known


def test_references_in_a_circle_end() -> None:
    text = recipe("a: !ref <b>\nb: !ref <a>").replace("!ref <batch_size>\n", "!ref <a>\n")
    assert not reading("x.yaml", text).plan.micro_batch.known


def test_an_inference_file_is_left_alone() -> None:
    assert readings("x.yaml", "batch_size: 4\nmodel: !new:speechbrain.lobes.models.ECAPA_TDNN\n  a: 1\n") == []
