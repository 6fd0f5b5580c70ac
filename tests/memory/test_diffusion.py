"""Diffusion denoisers: names, folders, adapters, what stands beside them, and how their memory moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.hardware import GIB, Target
from vramlint.memory import estimate
from vramlint.memory.diffusion import (
    ALL_LINEAR,
    autoencoder,
    block_parameters,
    denoisers,
    find_denoiser,
    latent_frames,
    local_denoiser,
    with_adapters,
    with_method,
)
from vramlint.memory.knowledge import Workload
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
        ("black-forest-labs/FLUX.1-dev", "flux.1-dev"),
        ("flux1-dev.safetensors", "flux.1-dev"),
    ],
)
def test_names_as_people_write_them(written: str, meant: str) -> None:
    found = find_denoiser(written)
    assert found is not None
    assert found.name == meant


@pytest.mark.parametrize("name", ["", "flux", "stable-diffusion", "FLUX.1-Fill"])
def test_what_is_another_model(name: str) -> None:
    assert find_denoiser(name) is None


TRACED = [each for each in denoisers() if each.ways]


def test_most_are_traced() -> None:
    assert len(TRACED) >= 34


def test_a_known_size_that_was_not_traced_is_no_other_model() -> None:
    """A family's usual checkpoint stands for those nobody knows, not for one that is known and larger or smaller."""
    for denoiser in denoisers():
        if not denoiser.ways:
            found = estimate(plan(model=denoiser.name, architecture_like="flux.1-dev", frames=1), Target())
            assert found.allocated is None
            assert "not traced" in found.unknown_because


@pytest.mark.parametrize("denoiser", TRACED, ids=lambda each: each.name)
def test_every_denoiser(denoiser: Any) -> None:
    """Checkpointing never takes more, autocast on fp32 weights more than 16-bit weights, a larger rank more."""
    work = Workload(2, Precision.BF16, checkpointing=False, height=512, width=512)

    def most(one: Any, **changes: Any) -> int:
        changed = work._replace(**changes)
        return max((moment.activation_bytes for moment in one.moments(changed)), default=0)

    few, many = with_adapters(denoiser, 8), with_adapters(denoiser, 8, ALL_LINEAR)
    assert denoiser.base > many.trainable >= few.trainable > 0
    assert most(few, checkpointing=True) < most(few)
    assert most(denoiser, checkpointing=True, precision=Precision.PURE_BF16) > 0
    if most(denoiser, checkpointing=True):  # nobody holds the larger ones in fp32, which was not traced of all
        assert most(denoiser, checkpointing=True, precision=Precision.PURE_BF16) < most(denoiser, checkpointing=True)
    if most(denoiser):  # stacks of many blocks were traced whole with checkpointing alone
        assert most(denoiser, checkpointing=True) <= most(denoiser)
        assert most(denoiser, precision=Precision.PURE_BF16) < most(denoiser)
    assert most(with_adapters(denoiser, 256)) >= most(few) > most(few, height=256) > 0
    assert autoencoder(denoiser).parameters > 80_000_000


def plan(**facts: Any) -> TrainingPlan:
    made = TrainingPlan("diffusers", "x")
    given = {
        "model": KLEIN, "micro_batch": 2, "accumulation": 1, "image_size": ImageSize(512, 512), "optimizer": "AdamW",
        "precision": Precision.BF16, "grad_checkpointing": True, "adapter": "lora", "adapter_rank": 32, "ema": False,
        "sharding": "none", "vae_resident": False, "text_encoders_resident": False, "adapter_targets": "all-linear",
    }  # fmt: skip
    for name, value in {**given, **facts}.items():
        if hasattr(made, name):
            setattr(made, name, Fact(value, Origin.FILE))
        else:
            made.extra[name] = Fact(value, Origin.FILE)
    return made


def gib(**facts: Any) -> float:
    found = estimate(plan(**facts), Target()).allocated
    assert found is not None
    return found.value / GIB


def test_the_base_is_held_in_16_bits_and_the_adapters_in_32() -> None:
    weights = 2 * 3_875_544_576 / GIB
    adapters = 16 * 32 * 1_198_080 / GIB
    assert weights + adapters < gib() < weights + adapters + 2


