"""RF-DETR: scripts with --size, calls, pydantic config classes. Project D and its relatives."""

from __future__ import annotations

import pytest

from tests.dialects.support import AMPERE, TURING, Surroundings, reading, readings, told, values
from vramlint.plan import ImageSize, Precision

LINE = (
    "python train_segmentation.py --size nano --batch 4 --accum 2 --resolution 384 --multi_scale 1 "
    "--num_queries 300 --workers 2\n"
)

SCRIPT = """\
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--size", default="nano")
parser.add_argument("--batch", type=int, default=2)
parser.add_argument("--accum", type=int, default=4)
parser.add_argument("--resolution", type=int, default=None)
parser.add_argument("--multi_scale", type=int, choices=[0, 1], default=0)
parser.add_argument("--workers", type=int, default=2)
"""

CONFIG = """\
from pydantic import BaseModel


class ModelConfig(BaseModel):
    resolution: int = 560
    amp: bool = True
    gradient_checkpointing: bool = False


class RFDETRNanoConfig(ModelConfig):
    resolution: int = 384


class TrainConfig(BaseModel):
    batch_size: int = 4
    grad_accum_steps: int = 4
    lr: float = 1e-4
    num_workers: int = 2
"""


def test_project_d_stage_2() -> None:
    found = reading("stage2.sh", LINE)
    plan = found.plan
    assert plan.dialect == "rfdetr"
    assert told(plan.micro_batch) == (4, "launch", 1)
    assert told(plan.model) == ("rf-detr-nano", "launch", 1)
    assert values(found, "effective_batch", "task", "multi_scale", "num_queries", "workers_per_rank") == (
        8, "segment", True, 300, 2
    )  # fmt: skip
    assert plan.fact("largest_image_size").value == ImageSize(544, 544)
    assert found.slots["multi_scale"].spell(False) in (0, "0")


@pytest.mark.parametrize(
    ("size", "pixels", "block"),
    [("nano", 384, 32), ("small", 512, 32), ("base", 560, 56), ("medium", 576, 32), ("large", None, None)],
)
def test_the_size_sets_the_resolution_unless_one_is_given(size: str, pixels: int | None, block: int | None) -> None:
    line = f"python train_detector.py --size {size} --batch 2 --accum 4\n"
    plan = reading("stage1.sh", line).plan
    assert plan.image_size.value == (ImageSize(pixels, pixels) if pixels else None)
    assert plan.fact("image_multiple").value == block
    given = reading("stage1.sh", line.replace("\n", " --resolution 448\n")).plan
    assert told(given.image_size) == (ImageSize(448, 448), "launch", 1)
    assert plan.task.value == "detect"


@pytest.mark.parametrize(("gpu", "precision"), [(AMPERE, Precision.BF16), (TURING, Precision.FP16)])
def test_amp_follows_the_card(gpu: object, precision: Precision) -> None:
    assert reading("stage2.sh", LINE, Surroundings(gpu=gpu)).plan.precision.value is precision  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prefix", "gpus", "effective"),
    [("python", None, 8), ("python", 2, 16), ("torchrun --nproc_per_node 8", None, 64)],
)
def test_effective_batch(prefix: str, gpus: int | None, effective: int) -> None:
    found = reading("stage2.sh", LINE.replace("python", prefix), Surroundings(gpus=gpus))
    assert found.plan.effective_batch.value == effective


def test_accumulation_changed_its_default_between_versions() -> None:
    line = "python train_detector.py --size nano --batch 2 --resolution 384\n"
    assert not reading("stage1.sh", line).plan.accumulation.known
    with_script = reading("stage1.sh", line, Surroundings({"train_detector.py": SCRIPT}))
    assert told(with_script.plan.accumulation) == (4, "default", 6)
    classes = Surroundings({"train_detector.py": SCRIPT.replace("--accum", "--nothing"), "rfdetr/config.py": CONFIG})
    assert told(reading("stage1.sh", line, classes).plan.accumulation) == (4, "default", 16)


def test_flags_of_the_script_can_be_added() -> None:
    line = "python train_detector.py --size nano --batch 2 --resolution 384\n"
    slots = reading("stage1.sh", line, Surroundings({"train_detector.py": SCRIPT})).slots
    assert slots["accumulation"].key == "--accum"
    assert slots["accumulation"].node is None
    assert "num_queries" not in slots


@pytest.mark.parametrize(("gpus", "effective"), [(1, 16), (2, 32), (8, 128)])
def test_config_classes(gpus: int, effective: int) -> None:
    found = reading("rfdetr/config.py", CONFIG, Surroundings(gpus=gpus))
    assert found.plan.title == "TrainConfig"
    assert told(found.plan.micro_batch) == (4, "file", 15)
    assert told(found.plan.image_size) == (ImageSize(384, 384), "file", 11)
    assert values(found, "effective_batch", "model", "precision", "grad_checkpointing") == (
        effective, "rf-detr-nano", Precision.FP16, False
    )  # fmt: skip
    assert {"micro_batch", "accumulation", "image_size", "grad_checkpointing", "precision"} <= set(found.slots)


def test_several_sizes_in_a_file_leave_model_and_resolution_open() -> None:
    text = CONFIG.replace(
        "class TrainConfig", "class RFDETRSmallConfig(ModelConfig):\n    resolution: int = 512\n\n\nclass TrainConfig"
    )
    found = reading("rfdetr/config.py", text, Surroundings(gpus=1))
    assert values(found, "model", "image_size", "effective_batch") == (None, None, 16)


CALL = """\
from rfdetr import {cls}

model = {cls}()
model.train(dataset_dir="data", epochs=10, batch_size=2, grad_accum_steps=8, lr=1e-4)
"""


@pytest.mark.parametrize(
    ("cls", "model", "task", "pixels"),
    [
        ("RFDETRNano", "rf-detr-nano", "detect", 384),
        ("RFDETRBase", "rf-detr-base", "detect", 560),
        ("RFDETRSegSmall", "rf-detr-small", "segment", 384),
    ],
)
def test_a_call(cls: str, model: str, task: str, pixels: int) -> None:
    found = reading("train.py", CALL.format(cls=cls), Surroundings(gpus=1))
    assert values(found, "model", "task", "effective_batch") == (model, task, 16)
    assert found.plan.image_size.value == ImageSize(pixels, pixels)


@pytest.mark.parametrize(
    "line", ["python predict.py --size nano --batch 4 --resolution 384", "python train.py --size nano --batch 4 --lr 1"]
)
def test_not_rfdetr(line: str) -> None:
    assert all(found.plan.dialect != "rfdetr" for found in readings("x.sh", line + "\n"))
