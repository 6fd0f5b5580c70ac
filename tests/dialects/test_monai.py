"""MONAI bundles: references, patches, precision, and what is left unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.support import Surroundings, reading
from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.plan import Precision

BUNDLE: dict[str, Any] = {
    "batch": 2,
    "network_def": {"_target_": "monai.networks.nets.SegResNet", "in_channels": 4, "out_channels": 3},
    "network": "$@network_def.to(@device)",
    "loss": {"_target_": "DiceLoss", "sigmoid": True},
    "optimizer": {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": 1e-4},
    "train": {
        "deterministic_transforms": [{"_target_": "LoadImaged", "keys": ["image"]}],
        "random_transforms": [
            {"_target_": "RandCropByPosNegLabeld", "spatial_size": [64, 96, 128], "num_samples": 4},
        ],
        "dataloader": {"_target_": "DataLoader", "batch_size": "@batch", "num_workers": 4},
        "trainer": {"_target_": "SupervisedTrainer", "max_epochs": 300, "amp": True},
    },
}


def plan_of(changes: dict[str, Any] | None = None) -> Any:
    bundle = json.loads(json.dumps(BUNDLE))
    for dotted, value in (changes or {}).items():
        *outer, last = dotted.split(".")
        section = bundle
        for key in outer:
            section = section[key]
        section[last] = value
    return reading("train.json", json.dumps(bundle, indent=1), Surroundings(gpus=2)).plan


def test_a_bundle() -> None:
    plan = plan_of()
    assert plan.dialect == "monai"
    assert (plan.micro_batch.value, plan.effective_batch.value) == (2, 4)
    assert plan.fact("patches").value == 4
    assert (plan.fact("depth").value, tuple(plan.image_size.value)) == (64, (96, 128))
    assert plan.precision.value is Precision.FP16
    assert plan.fact("architecture").value["backbone"]["type"] == "SegResNet"
    assert estimate(plan, Target()).allocated is not None


@pytest.mark.parametrize(
    ("changes", "fact", "value"),
    [
        ({"train.trainer.amp": False}, "precision", Precision.FP32),
        ({"train.trainer.amp_kwargs": {"dtype": "$torch.bfloat16"}}, "precision", Precision.BF16),
        ({"train.trainer.amp": "$@use_amp and True"}, "precision", None),
        ({"train.trainer.accumulation_steps": 3}, "accumulation", 3),
        ({"train.dataloader.batch_size": "$@batch * 2"}, "micro_batch", None),
        ({"train.dataloader.batch_size": "@batch"}, "micro_batch", 2),
        ({"batch": "@size", "size": 7}, "micro_batch", 7),
        ({"batch": "@batch"}, "micro_batch", None),
        ({"train.random_transforms": [{"_target_": "RandSpatialCropd", "roi_size": [-1, 64, 64]}]}, "image_size", None),
        (
            {"train.random_transforms": [{"_target_": "RandSpatialCropd", "roi_size": [64, 64], "random_size": True}]},
            "image_size",
            None,
        ),
        ({"train.random_transforms": "$@a + @b"}, "image_size", None),
    ],
)
def test_facts(changes: dict[str, Any], fact: str, value: Any) -> None:
    assert plan_of(changes).fact(fact).value == value


def test_an_unknown_network_is_named() -> None:
    found = estimate(plan_of({"network_def._target_": "scripts.networks.MyNet"}), Target())
    assert found.allocated is None
    assert "MyNet" in found.unknown_because


def test_more_patches_need_more() -> None:
    crop = {"_target_": "RandCropByPosNegLabeld", "spatial_size": [64, 96, 128], "num_samples": 1}
    one = estimate(plan_of({"train.random_transforms": [crop]}), Target()).allocated
    four = estimate(plan_of(), Target()).allocated
    assert one is not None
    assert four is not None
    assert four.value > 3 * one.value
