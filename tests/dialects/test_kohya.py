"""kohya: sections that do not matter, data sets with batches of their own, GUI presets, flags over files."""

from __future__ import annotations

import json

import pytest

from tests.dialects.support import Surroundings, reading, told, values
from vramlint.plan import ImageSize, Precision

TOML = """\
[model]
pretrained_model_name_or_path = "x"
[any_name]
train_batch_size = 4
max_train_steps = 100
{}
"""
DATA = "[general]\nresolution = 512\n[[datasets]]\nbatch_size = {}\n[[datasets.subsets]]\nimage_dir = 'a'\n"


@pytest.mark.parametrize(
    ("gpus", "steps", "effective"),
    # train_network.py:985: train_batch_size * num_processes * gradient_accumulation_steps.
    [(1, 1, 4), (2, 1, 8), (3, 1, 12), (8, 1, 32), (1, 4, 16), (2, 4, 32), (3, 4, 48), (8, 4, 128)],
)
def test_toml(gpus: int, steps: int, effective: int) -> None:
    found = reading("x.toml", TOML.format(f"gradient_accumulation_steps = {steps}"), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (4, steps, effective)


@pytest.mark.parametrize("launch", ["accelerate launch --num_processes 2 "])
def test_flags_win_over_the_config_file(launch: str) -> None:
    line = launch + "sdxl_train_network.py --config_file conf/x --train_batch_size 2 --network_module networks.lora"
    found = reading("run.sh", line, Surroundings({"conf/x.toml": TOML.format("gradient_accumulation_steps = 3")}))
    assert values(found, "micro_batch", "accumulation", "effective_batch", "adapter") == (2, 3, 12, "lora")
    assert [document.path for document in found.documents] == ["run.sh", "conf/x.toml"]


@pytest.mark.parametrize(
    ("data", "micro"),
    [
        (DATA.format(3), 3),
        (DATA.format(3) + "[[datasets]]\nbatch_size = 3\n", 3),
        (DATA.format(3) + "[[datasets]]\nbatch_size = 5\n", None),
        ("[general]\nbatch_size = 6\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'a'\n", 6),
        ("[general]\nflip_aug = true\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'a'\n", 4),
        (None, None),
    ],
)
def test_the_batch_of_the_data_set_wins(data: str | None, micro: int | None) -> None:
    files = {} if data is None else {"data.toml": data}
    found = reading("x.toml", TOML.format('dataset_config = "data.toml"'), Surroundings(files, gpus=2))
    assert values(found, "micro_batch", "effective_batch") == (micro, None if micro is None else micro * 2)


def test_data_sets_alone_say_nothing_of_the_run() -> None:
    found = reading("data.toml", DATA.format(3), Surroundings(gpus=2))
    assert told(found.plan.micro_batch) == (3, "file", 4)
    assert values(found, "accumulation", "effective_batch", "precision") == (None, None, None)


PRESET = {
    "LoRA_type": "Standard",
    "cache_latents": True,
    "num_cpu_threads_per_process": 2,
    "train_batch_size": 3,
    "gradient_accumulation_steps": 1.0,
    "max_data_loader_n_workers": "1",
    "max_train_epochs": "",
    "epoch": 2,
    "max_resolution": "512,650",
    "mixed_precision": "bf16",
    "network_dim": 64,
    "optimizer": "AdamW8bit",
    "gradient_checkpointing": False,
}


@pytest.mark.parametrize(("gpus", "effective"), [(1, 3), (2, 6), (3, 9), (8, 24)])
def test_gui_preset(gpus: int, effective: int) -> None:
    found = reading("x.json", json.dumps(PRESET), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "effective_batch", "adapter", "adapter_rank") == (
        *(3, 1, effective, "lora", 64),
    )
    assert values(found, "workers_per_rank", "epochs", "image_size") == (1, 2, ImageSize(650, 512))


def test_a_preset_that_holds_accelerates_processes() -> None:
    found = reading("x.json", json.dumps({**PRESET, "num_processes": 2, "num_machines": 1}), Surroundings(gpus=8))
    assert values(found, "world_size", "effective_batch") == (2, 6)


@pytest.mark.parametrize(
    ("line", "precision"),
    [
        ("", Precision.FP32),
        ('mixed_precision = "fp16"', Precision.FP16),
        ('mixed_precision = "bf16"\nfull_bf16 = true', Precision.PURE_BF16),
        ('mixed_precision = "fp16"\nfull_fp16 = true', Precision.PURE_FP16),
        ('mixed_precision = "int8"', None),
    ],
)
def test_precision(line: str, precision: Precision | None) -> None:
    assert reading("x.toml", TOML.format(line)).plan.precision.value is precision
