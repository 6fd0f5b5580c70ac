"""The peak of a language model's evaluation, beside that of training."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.support import reading
from tests.memory.support import LANGUAGE, card, plan
from vramlint.hardware.model import Target
from vramlint.memory.estimate import estimate
from vramlint.memory.model import Estimate

RUN: dict[str, Any] = {**LANGUAGE, "micro_batch": 1, "grad_checkpointing": True}
EVALUATES: dict[str, Any] = {"eval_strategy": "steps", "eval_batch": 8, "packing": True}
LOGITS = 8 * 2048 * 128256


def run(extra: dict[str, Any], target: Target | None = None, **facts: Any) -> Estimate:
    return estimate(plan({**EVALUATES, **extra}, **{**RUN, **facts}), target or Target())


def test_logits_of_the_evaluation_batch_beside_the_states() -> None:
    found = run({})
    assert found.evaluation is not None
    resting = sum(
        part.bytes
        for part in found.components
        if part.name not in ("activations", "gradients", "optimizer step", "allocator slack")
    )
    assert found.evaluation.low == resting + 6 * LOGITS // 4
    assert 1.0 < found.evaluation.value / (resting + 10 * LOGITS) < 1.15
    assert found.required is not None
    assert found.evaluation.value > found.required.value  # 8 at a time against a training batch of 1


def test_half_the_batch_has_half_the_logits() -> None:
    whole, half = run({}).evaluation, run({"eval_batch": 4}).evaluation
    assert whole is not None
    assert half is not None
    assert whole.low - half.low == 6 * (LOGITS // 2) // 4


@pytest.mark.parametrize(
    "extra",
    [
        {"eval_strategy": "no"},
        {"eval_strategy": None},
        {"eval_batch": None},
        {"fused_loss": True},
        {"preference": "dpo"},
        {"preference": "prm"},
    ],
)
def test_runs_of_which_nothing_is_said(extra: dict[str, Any]) -> None:
    assert run(extra).evaluation is None


def test_the_verdict_is_of_training_alone() -> None:
    assert run({}, card(24)).verdict == run({"eval_strategy": "no"}, card(24)).verdict


@pytest.mark.parametrize(
    ("extra", "said"),
    [({}, True), ({"eval_accumulation": 4}, False), ({"prediction_loss_only": True}, False)],
)
def test_kept_logits_are_told(extra: dict[str, Any], said: bool) -> None:
    found = run({"keeps_eval_logits": True, **extra})
    assert any("keeps the logits of all samples" in text for text in found.assumptions) == said


@pytest.mark.parametrize(
    ("arguments", "keeps"),
    [("compute_metrics=m", True), ("compute_metrics=m, preprocess_logits_for_metrics=p", None), ("", None)],
)
def test_a_trainer_with_metrics_keeps_logits(arguments: str, keeps: bool | None) -> None:
    text = (
        "from transformers import Trainer, TrainingArguments\n"
        'args = TrainingArguments("out", per_device_train_batch_size=2, eval_strategy="steps")\n'
        f"trainer = Trainer(model=model, args=args, {arguments})\n"
    )
    assert reading("train.py", text).plan.fact("keeps_eval_logits").value == keeps


def test_buffers_of_the_reduction_are_not_there() -> None:
    facts: dict[str, Any] = {"sharding": "zero2", "world_size": 4, "data_parallel": 4}
    small, large = run({"reduce_bucket": 1}, **facts), run({"reduce_bucket": 500_000_000}, **facts)
    assert small.evaluation is not None
    assert large.evaluation is not None
    assert small.evaluation.low == large.evaluation.low
