"""The repair solver on made-up memory that is linear in the batch; the five projects' choices in small."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.fakes import AMPERE, TURING, FakeRun, plan, spelled
from vramlint import memory
from vramlint.fix.solver_options import comfortable
from vramlint.fix.solver_space import (
    divides_queue,
    first_that,
    keeping_splits,
    nearest_queue,
    round_queue,
    smaller_sizes,
)
from vramlint.hardware import find_gpu
from vramlint.memory import Estimate, Verdict
from vramlint.plan import (
    ImageSize,
    NominalAccumulation,
    Origin,
    Precision,
    TrainingPlan,
    default,
    derived,
    revise,
)
from vramlint.rule import Repair, Safety

SQUARE = ImageSize(1024, 1024)
ROUNDED = derived(1, "rounded")


def values(repair: Repair) -> dict[str, object]:
    return {change.fact: change.value for change in repair.changes}


def first(run: FakeRun, safety: Safety = Safety.SAFE) -> dict[str, object]:
    return next((values(repair) for repair in run.repairs_to_fit() if repair.safety is safety), {})


def moco(batch: int, queue: int, **more: object) -> FakeRun:
    facts = {"accumulation": 4, "data_parallel": 2, "precision": Precision.FP16, "queue_size": queue, **more}
    return FakeRun(plan(micro_batch=batch, **facts), gib_per_sample=0.18)


# --- it does not fit -------------------------------------------------------------------------------------------------


def test_landmarks_batch_3_goes_to_2_x_6() -> None:
    """1 + 3 x 3.4 = 11.2 GiB: the value fits 12, the upper bound does not."""
    run = FakeRun(plan(micro_batch=3, accumulation=4, data_parallel=2, precision=Precision.FP16), gib_per_sample=6.8)
    (best, *_) = run.repairs_to_fit()
    assert values(best) == {"micro_batch": 2, "accumulation": 6}
    assert best.safety is Safety.SAFE
    assert "set batch_size to 2 and accumulation to 6 (effective batch stays 24 = 2 x 2 x 6)" in best.title
    assert best.title.endswith("7.8 GiB (saves 3.4)")


def test_vessels_go_to_batch_1_x_4_in_fp16() -> None:
    """Batch 1 in fp32 takes 21 of 15 GiB, batch 2 under autocast too: 1 x 4 x fp16 is left before checkpointing."""
    facts = {"accumulation": default(1, ""), "precision": default(Precision.FP32, ""), "image_size": SQUARE}
    run = FakeRun(
        plan(micro_batch=4, grad_checkpointing=default(value=False, note=""), **facts), gpu=TURING, gib_per_sample=20
    )
    assert first(run) == {"micro_batch": 1, "accumulation": 4, "precision": Precision.FP16}


def test_a_wide_interval_chooses_what_fits_at_its_upper_bound() -> None:
    """By its value batch 2 in fp32 would fit; the upper bound of an unsure estimate does not, and decides."""
    facts = {"accumulation": 1, "precision": Precision.FP32, "image_size": SQUARE}
    sure = FakeRun(plan(micro_batch=4, **facts), gpu=TURING, gib_per_sample=5.5, spread=0.1)
    unsure = FakeRun(plan(micro_batch=4, **facts), gpu=TURING, gib_per_sample=5.5, spread=1.5)
    assert first(sure) == {"micro_batch": 2, "accumulation": 2}
    assert first(unsure) == {"micro_batch": 1, "accumulation": 4, "precision": Precision.FP16}


def test_detector_users_order() -> None:
    """Batch first; then resolution, multi-scale and, where a key switches it, checkpointing last."""
    facts = {"accumulation": 2, "precision": Precision.FP16, "num_queries": 300, "image_size": ImageSize(1024, 1024)}
    run = FakeRun(plan(micro_batch=4, multi_scale=True, **facts), gib_per_sample=19)
    kinds = [(repair.safety, *values(repair)) for repair in run.repairs_to_fit()]
    assert kinds[0] == (Safety.SAFE, "micro_batch", "accumulation")
    assert kinds[1] == (Safety.UNSAFE, "micro_batch", "accumulation", "image_size")
    assert kinds[2] == (Safety.UNSAFE, "micro_batch", "accumulation", "multi_scale")
    assert first(run) == {"micro_batch": 1, "accumulation": 8}


def test_checkpointing_is_the_last_of_the_detectors_repairs_but_the_only_safe_one() -> None:
    facts = {"accumulation": 8, "precision": Precision.FP16, "num_queries": 300, "image_size": SQUARE}
    run = FakeRun(plan(micro_batch=1, grad_checkpointing=False, **facts), gib_per_sample=26)
    repairs = run.repairs_to_fit()
    assert [repair.safety for repair in repairs] == [Safety.UNSAFE, Safety.SAFE]
    assert first(run) == {"grad_checkpointing": True}


def test_the_safe_part_comes_once() -> None:
    """After the safe first step only the unsafe ones are left: a second ``--fix`` changes nothing."""
    facts = {"accumulation": 2, "precision": Precision.FP16, "num_queries": 300, "image_size": SQUARE}
    before = FakeRun(plan(micro_batch=4, multi_scale=True, **facts), gib_per_sample=23)
    step = first(before)
    assert step
    after = FakeRun(revise(before.plan, step), gib_per_sample=23)
    assert {repair.safety for repair in after.repairs_to_fit()} == {Safety.UNSAFE}


def test_a_derived_accumulation_changes_the_batch_alone() -> None:
    """Nominal batch 64: 32 -> 16 is re-derived as 4 steps, effective 64 again."""
    run = FakeRun(
        plan(NominalAccumulation(), micro_batch=32, nominal_batch=64, accumulation=ROUNDED, precision=Precision.FP16)
    )
    assert first(run) == {"micro_batch": 16}


def test_a_derived_batch_that_cannot_be_kept_is_unsafe() -> None:
    """Batch 96 over nominal 64 is effective 96; no smaller batch gives 96 again but 32 x 2 = 64 and so on."""
    run = FakeRun(
        plan(NominalAccumulation(), micro_batch=100, nominal_batch=64, accumulation=ROUNDED, precision=Precision.FP16)
    )
    assert first(run) == {}
    assert first(run, Safety.UNSAFE) == {"micro_batch": 16}


def test_without_a_place_for_accumulation_a_smaller_batch_is_unsafe() -> None:
    facts = {"accumulation": default(1, ""), "precision": Precision.FP16}
    run = FakeRun(plan(micro_batch=64, **facts), gib_per_sample=0.5, fixed=frozenset({"accumulation"}))
    assert first(run) == {}
    (best, *_) = run.repairs_to_fit()
    assert (best.safety, values(best)) == (Safety.UNSAFE, {"micro_batch": 32})
    assert "effective batch 64 -> 32" in best.title


def test_the_queue_follows_the_batch_or_keeps_it_whole() -> None:
    run = moco(128, 65536)
    repairs = run.repairs_to_fit()
    assert values(repairs[0]) == {"micro_batch": 64, "accumulation": 8}
    for repair in repairs:
        assert divides_queue(revise(run.plan, values(repair)), revise(run.plan, values(repair)).micro_batch.value or 1)


def test_a_tight_run_gets_nothing_but_a_new_split_unasked() -> None:
    """11.5 of 12 GiB at batch 1: it may well work, so checkpointing and resolution are only shown."""
    facts = {"accumulation": 8, "precision": Precision.FP16, "image_size": SQUARE}
    run = FakeRun(plan(micro_batch=1, grad_checkpointing=False, **facts), gib_per_sample=21)
    assert {repair.safety for repair in run.repairs_to_fit()} == {Safety.DISPLAY}


@pytest.mark.parametrize(
    ("gpu", "facts", "expected"),
    [
        (TURING, {}, Precision.FP16),
        (AMPERE, {}, Precision.FP16),
        (AMPERE, {"seq_len": 2048}, Precision.BF16),
        (TURING, {"seq_len": 2048}, None),
        (TURING._replace(capability=(6, 1)), {}, None),
    ],
)
def test_autocast_only_where_card_and_model_take_it(gpu: object, facts: dict[str, int], expected: object) -> None:
    run = FakeRun(
        plan(micro_batch=1, accumulation=1, precision=Precision.FP32, **facts),
        gpu=gpu,
        gib_per_sample=18,  # type: ignore[arg-type]
    )
    assert first(run).get("precision") == expected


def test_nothing_to_say_without_a_card_or_an_estimate() -> None:
    facts = plan(micro_batch=64, accumulation=1, precision=Precision.FP32)
    for run in (FakeRun(facts, gpu=None), FakeRun(facts, gib_per_sample=None)):
        assert not run.repairs_to_fit()
        assert not run.repairs_to_fill()


def test_a_run_that_fits_is_left_alone() -> None:
    assert not FakeRun(plan(micro_batch=2, accumulation=4, precision=Precision.FP16)).repairs_to_fit()


# --- it is wasted ----------------------------------------------------------------------------------------------------


def test_a_wasted_card_gets_a_larger_micro_batch_at_the_same_effective_batch() -> None:
    run = FakeRun(plan(micro_batch=2, accumulation=8, precision=Precision.FP32))
    (safe, shown) = run.repairs_to_fill()
    assert (safe.safety, values(safe)) == (Safety.SAFE, {"micro_batch": 8, "accumulation": 2})
    assert shown.safety is Safety.DISPLAY


def test_a_wasted_card_is_told_batch_and_queue_together() -> None:
    (shown,) = moco(64, 65536).repairs_to_fill()
    batch, queue = values(shown)["micro_batch"], values(shown)["queue_size"]
    assert shown.safety is Safety.DISPLAY
    assert isinstance(batch, int)
    assert isinstance(queue, int)
    assert batch > 64
    assert queue % batch == 0


# --- the queue -------------------------------------------------------------------------------------------------------


def test_both_repairs_of_a_broken_queue() -> None:
    repairs = moco(96, 65536).repairs_to_divide()
    assert [(repair.safety, values(repair)) for repair in repairs] == [
        (Safety.SAFE, {"queue_size": 76800}),
        (Safety.SAFE, {"micro_batch": 64, "accumulation": 6}),
        (Safety.SAFE, {"queue_size": 65568}),
    ]
    assert "800 batches" in repairs[0].title


def test_a_divisor_that_fits_the_card_upwards_too() -> None:
    run = FakeRun(moco(96, 65536).plan, gib_per_sample=0.05)
    assert {"micro_batch": 128, "accumulation": 3} in [values(repair) for repair in run.repairs_to_divide()]


def test_a_whole_queue_is_left_alone() -> None:
    assert not moco(64, 65536).repairs_to_divide()


@given(queue=st.integers(1, 200_000), batch=st.integers(1, 512), steps=st.integers(1, 16), ranks=st.integers(1, 8))
def test_a_round_queue_always_divides_and_never_shrinks(queue: int, batch: int, steps: int, ranks: int) -> None:
    facts = plan(micro_batch=batch, accumulation=steps, data_parallel=spelled(ranks), queue_size=queue)
    rounded = round_queue(facts)
    assert rounded is not None
    assert rounded >= queue
    assert rounded % batch == 0
    assert rounded <= max(queue * 1.2, nearest_queue(queue, batch))


class SlackRun(FakeRun):
    """A run whose upper bound is far away, so that a larger batch passes by the lower bound."""

    def estimate(self, plan: TrainingPlan | None = None) -> Estimate:
        found = super().estimate(plan)
        assert found.required is not None
        return found._replace(required=found.required._replace(low=0))


def test_no_repair_to_fit_needs_more_than_before() -> None:
    """Micro batch 1 may not fit and nothing safe brings it down: a batch of 2 by the lower bound is no repair."""
    run = SlackRun(plan(micro_batch=1, accumulation=8, precision=Precision.FP16), gib_per_sample=21.8)
    before = run.estimate().required
    assert before is not None
    assert run.estimate().verdict is not Verdict.FITS
    for repair in run.repairs_to_fit():
        after = run.estimate(revise(run.plan, values(repair))).required
        assert after is not None
        assert after.value < before.value


# --- invariants ------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    micro=st.integers(1, 200),
    steps=st.integers(1, 16),
    ranks=st.integers(1, 8),
    queue=st.sampled_from([None, 4096, 65536, 76800]),
    gib=st.floats(0.01, 30),
    nominal=st.booleans(),
    half=st.booleans(),
)
def test_safe_repairs_keep_the_experiment(
    micro: int, steps: int, ranks: int, queue: int | None, gib: float, nominal: bool, half: bool
) -> None:
    """Every safe repair keeps the effective batch and the queue whole; none costs more than 200 estimates."""
    precision = Precision.FP16 if half else Precision.FP32
    facts = {"data_parallel": spelled(ranks), "precision": precision, "image_size": SQUARE, "multi_scale": True}
    if queue is not None:
        facts["queue_size"] = queue
    policy = (NominalAccumulation(),) if nominal else ()
    accumulation = {"accumulation": ROUNDED, "nominal_batch": 64} if nominal else {"accumulation": steps}
    run = FakeRun(
        plan(*policy, micro_batch=micro, grad_checkpointing=False, **facts, **accumulation), gib_per_sample=gib
    )
    for repairs in (run.repairs_to_fit(), run.repairs_to_fill(), run.repairs_to_divide()):
        for repair in repairs:
            after = revise(run.plan, values(repair))
            if repair.safety is Safety.SAFE:
                assert after.effective_batch.value == run.plan.effective_batch.value
                assert after.image_size == run.plan.image_size
                assert after.multi_scale == run.plan.multi_scale
            if divides_queue(run.plan, micro):
                assert divides_queue(after, after.micro_batch.value or 1)
    assert run.estimates <= 200


@settings(max_examples=100, deadline=None)
@given(micro=st.integers(1, 64), steps=st.integers(1, 8), gib=st.floats(0.05, 40), half=st.booleans())
def test_fixing_twice_is_fixing_once(micro: int, steps: int, gib: float, half: bool) -> None:
    """Applying the first safe repair until there is none ends within three passes."""
    precision = Precision.FP16 if half else Precision.FP32
    current = plan(
        micro_batch=micro, accumulation=steps, precision=precision, grad_checkpointing=False, image_size=SQUARE
    )
    for _ in range(4):
        run = FakeRun(current, gib_per_sample=gib)
        step = first(run)
        if not step:
            break
        current = revise(current, step)
        after = FakeRun(current, gib_per_sample=gib)
        fits = comfortable(after, after.estimate())
        assert not fits or not any(r.safety is Safety.SAFE for r in after.repairs_to_fit())
    else:
        pytest.fail("no end of repairs")


@given(at=st.integers(0, 20), length=st.integers(0, 20), near=st.integers(-3, 23))
def test_bisection_finds_the_first(at: int, length: int, near: int) -> None:
    asked: list[int] = []

    def holds(item: int) -> bool:
        asked.append(item)
        return item >= at

    assert first_that(range(length), holds, near) == (at if at < length else None)
    assert len(asked) <= 1 + 2 + length.bit_length()
    assert len(asked) <= 3 or near != at or at >= length - 1


@pytest.mark.parametrize(
    ("size", "multiple", "expected"),
    [
        (ImageSize(1024, 1024), None, ["960x960", "896x896", "512x512"]),
        (ImageSize(560, 560), None, ["504x504", "448x448", "280x280"]),
        (ImageSize(384, 384), 24, ["360x360", "336x336", "192x192"]),
        (ImageSize(512, 1024), None, ["448x896", "384x768", "256x512"]),
        (ImageSize(333, 500), None, []),
    ],
)
def test_smaller_images_keep_their_multiples_and_shape(
    size: ImageSize, multiple: int | None, expected: list[str]
) -> None:
    extra = {"image_multiple": multiple} if multiple else {}
    sizes = [str(found) for found in smaller_sizes(plan(micro_batch=1, image_size=size, extra=extra))]
    assert [*sizes[:2], *sizes[-1:]] == expected


def test_splits_of_a_global_batch_are_per_rank() -> None:
    facts = plan(NominalAccumulation(), micro_batch=16, data_parallel=2, nominal_batch=64, accumulation=ROUNDED)
    assert facts.accumulation.origin is Origin.DERIVED
    assert [split.micro_batch for split in keeping_splits(facts, lambda _: True)] == [32, 16, 8, 4, 2, 1]


# --- with the real estimator -----------------------------------------------------------------------------------------


class RealRun(FakeRun):
    """A made-up run whose memory the estimator works out."""

    def estimate(self, plan: TrainingPlan | None = None) -> Estimate:
        self.estimates += 1
        return memory.estimate(plan or self.plan, self.target, self.limits)


LANGUAGE = {
    "model": "Qwen/Qwen2.5-0.5B-Instruct",
    "seq_len": 2048,
    "optimizer": default("adamw", ""),
    "sharding": default("none", ""),
    "adapter": default("none", ""),
    "ema": default(value=False, note=""),
}


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.FP32])
def test_a_language_model_is_brought_onto_its_card(precision: Precision) -> None:
    facts = plan(micro_batch=16, accumulation=1, precision=precision, grad_checkpointing=False, **LANGUAGE)
    run = RealRun(facts, gpu=find_gpu("rtx4090"))
    after = RealRun(revise(run.plan, first(run)), gpu=find_gpu("rtx4090"))
    assert after.estimate().verdict is Verdict.FITS
    assert after.plan.effective_batch.value == 16
    assert not after.repairs_to_fit()
    assert run.estimates <= 200


def test_two_encoders_and_a_queue_go_to_a_divisor() -> None:
    image = {"image_size": ImageSize(224, 224), "model": "resnet50", "task": "self-supervised"}
    facts = plan(
        micro_batch=256, accumulation=4, data_parallel=2, precision=Precision.FP16, queue_size=65536,
        grad_checkpointing=True, optimizer="adamw", sharding="ddp", ema=False, **image,
    )  # fmt: skip
    run = RealRun(facts, gpu=find_gpu("rtx3070-8gb"))
    step = first(run)
    batch, steps = step["micro_batch"], step["accumulation"]
    assert isinstance(batch, int)
    assert isinstance(steps, int)
    assert batch * steps == 256 * 4
    assert 65536 % batch == 0
    assert RealRun(revise(run.plan, step), gpu=find_gpu("rtx3070-8gb")).estimate().verdict is not Verdict.OVER
