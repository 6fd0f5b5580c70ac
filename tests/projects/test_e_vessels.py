"""Project E: vessel segmentation at 1024 x 1024 on one 16 GB card, nested YAML."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.projects.support import Project

FIXED = (
    "  optimizer: adamw\n",
    "  optimizer: adamw\n  gradient_accumulation_steps: 4\n  mixed_precision: fp16\n",
)


def test_the_broken_form_is_over(example: Callable[[str], Project]) -> None:
    project = example("vessels")
    assert project.estimate("config.yml")["verdict"] == "over"
    assert project.plan("config.yml")["effective_batch"] == 4


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_fix_touches_only_the_intended_values(example: Callable[[str], Project], newline: str) -> None:
    project = example("vessels")
    before = project.read("config.yml").replace("\n", newline)
    project.write("config.yml", before)
    old, new = (part.replace("\n", newline) for part in FIXED)
    assert project.fix("config.yml") == before.replace("batch_size: 4", "batch_size: 1").replace(old, new)
    plan = project.plan("config.yml")
    assert (plan["micro_batch"], plan["accumulation"], plan["effective_batch"]) == (1, 4, 4)
    assert plan["precision"] == "fp16"
    assert project.estimate("config.yml")["verdict"] == "fits"
