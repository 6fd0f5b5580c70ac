"""OneTrainer, ai-toolkit, SimpleTuner: batches per GPU, parts and data sets that disagree, two keys of accumulation."""

from __future__ import annotations

import json

import pytest

from tests.dialects.support import Surroundings, reading, told, values
from vramlint.plan import ImageSize, Precision


def preset(**more: object) -> str:
    return json.dumps({"training_method": "LORA", "model_type": "FLUX_DEV_1", "batch_size": 2, **more}, indent=1)


@pytest.mark.parametrize(
    ("gpus", "steps", "effective"),
    # MultiTrainer.py#train: one process a device; DataLoaderMgdsMixin.py:46: "local batch size".
    [(1, 1, 2), (2, 1, 4), (3, 1, 6), (8, 1, 16), (1, 4, 8), (2, 4, 16), (3, 4, 24), (8, 4, 64)],
)
def test_onetrainer(gpus: int, steps: int, effective: int) -> None:
    text = preset(multi_gpu=True, gradient_accumulation_steps=steps)
    found = reading("x.json", text, Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (2, steps, effective)


@pytest.mark.parametrize(
    ("more", "ranks"),
    [
        ({}, 1),
        ({"multi_gpu": False, "device_indexes": "0,1"}, 1),
        ({"multi_gpu": True, "device_indexes": "0,2,3"}, 3),
        ({"multi_gpu": True, "device_indexes": ""}, 8),
    ],
)
def test_onetrainers_world(more: dict[str, object], ranks: int) -> None:
    assert reading("x.json", preset(**more), Surroundings(gpus=8)).plan.world_size.value == ranks


@pytest.mark.parametrize(
    ("more", "on"),
    [
        ({}, True),
        ({"gradient_checkpointing": "OFF"}, False),
        ({"gradient_checkpointing": "CPU_OFFLOADED"}, True),
        ({"transformer": {"gradient_checkpointing": False}}, False),
        (
            {"transformer": {"gradient_checkpointing": True}, "text_encoder": {"gradient_checkpointing": False}},
            None,
        ),
        (
            {
                "transformer": {"gradient_checkpointing": True},
                "text_encoder": {"gradient_checkpointing": False, "train": False},
            },
            True,
        ),
    ],
)
def test_onetrainers_parts(more: dict[str, object], on: bool | None) -> None:
    assert reading("x.json", preset(**more)).plan.grad_checkpointing.value is on


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        ({}, "precision", Precision.FP16),
        ({"train_dtype": "BFLOAT_16"}, "precision", Precision.BF16),
        ({"train_dtype": "INT_8"}, "precision", None),
        ({"resolution": "512,768"}, "image_size", ImageSize(768, 768)),
        ({"resolution": "512,large"}, "image_size", None),
        ({"resolution": "768x1024"}, "image_size", ImageSize(1024, 768)),
        ({}, "image_size", ImageSize(512, 512)),
        ({"ema": "GPU"}, "ema", True),
        ({"ema": "CPU"}, "ema", False),
        ({"training_method": "EMBEDDING"}, "adapter", None),
        ({"training_method": "FINE_TUNE"}, "adapter", "none"),
        ({}, "adapter_rank", 16),
    ],
)
def test_onetrainers_other_facts(more: dict[str, object], name: str, value: object) -> None:
    assert reading("x.json", preset(**more)).plan.fact(name).value == value


JOB = """\
job: extension
config:
  process:
    - type: sd_trainer
      datasets:
        - {{resolution: {resolution}{data}}}
      train: {{batch_size: 2, dtype: {dtype}{train}}}
"""


def job(train: str = "", data: str = "", resolution: str = "512", dtype: str = "bf16") -> str:
    return JOB.format(train=train, data=data, resolution=resolution, dtype=dtype)


@pytest.mark.parametrize(
    ("train", "steps"),
    [
        # config_modules.py:452-463: 1 each by default, mutually exclusive above 1, -1 is a whole epoch.
        ("", 1),
        (", gradient_accumulation: 4", 4),
        (", gradient_accumulation_steps: 4", 4),
        (", gradient_accumulation: 4, gradient_accumulation_steps: 1", 4),
        (", gradient_accumulation: 1, gradient_accumulation_steps: 3", 3),
        (", gradient_accumulation: 4, gradient_accumulation_steps: 2", None),
        (", gradient_accumulation_steps: -1", None),
        (", gradient_accumulation: ${STEPS}", None),
    ],
)
@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
def test_ai_toolkit(train: str, steps: int | None, gpus: int) -> None:
    found = reading("x.yaml", job(train.replace("${STEPS}", "'${STEPS}'")), Surroundings(gpus=gpus))
    effective = None if steps is None else 2 * steps * gpus
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (2, steps, effective)