def test_what_makes_it_larger() -> None:
    assert gib(grad_checkpointing=False) > gib() + 3
    assert gib(micro_batch=4) > gib()
    assert gib(image_size=ImageSize(1024, 1024)) > gib(micro_batch=4)
    assert gib(adapter="none", precision=Precision.PURE_BF16) > 30
    assert gib(adapter="none") > gib(adapter="none", precision=Precision.PURE_BF16)
    assert gib(adapter="none", weights_in_16_bits=True) == gib(adapter="none", precision=Precision.PURE_BF16)


def test_what_stands_beside_it() -> None:
    vae = 2 * 84_046_115 / GIB
    assert gib(vae_resident=True) == pytest.approx(gib() + vae, abs=0.001)
    qwen = 2 * 4_022_468_096 / GIB
    assert gib(text_encoders_resident=True) == pytest.approx(gib() + qwen, abs=0.001)
    assert gib(beside=(("reward model", 10**9, 4),)) == pytest.approx(gib() + 4 * 10**9 / GIB, abs=0.001)


def test_unknown_residency_widens_the_interval() -> None:
    known, open_ = (estimate(plan(**facts), Target()).allocated for facts in ({}, {"text_encoders_resident": None}))
    assert known is not None
    assert open_ is not None
    assert open_.value == known.value
    assert open_.high > known.high + 2 * 4_022_468_096 * 0.9


@pytest.mark.parametrize(("kind", "saved"), [("int8", 1.0), ("fp8", 1.0), ("nf4", 2 - 0.5625)])
def test_a_quantised_base(kind: str, saved: float) -> None:
    """Nearly all of the base is linear layers; one layer is unpacked at a time."""
    denoiser = find_denoiser(KLEIN)
    assert denoiser is not None
    expected = gib() - saved * denoiser.linear / GIB
    assert expected < gib(base_quantization=kind) < expected + 0.3
    assert gib(adapter="qlora") == gib(base_quantization="nf4")


def test_what_is_not_worked_out() -> None:
    for facts in ({"base_quantization": "gguf"}, {"adapter": "bone"}, {"moved_off": "offload_fraction"}):
        found = estimate(plan(**facts), Target())
        assert found.allocated is None
        assert found.unknown_because


# huggingface/peft method_comparison/image-gen (2026-07, L40S): p99 of reserved GiB of FLUX.2-klein-base-4B, batch 2,
# 512 x 512, bf16 without autocast; DINOv2 in fp32 and twenty prompts' embeddings on the card beside it.
PUBLISHED = [
    ("lora", 32, 9.973),
    ("lora", 64, 10.602),
    ("adalora", None, 10.832),
    ("ia3", None, 8.928),
    ("ln_tuning", None, 8.949),
    ("dora", 64, 12.271),
    ("deft", 32, 11.029),
    ("deft-para", 32, 10.275),
    ("gralora", 32, 9.992),
    ("lily", 32, 9.895),
    ("loha", 32, 11.82),
    ("oft", None, 9.006),
    ("peanut", 32, 11.547),
    ("road", None, 10.566),
    ("vera", 32, 9.84),
    ("randlora", None, 10.67),
    ("hra", 32, 44.076),
    ("lokr", 32, 10.102),
    ("shira", 32, 10.295),
    ("vblora", 32, 9.971),
    ("waveft", None, 12.092),
    ("none", None, 37.135),
]


@pytest.mark.parametrize(("method", "rank", "measured_gib"), PUBLISHED)
def test_published_peaks(method: str, rank: int | None, measured_gib: float) -> None:
    beside = (("DINOv2", 86_580_480, 4), ("prompts", 20 * 512 * 7680, 2))
    found = estimate(
        plan(adapter=method, adapter_rank=rank, precision=Precision.PURE_BF16, autocast=False, beside=beside), Target()
    )
    assert found.reserved is not None
    assert found.reserved.value / GIB == pytest.approx(measured_gib, rel=0.08)
    assert found.reserved.low / GIB < measured_gib < found.reserved.high / GIB


