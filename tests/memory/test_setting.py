"""Facts of a plan that say who casts the weights and when gradients are reduced."""

from __future__ import annotations

from typing import Any

import pytest

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
    # FSDP's mixed precision holds fp32 shards alone: no 16-bit copy lasts
    assert gathered["parameters"] == cast["parameters"]
    assert "master weights" not in gathered
    assert gathered["AdamW states"] == cast["AdamW states"]


def test_gradients_reduced_at_every_micro_step_stay_sharded() -> None:
    kept, reduced = parts(), parts(sharded_accumulation=True)
    assert reduced["gradients"] * 8 == kept["gradients"]


def test_deepspeed_holds_gradients_in_buffers_until_they_are_reduced() -> None:
    def gathered(kind: str, **extra: object) -> int:
        found = estimate(plan(extra, **{**SHARDED, "sharding": kind, "micro_batch": 16}), card(80))
        return next((part.bytes for part in found.components if "gathered" in part.name or "buffers" in part.name), 0)

    default = gathered("zero2")
    assert default == 2 * 500_000_000  # reduce_bucket_size of DeepSpeed itself
    assert gathered("zero2", overlap_comm=True) == 2 * default
    assert gathered("zero2", reduce_bucket=200_000_000) == 400_000_000
    assert gathered("zero2", contiguous_gradients=False) == 0
    assert 0 < gathered("zero2", reduce_bucket="auto") < default / 10  # hidden width squared
    assert gathered("zero3") - gathered("zero3", contiguous_gradients=False) == default


def test_zero3_leaves_the_last_weights_gathered() -> None:
    """Half of the distance: every block between a forward and its backward is passed twice."""

    def gathered(**extra: object) -> int:
        found = estimate(plan(extra, **{**SHARDED, "sharding": "zero3"}), card(80))
        return next(part.bytes for part in found.components if "gathered" in part.name)

    assert gathered(max_reuse_distance=1_600_000_000) - gathered() == 2 * 300_000_000
    assert gathered(max_reuse_distance=0) < gathered()
    assert gathered(max_reuse_distance=10**12) == gathered(max_reuse_distance=10**11)  # the whole model


def test_embeddings_keep_32_bit_states_under_transformers_8_bit_optimizers() -> None:
    def states(implementation: str) -> int:
        run = {**SHARDED, "sharding": "none", "world_size": 1, "data_parallel": 1, "optimizer": "adamw_bnb_8bit"}
        found = estimate(plan({"implementation": implementation}, **run), card(80))
        return next(part.bytes for part in found.components if part.name == "8-bit AdamW states")

    embedding = 128_256 * 2048  # Llama 3.2 1B
    assert states("transformers") - states("torchtune") == pytest.approx((8 - 2 * (1 + 4 / 256)) * embedding, rel=0.01)
