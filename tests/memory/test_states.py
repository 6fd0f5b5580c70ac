"""Weights, gradients, optimizer states, copies and sharding."""

from __future__ import annotations

import pytest

from vramlint.memory.optimizers import find_optimizer
from vramlint.memory.states import NF4_BYTES, NF4_DOUBLE_BYTES, WeightGroup, sharding_of, states_of, weight_bytes
from vramlint.plan import Precision

N = 1_000_000


@pytest.mark.parametrize(
    ("name", "per_fp32", "per_bf16", "step_copies"),
    [
        ("AdamW", 8, 4, 1),
        ("adamw_torch_fused", 8, 4, 0),
        ("torch.optim.Adam", 8, 4, 1),
        ("adamw_8bit", 2.03, 2.03, 0),
        ("adamw_bnb_8bit", 2.03, 2.03, 0),
        ("bitsandbytes.optim.PagedAdamW8bit", 2.03, 2.03, 0),
        ("sgd", 4, 2, 1),
        ("lion_32bit", 4, 4, 0),
        ("paged_adamw_32bit", 8, 8, 0),
        ("bitsandbytes.optim.PagedAdamW", 8, 8, 0),
        ("paged_lion_32bit", 4, 4, 0),
        ("paged_ademamix_32bit", 12, 12, 0),
        ("rmsprop_bnb", 4, 4, 0),
        ("rmsprop_bnb_8bit", 1.02, 1.02, 0),
        ("SGD8bit", 1.02, 1.02, 0),
        ("Adagrad8bit", 1.02, 1.02, 0),
        ("lion_8bit", 1.02, 1.02, 0),
        ("Muon", 4, 2, 0.5),
        ("adafactor", 0.02, 0.02, 0.1),
        ("RMSprop", 4, 2, 1),
    ],
)
def test_optimizer_states_per_parameter(name: str, per_fp32: float, per_bf16: float, step_copies: float) -> None:
    optimizer = find_optimizer(name)
    assert optimizer is not None
    assert optimizer.state_bytes(N, 4) / N == pytest.approx(per_fp32, rel=0.01)
    assert optimizer.state_bytes(N, 2) / N == pytest.approx(per_bf16, rel=0.01)
    assert optimizer.step_copies == step_copies


def test_sgd_without_momentum_keeps_nothing() -> None:
    optimizer = find_optimizer("SGD", momentum=0)
    assert optimizer is not None
    assert optimizer.state_bytes(N, 4) == 0


@pytest.mark.parametrize(
    ("name", "per_fp32"),
    [
        ("adamw_torch_4bit", 1.0625),
        ("ademamix_8bit", 3 * (1 + 4 / 256)),
        ("ademamix", 12),
        ("adam_mini", 4),
        ("schedule_free_adamw", 8),
        ("schedule_free_sgd", 4),
    ],
)
def test_more_optimizers(name: str, per_fp32: float) -> None:
    optimizer = find_optimizer(name)
    assert optimizer is not None
    assert optimizer.state_bytes(N, 4) / N == pytest.approx(per_fp32, rel=0.01)


def test_unknown_optimizer() -> None:
    assert find_optimizer("my_own_thing") is None
    assert find_optimizer(None) is None


@pytest.mark.parametrize(
    ("precision", "expected"), [(Precision.FP32, 4), (Precision.BF16, 4), (Precision.PURE_BF16, 2)]
)
def test_autocast_keeps_fp32_weights(precision: Precision, expected: int) -> None:
    assert weight_bytes(precision) == expected


def test_four_bit_weights() -> None:
    assert pytest.approx(4.5) == NF4_BYTES * 8
    assert pytest.approx(4.127, abs=1e-3) == NF4_DOUBLE_BYTES * 8, "QLoRA paper: 0.127 bits of constants a parameter"


def total(kind: str | None, ranks: int, bytes_each: float = 4) -> int:
    optimizer = find_optimizer("adamw")
    assert optimizer is not None
    group = WeightGroup("parameters", N, bytes_each, "test", trainable=True)
    states = states_of((group,), optimizer, sharding_of(kind, ranks), ema=False)
    return states.bytes + round(states.gradient_bytes_each * N)


@pytest.mark.parametrize(
    ("kind", "bytes_each", "per_parameter"),
    [
        ("none", 4, 16),  # 4 weights + 8 states + 4 gradients
        ("ddp", 4, 20),  # and the bucket
        ("fsdp", 4, 16 / 8),
        # DeepSpeed bf16: 2 weights, 2 gradients, 12 master weights and states (arXiv 1910.02054, figure 1)
        ("zero1", 2, 2 + 2 + 12 / 8),
        ("zero2", 2, 2 + 14 / 8),
        ("zero3", 2, 16 / 8),
    ],
)
def test_what_sharding_over_eight_ranks_leaves(kind: str, bytes_each: int, per_parameter: float) -> None:
    assert total(kind, 8, bytes_each) / N == pytest.approx(per_parameter, rel=1e-3)


def test_fsdp_keeps_whole_gradients_while_they_accumulate() -> None:
    optimizer = find_optimizer("adamw")
    assert optimizer is not None
    group = WeightGroup("parameters", N, 4, "test", trainable=True)
    each = {
        kind: states_of((group,), optimizer, sharding_of(kind, 8), gradients_kept=True).gradient_bytes_each
        for kind in ("fsdp", "zero2", "zero3", "ddp")
    }
    assert each == {"fsdp": 4, "zero2": 0.5, "zero3": 0.5, "ddp": 4}


def test_ema_is_a_full_fp32_copy() -> None:
    optimizer = find_optimizer("adamw")
    assert optimizer is not None
    group = WeightGroup("parameters", N, 2, "test", trainable=True)
    with_ema = states_of((group,), optimizer, sharding_of(None, 1), ema=True)
    without = states_of((group,), optimizer, sharding_of(None, 1), ema=False)
    assert with_ema.bytes - without.bytes == 4 * N


def test_paged_states_stay_out_of_the_allocator() -> None:
    optimizer = find_optimizer("paged_adamw_8bit")
    assert optimizer is not None
    group = WeightGroup("parameters", N, 2, "test", trainable=True)
    states = states_of((group,), optimizer, sharding_of(None, 1), ema=False)
    assert states.bytes == 2 * N
    assert sum(component.bytes for component in states.paged) > 2 * N


@pytest.mark.parametrize("name", ["CAME_8BIT", "PRODIGY_8BIT", "soap8bit", "Muon8bit"])
def test_states_of_fewer_bits_are_not_taken_for_whole_ones(name: str) -> None:
    assert find_optimizer(name) is None


def test_averages_stay_on_the_card_where_the_optimizer_leaves_it() -> None:
    groups = (WeightGroup("parameters", N, 2, "made up", trainable=True),)
    adamw = find_optimizer("adamw")
    assert adamw is not None
    offloading = sharding_of("zero2", 4)._replace(states_on_host=True)
    found = {part.name: part.bytes for part in states_of(groups, adamw, offloading, ema=True).components}
    assert found["EMA weights"] == 4 * N
    everything = states_of(groups, adamw, offloading._replace(parameters_on_host=True), ema=True)
    assert everything.bytes == 0
