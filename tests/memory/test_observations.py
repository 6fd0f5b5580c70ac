"""Observations: their fingerprint, and that a line says what was measured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlint.errors import SettingsError
from vramlint.memory.observations import (
    Meter,
    Observation,
    line_of,
    observation_of,
    plan_fingerprint,
    read_observations,
)
from vramlint.plan import Fact, ImageSize, Origin, Precision, TrainingPlan


def made(**facts: Any) -> TrainingPlan:
    plan = TrainingPlan("generic", "train.yaml")
    given = {"model": "ResNet50", "precision": Precision.FP16, "micro_batch": 2, "image_size": ImageSize(512, 512)}
    for name, value in {**given, **facts}.items():
        fact: Fact[Any] = Fact(value, Origin.FILE)
        if name in ("fused_loss", "learning_rate"):
            plan.extra[name] = fact
        else:
            setattr(plan, name, fact)
    return plan


@pytest.mark.parametrize(
    "facts",
    [
        {"micro_batch": 8},
        {"image_size": ImageSize(640, 640)},
        {"model": "resnet50 "},
        {"accumulation": 2},
        {"learning_rate": 0.1},
        {"fused_loss": False},
    ],
)
def test_a_fingerprint_stays(facts: dict[str, Any]) -> None:
    assert plan_fingerprint(made(**facts)) == plan_fingerprint(made())


@pytest.mark.parametrize(
    "facts",
    [
        {"model": "resnet101"},
        {"precision": Precision.FP32},
        {"grad_checkpointing": True},
        {"sharding": "fsdp"},
        {"data_parallel": 8},
        {"fused_loss": True},
    ],
)
def test_a_fingerprint_changes(facts: dict[str, Any]) -> None:
    assert plan_fingerprint(made(**facts)) != plan_fingerprint(made())


def test_an_unknown_model_is_told_apart_by_its_file() -> None:
    here, there = made(model=None), made(model=None)
    there.path = "other.yaml"
    assert plan_fingerprint(here) != plan_fingerprint(there)


def test_a_fingerprint_is_the_same_tomorrow() -> None:
    """Stored observations are found by it: whoever changes it must raise the schema."""
    assert plan_fingerprint(made()) == "e939b5128400d8b6"


def test_an_observation_belongs_to_its_plan_at_any_batch() -> None:
    seen = observation_of(made(), 7 * 2**30, Meter.DEVICE, gpu="rtx3060-12gb")
    assert seen.plan == plan_fingerprint(made(micro_batch=16))
    assert seen.plan != plan_fingerprint(made(precision=Precision.FP32))


def test_an_observation_needs_a_batch() -> None:
    with pytest.raises(SettingsError, match="batch size"):
        observation_of(made(micro_batch=None), 1, Meter.DEVICE)


@given(
    st.builds(
        Observation,
        micro_batch=st.integers(1, 10**6),
        bytes=st.integers(1, 10**13),
        meter=st.sampled_from(Meter),
        image_size=st.none() | st.builds(ImageSize, st.integers(1, 10**5), st.integers(1, 10**5)),
        seq_len=st.none() | st.integers(1, 10**7),
        gpu=st.text(),
        date=st.text(),
        source=st.text(),
        of=st.text(),
        plan=st.text(),
    )
)
def test_a_line_is_read_back(observation: Observation) -> None:
    line = line_of(observation)
    assert line.count("\n") == 1
    assert read_observations(line, "x") == (observation,)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "no observation"),
        ("[]", "expected an object"),
        ('{"schema": 9}', "schema 9"),
        ('{"schema": 1, "bytes": 5}', "micro_batch = None"),
        ('{"schema": 1, "micro_batch": 2, "bytes": -5}', "bytes = -5"),
        ('{"schema": 1, "micro_batch": true, "bytes": 5}', "micro_batch = True"),
        ('{"schema": 1, "micro_batch": 2, "bytes": 5, "meter": "guess"}', "meter = 'guess'"),
        ('{"schema": 1, "micro_batch": 2, "bytes": 5, "image_size": [0, 1]}', "image_size"),
    ],
)
def test_a_bad_line_is_named(line: str, words: str) -> None:
    with pytest.raises(SettingsError, match="no observation") as caught:
        read_observations(f"\n{line}\n", "seen.jsonl")
    assert words in caught.value.message
    assert caught.value.line == 2