def test_ai_toolkit_alone_is_one_process() -> None:
    assert told(reading("x.yaml", job()).plan.world_size)[:2] == (1, "default")


@pytest.mark.parametrize(
    ("found", "name", "value"),
    [
        (job(data=", batch_size: 5"), "micro_batch", 5),
        (job(resolution="[512, 1024, 768]"), "image_size", ImageSize(1024, 1024)),
        (job(resolution="[768]"), "image_size", ImageSize(768, 768)),
        (job(data=", num_workers: 4"), "workers_per_rank", 4),
        (job(dtype="float16"), "precision", Precision.FP16),
        (job(dtype="int4"), "precision", None),
        (job(", gradient_checkpointing: false"), "grad_checkpointing", False),
    ],
)
def test_ai_toolkits_other_facts(found: str, name: str, value: object) -> None:
    assert reading("x.yaml", found).plan.fact(name).value == value


def tuned(**more: object) -> str:
    return json.dumps({"model_family": "flux", "model_type": "lora", "train_batch_size": 2, **more}, indent=1)


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        ({}, {"adapter": "lora", "adapter_rank": 16, "adapter_bytes": 2, "architecture_like": "flux.1-dev"}),
        ({"lora_rank": 64}, {"adapter_rank": 64, "image_size": ImageSize(1024, 1024), "grad_checkpointing": True}),
        ({"lora_type": "lycoris"}, {"adapter": None}),
        ({"model_type": "full"}, {"adapter": "none", "weights_in_16_bits": True}),
        ({"base_model_precision": "int8-quanto"}, {"base_quantization": "int8"}),
        ({"base_model_precision": "fp8wo-torchao"}, {"base_quantization": "fp8"}),
        ({"base_model_precision": "no_change"}, {"base_quantization": None}),
        ({"resolution": 1.0, "resolution_type": "area"}, {"image_size": ImageSize(1024, 1024)}),
        ({"resolution": 768}, {"image_size": ImageSize(768, 768)}),
        (
            {"model_family": "hidream", "model_flavour": "full"},
            {"architecture_like": "hidream-i1-full", "model": "hidream full"},
        ),
        ({"model_family": "minimaxh3"}, {"architecture_like": None}),
        ({"model_family": "sd3", "model_flavour": "large"}, {"architecture_like": "stable-diffusion-3.5-large"}),
        ({"model_family": "sd3"}, {"architecture_like": "stable-diffusion-3.5-medium"}),
        ({"model_family": "wan", "model_flavour": "i2v-14b-2.1"}, {"architecture_like": "wan2.1-i2v-14b"}),
        ({"base_model_precision": "int8-sdnq-hadamard"}, {"base_quantization": "int8"}),
        ({"base_model_precision": "int4-quanto"}, {"base_quantization": "int4"}),
        ({"base_model_precision": "fp8-torchao"}, {"base_quantization": "fp8-torchao"}),
        ({"flux_lora_target": "all+ffs"}, {"adapter_targets": "all-linear"}),
        ({"flux_lora_target": "all"}, {"adapter_targets": "attention"}),
        ({"use_ema": True}, {"ema": False}),
        ({"use_ema": True, "ema_device": "accelerator"}, {"ema": True}),
        ({"pretrained_model_name_or_path": "black-forest-labs/FLUX.1-dev"}, {"model": "black-forest-labs/FLUX.1-dev"}),
        ({"mixed_precision": "no"}, {"precision": Precision.FP32}),
    ],
)
def test_simpletuner(more: dict[str, object], facts: dict[str, object]) -> None:
    plan = reading("config.json", tuned(**more)).plan
    assert {name: plan.fact(name).value for name in facts} == facts


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        ({}, {"vae_resident": False, "text_encoders_resident": False, "base_quantization": None}),
        ({"latent_caching": False}, {"vae_resident": True, "text_encoders_resident": True, "vae_bytes": 2.0}),
        ({"latent_caching": False, "vae": {"weight_dtype": "FLOAT_32"}}, {"vae_bytes": 4.0}),
        ({"transformer": {"offload_fraction": 0.5}}, {"blocks_on_host": 0.5, "activation_offload": None}),
        ({"transformer": {"offload_fraction": 0.0}}, {"blocks_on_host": None}),
        ({"transformer": {"activation_offloading": True}}, {"blocks_on_host": None, "activation_offload": True}),
        (
            {"gradient_checkpointing": "CPU_OFFLOADED", "layer_offload_fraction": 0.3},
            {"blocks_on_host": 0.3, "activation_offload": True},
        ),
        (
            {"gradient_checkpointing": "CPU_OFFLOADED", "enable_activation_offloading": False},
            {"blocks_on_host": None, "activation_offload": None},
        ),
        (
            {"optimizer": {"optimizer": "ADAFACTOR"}, "optimizer_defaults": {"ADAFACTOR": {"fused_back_pass": True}}},
            {"optimizer_in_backward": True},
        ),
        ({"lora_weight_dtype": "BFLOAT_16"}, {"adapter_bytes": 2}),
        ({"peft_type": "OFT_2"}, {"adapter_method": "oft_2"}),
        ({"transformer": {"weight_dtype": "NFLOAT_4"}}, {"base_quantization": "nf4"}),
        ({"unet": {"weight_dtype": "BFLOAT_16"}}, {"weights_in_16_bits": True}),
    ],
)
def test_what_onetrainer_keeps_on_the_card(more: dict[str, object], facts: dict[str, object]) -> None:
    plan = reading("x.json", preset(**more)).plan
    assert {name: plan.fact(name).value for name in facts} == facts
    assert plan.fact("architecture_like").value == "flux.1-dev"


