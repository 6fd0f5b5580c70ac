"""Facts of a plan that say who casts the weights and when gradients are reduced."""

from __future__ import annotations

from typing import Any

from tests.memory.support import LANGUAGE, card, plan
from vramlint.memory import Estimate, estimate
from vramlint.plan import Precision

SHARDED: dict[str, Any] = {
    **LANGUAGE, "precision": Precision.BF16, "sharding": "fsdp", "world_size": 8, "data_parallel": 8,
    "grad_checkpointing": True, "accumulation": 4,
}  # fmt: skip


def parts(**extra: bool) -> dict[str, int]:
    found: Estimate = estimate(plan(extra, **SHARDED), card(80))
    return {component.name: component.bytes for component in found.components}


def test_weights_gathered_in_16_bits_keep_no_casts_of_autocast() -> None:
    cast, gathered = parts(), parts(low_precision_weights=True)
    assert gathered["activations"] < cast["activations"]
    # 2 bytes of a weight and 4 of its main copy in place of 4, each an eighth
    assert gathered["parameters"] * 2 == cast["parameters"]
    assert gathered["master weights"] == cast["parameters"]
    assert gathered["AdamW states"] == cast["AdamW states"]


def test_gradients_reduced_at_every_micro_step_stay_sharded() -> None:
    kept, reduced = parts(), parts(sharded_accumulation=True)
    assert reduced["gradients"] * 8 == kept["gradients"]
