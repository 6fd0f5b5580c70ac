"""The ledger against traces of the original models (made by tools/check_layers.py, which needs them installed)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel
from vramlint.memory.layers.stack import TRACED
from vramlint.plan import Precision

TRACES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "layers" / "traces.json").read_text(encoding="utf-8")
)
TOLERANCE = 0.01

APART = {
    "stdc": "the boundary head's binary losses over one class are written for many",
    "psanet": "half precision: the point-wise mask works in it",
    "icnet": "half precision, by 0.1 % more than the tolerance",
    "knet": "small tensors of the kernels' updates",
    "with_cp": "half precision: casts inside checkpoints",
}
"""Models of which some row differs by more, never by more than 3 %, and why."""


@pytest.mark.parametrize("model", TRACES, ids=[model["name"] for model in TRACES])
def test_the_ledger_equals_the_trace(model: dict[str, Any]) -> None:
    """Parameters exactly, the peak of forward and backward within 1 %."""
    ledger = LayerModel(model["architecture"], model["scope"], stack=TRACED)
    assert ledger.parameters == model["parameters"]
    for row in model["rows"]:
        workload = Workload(
            row["batch"], Precision(row["precision"]), checkpointing=False, height=row["height"], width=row["width"]
        )
        peak = max(each.activation_bytes + 4 * each.gradient_elements for each in ledger.moments(workload))
        tolerance = 0.03 if any(word in model["name"] for word in APART) else TOLERANCE
        assert peak == pytest.approx(max(row["forward"], row["backward"]), rel=tolerance), row


def test_the_models_within_the_tolerance_are_the_most() -> None:
    assert sum(not any(word in model["name"] for word in APART) for model in TRACES) >= 40
