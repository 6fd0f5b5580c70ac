"""The plan as text."""

from __future__ import annotations

from tests.report.support import plan, result, run
from vramlint.plan import Precision, derived, unknown
from vramlint.report.plan import render
from vramlint.report.summary import plan_line
from vramlint.report.text import View


def test_every_known_fact_with_its_origin() -> None:
    lines = render(result(run()), View(width=100)).splitlines()
    assert lines[0] == "src/config.py  Config  python-config"
    shown = {line[2:22].strip(): line[22:].split(maxsplit=1) for line in lines[1:]}
    assert shown["micro batch"] == ["96", "line 4"]
    assert shown["accumulation"] == ["4", "default: torch 2.6"]
    assert shown["effective batch"] == ["768", "derived: 96 x 2 GPUs x 4 steps"]
    assert shown["checkpointing"] == ["yes", "default: Config"]
    assert shown["queue size"][0] == "65,536"


def test_unknown_facts_are_named_in_the_end() -> None:
    text = render(result(run()), View(width=100))
    tail = text[text.index("  unknown ") :]
    assert "sequence" not in tail
    assert "seq len" in tail
    assert "micro batch" not in tail


def test_no_run() -> None:
    assert render(result(), View()) == "no training run in 1 file\n"


def test_plan_line_says_what_is_unknown() -> None:
    without_ranks = plan(data_parallel=unknown("nproc_per_node is $GPUS"))
    assert plan_line(without_ranks).startswith(
        "96 per GPU x 4 steps, number of GPUs unknown (nproc_per_node is $GPUS) · fp16"
    )


def test_plan_line_of_pure_precision_and_sharding() -> None:
    line = plan_line(
        plan(precision=derived(Precision.PURE_BF16, ""), sharding=derived("zero2", ""), adapter=derived("lora", ""))
    )
    assert "pure bf16" in line
    assert "zero2" in line
    assert "lora" in line


def test_plan_line_of_ranks_that_share_a_model() -> None:
    line = plan_line(plan(data_parallel=derived(2, ""), world_size=derived(8, "")))
    assert line.startswith("96 per rank x 2 ranks of 4 GPUs x 4 steps = effective batch 768")
