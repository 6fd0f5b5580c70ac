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


def test_a_bare_unet_is_brought_as_far_as_its_heaviest_variant_needs(example: Callable[[str], Project]) -> None:
    """The config need not say which U-Net it means; the repair must then hold for all that people call so."""
    project = example("vessels")
    before = project.read("config.yml").replace("name: r2unet", "name: unet")
    project.write("config.yml", before)
    assert project.fix("config.yml") == before.replace("batch_size: 4", "batch_size: 1").replace(*FIXED)


def test_what_the_report_measured_lies_inside_the_interval(example: Callable[[str], Project]) -> None:
    """About 10 to 12 GB after the repair; gigabytes of nvidia-smi."""
    project = example("vessels")
    project.fix("config.yml")
    device = project.estimate("config.yml")["device_bytes"]
    assert device["low"] <= 12e9
    assert device["high"] >= 10e9


def test_a_smaller_card_needs_a_smaller_image_on_top(example: Callable[[str], Project]) -> None:
    """On 12 GB the safe part comes first, and the image goes down no further than it has to (reported: to 768)."""
    project = example("vessels")
    project.write("config.yml", project.read("config.yml").replace("rtx4060ti-16gb", "rtx3060-12gb"))
    (finding,) = [found for found in project.findings("config.yml") if found["name"] == "vram-over"]
    safe, unsafe = finding["fixes"][:2]
    assert (safe["safety"], unsafe["safety"]) == ("safe", "unsafe")
    assert "batch_size to 1, gradient_accumulation_steps to 4 and use fp16" in safe["title"]
    assert "image_size to" in unsafe["title"]
    assert "fp16" in unsafe["title"]
    size = int(unsafe["title"].split("image_size to ")[1].split()[0])
    assert 768 <= size < 1024


def test_nothing_is_said_to_be_fixed_that_the_next_check_finds_again(example: Callable[[str], Project]) -> None:
    """On 8 GB the safe part does not make it fit: the report says eased, and the finding stays, milder or not."""
    project = example("vessels")
    project.write("config.yml", project.read("config.yml").replace("rtx4060ti-16gb", "rtx3070-8gb"))
    _, out = project.run("check", "--fix", "config.yml")
    assert "eased   config.yml: set batch_size to 1" in out
    assert "fixed" not in out
    assert "vram-over" in project.names("config.yml")


def test_what_is_fixed_is_gone(example: Callable[[str], Project]) -> None:
    project = example("vessels")
    _, out = project.run("check", "--fix", "config.yml")
    assert "fixed   config.yml: set batch_size to 1" in out
    assert "vram-over" not in project.names("config.yml")
