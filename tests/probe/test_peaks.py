"""Memory figures as trainers print them: lines of their logs, and their own format expressions at given figures.

The expressions below are the frameworks' own, from the source and version that ``vramlint.probe.peaks`` names beside each
pattern, with the meter's figure in place of torch's call.
"""

# ruff: noqa: E501 - lines of logs are as long as they are
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlint.memory.observations import Meter
from vramlint.probe.peaks import peaks_of

MIB, GIB, GB = 2**20, 2**30, 10**9
ULTRALYTICS = """\
      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size
      1/100      2.45G      1.165       3.09      1.237         12        640: 100%|████| 8/8 [00:02<00:00]
      2/100      2.61G      1.146      2.812      1.236         14        640: 100%|████| 8/8 [00:02<00:00]
                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|██| 4/4
"""
YOLOV5_6 = """\
     Epoch   gpu_mem       box       obj       cls    labels  img_size
      0/299     14.2G   0.04523   0.06123   0.01823       178       640: 100%|███| 925/925
"""
YOLO_COLUMNS = ("Epoch", "GPU_mem", "box_loss", "cls_loss", "dfl_loss", "Instances", "Size")
YOLOV5_COLUMNS = ("Epoch", "GPU_mem", "box_loss", "obj_loss", "cls_loss", "Instances", "Size")


def yolo(reserved: int, unit: int, first: str, columns: tuple[str, ...] = YOLO_COLUMNS) -> str:
    """ultralytics ``engine/trainer.py`` and YOLOv5 ``train.py``: the heading, then a row of each epoch."""
    mem = f"{reserved / unit:.3g}G"
    row = ("%11s" * 2 + "%11.4g" * 5) % ("1/100", mem, 1.1, 2.2, 1.3, 14, 640)
    return f"{first}\n" + "\n" + ("%11s" * 7) % columns + f"\n{row}: 100%|████| 8/8 [00:02<00:00]\n"


def ultralytics(version: str) -> str:
    """What torch_utils.select_device prints first."""
    return f"Ultralytics {version} 🚀 Python-3.11.7 torch-2.4.0+cu121 CUDA:0 (NVIDIA A100, 81051MiB)"


