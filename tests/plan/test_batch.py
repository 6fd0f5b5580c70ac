"""Effective-batch arithmetic: each way of counting over a table of ranks, checked against the framework's own lines."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlint.plan import (
    BatchInputs,
    CeiledAccumulation,
    DividedAccumulation,
    SharedAccumulation,
    TrainingPlan,
    derived,
    rederive,
    revise,
)


@pytest.mark.parametrize(
    ("micro", "ranks", "nominal", "steps", "effective"),
    [
        (4, 1, 64, 16, 64), (4, 2, 64, 8, 64), (4, 3, 64, None, None), (4, 8, 64, 2, 64), (4, 32, 64, None, None),
        (4, 16, 64, 1, 64), (4, 8, None, 1, 32), (None, 8, 64, None, 64), (4, None, 64, None, 64),
        (4, None, None, None, None),
    ],
)  # fmt: skip
def test_divided(
    micro: int | None, ranks: int | None, nominal: int | None, steps: int | None, effective: int | None
) -> None:
    result = DividedAccumulation().derive(BatchInputs(micro, None, ranks, nominal))
    assert (result.accumulation, result.effective_batch) == (steps, effective)
    assert result.accumulation_note
    assert result.effective_note


@pytest.mark.parametrize(
    ("micro", "ranks", "nominal", "steps", "effective"),
    [
        (8, 1, 256, 32, 256), (8, 2, 256, 16, 256), (8, 3, 256, None, None), (8, 8, 256, 4, 256), (8, 3, 24, 1, 24),
        (3, 2, 16, 3, 16), (None, 8, 256, None, 256), (8, None, 256, None, 256), (8, 8, None, None, None),
    ],
)  # fmt: skip
def test_ceiled(
    micro: int | None, ranks: int | None, nominal: int | None, steps: int | None, effective: int | None
) -> None:
    result = CeiledAccumulation().derive(BatchInputs(micro, None, ranks, nominal))
    assert (result.accumulation, result.effective_batch) == (steps, effective)
    assert result.effective_note


@pytest.mark.parametrize(
    ("micro", "steps", "ranks", "effective"),
    [(12, 5, 8, 480), (12, None, None, 480), (12, None, 3, None), (None, 5, 8, None), (6, 10, 8, 480)],
)
def test_shared(micro: int | None, steps: int | None, ranks: int | None, effective: int | None) -> None:
    result = SharedAccumulation(40).derive(BatchInputs(micro, steps, ranks))
    assert (result.accumulation, result.effective_batch) == (steps, effective)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 4096))
def test_megatrons_own_lines(micro: int, ranks: int, nominal: int) -> None:
    """``num_micro_batches = global_batch_size // micro_batch_times_data_parallel``, asserted without remainder."""
    result = DividedAccumulation().derive(BatchInputs(micro, None, ranks, nominal))
    if nominal % (micro * ranks):
        assert result.effective_batch is None
    else:
        assert (result.accumulation, result.effective_batch) == (nominal // (micro * ranks), nominal)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 4096))
def test_llm_foundrys_own_lines(micro: int, ranks: int, nominal: int) -> None:
    """``device_grad_accum = math.ceil(device_batch_size / device_microbatch_size)``, refused with a remainder."""
    result = CeiledAccumulation().derive(BatchInputs(micro, None, ranks, nominal))
    if nominal % ranks:
        assert result.effective_batch is None
    else:
        assert (result.accumulation, result.effective_batch) == (math.ceil(nominal / ranks / micro), nominal)


def test_a_smaller_micro_batch_keeps_the_global_batch() -> None:
    plan = TrainingPlan("x", "x.yaml", policy=DividedAccumulation())
    plan.micro_batch, plan.data_parallel, plan.nominal_batch = derived(4, ""), derived(2, ""), derived(64, "")
    plan = revise(rederive(plan), {"micro_batch": 2})
    assert (plan.accumulation.value, plan.effective_batch.value) == (16, 64)
