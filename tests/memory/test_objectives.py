"""Preference, reward, reinforcement and distillation runs; the engine that writes beside them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tests.memory.support import LANGUAGE, card, plan
from vramlint.hardware.model import Target
from vramlint.memory.catalogue import find_decoder
from vramlint.memory.estimate import estimate
from vramlint.memory.model import Estimate, Verdict
from vramlint.memory.objectives import OBJECTIVES

TOOLS = Path(__file__).parents[2] / "tools"
GIB = 2**30
MODEL = "meta-llama/Llama-3.2-1B"
PARAMETERS = 1_235_814_400
VOCABULARY, HIDDEN, LAYERS, KV = 128256, 2048, 16, 512
RUN: dict[str, Any] = {**LANGUAGE, "model": MODEL, "grad_checkpointing": True, "optimizer": "adamw_torch_fused"}
EXTRA: dict[str, Any] = {"packing": True}


def run(extra: dict[str, Any], target: Target | None = None, **facts: Any) -> Estimate:
    found = estimate(plan({**EXTRA, **extra}, **{**RUN, **facts}), target or Target())
    assert found.allocated is not None, found.unknown_because
    return found


def value(extra: dict[str, Any], **facts: Any) -> int:
    found = run(extra, **facts).allocated
    assert found is not None
    return found.value


@pytest.mark.parametrize(
    "name",
    [
        "dpo",
        "kto",
        "orpo",
        "grpo",
        "gkd",
        "verl",
        "verl with entropy",
        "llamafactory dpo",
        "llamafactory orpo",
        "llamafactory kto",
    ],
)
@pytest.mark.parametrize("fp32", [True, False])
def test_bytes_per_logit_are_those_of_the_traced_loss(name: str, fp32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(TOOLS))
    tool = importlib.import_module("check_losses")
    if name.startswith("verl") and fp32:
        pytest.skip("FSDP hands the logits over in 16 bits")
    said = OBJECTIVES[name].bytes_fp32 if fp32 else OBJECTIVES[name].bytes_16
    assert tool.bytes_per_logit(name, fp32=fp32) == pytest.approx(said, rel=0.02)


@pytest.mark.parametrize(
    ("name", "copies"), [("dpo", 2), ("kto", 2), ("rloo", 2), ("grpo", 1), ("orpo", 1), ("reward", 1)]
)
def test_which_trainers_hold_a_reference(name: str, copies: int) -> None:
    found = run({"preference": name})
    weights = sum(part.bytes for part in found.components if "parameters" in part.name)
    assert weights == pytest.approx(2 * copies * PARAMETERS, rel=0.001)


def test_a_reference_can_be_overruled_and_adapters_need_none() -> None:
    none = run({"preference": "dpo", "reference_model": False})
    added = run({"preference": "grpo", "reference_model": True})
    behind = run({"preference": "dpo"}, adapter="lora", adapter_rank=8)
    for found, copies in ((none, 1), (added, 2), (behind, 1)):
        frozen = ("parameters", "frozen parameters", "base linear layers", "embeddings and norms")
        weights = sum(part.bytes for part in found.components if part.name in frozen)
        assert weights == pytest.approx(2 * copies * PARAMETERS, rel=0.001)


def test_pairs_are_twice_the_sequences() -> None:
    """A reward model's pairs of b samples are an ordinary batch of 2b sequences without logits."""
    pairs, single = value({"preference": "reward"}, micro_batch=4), value({"preference": "prm"}, micro_batch=8)
    assert pairs == single


def test_a_reward_model_has_no_logits() -> None:
    tuning, scoring = value({}, micro_batch=8), value({"preference": "prm"}, micro_batch=8)
    assert tuning - scoring > 8 * 8 * 2048 * VOCABULARY


def test_only_completions_are_scored() -> None:
    whole, part = value({"preference": "grpo"}), value({"preference": "grpo", "completion_length": 1536})
    assert whole - part == pytest.approx(16.1 * 2 * (2048 - 1536) * VOCABULARY, rel=0.01)