def test_methods_count_what_they_train() -> None:
    """As the comparison prints it."""
    denoiser = find_denoiser(KLEIN)
    assert denoiser is not None
    counted = {"lora": 38_338_560, "c3a": 11_427_840, "hra": 9_830_400, "lokr": 783_360, "shira": 38_338_560,
               "vblora": 38_404_096}  # fmt: skip
    for method, trained in counted.items():
        rank = 32 if method == "lora" else None
        found = with_method(denoiser, method, rank, None)
        assert found is not None
        assert found.trainable == trained


def saved(folder: Path, part: str, data: dict[str, Any]) -> str:
    (folder / "ours" / part).mkdir(parents=True)
    (folder / "ours" / part / "config.json").write_text(json.dumps(data))
    return str(folder / "ours")


FLUX = {
    "_class_name": "FluxTransformer2DModel", "_diffusers_version": "0.30.0", "attention_head_dim": 128,
    "guidance_embeds": True, "in_channels": 64, "joint_attention_dim": 4096, "num_attention_heads": 24,
    "num_layers": 19, "num_single_layers": 38, "patch_size": 1, "pooled_projection_dim": 768,
}  # fmt: skip


@pytest.mark.parametrize("part", ["transformer", ""])
def test_a_folder_of_a_known_architecture(tmp_path: Path, part: str) -> None:
    folder = saved(tmp_path, part, FLUX)
    found = local_denoiser(folder, str(tmp_path / "train.yaml"))
    assert found is not None
    assert (found.name, found.base) == ("flux.1-dev", 11_901_408_320)
    assert "config.json" in found.source


def test_a_folder_with_fewer_blocks(tmp_path: Path) -> None:
    """Flux.1-lite-8B: 8 double blocks; 8,157,... M parameters follow from the blocks left out."""
    folder = saved(tmp_path, "transformer", {**FLUX, "num_layers": 8})
    found, whole = local_denoiser(folder, str(tmp_path / "x.yaml")), find_denoiser("flux.1-dev")
    assert found is not None
    assert whole is not None
    h = 3072
    double = 2 * (4 * h * h + 4 * h) + 2 * (8 * h * h + 5 * h) + 2 * (6 * h * h + 6 * h) + 4 * 128
    assert whole.base - found.base == 11 * double
    work = Workload(1, Precision.BF16, checkpointing=False, height=1024, width=1024)
    kept = [max(m.activation_bytes for m in with_adapters(one, 16).moments(work)) for one in (found, whole)]
    assert 0.6 < kept[0] / kept[1] < 0.9


