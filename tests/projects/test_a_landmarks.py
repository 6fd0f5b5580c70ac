"""Project A: HRNet landmarks at 1024 x 1024 on two 12 GB cards, flags in a shell script."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.projects.support import Project

ROWS = [
    # batch, workers, prefetch, accumulation, effective batch, reported risk
    (2, 4, 2, 4, 16, "safe"),
    (2, 4, 2, 5, 20, "safe"),
    (2, 6, 3, 4, 16, "medium"),
    (3, 4, 2, 4, 24, "high"),
    (3, 3, 2, 4, 24, "medium"),
]


def script(project: Project, batch: int, workers: int, prefetch: int, accumulation: int) -> None:
    text = project.read("train.sh")
    text = text.replace("--batch_size 3", f"--batch_size {batch}").replace(
        "--num_workers 4", f"--num_workers {workers}"
    )
    text = text.replace("--prefetch_factor 2", f"--prefetch_factor {prefetch}")
    text = text.replace("--gradient_accumulation_steps 4", f"--gradient_accumulation_steps {accumulation}")
    project.write("train.sh", text)


@pytest.mark.parametrize(("batch", "workers", "prefetch", "accumulation", "effective", "risk"), ROWS)
def test_effective_batch_and_verdict(
    example: Callable[[str], Project],
    batch: int,
    workers: int,
    prefetch: int,
    accumulation: int,
    effective: int,
    risk: str,
) -> None:
    project = example("landmarks")
    script(project, batch, workers, prefetch, accumulation)
    plan = project.plan("train.sh")
    assert plan["effective_batch"] == effective
    assert (plan["micro_batch"], plan["world_size"], plan["accumulation"]) == (batch, 2, accumulation)
    assert plan["image_size"] == [1024, 1024]
    assert (plan["workers_per_rank"], plan["prefetch_factor"], plan["pin_memory"]) == (workers, prefetch, False)
    verdict = project.estimate("train.sh", "--gpu", "rtx3060-12gb")["verdict"]
    # The notes blame workers for the "medium" of the batch-2 row; they cost host memory, never VRAM.
    assert verdict == ("fits" if batch == 2 else "tight"), risk


def test_accumulation_and_workers_cost_no_vram(example: Callable[[str], Project]) -> None:
    project = example("landmarks")
    peaks = set()
    for workers, prefetch, accumulation in [(4, 2, 4), (4, 2, 5), (6, 3, 4)]:
        example("landmarks")
        script(project, 2, workers, prefetch, accumulation)
        peaks.add(project.estimate("train.sh")["device_bytes"]["value"])
    assert len(peaks) == 1


def test_the_fix_goes_to_batch_2_with_more_accumulation(example: Callable[[str], Project]) -> None:
    project = example("landmarks")
    before = project.read("train.sh")
    (finding,) = [found for found in project.findings("train.sh") if found["code"].startswith("VL4")]
    assert finding["name"] == "vram-over"
    assert "24 = 2 x 2 x 6" in finding["fixes"][0]["title"]
    expected = before.replace("--batch_size 3", "--batch_size 2").replace(
        "--gradient_accumulation_steps 4", "--gradient_accumulation_steps 6"
    )
    assert project.fix("train.sh") == expected
    assert project.plan("train.sh")["effective_batch"] == 24
