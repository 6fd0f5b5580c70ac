"""What the rules say of plans made by hand: messages with their numbers, severity, silence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from tests.rules.fakes import AMPERE, TURING, FakeRun, plan
from vramlint.hardware.model import GIB, MIB, Host
from vramlint.plan import ImageSize, NominalAccumulation, Precision, default, derived, unknown
from vramlint.rule import Limits, Safety, Severity, Verdict

SQUARE = ImageSize(1024, 1024)


def verdicts(name: str, facts: dict[str, Any], policy: Any = None, **target: Any) -> list[Verdict]:
    chosen = (policy,) if policy is not None else ()
    rule = import_module(f"vramlint_rules.{name}")
    return list(rule.check(FakeRun(plan(*chosen, **facts), **target)))


def test_effective_batch() -> None:
    (found,) = verdicts("effective_batch", {"micro_batch": 2, "accumulation": 4, "data_parallel": 2})
    assert found.message == "effective batch 16 = 2 x 2 GPUs x 4 steps"


NOMINAL = [
    # batch, nominal spelled, message part, severity override
    (24, True, "round(64 / 24) = 3 accumulation steps give effective batch 72, not nominal_batch 64", None),
    (24, False, "effective batch 72", Severity.INFO),
    (48, True, "round(64 / 48) = 1 accumulation steps give effective batch 48", None),
    (128, True, "batch 128 is over nominal_batch 64: no accumulation", Severity.INFO),
]


@pytest.mark.parametrize(("batch", "spelled", "part", "severity"), NOMINAL)
def test_accumulation_misses_nominal(batch: int, spelled: bool, part: str, severity: Severity | None) -> None:
    nominal = 64 if spelled else default(64, "made up")
    facts = {"micro_batch": batch, "nominal_batch": nominal, "accumulation": derived(1, "")}
    (found,) = verdicts("accumulation_misses_nominal", facts, NominalAccumulation())
    assert part in found.message
    assert found.severity is severity


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16, 32, 64])
def test_accumulation_hits_nominal(batch: int) -> None:
    facts = {"micro_batch": batch, "nominal_batch": 64, "accumulation": derived(1, "")}
    assert not verdicts("accumulation_misses_nominal", facts, NominalAccumulation())


def test_global_batch_not_divisible() -> None:
    (found,) = verdicts("global_batch_not_divisible", {"micro_batch": 8, "global_batch": 17, "data_parallel": 2})
    assert "17 over 2 GPUs is 8.5 each" in found.message
    assert found.help.endswith("16 or 18")


@pytest.mark.parametrize(("batch", "queue", "found"), [(64, 65536, 0), (96, 76800, 0), (80, 64000, 0), (96, 65536, 1)])
def test_queue_not_divisible(batch: int, queue: int, found: int) -> None:
    facts = {"micro_batch": batch, "queue_size": queue, "accumulation": 4, "data_parallel": 2}
    messages = [verdict.message for verdict in verdicts("queue_not_divisible", facts, gib_per_sample=0.05)]
    assert len(messages) == found
    assert all("(682.67 batches): the queue pointer runs past the end" in message for message in messages)


@pytest.mark.parametrize(
    ("name", "facts", "found"),
    [
        ("prefetch_without_workers", {"workers_per_rank": 0, "prefetch_factor": 2}, 1),
        ("prefetch_without_workers", {"workers_per_rank": 4, "prefetch_factor": 2}, 0),
        ("prefetch_without_workers", {"workers_per_rank": 0, "prefetch_factor": default(2, "")}, 0),
        ("prefetch_without_workers", {"prefetch_factor": 2}, 0),
        ("persistent_without_workers", {"workers_per_rank": 0, "persistent_workers": True}, 1),
        ("persistent_without_workers", {"workers_per_rank": 0, "persistent_workers": False}, 0),
        ("persistent_without_workers", {"workers_per_rank": 2, "persistent_workers": True}, 0),
        ("pin_memory_off", {"pin_memory": False}, 1),
        ("pin_memory_off", {"pin_memory": True}, 0),
    ],
)
def test_loader_settings(name: str, facts: dict[str, Any], found: int) -> None:
    assert len(verdicts(name, facts)) == found


def test_workers_over_cores() -> None:
    facts = {"workers_per_rank": 8, "world_size": 4}
    (found,) = verdicts("workers_over_cores", facts, host=Host(cores=16))
    assert found.message.startswith("workers_per_rank 8 x 4 ranks = 32 workers on 16 cores")
    assert found.repairs[0].changes[0].value == 4
    assert not verdicts("workers_over_cores", facts, host=Host(cores=32))
    assert not verdicts("workers_over_cores", facts)
    assert not verdicts("workers_over_cores", {**facts, "world_size": 8, "nodes": 2}, host=Host(cores=32))


def test_shm_over() -> None:
    """4 workers x 2 batches x 2 images of 12 MiB = 192 MiB."""
    facts = {"workers_per_rank": 4, "prefetch_factor": 2, "micro_batch": 2, "image_size": SQUARE}
    (found,) = verdicts("shm_over", facts, host=Host(shm_bytes=64 * MIB))
    assert "4 workers x 2 batches of 2 x 3 x 1024x1024 float32 take 0.2 GiB of 64 MiB in /dev/shm" in found.message
    assert found.repairs[0].changes == (("workers_per_rank", 1),)
    assert found.severity is None, "as bytes the batches would fit"
    assert not verdicts("shm_over", facts, host=Host(shm_bytes=192 * MIB))
    assert not verdicts("shm_over", facts)
    (larger,) = verdicts("shm_over", {**facts, "micro_batch": 8}, host=Host(shm_bytes=64 * MIB))
    assert larger.severity is Severity.ERROR


def test_host_memory_over() -> None:
    """2 ranks x (8 x 8 + 1) batches of 16 images of 12 MiB = 24.4 GiB."""
    facts = {"workers_per_rank": 8, "prefetch_factor": 8, "micro_batch": 16, "image_size": SQUARE, "world_size": 2}
    (found,) = verdicts("host_memory_over", facts, host=Host(ram_bytes=16 * GIB))
    assert "at least 24.4 GiB of 16.0 GiB host memory" in found.message
    assert found.repairs[0].changes == (("prefetch_factor", 5),)
    assert not verdicts("host_memory_over", facts, host=Host(ram_bytes=32 * GIB))


VRAM = [
    # GiB per sample, spread, findings, severity: batch 2, 1 GiB beside the samples, 12 GiB card, fp16 halves
    (3.0, 0.1, 0, None),
    (10.0, 0.1, 1, Severity.WARNING),
    (11.5, 0.1, 1, Severity.WARNING),
    (20.0, 0.1, 1, Severity.ERROR),
    (4.0, 2.5, 0, None),
    (6.0, 0.9, 1, Severity.WARNING),
]


@pytest.mark.parametrize(("gib", "spread", "count", "severity"), VRAM)
def test_vram_over(gib: float, spread: float, count: int, severity: Severity | None) -> None:
    facts = {"micro_batch": 2, "accumulation": 4, "precision": Precision.FP16}
    found = verdicts("vram_over", facts, gib_per_sample=gib, spread=spread)
    assert len(found) == count
    assert all(verdict.severity is severity for verdict in found)


def test_vram_over_says_its_numbers() -> None:
    facts = {"micro_batch": 2, "accumulation": 4, "precision": Precision.FP16}
    (found,) = verdicts("vram_over", facts, gib_per_sample=15.0)
    assert found.message == (
        "needs 16.0 GiB (14.4 to 17.6) of 12.0 usable on rtx3060-12gb, peak in backward: out of memory"
    )
    assert found.label == "does not fit"
    assert found.help.startswith("Set batch_size to 1 and accumulation to 8")


@pytest.mark.parametrize(
    ("ranks", "sharding", "share", "severity"),
    [
        (8, None, 0.2, Severity.WARNING),
        (8, None, 0.9, Severity.ERROR),
        (8, "ddp", 0.2, Severity.ERROR),
        (1, None, 0.2, Severity.ERROR),
    ],
)
def test_a_launch_nobody_sees_may_shard_a_language_model(
    ranks: int, sharding: str | None, share: float, severity: Severity
) -> None:
    """States divide over the ranks, activations do not: a doubt about the states is shown, not repaired."""
    facts = {"micro_batch": 2, "accumulation": 4, "precision": Precision.BF16, "seq_len": 2048, "data_parallel": ranks}
    facts |= {"sharding": sharding} if sharding else {}
    (found,) = verdicts("vram_over", facts, gib_per_sample=20.0, activation_share=share, gpu=AMPERE)
    assert found.severity == severity
    assert ("unless the launch shards it" in found.message) is (severity is Severity.WARNING)
    assert (found.repairs[0].safety is Safety.DISPLAY) is (severity is Severity.WARNING)


def test_a_run_that_shards_over_unknown_ranks_needs_enough_of_them() -> None:
    facts: dict[str, Any] = {"micro_batch": 2, "accumulation": 4, "precision": Precision.BF16, "seq_len": 2048}
    facts |= {"sharding": "fsdp", "world_size": unknown("no launch line")}
    (found,) = verdicts("vram_over", facts, gib_per_sample=20.0, activation_share=0.2, gpu=AMPERE)
    assert found.severity == Severity.WARNING
    assert found.message.endswith("unless enough ranks share it")


@pytest.mark.parametrize(
    ("dialect", "gib", "severity"),
    [("mmengine", 10.0, Severity.WARNING), ("mmengine", 30.0, Severity.ERROR), ("fake", 10.0, Severity.ERROR)],
)
def test_a_launch_nobody_sees_may_switch_amp_on(dialect: str, gib: float, severity: Severity) -> None:
    """2 x 10 GiB are over 12, half of them are not."""
    made = plan(micro_batch=2, accumulation=4, precision=Precision.FP32)
    made.dialect = dialect
    (found,) = import_module("vramlint_rules.vram_over").check(FakeRun(made, gib_per_sample=gib))
    assert found.severity == severity
    assert ("unless it is launched with --amp" in found.message) is (severity is Severity.WARNING)


def test_vram_wasted() -> None:
    facts = {"micro_batch": 2, "accumulation": 8, "precision": Precision.FP16}
    (found,) = verdicts("vram_wasted", facts)
    assert "2.0 GiB (1.8 to 2.2) of 12.0 usable on rtx3060-12gb (17 %)" in found.message
    assert found.repairs[0].safety is Safety.UNSAFE
    assert not verdicts("vram_wasted", facts, spread=6.0), "the upper bound reaches the target"
    assert not verdicts("vram_wasted", facts, limits=Limits(wasted_below=0.1))


def test_vram_unknown() -> None:
    (found,) = verdicts("vram_unknown", {"micro_batch": 2}, gib_per_sample=None)
    assert found.message == "memory unknown: no profile of it"
    assert not verdicts("vram_unknown", {"micro_batch": 2})
    assert not verdicts("vram_unknown", {"micro_batch": 2}, gib_per_sample=None, gpu=None)


@pytest.mark.parametrize(
    ("precision", "gpu", "more", "safety"),
    [
        (Precision.BF16, TURING, {}, Safety.SAFE),
        (Precision.BF16, TURING, {"seq_len": 2048}, Safety.UNSAFE),
        (Precision.PURE_BF16, TURING, {}, Safety.UNSAFE),
        (Precision.BF16, AMPERE, {}, None),
        (Precision.FP16, TURING, {}, None),
        (Precision.BF16, None, {}, None),
    ],
)
def test_bf16_unsupported(precision: Precision, gpu: Any, more: dict[str, Any], safety: Safety | None) -> None:
    found = verdicts("bf16_unsupported", {"micro_batch": 1, "precision": precision, **more}, gpu=gpu)
    assert [verdict.repairs[0].safety for verdict in found] == ([] if safety is None else [safety])


@pytest.mark.parametrize(
    ("gib", "gpu", "safety"),
    [
        (1.0, AMPERE, None),
        (9.4, AMPERE, Safety.UNSAFE),
        (20.0, AMPERE, None),  # a repair of vram-over switches it on
        (20.0, AMPERE._replace(capability=(6, 1)), None),
    ],
)
def test_no_mixed_precision(gib: float, gpu: Any, safety: Safety | None) -> None:
    facts = {"micro_batch": 1, "accumulation": 4, "precision": Precision.FP32}
    found = verdicts("no_mixed_precision", facts, gib_per_sample=gib, gpu=gpu)
    assert [verdict.repairs[0].safety for verdict in found] == ([] if safety is None else [safety])
    assert not verdicts("no_mixed_precision", {**facts, "precision": Precision.FP16}, gib_per_sample=gib)


@pytest.mark.parametrize(
    ("model", "multiple", "task", "side", "found"),
    [
        ("rf-detr-nano", 32, "detect", 384, 0),
        ("rf-detr-nano", 32, "detect", 400, 1),
        ("rf-detr-base", 56, "detect", 512, 1),
        ("rf-detr-nano", 32, "segment", 312, 0),
        ("rf-detr-nano", 32, "segment", 400, 1),
        ("rf-detr-large", None, "detect", 400, 0),
        ("dinov2_vits14_reg", None, None, 224, 0),
        ("dinov2_vitb14", None, None, 256, 1),
        ("resnet50", None, "detect", 333, 0),
    ],
)
def test_image_size_not_divisible(model: str, multiple: int | None, task: str | None, side: int, found: int) -> None:
    facts: dict[str, Any] = {"model": model, "image_size": ImageSize(side, side)}
    facts |= {"task": task} if task else {}
    facts |= {"extra": {"image_multiple": multiple}} if multiple else {}
    assert len(verdicts("image_size_not_divisible", facts)) == found