@pytest.mark.parametrize(
    "changed",
    [{"num_attention_heads": 16}, {"_class_name": "WanTransformer3DModel"}, {"num_layers": "many"}, {"num_layers": 0}],
)
def test_a_folder_of_another_architecture(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert local_denoiser(saved(tmp_path, "transformer", {**FLUX, **changed}), str(tmp_path / "x.yaml")) is None


def test_latent_frames() -> None:
    image, clip = find_denoiser("flux.1-dev"), find_denoiser("Lightricks/LTX-Video-0.9.5")
    assert image is not None
    assert clip is not None
    assert (latent_frames(image, 49), latent_frames(clip, 49), latent_frames(clip, 1)) == (1, 7, 1)


# bghira/SimpleTuner's tables (2026-08): GiB on an H100, sampled from outside; LoRA with 16-bit adapters, batch 1, at
# the size that each example's data set has (the tables' resolution is the validation's).
SIMPLETUNER = [
    ("chroma1-base", 512, 16, None, False, 26.18),
    ("chroma1-base", 512, 16, None, True, 17.67),
    ("chroma1-base", 512, 16, "int8", True, 10.41),
    ("kolors", 512, 16, None, False, 7.22),
    ("kolors", 512, 16, None, True, 5.36),
    ("kolors", 512, 16, "int8", True, 3.38),
    ("krea-2-raw", 512, 64, None, False, 40.09),
    ("krea-2-raw", 512, 64, None, True, 30.06),
    ("ltx-video-0.9.5", 480, 16, None, False, 8.77),
    ("ltx-video-0.9.5", 480, 16, None, True, 4.21),
    ("ltx-video-0.9.5", 480, 16, "int8", True, 2.59),
    ("dreamshaper-8", 512, 16, None, False, 2.87),
    ("dreamshaper-8", 512, 16, None, True, 1.98),
    ("dreamshaper-8", 512, 16, "int8", True, 1.79),
]


@pytest.mark.parametrize(("name", "side", "rank", "held", "checkpointed", "measured_gib"), SIMPLETUNER)
def test_simpletuners_tables(
    name: str, side: int, rank: int, held: str | None, checkpointed: bool, measured_gib: float
) -> None:
    """What is measured lies between what is allocated and what the device has, whose context varies."""
    found = estimate(
        plan(
            model=name, micro_batch=1, image_size=ImageSize(side, side), frames=48, adapter_rank=rank,
            adapter_targets="attention", adapter_bytes=2, base_quantization=held, optimizer="adamw_bf16",
            grad_checkpointing=checkpointed,
        ),
        Target(),
    )  # fmt: skip
    assert found.allocated is not None
    assert found.device is not None
    assert found.allocated.value / GIB <= measured_gib <= 1.05 * found.device.value / GIB


def test_blocks_in_host_memory() -> None:
    """Half of the blocks' weights leave the card; kohya's 18 blocks are 9 double and 18 single ones of FLUX."""
    flux = {"model": "black-forest-labs/FLUX.1-dev", "micro_batch": 1}
    denoiser = find_denoiser("flux.1-dev")
    assert denoiser is not None
    double, single = block_parameters(denoiser)
    whole = gib(**flux)
    blocks = 19 * double + 38 * single
    assert whole - gib(**flux, blocks_on_host=0.5) == pytest.approx(blocks / GIB, rel=0.001)
    swapped = 2 * (9 * double + 18 * single) / GIB
    assert whole - gib(**flux, blocks_on_host="swap 18") == pytest.approx(swapped, rel=0.001)
    quantised = gib(**flux, base_quantization="fp8") - gib(**flux, base_quantization="fp8", blocks_on_host="swap 18")
    assert quantised == pytest.approx(swapped / 2, rel=0.01)
    assert gib(**flux, activation_offload=True) < whole
    found = estimate(plan(**flux, blocks_on_host="swap 40"), Target())
    assert found.allocated is None
    assert "blocks" in found.unknown_because
    unet = estimate(plan(model="stable-diffusion-v1-5", blocks_on_host=0.5), Target())
    assert unet.allocated is None


def test_an_optimizer_inside_backward_keeps_no_gradients() -> None:
    """Weights in bf16 with Adafactor: gradients of one weight instead of all."""
    full = {"adapter": "none", "weights_in_16_bits": True, "optimizer": "Adafactor"}
    saved = gib(**full) - gib(**full, optimizer_in_backward=True)
    denoiser = find_denoiser(KLEIN)
    assert denoiser is not None
    assert 1.2 * denoiser.base / GIB < saved < 2.3 * denoiser.base / GIB


def test_text_encoders_that_train_have_states() -> None:
    """SD 1.5 in fp32 with AdamW: CLIP's 123 M parameters bring 4 bytes of weights, 8 of states, 4 of gradients each."""
    full = {"model": "stable-diffusion-v1-5", "adapter": "none", "text_encoders_resident": False}
    with_text = gib(**full, text_encoders_trained=True) - gib(**full)
    assert 12 * 123_060_480 / GIB <= with_text <= 21 * 123_060_480 / GIB


def test_averages_are_of_the_denoiser_alone() -> None:
    full = {"model": "stable-diffusion-v1-5", "adapter": "none", "text_encoders_resident": True, "vae_resident": True}
    assert gib(**full, ema=True) - gib(**full) == pytest.approx(4 * 859_520_964 / GIB, rel=0.001)


@pytest.mark.parametrize(
    ("name", "like", "parameters"),
    [
        # Published: 900M, 8B (both of FLUX's smaller ones), 16B; the U-Nets by hand: 5 channels more of 3 x 3 x 320.
        ("terminusresearch/pixart-900m-1024-ft-v0.6", "pixart-sigma-xl-2-1024-ms", 908_433_824),
        ("Freepik/flux.1-lite-8B", "flux.1-dev", 8_163_264_064),
        ("Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", "wan2.1-t2v-14b", 16_394_878_784),
        ("runwayml/stable-diffusion-inpainting", "stable-diffusion-v1-5", 859_520_964 + 5 * 9 * 320),
        ("Kwai-Kolors/Kolors-diffusers", "stable-diffusion-xl-base-1.0",
         2_567_463_684 + (5632 - 2816) * 1280 + 4096 * 2048 + 2048),
    ],
)  # fmt: skip
def test_models_that_have_anothers_blocks(name: str, like: str, parameters: int) -> None:
    found, traced = find_denoiser(name), find_denoiser(like)
    assert found is not None
    assert traced is not None
    assert found.base == parameters
    assert f"blocks of {like}" in found.source
    work = Workload(1, Precision.BF16, checkpointing=True, height=1024, width=1024)
    few, many = sorted(max(m.activation_bytes for m in with_adapters(one, 16).moments(work)) for one in (found, traced))
    ratio = max(1.0, *(own / other for own, other in zip(found.blocks, traced.blocks, strict=True)), 2.0)
    assert few <= many <= ratio * few


def test_pictures_become_latents_first() -> None:
    """A VAE in fp32 holds five tensors of 128 channels: 10 GiB for four pictures of 1024 x 1024."""
    facts = {"model": "stable-diffusion-xl-base-1.0", "micro_batch": 4, "image_size": ImageSize(1024, 1024),
             "vae_resident": True, "vae_bytes": 4}  # fmt: skip
    whole, parts, cached = (
        estimate(plan(**{**facts, **more}), Target()) for more in ({}, {"vae_batch": 1}, {"vae_resident": False})
    )
    assert whole.phase == "encoding"
    assert parts.phase == cached.phase == "backward"
    assert whole.allocated is not None
    weights = 2 * 2_567_463_684 + 4 * 83_653_863
    assert 0 < whole.allocated.value - weights - 4 * 1024**2 * 5 * 128 * 4 < 1.1 * GIB  # adapters and their states


def test_an_edited_picture_counts_twice() -> None:
    edit, made = (gib(model=name, micro_batch=1) for name in ("FLUX.1-Kontext-dev", "FLUX.1-dev"))
    wider = gib(model="FLUX.1-dev", micro_batch=1, image_size=ImageSize(1024, 512))
    assert edit == wider > made


def test_a_checkpoint_of_a_family() -> None:
    """The usual member is the value, the others bound it, and it is said."""
    facts = {"model": "my-own-finetune", "architecture_like": "stable-diffusion-3.5-large|stable-diffusion-3-medium"}
    found = estimate(plan(**facts), Target())
    large, medium = (estimate(plan(model=name), Target()) for name in facts["architecture_like"].split("|"))
    assert found.allocated is not None
    assert large.allocated is not None
    assert medium.allocated is not None
    assert found.allocated.value == large.allocated.value
    assert found.allocated.low <= medium.allocated.value
    assert any("my-own-finetune taken for stable-diffusion-3.5-large" in text for text in found.assumptions)


def test_steps_without_autocast() -> None:
    """fp32 adapters over a 16-bit base cast what they read, and keep it in 32 bits."""
    facts = {"model": "stabilityai/stable-diffusion-3.5-large", "micro_batch": 1, "grad_checkpointing": False}
    assert gib(**facts, autocast=False) > gib(**facts) + 1
    found = estimate(plan(**{**facts, "precision": Precision.FP32}), Target())
    assert found.allocated is None


def test_clips_of_unknown_length_are_unknown() -> None:
    found = estimate(plan(model="Lightricks/LTX-Video-0.9.5"), Target())
    assert found.allocated is None
    assert "frames" in found.unknown_because
