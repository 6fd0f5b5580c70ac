"""Python config classes: project B and its relatives."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import Precision

MOCO = """\
class Config:
    image_size: int = 224
    backbone: str = "resnet50"
    queue_size: int = 1024 * 64
    batch_size: int = 96  # per GPU
    gradient_accumulation_steps: int = 4
    num_workers: int = 4
    use_amp: bool = True
    use_grad_checkpointing: bool = True
"""


@pytest.mark.parametrize(("gpus", "effective"), [(1, 384), (2, 768), (8, 3072)])
def test_project_b(gpus: int, effective: int) -> None:
    found = reading("src/config.py", MOCO, Surroundings(gpus=gpus))
    assert found.plan.title == "Config"
    assert told(found.plan.micro_batch) == (96, "file", 5)
    assert told(found.plan.queue_size) == (65536, "file", 4)
    assert values(found, "effective_batch", "precision", "grad_checkpointing", "task", "model") == (
        effective, Precision.FP16, True, "self-supervised", "resnet50"
    )  # fmt: skip
    assert {"micro_batch", "queue_size", "accumulation", "precision", "grad_checkpointing"} <= set(found.slots)


def test_a_base_class_in_the_same_file_is_no_run_of_its_own() -> None:
    text = MOCO.replace("class Config:", "class BaseConfig:") + "\n\nclass Small(BaseConfig):\n    batch_size = 8\n"
    text = text.replace("class Small", "class SmallConfig")
    found = reading("config.py", text, Surroundings(gpus=1))
    assert found.plan.title == "SmallConfig"
    assert told(found.plan.micro_batch) == (8, "file", 13)
    assert told(found.plan.queue_size) == (65536, "file", 4)


@pytest.mark.parametrize(
    ("import_line", "home"),
    [
        ("from src.base import BaseConfig", "src/base.py"),
        ("from .base import BaseConfig", "src/base.py"),
        ("from base import BaseConfig", "src/base.py"),
        ("from configs.base import BaseConfig", "configs/base.py"),
    ],
)
def test_inheritance_across_files(import_line: str, home: str) -> None:
    base = MOCO.replace("class Config:", "class BaseConfig:")
    text = f"{import_line}\n\n\nclass Config(BaseConfig):\n    batch_size = 128\n"
    found = reading("src/config_big.py", text, Surroundings({home: base}, gpus=2))
    assert told(found.plan.micro_batch) == (128, "file", 5)
    assert told(found.plan.queue_size) == (65536, "file", 4)
    assert found.plan.queue_size.location is not None
    assert found.plan.queue_size.location.path == home
    assert [document.path for document in found.documents] == ["src/config_big.py", home]
    assert found.plan.effective_batch.value == 128 * 2 * 4


def test_an_imported_base_of_a_file_outside_the_project_is_looked_for_up_to_the_root() -> None:
    text = "from base import Base\n\n\nclass Config(Base):\n    batch_size = 128\n    lr = 0.1\n    epochs = 3\n"
    found = reading("/home/me/config_big.py", text, Surroundings({"/home/base.py": "class Base:\n    workers = 2\n"}))
    assert told(found.plan.micro_batch) == (128, "file", 5)
    assert [document.path for document in found.documents] == ["/home/me/config_big.py", "/home/base.py"]


def test_a_dataclass_with_upper_case_names_and_fields() -> None:
    text = (
        "from dataclasses import dataclass, field\n\n\n@dataclass\nclass TrainSettings:\n"
        "    BATCH_SIZE: int = 16\n    LR: float = 1e-3\n    NUM_WORKERS: int = field(default=2)\n"
    )
    plan = reading("settings.py", text, Surroundings(gpus=1)).plan
    assert told(plan.micro_batch) == (16, "file", 6)
    assert told(plan.workers_per_rank) == (2, "file", 8)


@pytest.mark.parametrize(
    "text",
    [
        "class Loader:\n    batch_size = 4\n    num_workers = 2\n",
        "class Config:\n    batch_size = 4\n",
        "class Config:\n    host = 'x'\n    epochs = 3\n    lr = 1\n",
        "batch_size = 4\n",
    ],
)
def test_not_a_config_class(text: str) -> None:
    assert readings("config.py", text) == []


def test_unknown_expressions_stay_unknown_with_their_place() -> None:
    plan = reading("config.py", MOCO.replace("= 96", "= int(os.environ['B'])"), Surroundings(gpus=1)).plan
    assert not plan.micro_batch.known
    assert plan.micro_batch.location is not None
    assert plan.micro_batch.location.line == 5
