"""Optimizers whose states follow the weights' shapes, or that step in backward, in whole estimates and from files."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.support import reading
from tests.memory.support import LANGUAGE, plan
from vramlint.hardware.model import Target
from vramlint.memory.catalogue import find_decoder
from vramlint.memory.estimate import estimate
from vramlint.memory.model import Estimate

RUN: dict[str, Any] = {**LANGUAGE, "micro_batch": 1, "seq_len": 512, "grad_checkpointing": True}
LINEAR = 16 * (2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192)
"""Elements of Llama-3.2-1B's linear layers in its blocks."""
OTHERS = 128256 * 2048 + 33 * 2048
LARGEST = 128256 * 2048


def run(**facts: Any) -> Estimate:
    extra = {name: facts.pop(name) for name in tuple(facts) if name.startswith("optimizer_")}
    return estimate(plan(extra, **{**RUN, **facts}), Target())


def states(found: Estimate) -> int:
    return sum(part.bytes for part in found.components if part.name.endswith("states"))


def test_galore_keeps_projected_moments_and_projections() -> None:
    rank = 64
    sides = [(2048, 2048)] * 2 + [(512, 2048)] * 2 + [(2048, 8192)] * 3
    projected = 16 * sum(2 * (2 * rank * max(side) + rank * min(side)) for side in sides)
    found = run(optimizer="galore_adamw", optimizer_rank=rank)
    assert states(found) == pytest.approx(projected + 2 * 2 * OTHERS, rel=1e-3)


def test_galore_for_the_mlp_alone() -> None:
    attention = run(optimizer="galore_adamw", optimizer_rank=64, optimizer_targets=("attn",))
    assert states(attention) > states(run(optimizer="galore_adamw", optimizer_rank=64))


def test_muon_keeps_one_state_of_matrices() -> None:
    assert states(run(optimizer="muon_and_adamw")) == pytest.approx(2 * LINEAR + 4 * OTHERS, rel=1e-3)


def test_layerwise_steps_free_gradients() -> None:
    apart, together = run(optimizer="galore_adamw_layerwise"), run(optimizer="galore_adamw")
    assert apart.allocated is not None
    assert together.allocated is not None
    saved = 2 * (LINEAR + OTHERS - LARGEST)
    assert together.allocated.value - apart.allocated.value == pytest.approx(saved, rel=0.05)


def test_lomo_has_no_states_and_one_gradient() -> None:
    found = run(optimizer="lomo")
    assert states(found) == 0
    assert found.allocated is not None
    assert found.allocated.value < 2 * (LINEAR + OTHERS) + 10 * LARGEST + 2**30


@pytest.mark.parametrize("facts", [{"adapter": "lora", "adapter_rank": 8}, {"model": "mistralai/Mixtral-8x7B-v0.1"}])
def test_without_shapes_the_states_are_unknown(facts: dict[str, Any]) -> None:
    found = run(optimizer="galore_adamw", **facts)
    assert any("'galore_adamw' unknown" in text for text in found.assumptions)


FACTORY = "model_name_or_path: a/b\nstage: sft\nfinetuning_type: full\ntemplate: llama3\noptim: adamw_8bit\n"


@pytest.mark.parametrize(
    ("lines", "optimizer", "rank"),
    [
        ("use_galore: true\ngalore_rank: 128\ngalore_layerwise: true\n", "galore_adamw_8bit_layerwise", 128),
        ("use_galore: true\n", "galore_adamw_8bit", 16),
        ("use_apollo: true\napollo_rank: 32\n", "apollo_adamw", 32),
        ("use_muon: true\n", "muon_and_adamw", None),
        ("use_adam_mini: true\n", "adam_mini", None),
        ("", "adamw_8bit", None),
    ],
)
def test_llama_factory_puts_another_optimizer_in(lines: str, optimizer: str, rank: int | None) -> None:
    found = reading("sft.yaml", FACTORY + lines).plan
    assert found.optimizer.value == optimizer
    assert found.fact("optimizer_rank").value == rank


def test_badam_is_unknown() -> None:
    assert not reading("sft.yaml", FACTORY + "use_badam: true\n").plan.optimizer.known


def test_trainer_arguments_give_rank_and_layers() -> None:
    text = (
        "from transformers import TrainingArguments\n"
        'args = TrainingArguments("out", per_device_train_batch_size=2, optim="galore_adamw",\n'
        '    optim_target_modules=["attn", "mlp"], optim_args="rank=64, update_proj_gap=100, scale=0.10")\n'
    )
    found = reading("train.py", text).plan
    assert found.fact("optimizer_rank").value == 64
    assert found.fact("optimizer_targets").value == ("attn", "mlp")


def test_linear_layers_of_a_hybrid_are_counted_by_kind_of_block() -> None:
    config = find_decoder("nvidia/Nemotron-H-8B-Base-8K")
    assert config is not None
    found = run(model="nvidia/Nemotron-H-8B-Base-8K", optimizer="muon_and_adamw")
    sizes = {part.name: part.bytes for part in found.components}
    assert sizes["linear layers"] == 2 * config.config.linear_parameters
