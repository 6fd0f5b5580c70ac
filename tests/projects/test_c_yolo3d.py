"""Project C: YOLOv12 on the Ultralytics engine, a global batch and a nominal batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.projects.support import Project

ROWS = [
    # batch, nbs, accumulation, effective batch
    (2, 64, 32, 64),
    (4, 64, 16, 64),
    (8, 64, 8, 64),
    (16, 64, 4, 64),
    (32, 64, 2, 64),
    (64, 64, 1, 64),
    (8, 8, 1, 8),
    (8, 32, 4, 32),
    (24, 64, 3, 72),
    (48, 64, 1, 48),
    (128, 64, 1, 128),
]


def launch(project: Project, batch: int, nbs: int) -> None:
    text = project.read("train.sh").replace("--batch 24", f"--batch {batch}").replace("--nbs 64", f"--nbs {nbs}")
    project.write("train.sh", text)


@pytest.mark.parametrize(("batch", "nbs", "accumulation", "effective"), ROWS)
def test_accumulation_is_derived(
    example: Callable[[str], Project], batch: int, nbs: int, accumulation: int, effective: int
) -> None:
    project = example("yolo3d")
    launch(project, batch, nbs)
    plan = project.plan("train.sh")
    assert (plan["accumulation"], plan["effective_batch"]) == (accumulation, effective)
    assert ("accumulation-misses-nominal" in project.names("train.sh")) is (effective != nbs)


@pytest.mark.parametrize(("batch", "gpu", "fits"), [(2, "rtx3050-8gb", True), (4, "rtx3050-8gb", True)])
def test_advice_by_card(example: Callable[[str], Project], batch: int, gpu: str, fits: bool) -> None:
    project = example("yolo3d")
    launch(project, batch, 64)
    assert (project.estimate("train.sh", "--gpu", gpu)["verdict"] != "over") is fits


def test_vram_follows_the_batch(example: Callable[[str], Project]) -> None:
    project = example("yolo3d")
    peaks = []
    for batch in (1, 2, 4, 8, 16, 32):
        example("yolo3d")
        launch(project, batch, 64)
        peaks.append(project.estimate("train.sh")["device_bytes"])
    values = [peak["value"] for peak in peaks]
    assert values == sorted(set(values))
    assert values[-1] > 4 * values[0]
