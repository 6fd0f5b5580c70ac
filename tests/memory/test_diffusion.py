"""Diffusion denoisers: names, adapters, and how their memory moves."""

from __future__ import annotations

from typing import Any

import pytest

from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.memory.diffusion import denoisers, find_denoiser, with_adapters
from vramlint.plan import Fact, ImageSize, Origin, Precision, TrainingPlan

KLEIN = "black-forest-labs/FLUX.2-klein-base-4B"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (KLEIN, "flux.2-klein-base-4b"),
        ("/models/flux.2-klein-base-4b.safetensors", "flux.2-klein-base-4b"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "stable-diffusion-xl-base-1.0"),
        ("sd_xl_base_1.0.safetensors", "stable-diffusion-xl-base-1.0"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "stable-diffusion-v1-5"),
        ("runwayml/stable-diffusion-v1-5", "stable-diffusion-v1-5"),
    ],
)
def test_names_as_people_write_them(written: str, meant: str) -> None:
    found = find_denoiser(written)
    assert found is not None
    assert found.name == meant


@pytest.mark.parametrize("name", ["", "flux", "FLUX.2-klein-9B", "stable-diffusion", "FLUX.1-Kontext"])
def test_what_is_another_model(name: str) -> None:
    assert find_denoiser(name) is None


def test_every_denoiser_has_its_modes() -> None:
    for denoiser in denoisers():
        assert set(denoiser.variants) == {
            f"{mode}{more}" for mode in ("lora", "full", "pure") for more in ("", "+checkpointing")
        }
        few, many = (with_adapters(denoiser, 8, everywhere=everywhere) for everywhere in (False, True))
        assert denoiser.base > many.trainable > few.trainable > 0
        assert max(variant.residual for variant in denoiser.variants.values()) <= 0.02


def gib(**facts: Any) -> float:
    plan = TrainingPlan("diffusers", "x")
    given = {
        "model": KLEIN, "micro_batch": 2, "accumulation": 1, "image_size": ImageSize(512, 512), "optimizer": "AdamW",
        "precision": Precision.BF16, "grad_checkpointing": True, "adapter": "lora", "adapter_rank": 32, "ema": False,
        "sharding": "none",
    }  # fmt: skip
    for name, value in {**given, **facts}.items():
        setattr(plan, name, Fact(value, Origin.FILE))
    plan.extra["adapter_targets"] = Fact("all-linear", Origin.FILE)
    found = estimate(plan, Target()).allocated
    assert found is not None
    return found.value / 2**30


def test_the_base_is_held_in_16_bits_and_the_adapters_in_32() -> None:
    weights = 2 * 3_875_544_576 / 2**30
    adapters = 16 * 32 * 1_505_280 / 2**30
    assert weights + adapters < gib() < weights + adapters + 2


def test_what_makes_it_larger() -> None:
    assert gib(grad_checkpointing=False) > gib() + 3
    assert gib(micro_batch=4) > gib()
    assert gib(image_size=ImageSize(1024, 1024)) > gib(micro_batch=4)
    assert gib(adapter="none", precision=Precision.PURE_BF16) > 30
    assert gib(adapter="none") > gib(adapter="none", precision=Precision.PURE_BF16)
