"""OneTrainer, ai-toolkit, SimpleTuner: batches per GPU, parts and data sets that disagree, two keys of accumulation."""

from __future__ import annotations

import json

import pytest

from tests.dialects.support import Surroundings, reading, told, values
from vramlint.hardware import GIB, Target
from vramlint.memory import estimate
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


DATASET = """\
[general]
resolution = 768
[[datasets]]
batch_size = 2
resolution = [1024, 512]
[[datasets.subsets]]
image_dir = "a"
[[datasets]]
batch_size = 2
[[datasets.subsets]]
image_dir = "b"
"""
FLUX_TOML = """\
pretrained_model_name_or_path = "/models/mine.safetensors"
dataset_config = "dataset.toml"
network_module = "{module}"
network_dim = 16
mixed_precision = "bf16"
fp8_base = true
blocks_to_swap = 18
cache_text_encoder_outputs = true
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_launch_line_that_names_its_toml_alone(end: str) -> None:
    """Batch and resolution stand in the dataset TOML, everything else in the other one."""
    files = {"flux.toml": FLUX_TOML.format(module="networks.lora_flux"), "dataset.toml": DATASET}
    line = "accelerate launch flux_train_network.py --config_file flux.toml\n"
    plan = reading("train.sh", line, Surroundings({name: text.replace("\n", end) for name, text in files.items()})).plan
    facts = {
        "micro_batch": 2, "image_size": ImageSize(768, 768), "adapter": "lora", "adapter_rank": 16,
        "base_quantization": "fp8", "blocks_on_host": "swap 18", "text_encoders_resident": False, "vae_resident": True,
        "architecture_like": "flux.1-dev", "adapter_targets": "all-linear", "adapter_method": None,
    }  # fmt: skip
    assert {name: plan.fact(name).value for name in facts} == facts


@pytest.mark.parametrize(
    ("module", "arguments", "method"),
    [
        ("networks.lora", "", None),
        ("lycoris.kohya", 'network_args = ["conv_dim=8", "algo=lokr"]', "lokr"),
        ("lycoris.kohya", 'network_args = ["algo=locon"]', None),
        ("networks.oft", "", "networks.oft"),
    ],
)
def test_kohyas_networks(module: str, arguments: str, method: str | None) -> None:
    text = FLUX_TOML.format(module=module) + f"train_batch_size = 1\n{arguments}\n"
    assert reading("x.toml", text).plan.fact("adapter_method").value == method


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        (
            "train_dreambooth_lora_flux.py --instance_data_dir d",
            {"adapter_targets": "all-linear", "adapter_rank": 4, "text_encoders_resident": False, "vae_resident": True,
             "architecture_like": "flux.1-dev"},
        ),
        ("train_dreambooth_lora_flux.py --caption_column text", {"text_encoders_resident": True}),
        ("train_dreambooth_lora_flux.py --train_text_encoder", {"text_encoders_resident": True}),
        ("train_dreambooth_lora_sdxl.py --rank 8", {"adapter_targets": "attention", "adapter_rank": 8, "vae_bytes": 4}),
        ("train_dreambooth_lora_qwen_image.py", {"text_encoders_resident": True}),
        ("train_dreambooth_lora_qwen_image.py --offload", {"text_encoders_resident": False}),
        ("train_dreambooth_lora_krea2.py", {"adapter_rank": 32}),
        ("train_text_to_image_sdxl.py", {"text_encoders_resident": False, "vae_resident": False, "adapter_rank": None}),
        ("train_text_to_image.py --use_ema", {"ema": True, "text_encoders_resident": True}),
        ("train_text_to_image.py --use_ema --offload_ema", {"ema": False}),
        ("train_dreambooth.py --train_text_encoder", {"text_encoders_trained": True}),
        ("train_controlnet.py", {"adapter_method": "controlnet"}),
        ("train_lcm_distill_lora_sdxl.py", {"adapter_method": "lcm_distill_lora_sdxl"}),
    ],
)  # fmt: skip
def test_diffusers_scripts(line: str, facts: dict[str, object]) -> None:
    script, _, flags = line.partition(" ")
    given = "--pretrained_model_name_or_path=a/b --train_batch_size=1 --resolution 512"
    text = f"accelerate launch {script} {given} {flags}\n"
    plan = reading("train.sh", text).plan
    assert {name: plan.fact(name).value for name in facts} == facts


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        ("", {"vae_resident": True, "text_encoders_resident": True, "autocast": False, "base_quantization": None}),
        ("model: {quantize: true}", {"base_quantization": "fp8", "text_encoder_bytes": 1}),
        ("model: {quantize: true, qtype: uint4|ostris/ara, quantize_te: false}",
         {"base_quantization": "int4", "text_encoder_bytes": None}),
        ("model: {arch: qwen_image}", {"architecture_like": "qwen-image"}),
        ("model: {arch: 'zimage:turbo'}", {"architecture_like": "z-image"}),
        ("model: {is_flux: true, is_v3: false}", {"architecture_like": "flux.1-dev"}),
        ("network: {type: lora, linear: 32}", {"adapter": "lora", "adapter_rank": 32, "adapter_targets": "all-linear"}),
        ("network: {type: lokr}", {"adapter_method": "lokr"}),
    ],
)  # fmt: skip
def test_what_ai_toolkit_keeps_on_the_card(more: str, facts: dict[str, object]) -> None:
    plan = reading("x.yaml", job() + (f"      {more}\n" if more else "")).plan
    assert {name: plan.fact(name).value for name in facts} == facts


def test_caches_of_ai_toolkit() -> None:
    cached = ", cache_latents_to_disk: true, cache_text_embeddings: true"
    plan = reading("x.yaml", job(data=cached)).plan
    assert (plan.fact("vae_resident").value, plan.fact("text_encoders_resident").value) == (False, False)


def test_simpletuners_data_sets() -> None:
    """The largest resolution and the most frames of those that train; caches of embeddings are none."""
    listed = [
        {"dataset_type": "video", "resolution": 480, "video": {"num_frames": 49}},
        {"dataset_type": "video", "resolution": 512, "video": {"num_frames": 25}},
        {"resolution": 2048, "disabled": True},
        {"dataset_type": "text_embeds", "resolution": 4096, "train_batch_size": 9},
    ]
    text = tuned(model_family="ltxvideo", data_backend_config="config/data.json", resolution=1024)
    plan = reading("config.json", text, Surroundings({"config/data.json": json.dumps(listed)})).plan
    assert (plan.image_size.value, plan.fact("frames").value) == (ImageSize(512, 512), 49)
    assert plan.micro_batch.value == 2
    listed[0]["train_batch_size"] = 8
    plan = reading("config.json", text, Surroundings({"config/data.json": json.dumps(listed)})).plan
    assert plan.micro_batch.value is None
    assert reading("config.json", text).plan.image_size.value == ImageSize(1024, 1024)


def test_a_lycoris_config_says_the_method() -> None:
    text = tuned(lora_type="lycoris", lycoris_config="lycoris.json")
    for algo, method in (("lokr", "lokr"), ("lora", None)):
        files = {"lycoris.json": json.dumps({"algo": algo, "linear_dim": 24})}
        plan = reading("config.json", text, Surroundings(files)).plan
        assert (plan.adapter.value, plan.fact("adapter_method").value) == ("lora", method)
    assert plan.adapter_rank.value == 24
    assert reading("config.json", text).plan.adapter.value is None


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


# Presets that OneTrainer 2026-08 names after the card they are for (``training_presets/*/#* NNGB.json``).
PRESETS = [
    (8, "CHROMA_1", "lodestones/Chroma1-HD", "FINE_TUNE", "BFLOAT_16", 0.85),
    (16, "CHROMA_1", "lodestones/Chroma1-HD", "FINE_TUNE", "BFLOAT_16", 0.4),
    (16, "CHROMA_1", "lodestones/Chroma1-HD", "LORA", "FLOAT_8", 0.0),
    (16, "QWEN", "Qwen/Qwen-Image", "LORA", "FLOAT_8", 0.5),
    (24, "QWEN", "Qwen/Qwen-Image", "FINE_TUNE", "BFLOAT_16", 0.55),
    (8, "Z_IMAGE", "Tongyi-MAI/Z-Image", "LORA", "FLOAT_8", 0.6),
    (16, "Z_IMAGE", "Tongyi-MAI/Z-Image", "LORA", "FLOAT_8", 0.0),
    (16, "KREA_2", "krea/Krea-2-Raw", "FINE_TUNE", "BFLOAT_16", 0.8),
    (24, "FLUX_2", "black-forest-labs/FLUX.2-klein-base-9B", "FINE_TUNE", "BFLOAT_16", 0.0),
]


@pytest.mark.parametrize(("card", "kind", "name", "method", "held", "offloaded"), PRESETS)
def test_presets_fit_the_card_they_are_named_after(
    card: int, kind: str, name: str, method: str, held: str, offloaded: float
) -> None:
    text = json.dumps({
        "base_model_name": name, "model_type": kind, "training_method": method, "batch_size": 2, "resolution": "512",
        "train_dtype": "BFLOAT_16", "transformer": {"train": True, "weight_dtype": held, "offload_fraction": offloaded},
        "text_encoder": {"train": False, "weight_dtype": "FLOAT_8"},
        "optimizer": {"optimizer": "ADAFACTOR", "fused_back_pass": method == "FINE_TUNE"},
    })  # fmt: skip
    found = estimate(reading("x.json", text).plan, Target())
    assert found.device is not None
    assert 0.5 * card < found.device.value / GIB < card
