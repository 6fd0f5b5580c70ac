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
