"""The estimator: intervals, verdicts, assumptions, and the physics users get wrong."""

from __future__ import annotations

import importlib
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.memory.support import LANGUAGE, VISION, Linear, card, plan
from vramlint.hardware import GIB, Target, find_gpu
from vramlint.memory import Estimate, Verdict, estimate
from vramlint.memory.knowledge import Resolution
from vramlint.plan import ImageSize, Precision, TrainingPlan


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model resolves to the made-up knowledge."""

    def found(_: TrainingPlan) -> Resolution:
        return Resolution(Linear())

    # The package exports a function of the module's name, so the module is fetched by its path.
    monkeypatch.setattr(importlib.import_module("vramlint.memory.estimate"), "resolve", found)


def run(changes: dict[str, Any] | None = None, target: Target | None = None) -> Estimate:
    facts = {**VISION, **(changes or {})}
    return estimate(plan(**{name: value for name, value in facts.items() if value is not ...}), target or card(24))


def value(changes: dict[str, Any] | None = None) -> int:
    allocated = run(changes).allocated
    assert allocated is not None
    return allocated.value


@pytest.mark.usefixtures("known")
class TestPhysics:
    def test_the_value_is_the_sum_of_its_parts(self) -> None:
        found = run()
        assert found.device is not None
        assert sum(component.bytes for component in found.components) == found.device.value
        assert all(component.origin for component in found.components)

    def test_the_peak_is_named(self) -> None:
        assert run().phase == "forward"
        assert run({"micro_batch": 1, "image_size": ImageSize(10, 10), "optimizer": "adamw"}).phase == "optimizer"

    def test_more_images_cost_more(self) -> None:
        assert value({"micro_batch": 8}) - value({"micro_batch": 4}) == 4 * 1000 * 400 * 400

    def test_workers_cost_no_vram(self) -> None:
        assert value({"workers_per_rank": 12, "prefetch_factor": 8}) == value()

    def test_more_accumulation_steps_cost_no_vram(self) -> None:
        assert value({"accumulation": 4}) == value({"accumulation": 5})

    def test_accumulating_at_all_keeps_the_gradients_through_the_forward_pass(self) -> None:
        assert value({"accumulation": 4}) - value({"accumulation": 1}) == 4 * 10_000_000

    def test_ema_and_ddp_are_copies(self) -> None:
        assert value({"ema": True}) - value() == 4 * 10_000_000
        ddp = value({"world_size": 2, "data_parallel": 2, "sharding": "ddp"})
        assert ddp - value() == 4 * 10_000_000

    def test_mixed_precision_halves_the_activations(self) -> None:
        assert value() - value({"precision": Precision.FP16}) == 4 * 500 * 400 * 400


@pytest.mark.usefixtures("known")
class TestIntervals:
    def test_bounds_surround_every_value(self) -> None:
        found = run()
        for interval in (found.allocated, found.reserved, found.device, found.required):
            assert interval is not None
            assert interval.low < interval.value < interval.high
        assert found.allocated is not None
        assert found.reserved is not None
        assert found.device is not None
        assert found.allocated.value < found.reserved.value < found.device.value

    @pytest.mark.parametrize(
        ("missing", "word", "lower"),
        [
            ("precision", "precision", True),
            ("optimizer", "optimizer", True),
            ("accumulation", "accumulation", False),
        ],
    )
    def test_an_unknown_fact_is_assumed_said_and_widens_the_interval(
        self, missing: str, word: str, lower: bool
    ) -> None:
        known, gap = run().allocated, run({missing: ...})
        assert any(word in text for text in gap.assumptions)
        assert known is not None
        assert gap.allocated is not None
        assert (gap.allocated.low < known.low) if lower else (gap.allocated.high > known.high)

    def test_multi_scale_plans_for_the_largest_shape(self) -> None:
        fixed, scaled = run(), run({"multi_scale": True})
        assert fixed.allocated is not None
        assert scaled.allocated is not None
        assert scaled.allocated.high > fixed.allocated.high
        assert any("600x600" in text for text in scaled.assumptions)


@pytest.mark.usefixtures("known")
class TestVerdicts:
    @pytest.mark.parametrize(("share", "verdict"), [(1.0, "fits"), (0.98, "tight"), (0.5, "over")])
    def test_against_usable_memory(self, share: float, verdict: str) -> None:
        required = run().required
        assert required is not None
        assert run(target=card(required.high * share / GIB + 1e-6)).verdict == verdict

    def test_head_room_turns_fits_into_tight_but_never_into_over(self) -> None:
        class HalfFree:
            headroom = 0.5

        required = run().required
        assert required is not None
        target = card(1.05 * required.high / GIB)
        assert estimate(plan(**VISION), target).verdict is Verdict.FITS
        assert estimate(plan(**VISION), target, HalfFree()).verdict is Verdict.TIGHT

    def test_without_a_card_there_is_no_verdict(self) -> None:
        found = run(target=Target())
        assert found.verdict is Verdict.UNKNOWN
        assert found.allocated is not None


@pytest.mark.usefixtures("known")
class TestUnknown:
    @pytest.mark.parametrize(("missing", "word"), [("micro_batch", "batch"), ("image_size", "image size")])
    def test_facts_that_decide(self, missing: str, word: str) -> None:
        found = run({missing: ...})
        assert found.verdict is Verdict.UNKNOWN
        assert found.allocated is None
        assert word in found.unknown_because
        assert found.components, "what is known is still said"

    def test_a_precision_that_the_knowledge_does_not_cover(self) -> None:
        found = run({"precision": Precision.PURE_BF16})
        assert found.verdict is Verdict.UNKNOWN
        assert "not for this precision, size or checkpointing" in found.unknown_because


def test_an_unknown_model_has_no_invented_figures() -> None:
    found = estimate(plan(**{**VISION, "model": "my_net_v7"}), card(24))
    assert found.verdict is Verdict.UNKNOWN
    assert found.allocated is None
    assert found.components == ()
    assert "my_net_v7" in found.unknown_because


def test_a_plan_without_a_model() -> None:
    assert estimate(plan(), Target()).unknown_because


def test_one_estimate_takes_less_than_five_milliseconds() -> None:
    run_plan, target = plan(**LANGUAGE), Target(find_gpu("rtx4090"))
    estimate(run_plan, target)
    start = time.perf_counter()
    for _ in range(20):
        estimate(run_plan, target)
    assert (time.perf_counter() - start) / 20 < 0.005


def test_an_8_bit_base_is_half_as_large_and_its_layers_keep_their_inputs() -> None:
    facts = {**LANGUAGE, "model": "meta-llama/Llama-3.1-8B", "adapter": "lora", "adapter_rank": 8}
    facts |= {"micro_batch": 1, "seq_len": 1024, "precision": Precision.PURE_BF16, "grad_checkpointing": False}
    more = {"adapter_targets": "all-linear"}
    plain, eight = (estimate(plan({**more, "base_quantization": kind}, **facts), Target()) for kind in (None, "int8"))
    sizes = [{part.name: part.bytes for part in each.components} for each in (plain, eight)]
    assert sizes[0]["base linear layers"] / sizes[1]["base linear layers"] == pytest.approx(2, rel=0.001)
    # bitsandbytes 0.50 MatMul8bitLt: ctx.tensors holds A, the bf16 input: 4096, 4096, 4096 and 14336 channels a block
    inputs = 32 * 1024 * 2 * (3 * 4096 + 14336)
    assert sizes[1]["activations"] - sizes[0]["activations"] == pytest.approx(inputs, rel=0.2)


def test_qlora_holds_the_base_in_four_bits() -> None:
    facts = {**LANGUAGE, "model": "meta-llama/Llama-3.1-8B", "adapter_rank": 16, "grad_checkpointing": True}
    sizes = {
        kind: {each.name: each.bytes for each in estimate(plan(**facts, adapter=kind), Target()).components}
        for kind in ("lora", "qlora")
    }
    assert sizes["lora"]["base linear layers"] / sizes["qlora"]["base linear layers"] == pytest.approx(2 / 0.5625)
    assert sizes["lora"]["embeddings and norms"] == sizes["qlora"]["embeddings and norms"]


def test_unknown_lora_targets_are_said() -> None:
    found = estimate(plan(**LANGUAGE, adapter="lora", adapter_rank=8), Target())
    assert any("targets" in text for text in found.assumptions)


def test_fsdp_divides_the_states() -> None:
    sharded = {**LANGUAGE, "sharding": "fsdp", "data_parallel": 8, "world_size": 8}
    alone, shared = estimate(plan(**LANGUAGE), Target()), estimate(plan(**sharded), Target())
    assert alone.allocated is not None
    assert shared.allocated is not None
    assert shared.allocated.value < alone.allocated.value


def test_weights_that_are_loaded_as_saved_span_both_dtypes() -> None:
    held, cast = LANGUAGE, {**LANGUAGE, "precision": Precision.BF16}
    pure, mixed = estimate(plan(**held), card(24)), estimate(plan(**cast), card(24))
    open_ = estimate(plan({"weights_as_saved": True}, **cast), card(24))
    assert pure.allocated is not None
    assert mixed.allocated is not None
    assert open_.allocated is not None
    assert open_.allocated.value == pure.allocated.value
    assert open_.allocated.high == mixed.allocated.high
    assert any("loaded as saved" in text for text in open_.assumptions)
    sharded = estimate(plan({"weights_as_saved": True}, **{**cast, "sharding": "zero2"}), card(24))
    assert not any("loaded as saved" in text for text in sharded.assumptions)


def test_what_a_run_takes_at_the_least_where_its_length_is_unknown() -> None:
    facts = {**LANGUAGE, "seq_len": None}
    unknown, one_token = estimate(plan(**facts), card(24)), estimate(plan(**{**facts, "seq_len": 1}), card(24))
    assert unknown.required is None
    assert one_token.required is not None
    assert unknown.least_bytes == one_token.required.low
    assert estimate(plan(**{**facts, "seq_len": 512}), card(24)).least_bytes is None
    nameless = {**facts, "model": "nobody/knows-this"}
    assert estimate(plan(**nameless), card(24)).least_bytes is None


@pytest.mark.usefixtures("known")
def test_paged_optimizer_states_show_on_the_card_only() -> None:
    plain, paged = run({"optimizer": "adamw_8bit"}), run({"optimizer": "paged_adamw_8bit"})
    assert plain.allocated is not None
    assert paged.allocated is not None
    assert plain.device is not None
    assert paged.device is not None
    saved = plain.allocated.value - paged.allocated.value
    assert saved == pytest.approx(2.03 * 10_000_000, rel=0.01)
    assert plain.device.value - paged.device.value < 0.1 * saved


@pytest.mark.usefixtures("known")
def test_paged_optimizer_states_make_room_where_the_card_is_full() -> None:
    """Managed memory moves to the host: it is shown, and asks for no capacity."""
    plain, paged = run({"optimizer": "adamw_8bit"}), run({"optimizer": "paged_adamw_8bit"})
    assert plain.required is not None
    assert paged.required is not None
    assert plain.required.value - paged.required.value > 2 * 10_000_000
    states = [component for component in paged.components if component.name == "paged 8-bit AdamW states"]
    assert "managed memory" in states[0].origin


@pytest.mark.usefixtures("known")
def test_several_ranks_without_sharding_are_ddp() -> None:
    found = run({"world_size": 2, "data_parallel": 2})
    assert any("DistributedDataParallel assumed" in text for text in found.assumptions)
    assert "DDP buckets" in {component.name for component in found.components}


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("facts", "each"),
    [
        ({}, 2),
        ({"precision": Precision.FP32}, 4),
        ({"adapter": "qlora"}, None),
        ({"sharding": "fsdp"}, None),
        ({"precision": ...}, None),
    ],
)
def test_weights_are_told_where_their_width_is_known(facts: dict[str, Any], each: int | None) -> None:
    """What is known is said although the image size is missing, and nothing is said that would be wrong."""
    found = run({"image_size": ..., "precision": Precision.PURE_BF16, **facts})
    assert found.verdict is Verdict.UNKNOWN
    assert [part.bytes for part in found.components] == ([] if each is None else [each * Linear().parameters])


@pytest.mark.parametrize(
    ("sharding", "extra", "away"),
    [
        ("zero2", {"offload_optimizer": True}, {"AdamW states", "master weights"}),
        ("zero3", {"offload_optimizer": True, "offload_parameters": True}, {"AdamW states", "parameters"}),
        ("fsdp", {"offload_parameters": True}, {"AdamW states", "parameters"}),
        ("fsdp", {"cpu_offload": True}, {"AdamW states", "parameters"}),
    ],
)
def test_what_waits_in_host_memory_is_not_on_the_card(sharding: str, extra: dict[str, bool], away: set[str]) -> None:
    facts = {**LANGUAGE, "sharding": sharding, "world_size": 4, "data_parallel": 4, "grad_checkpointing": True}
    beside = estimate(plan(**facts), Target())
    found = estimate(plan(extra, **facts), Target())
    names, fewer = ({part.name for part in each.components} for each in (beside, found))
    assert away & names
    assert not away & fewer
    assert found.allocated is not None
    assert beside.allocated is not None
    assert found.allocated.value < beside.allocated.value


def test_replicated_parameters_cannot_wait_in_host_memory() -> None:
    found = estimate(plan({"offload_parameters": True}, **{**LANGUAGE, "sharding": "ddp"}), Target())
    assert "parameters" in {part.name for part in found.components}


def test_context_parallelism_divides_the_sequence_and_the_states() -> None:
    facts = {**LANGUAGE, "seq_len": 8192, "sharding": "fsdp", "world_size": 8, "data_parallel": 2}
    shared = {"context_parallel": 4, "model_parallel": 4}
    found = estimate(plan(shared, **facts), Target())
    alone = estimate(plan(**{**facts, "seq_len": 2048, "data_parallel": 8}), Target())
    assert found.allocated == alone.allocated
    assert any("part of a sequence" in text for text in found.assumptions)


def test_a_model_that_is_split_otherwise_is_unknown() -> None:
    found = estimate(plan({"tensor_parallel": 2, "model_parallel": 4}, **LANGUAGE), Target())
    assert found.allocated is None
    assert "split over 4 ranks" in found.unknown_because


def test_adapters_on_megatron_are_unknown() -> None:
    found = estimate(plan({"implementation": "megatron"}, **{**LANGUAGE, "adapter": "lora"}), Target())
    assert found.allocated is None


def test_an_encoder_decoder_of_unknown_length_is_unknown() -> None:
    """A size of images says nothing of it, and one token of one sample is no least figure that it has."""
    run = {**LANGUAGE, "model": "google-t5/t5-base", "image_size": ImageSize(224, 224)}
    del run["seq_len"]
    found = estimate(plan({}, **run), Target())
    assert (found.allocated, found.least_bytes) == (None, None)
    assert "sequence length" in found.unknown_because


def test_a_language_model_with_pictures_needs_no_room_for_convolutions() -> None:
    facts = {**LANGUAGE, "model": "Qwen/Qwen2-VL-2B-Instruct"}
    known = estimate(plan(**facts, image_size=ImageSize(1036, 1036)), Target())
    unknown = estimate(plan(**facts), Target())
    assert known.required == unknown.required


def test_every_fact_that_is_read_is_listed() -> None:
    module = importlib.import_module("vramlint.memory.estimate")
    folder = Path(str(module.__file__)).parent
    elsewhere = ("megatron", "deepspeed", "diffusion_plan")
    read = {
        fact
        for path in folder.glob("*.py")
        if not path.name.startswith(elsewhere)
        for fact in re.findall(r'plan\.fact\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
    }
    listed = set(re.findall(r"``(\w+)``", str(module.__doc__)))
    assert len(read) > 60
    assert read - listed - {"distributed_optimizer_instances"} == set()  # Megatron-LM's
