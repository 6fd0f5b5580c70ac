"""Text encoders and encoder-decoders by traced profile."""

from __future__ import annotations

from typing import Any

import pytest

from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.memory.profile_catalogue import find_profile
from vramlint.plan import Fact, Origin, Precision, TrainingPlan

PARAMETERS = {
    "google-bert/bert-base-uncased": 109_483_778,
    "bert-base-cased": 108_311_810,
    "bert-large-uncased": 335_143_938,
    "distilbert-base-uncased": 66_955_010,
    "FacebookAI/roberta-base": 124_647_170,
    "FacebookAI/roberta-large": 355_361_794,
    "microsoft/deberta-v3-base": 184_423_682,
    "google-t5/t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "facebook/bart-base": 139_420_416,
}
"""Of the published checkpoints with a head of two labels, and of encoder-decoders as they are."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_checkpoint(name: str) -> None:
    found = find_profile(name)
    assert found is not None
    assert found.parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", ["bert-tiny-uncased", "roberta", "t5", "deberta-v2-xlarge", "google/flan-t5-base"])
def test_what_is_another_model(name: str) -> None:
    assert find_profile(name) is None


def gib(**facts: Any) -> float:
    plan = TrainingPlan("hf-trainer", "x")
    given = {
        "model": "bert-base-uncased", "micro_batch": 16, "seq_len": 256, "precision": Precision.FP16,
        "optimizer": "adamw_torch", "accumulation": 1, "grad_checkpointing": False, "adapter": "none",
    }  # fmt: skip
    for name, value in {**given, **facts}.items():
        setattr(plan, name, Fact(value, Origin.FILE))
    found = estimate(plan, Target()).allocated
    assert found is not None
    return found.value / 2**30


def test_memory_moves_with_the_workload() -> None:
    states = 16 * 109_483_778 / 2**30
    assert states < gib() < states + 2.5
    assert gib(micro_batch=32) == pytest.approx(2 * (gib() - states) + states, rel=0.15)
    assert gib(seq_len=512) > gib()
    assert gib(precision=Precision.FP32) > gib()
    assert gib(grad_checkpointing=True) < gib()