@pytest.mark.parametrize(
    ("script", "flags", "alike"),
    [
        ("sdxl_train_network.py", "", "stable-diffusion-xl-base-1.0"),
        ("flux_train_network.py", "", "flux.1-dev"),
        ("train_network.py", "", "stable-diffusion-v1-5"),
        ("train_network.py", "--v2", "stable-diffusion-2-1"),
        ("sd3_train_network.py", "", "stable-diffusion-3.5-large|stable-diffusion-3.5-medium"),
        ("lumina_train_network.py", "", "lumina-image-2.0"),
    ],
)
def test_kohyas_scripts_say_the_architecture(script: str, flags: str, alike: str | None) -> None:
    line = f"accelerate launch {script} --pretrained_model_name_or_path=pony.safetensors --train_batch_size=2 {flags}"
    plan = reading("train.sh", f"{line} --network_module=networks.lora --network_dim=8\n").plan
    assert plan.fact("architecture_like").value == alike
    assert plan.fact("adapter_targets").value == "all-linear"


@pytest.mark.parametrize(
    ("more", "alike"),
    [
        ({"sdxl": True, "v2": False}, "stable-diffusion-xl-base-1.0"),
        ({"sdxl": False, "v2": True}, "stable-diffusion-2-1"),
        ({"sdxl": False, "v2": False}, "stable-diffusion-v1-5"),
        (
            {"sdxl": False, "v2": False, "sd3_checkbox": True},
            "stable-diffusion-3.5-large|stable-diffusion-3.5-medium",
        ),
        ({"network_module": "networks.lora_flux"}, "flux.1-dev"),
        ({"v2": False}, None),
    ],
)
def test_kohyas_presets_say_the_architecture(more: dict[str, object], alike: str | None) -> None:
    text = {"LoRA_type": "Standard", "cache_latents": True, "max_bucket_reso": 2048, "train_batch_size": 1, **more}
    plan = reading("preset.json", json.dumps(text)).plan
    assert plan.fact("architecture_like").value == alike
    assert plan.fact("vae_resident").value is False


def test_layers_in_host_memory_are_said() -> None:
    """Nobody must hear that a run does not fit which moves its layers off the card."""
    assert reading("config.json", tuned(ramtorch=True)).plan.fact("moved_off").value == "ramtorch"
    assert reading("config.json", tuned(gradient_checkpointing_interval=2)).plan.fact("moved_off").value
    line = "accelerate launch flux_train.py --pretrained_model_name_or_path=f.safetensors --train_batch_size=1 "
    plan = reading("train.sh", line + "--blocks_to_swap=18 --fused_backward_pass --dataset_config=d.toml\n").plan
    assert plan.fact("blocks_on_host").value == "swap 18"
    assert plan.fact("optimizer_in_backward").value is True
    full = preset(training_method="FINE_TUNE", transformer={"offload_fraction": 0.5}, optimizer={"optimizer": "ADAMW"})
    assert "not known" in reading("x.json", full).plan.fact("moved_off").note