def test_writing_holds_keys_and_values() -> None:
    facts: dict[str, Any] = {"micro_batch": 1, "seq_len": 2048}
    found = run({"preference": "grpo", "completion_length": 64, "generated_sequences": 512}, **facts)
    assert found.phase == "generation"
    (activations,) = (part.bytes for part in found.components if part.name == "activations")
    cache = 512 * 2048 * 2 * 2 * KV * (LAYERS + 1)
    assert activations == pytest.approx(cache + 10 * 512 * VOCABULARY, rel=1e-6)


def test_engines_outputs_in_16_bits_under_deepspeed() -> None:
    wide = value({"preference": "orpo"}, sharding="ddp", world_size=2, data_parallel=2)
    narrow = value({"preference": "orpo"}, sharding="zero1", world_size=2, data_parallel=2)
    assert wide > narrow


def test_a_teacher_stands_beside_the_model() -> None:
    teacher = find_decoder("meta-llama/Llama-3.1-8B")
    assert teacher is not None
    found = run({"preference": "gkd", "teacher": "meta-llama/Llama-3.1-8B"})
    weights = sum(part.bytes for part in found.components if "parameters" in part.name)
    assert weights == pytest.approx(2 * (PARAMETERS + teacher.config.parameters), rel=0.001)


@pytest.mark.parametrize(
    ("extra", "because"),
    [
        ({"preference": "gkd"}, "teacher"),
        ({"preference": "gkd", "teacher": "nobody/knows-it"}, "not in the catalogue"),
        ({"preference": "ppo"}, "ppo"),
    ],
)
def test_what_is_not_worked_out_says_so(extra: dict[str, Any], because: str) -> None:
    found = estimate(plan({**EXTRA, **extra}, **RUN), Target())
    assert found.allocated is None
    assert because in found.unknown_because


GRPO: dict[str, Any] = {"preference": "grpo", "completion_length": 512}


def test_an_engine_that_stays_awake_adds_its_share() -> None:
    alone = run(GRPO, card(80))
    beside = run({**GRPO, "rollout_engine": ("vLLM", 0.3, False, False)}, card(80))
    assert alone.required is not None
    assert beside.required is not None
    assert beside.required.value - alone.required.value == round(0.3 * 80 * GIB)
    assert beside.allocated == alone.allocated
    assert any("does not sleep" in text for text in beside.assumptions)


def test_a_sleeping_engine_counts_in_its_own_phase() -> None:
    engine = ("vLLM", 0.95, True, False)
    asleep = run({**GRPO, "rollout_engine": engine}, card(80))
    assert asleep.phase == "rollout"
    assert asleep.verdict is Verdict.OVER  # weights and states of the trained model do not leave the rest free
    away = run({**GRPO, "rollout_engine": ("vLLM", 0.95, True, True)}, card(80))
    assert away.verdict is Verdict.FITS


def test_without_a_card_the_share_is_not_counted() -> None:
    found = run({**GRPO, "rollout_engine": ("vLLM", 0.3, False, False)})
    assert any("not counted" in text for text in found.assumptions)


def test_a_token_budget_is_one_long_sequence() -> None:
    filled = run({"preference": "verl", "token_budget": 8192}, micro_batch=None, seq_len=None)
    same = run({"preference": "verl", "longest_sample": True, "packing": None}, micro_batch=1, seq_len=8192)
    assert filled.allocated is not None
    assert same.allocated is not None
    assert filled.allocated.value == same.allocated.value


def test_an_engine_that_may_be_elsewhere_is_an_upper_bound() -> None:
    alone = run(GRPO, card(80))
    maybe = run({**GRPO, "rollout_engine": ("vLLM", 0.3, False, False, False)}, card(80))
    assert alone.required is not None
    assert maybe.required is not None
    assert maybe.required.low == alone.required.low
    assert maybe.required.high == alone.required.high + round(0.3 * 80 * GIB)


def test_answers_may_be_short() -> None:
    written, full = run({**GRPO, "packing": None, "written_lengths": True}), run(GRPO)
    assert written.allocated is not None
    assert full.allocated is not None
    assert written.allocated.value == full.allocated.value
    assert written.allocated.low < full.allocated.low


def test_open_lengths_leave_the_least() -> None:
    found = estimate(plan({"preference": "verl", "open_lengths": True}, **RUN), Target())
    assert found.allocated is None
    assert "how long the answers are" in found.unknown_because
    assert found.least_bytes is not None
    assert found.least_bytes > 2 * PARAMETERS
