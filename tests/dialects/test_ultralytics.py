"""Ultralytics: a GLOBAL batch, accumulation towards a nominal one. Project C and its relatives."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import ImageSize, Precision

SCRIPT = """\
import argparse


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command")
    train = commands.add_parser("train")
    train.add_argument("--model", default="s")
    train.add_argument("--data", required=True)
    train.add_argument("--imgsz", type=int, default=640)
    train.add_argument("--batch", type=int, default=16)
    train.add_argument("--nbs", type=int, default=64)
    train.add_argument("--device", default="0")
    args = parser.parse_args()
    from ultralytics import YOLO

    YOLO(f"yolo12{args.model}.yaml").train(data=args.data, imgsz=args.imgsz, batch=args.batch, nbs=args.nbs)
"""


@pytest.mark.parametrize(
    ("batch", "nbs", "accumulation", "effective"),
    [
        (2, 64, 32, 64), (4, 64, 16, 64), (8, 64, 8, 64), (16, 64, 4, 64), (32, 64, 2, 64), (64, 64, 1, 64),
        (8, 8, 1, 8), (8, 32, 4, 32), (24, 64, 3, 72), (48, 64, 1, 48), (128, 64, 1, 128),
    ],
)  # fmt: skip
def test_project_c(batch: int, nbs: int, accumulation: int, effective: int) -> None:
    line = f"python yolo3d.py train --model s --data kitti.yaml --batch {batch} --nbs {nbs} --epochs 100 --device 0\n"
    found = reading("train.sh", line, Surroundings({"yolo3d.py": SCRIPT}))
    assert found.plan.dialect == "ultralytics"
    assert values(found, "accumulation", "effective_batch", "world_size") == (accumulation, effective, 1)
    assert told(found.plan.global_batch) == (batch, "launch", 1)
    assert told(found.plan.model) == ("yolo12s", "launch", 1)
    assert told(found.plan.image_size) == (ImageSize(640, 640), "default", 10)


@pytest.mark.parametrize(
    ("device", "ranks", "micro"),
    [("0", 1, 24), ("0,1", 2, 12), ("[0,1,2]", 3, 8), ("0,1,2,3,4,5,6,7", 8, 3), ("0,1,2,3,4", 5, 4)],
)
def test_the_batch_is_shared_out_over_the_devices(device: str, ranks: int, micro: int) -> None:
    found = reading("train.sh", f"yolo detect train model=yolo11s.pt data=coco.yaml batch=24 device={device}\n")
    assert told(found.plan.world_size) == (ranks, "launch", 1)
    assert values(found, "micro_batch", "global_batch", "task") == (micro, 24, "detect")
    assert found.slots["micro_batch"].spell(2) == 2 * ranks


def test_one_gpu_without_a_device_list() -> None:
    assert told(reading("train.sh", "yolo train batch=8 imgsz=320\n").plan.world_size) == (1, "default", None)


@pytest.mark.parametrize("batch", ["-1", "0.7"])
def test_an_automatic_batch_is_unknown(batch: str) -> None:
    plan = reading("train.sh", f"yolo train data=coco.yaml batch={batch}\n").plan
    assert not plan.micro_batch.known
    assert not plan.effective_batch.known
    assert "searches" in plan.micro_batch.note


@pytest.mark.parametrize(
    ("amp", "precision"),
    [
        ("", Precision.FP16),
        ("amp=True", Precision.FP16),
        ("amp=bf16", Precision.BF16),
        ("amp=False", Precision.FP32),
        ("amp=fp32", Precision.FP32),
    ],
)
def test_precision(amp: str, precision: Precision) -> None:
    assert reading("train.sh", f"yolo train data=coco.yaml batch=8 {amp}\n").plan.precision.value is precision


@pytest.mark.parametrize(
    ("line", "task", "model"),
    [
        ("yolo segment train model=yolo11m-seg.pt batch=4", "segment", "yolo11m-seg"),
        ("yolo train model=yolo11m-seg.yaml batch=4", "segment", "yolo11m-seg"),
        ("yolo task=pose mode=train model=yolov8n-pose.pt batch=4", "pose", "yolov8n-pose"),
        ("yolo detect train model=weights/rtdetr-l.pt batch=4", "detect", "rtdetr-l"),
    ],
)
def test_task_and_model(line: str, task: str, model: str) -> None:
    assert values(reading("train.sh", line + "\n"), "task", "model") == (task, model)


CALL = """\
from ultralytics import YOLO

model = YOLO("yolo11n.pt")
model.train(data="coco.yaml", epochs=100, imgsz=640, batch=24, device=[0, 1], multi_scale=0.5)
"""


def test_a_call() -> None:
    found = reading("train.py", CALL)
    assert told(found.plan.micro_batch) == (12, "file", 4)
    assert told(found.plan.model) == ("yolo11n", "file", 3)
    assert values(found, "accumulation", "effective_batch", "world_size", "multi_scale") == (3, 72, 2, True)
    assert found.plan.fact("largest_image_size").value == ImageSize(960, 960)


def test_a_script_that_passes_its_arguments_on_is_no_run() -> None:
    assert readings("yolo3d.py", SCRIPT) == []


YAML = """\
task: detect
mode: train
model: yolo11n.pt
epochs: 100
batch: 32
imgsz: 640
nbs: 64
workers: 4
amp: true
"""


@pytest.mark.parametrize(("gpus", "micro"), [(1, 32), (2, 16), (8, 4)])
def test_train_yaml_on_a_target(gpus: int, micro: int) -> None:
    found = reading("args.yaml", YAML, Surroundings(gpus=gpus))
    assert told(found.plan.micro_batch) == (micro, "file", 5)
    assert values(found, "accumulation", "effective_batch", "prefetch_factor", "ema") == (2, 64, 4, True)


@pytest.mark.parametrize(
    "text",
    [
        "nc: 80\nscales: {n: [1, 1, 1]}\nbackbone:\n  - [-1, 1, Conv, [64, 3, 2]]\nhead:\n  - [-1, 1, Detect, [80]]\n",
        "path: coco8\ntrain: images/train\nval: images/val\nnames:\n  0: person\n",
        "tracker_type: botsort\ntrack_high_thresh: 0.25\nbatch: 3\nepochs: 2\nimgsz: 1\nlr0: 1\n",
        "lr0: 0.01\nlrf: 0.1\nbox: 0.05\ncls: 0.5\nobj: 1.0\nanchor_t: 4.0\nhsv_h: 0.015\n",
        YAML.replace("mode: train", "mode: predict"),
    ],
)
def test_model_data_tracker_and_hyper_parameter_files_are_left_alone(text: str) -> None:
    assert readings("x.yaml", text) == []


@pytest.mark.parametrize(
    "line", ["yolo predict model=x.pt source=a.jpg batch=4", "yolo export model=x.pt batch=4", "yolo val batch=4"]
)
def test_other_modes_are_left_alone(line: str) -> None:
    assert readings("x.sh", line + "\n") == []
