"""detectron2: a GLOBAL batch, no accumulation, ``_BASE_`` chains."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, told, values
from vramlint.plan import Precision

BASE = """\
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
SOLVER:
  IMS_PER_BATCH: 16
  AMP: {ENABLED: true}
VERSION: 2
"""


@pytest.mark.parametrize(("gpus", "micro"), [(1, 16), (2, 8), (3, None), (8, 2)])
def test_the_batch_is_shared_out(gpus: int, micro: int | None) -> None:
    found = reading("configs/base.yaml", BASE, Surroundings(gpus=gpus))
    assert values(found, "global_batch", "micro_batch", "accumulation") == (16, micro, 1)
    assert found.plan.effective_batch.value == (16 if micro else None)
    assert found.slots["micro_batch"].spell(3) == 3 * gpus


def test_the_base_chain_is_followed() -> None:
    child = "_BASE_: ../base.yaml\nMODEL:\n  MASK_ON: true\nSOLVER:\n  BASE_LR: 0.01\n"
    found = reading("configs/coco/x.yaml", child, Surroundings({"configs/base.yaml": BASE}, gpus=8))
    assert told(found.plan.micro_batch) == (2, "file", 4)
    assert values(found, "precision", "task", "workers_per_rank") == (Precision.FP16, "segment", 4)
    assert found.plan.micro_batch.location is not None
    assert found.plan.micro_batch.location.path == "configs/base.yaml"


def test_a_base_that_is_not_at_hand_leaves_it_open() -> None:
    found = reading("x.yaml", "_BASE_: ../base.yaml\nMODEL:\n  MASK_ON: true\n", Surroundings(gpus=8))
    assert values(found, "micro_batch", "precision", "workers_per_rank") == (None, None, None)


@pytest.mark.parametrize(
    ("text", "size", "varies"),
    [
        ("", (800, 1333), False),
        ("INPUT:\n  MIN_SIZE_TRAIN: (640, 672, 800)\n  MAX_SIZE_TRAIN: 1400\n", (800, 1400), True),
        ("INPUT:\n  MIN_SIZE_TRAIN: [480, 600]\n", (600, 1333), True),
        ("INPUT: {CROP: {ENABLED: true, TYPE: absolute, SIZE: [512, 1024]}}\n", (512, 1024), False),
        ("INPUT: {CROP: {ENABLED: true, SIZE: [0.9, 0.9]}}\n", (800, 1333), False),
    ],
)
def test_image_sizes(text: str, size: tuple[int, int] | None, varies: bool | None) -> None:
    """detectron2 config/defaults.py: MIN_SIZE_TRAIN (800,), MAX_SIZE_TRAIN 1333; a relative crop comes first."""
    assert values(reading("x.yaml", BASE + text, Surroundings(gpus=1)), "image_size", "multi_scale") == (size, varies)


BENCHMARK = """\
MODEL:
  META_ARCHITECTURE: "GeneralizedRCNN"
  WEIGHT: "catalog://ImageNetPretrained/MSRA/R-50"
  RPN_ONLY: True
SOLVER:
  BASE_LR: 0.02
DTYPE: "float16"
"""


@pytest.mark.parametrize(("gpus", "micro"), [(1, 16), (2, 8), (3, None), (8, 2)])
def test_maskrcnn_benchmark(gpus: int, micro: int | None) -> None:
    """maskrcnn-benchmark config/defaults.py: IMS_PER_BATCH 16 over all GPUs, DTYPE float32 or float16."""
    found = reading("rpn_R_50_FPN_1x.yaml", BENCHMARK, Surroundings(gpus=gpus))
    assert values(found, "global_batch", "micro_batch", "precision") == (16, micro, Precision.FP16)


@pytest.mark.parametrize(
    ("line", "world", "micro"),
    [
        ("tools/train_net.py --num-gpus 8 --config-file x.yaml", 8, 2),
        ("tools/train_net.py --config-file x.yaml --num-gpus 8 SOLVER.BASE_LR 0.01", 8, 2),
        ("tools/train_net.py --num-gpus 4 --num-machines 2 --config-file x.yaml SOLVER.IMS_PER_BATCH 32", 8, 4),
        ("python -m torch.distributed.launch --nproc_per_node=2 tools/train_net.py --config-file x.yaml", 2, 8),
    ],
)
def test_launch_lines(line: str, world: int, micro: int) -> None:
    found = reading("x.yaml", BASE, Surroundings(launched_by=line + "\n"))
    assert values(found, "world_size", "micro_batch") == (world, micro)
