"""Planted changes move the ledger as they move the trace: the ratio of two peaks, traced and worked out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel
from vramlint.memory.layers.stack import TRACED
from vramlint.plan import Precision

TRACES: dict[str, dict[str, Any]] = {
    model["name"]: model
    for model in json.loads((Path(__file__).parents[2] / "data" / "layers" / "traces.json").read_text(encoding="utf-8"))
}
FCN = "fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py"
SWIN = "swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py"
VIT = "vit/vit_deit-s16_upernet_8xb2-80k_ade20k-512x512.py"


def _peaks(name: str, row: int) -> tuple[float, float]:
    """The peak of one row, traced and worked out."""
    model = TRACES[name]
    traced = model["rows"][row]
    ledger = LayerModel(model["architecture"], model["scope"], stack=TRACED)
    workload = Workload(
        traced["batch"], Precision(traced["precision"]), checkpointing=False,
        height=traced["height"], width=traced["width"],
    )  # fmt: skip
    worked_out = max(each.activation_bytes + 4 * each.gradient_elements for each in ledger.moments(workload))
    return max(traced["forward"], traced["backward"]), worked_out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param((FCN, 0), (FCN, 3), id="crop and batch"),
        pytest.param((FCN, 0), (FCN, 1), id="fp16"),
        pytest.param((FCN, 0), (FCN, 2), id="bf16"),
        pytest.param((FCN, 0), (f"{FCN}?backbone.frozen_stages=1", 0), id="frozen stages"),
        pytest.param((FCN, 0), (f"{FCN}?decode_head.num_classes=150&auxiliary_head.num_classes=150", 0), id="classes"),
        pytest.param((FCN, 0), (f"{FCN}?backbone.with_cp=true", 0), id="with_cp of a ResNet"),
        pytest.param((SWIN, 0), (f"{SWIN}?backbone.with_cp=true", 0), id="with_cp of a Swin"),
        pytest.param((VIT, 1), (f"{VIT}?backbone.with_cp=true", 1), id="with_cp of a ViT under fp16"),
    ],
)
def test_a_change_moves_the_ledger_as_the_trace(before: tuple[str, int], after: tuple[str, int]) -> None:
    traced_before, before_bytes = _peaks(*before)
    traced_after, after_bytes = _peaks(*after)
    assert abs(traced_after / traced_before - 1) > 0.02, "the change must matter"
    assert after_bytes / before_bytes == pytest.approx(traced_after / traced_before, rel=0.015)


def test_a_plan_that_turns_checkpointing_on_is_as_the_config_with_it() -> None:
    plain, spelled = (
        LayerModel(TRACES[name]["architecture"], "mmseg", stack=TRACED)
        for name in (FCN, f"{FCN}?backbone.with_cp=true")
    )
    workload = Workload(2, Precision.FP32, checkpointing=True, height=256, width=320)
    assert plain.step(workload).marks == spelled.step(workload).marks
