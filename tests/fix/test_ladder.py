"""The single steps: their order, what each saves and costs, and what is no step."""

from __future__ import annotations

from typing import Any

from tests.rules.fakes import FakeRun, plan
from vramlint.fix.ladder import steps_to_fit
from vramlint.plan import ImageSize, Precision
from vramlint.rule import Safety

FACTS: dict[str, Any] = {
    "micro_batch": 4,
    "accumulation": 2,
    "precision": Precision.FP32,
    "grad_checkpointing": False,
    "multi_scale": True,
    "image_size": ImageSize(640, 640),
    "workers_per_rank": 8,
}


def rungs(**facts: Any) -> list[list[str]]:
    return [
        [change.fact for change in step.changes]
        for step in steps_to_fit(FakeRun(plan(**{**FACTS, **facts}), gib_per_sample=24))
    ]


def test_the_order_of_most_models() -> None:
    order = [["micro_batch", "accumulation"], ["precision"], ["grad_checkpointing"], ["multi_scale"], ["image_size"]]
    assert rungs() == order


def test_the_order_of_query_detectors() -> None:
    """Field report D: batch, resolution, multi-scale off, workers (which cost nothing), queries, checkpointing last."""
    found = rungs(num_queries=300, precision=Precision.FP16)
    batch = ["micro_batch", "accumulation"]
    assert [rung for rung in found if rung != ["num_queries"]] == [
        batch,
        ["image_size"],
        ["multi_scale"],
        ["grad_checkpointing"],
    ]


def test_a_step_says_what_it_saves_and_costs_and_is_only_shown() -> None:
    steps = steps_to_fit(FakeRun(plan(**FACTS), gib_per_sample=24))
    assert {step.safety for step in steps} == {Safety.DISPLAY}
    assert all("GiB" in step.title and "saves" in step.title for step in steps)
    titles = " | ".join(step.title for step in steps)
    assert "a fifth to a third slower" in titles
    assert "another experiment" in titles
    assert "not enough alone" in titles


def test_a_run_that_fits_needs_no_steps() -> None:
    assert not steps_to_fit(FakeRun(plan(**FACTS), gib_per_sample=0.1))