MMENGINE = """\
2023/01/05 20:17:01 - mmengine - INFO - Epoch(train)  [1][  50/7330]  lr: 1.9820e-03  eta: 1 day, 4:53:58  time: 1.1827  \
data_time: 0.0229  memory: 3910  loss: 4.2172
2023/01/05 20:17:58 - mmengine - INFO - Epoch(train)  [1][ 100/7330]  lr: 3.9840e-03  time: 1.1307  memory: 4074  loss: 2.0
"""
MMCV = "2021-09-01 - mmdet - INFO - Epoch [1][50/7330]\tlr: 1.978e-03, eta: 17:31:01, time: 0.717, memory: 5013, loss: 3.4\n"
DETECTRON2 = "eta: 1:20:33  iter: 19  total_loss: 5.1  lr: 0.00019981  max_mem: 6231M\n"
DETR = "Epoch: [0]  [  10/59143]  eta: 1 day  lr: 0.000100  loss: 44.6  time: 0.61  data: 0.01  max mem: 3852\n"
TORCHTUNE = """\
INFO:torchtune.utils._logging:Memory stats after model init:
\tCUDA peak memory allocation: 14.96 GiB
\tCUDA peak memory reserved: 15.13 GiB
\tCUDA peak memory active: 14.96 GiB
Step 1 | loss:1.62 lr:2e-06 tokens_per_second_per_gpu:512.4 peak_memory_active:24.6 peak_memory_alloc:24.2 \
peak_memory_reserved:29.3
"""
HUGGING_FACE = """\
***** train metrics *****
  before_init_mem_gpu        =        0MB
  epoch                      =        3.0
  init_mem_cpu_alloc_delta   =        2MB
  init_mem_gpu_alloc_delta   =      230MB
  init_mem_gpu_peaked_delta  =      700MB
  train_mem_gpu_alloc_delta  =      693MB
  train_mem_gpu_peaked_delta =     4077MB
"""
HUGGING_FACE_JSON = f"""{{
    "before_init_mem_gpu": 0,
    "init_mem_gpu_alloc_delta": {230 * MIB},
    "init_mem_gpu_peaked_delta": 0,
    "train_mem_gpu_alloc_delta": {693 * MIB},
    "train_mem_gpu_peaked_delta": {4077 * MIB},
    "train_runtime": 11.2
}}"""
MMENGINE_JSON = (
    '{"lr": 0.0019, "data_time": 0.02, "loss": 4.2, "time": 1.18, "epoch": 1, "iter": 50, "memory": 3910, "step": 50}\n'
)
MMCV_JSON = '{"mode": "train", "epoch": 1, "iter": 50, "lr": 0.00198, "memory": 5013, "data_time": 0.05, "loss": 3.4}\n'
DEEPSPEED = (
    f"after backward\nMA {round(0.35 * GIB / (1024 * 1024 * 1024),2 )} GB \
        Max_MA {round(7.4231 * GIB / (1024 * 1024 * 1024),2)} GB \
        CA {round(8.5 * GIB / (1024 * 1024 * 1024),2)} GB \
        Max_CA {round(9.3 * GIB / (1024 * 1024 * 1024))} GB \n"
)  # fmt: skip
MEGATRON = (
    "[Rank 0] (after 10 iterations)"
    + " memory (MB)"
    + f" | allocated: {5121.3 * MIB / MIB}"
    + f" | max allocated: {9126.5 * MIB / MIB}"
    + f" | reserved: {9600.0}"
    + f" | max reserved: {9632 * MIB / MIB}"
    + "\n"
)
TORCHTITAN = f"[rank0]:\x1b[31mstep: {10:2}  \x1b[32mloss: {7.9:8.5f}  \x1b[36mmemory: {9.21:5.2f}GiB({11.3:.2f}%)  \x1b[34mtps: {round(2145.3):,}\x1b[0m\n"
TORCHTITAN_PLAIN = f"step: {10:2}  loss: {7.9:8.5f}  memory: {40.21:5.2f}GiB({42.33:.2f}%)  tps: 2,145\n"
LITGPT = f"| Memory Usage\n| - Memory Used   : {13.54:.2f} GB\n"
LITGPT_FINETUNED = (
    f"| Memory Usage                         \n| - Memory Used               :  {21.3:.02f} GB                  \n"
)
LITGPT_0_4 = f"Training time: 35.2s\nMemory used: {13.54:.02f} GB\n"
COMPOSER_RANKS = "\t Train memory/peak_allocated_mem_avg: 37.1\n\t Train memory/peak_allocated_mem_min: 36.0\n\t Train memory/peak_allocated_mem_max: 38.4120\n"
COMPOSER = "\t Train memory/peak_allocated_mem: 38.4120\n\t Train memory/peak_reserved_mem: 41.0000\n"
NVIDIA_SMI = """\
timestamp, name, memory.used [MiB], memory.total [MiB]
2024/05/01 10:00:00.000, NVIDIA GeForce RTX 3060, 411 MiB, 12288 MiB
2024/05/01 10:00:01.000, NVIDIA GeForce RTX 3060, 7613 MiB, 12288 MiB
2024/05/01 10:00:02.000, NVIDIA GeForce RTX 3060, 7421 MiB, 12288 MiB
"""
LIGHTNING = """\
DeviceStatsMonitor.on_train_batch_end/allocated_bytes.all.peak,DeviceStatsMonitor.on_train_batch_end/reserved_bytes.all.peak,epoch
1073741824.0,2147483648.0,0
1610612736.0,2147483648.0,0
"""
SCRIPT = "max_memory_allocated: 5368709120\nMax memory reserved = 6.5 GiB\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ULTRALYTICS, {Meter.RESERVED: 2.61 * GIB}),
        (YOLOV5_6, {Meter.RESERVED: 14.2 * GB}),
        (yolo(6 * GIB, 2**30, ultralytics("8.4.190")), {Meter.RESERVED: 6 * GIB}),
        (yolo(6 * GIB, 2**30, ultralytics("8.3.76")), {Meter.RESERVED: 6 * GIB}),
        (yolo(6 * GB, 10**9, ultralytics("8.3.74")), {Meter.RESERVED: 6 * GB}),
        (yolo(6 * GB, 10**9, ultralytics("YOLOv8.1.0")), {Meter.RESERVED: 6 * GB}),
        (
            yolo(6 * GB, 10**9, "YOLOv5 🚀 v7.0-72 Python-3.8.10 torch-1.13.0+cu117 CUDA:0", YOLOV5_COLUMNS),
            {Meter.RESERVED: 6 * GB},
        ),
        (yolo(6 * GB, 10**9, "", YOLOV5_COLUMNS), {Meter.RESERVED: 6 * GB}),
        (yolo(6 * GB, 10**9, "YOLO 🚀 v0.1-104 Python-3.10 torch-2.1.0 CUDA:0"), {Meter.RESERVED: 6 * GB}),
        (MMENGINE, {Meter.ALLOCATED: 4074 * MIB}),
        (MMCV, {Meter.ALLOCATED: 5013 * MIB}),
        (DETECTRON2, {Meter.ALLOCATED: 6231 * MIB}),
        (DETR, {Meter.ALLOCATED: 3852 * MIB}),
        (TORCHTUNE, {Meter.ALLOCATED: 24.2 * GIB, Meter.RESERVED: 29.3 * GIB}),
        (HUGGING_FACE, {Meter.ALLOCATED: 5000 * MIB}),
        (MMENGINE_JSON, {Meter.ALLOCATED: 3910 * MIB}),
        (MMCV_JSON, {Meter.ALLOCATED: 5013 * MIB}),
        (HUGGING_FACE_JSON, {Meter.ALLOCATED: 5000 * MIB}),
        (DEEPSPEED, {Meter.ALLOCATED: 7.42 * GIB, Meter.RESERVED: 9 * GIB}),
        (MEGATRON, {Meter.ALLOCATED: 9126.5 * MIB, Meter.RESERVED: 9632 * MIB}),
        (TORCHTITAN, {Meter.RESERVED: 9.21 * GIB}),
        (TORCHTITAN_PLAIN, {Meter.RESERVED: 40.21 * GIB}),
        (LITGPT_FINETUNED, {Meter.ALLOCATED: 21.3 * GB}),
        (LITGPT_0_4, {Meter.ALLOCATED: 13.54 * GB}),
        (COMPOSER_RANKS, {Meter.ALLOCATED: 38.412 * GB}),
        (LITGPT, {Meter.ALLOCATED: 13.54 * GB}),
        (COMPOSER, {Meter.ALLOCATED: 38.412 * GB, Meter.RESERVED: 41 * GB}),
        (NVIDIA_SMI, {Meter.DEVICE: 7613 * MIB}),
        (LIGHTNING, {Meter.ALLOCATED: 1.5 * GIB, Meter.RESERVED: 2 * GIB}),
        (SCRIPT, {Meter.ALLOCATED: 5 * GIB, Meter.RESERVED: 6.5 * GIB}),
    ],
    ids=lambda value: value.splitlines()[0].strip()[:24] if isinstance(value, str) else None,
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_trainers_print_is_read(text: str, expected: dict[Meter, float], end: str) -> None:
    lines = [text.replace("\n", end)] if end == "\r" else text.replace("\n", end).split("\n")
    found = peaks_of(lines)
    assert {peak.meter: peak.bytes for peak in found} == pytest.approx(expected, rel=1e-6)
    assert all(peak.source for peak in found)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Epoch 3/100 took 2.45G of disk",
        "memory: pinned, workers: 4",
        "host memory: 64GB",
        "max memory allocated",
        "  1/100      2.45G      1.165",  # no heading before it: some other program's progress
        "max_memory_allocated: 3",  # no number of bytes
        "train_mem_gpu_alloc_delta  =      693MB",  # a part of the sum alone
        "memory.used [MiB], and more words",
    ],
)
def test_other_lines_are_not(line: str) -> None:
    assert peaks_of([line]) == ()


@given(st.lists(st.text(max_size=200), max_size=20))
def test_any_text_is_read_without_a_crash(lines: list[str]) -> None:
    assert all(peak.bytes > 0 for peak in peaks_of(lines))
