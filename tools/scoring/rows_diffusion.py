"""Truth rows of diffusion models as training plans: what each source's columns and notes mean."""

from __future__ import annotations

import re

from scoring.rows import Row, common_plan, fact
from vramlint.plan import ImageSize, Precision, TrainingPlan


def diffusion_plan(row: Row) -> TrainingPlan | None:
    """The plan of a row; None for sources whose runs are not known well enough."""
    if row["framework"] == "peft/diffusers":
        return _peft(row)
    if row["framework"].startswith("SimpleTuner"):
        return _simpletuner(row)
    return None


_DINO = ("DINOv2 base", 86_580_480, 4)
"""What ``run.py`` compares pictures with, in fp32 on the card (facebook/dinov2-base, ``utils.py#get_dino_encoder``)."""
_PROMPTS = ("prompt embeddings", 20 * 512 * 7680, 2)
"""Twenty prompts of 512 tokens, computed beforehand and kept on the card (``run.py#precompute_prompt_caches``)."""


def _peft(row: Row) -> TrainingPlan:
    """A row of peft's method comparison (``method_comparison/image-gen`` of peft, 2026-08: ``run.py``,
    ``default_training_params.json``).

    The base is held in bf16 and adapters in fp32, both without autocast (``use_amp`` is false); ``none`` is the whole
    model in bf16. VAE and text encoder wait on the CPU.
    """
    adapted = row["peft"] != "none"
    note = row["settings_note"]
    plan = common_plan(row)
    plan.image_size = fact(ImageSize(int(float(row["image_h"])), int(float(row["image_w"]))))
    plan.precision = fact(Precision.PURE_BF16)
    plan.adapter = fact(row["peft"])
    plan.sharding = fact("none")
    plan.extra["vae_resident"] = plan.extra["text_encoders_resident"] = fact(value=False)
    plan.extra["beside"] = fact((_DINO, _PROMPTS))
    if not adapted:
        return plan
    plan.extra["autocast"] = fact(value=False)
    plan.extra["adapter_targets"] = fact("all-linear")
    rank = re.search(r"'r': (\d+)", note)
    plan.adapter_rank = fact(int(rank[1]) if rank and row["peft"] != "adalora" else None)
    if trained := re.search(r"trainable ([\d,]+)", note):
        plan.extra["trained_parameters"] = fact(int(trained[1].replace(",", "")))
    if "use_dora" in note:
        plan.extra["adapter_method"] = fact("dora")
    elif row["config_path"].split("/")[-2].endswith("-para"):
        plan.extra["adapter_method"] = fact(f"{row['peft']}-para")
    return plan


_NAMES = (
    (r"sd1x/", "stable-diffusion-v1-5"),
    (r"sdxl/", "sdxl"),
    (r"auraflow/", "auraflow-v0.3"),
    (r"chroma/", "chroma1-base"),
    (r"cosmos/", "cosmos-predict2-2b-text2image"),
    (r"ernie/", "ernie-image"),
    (r"[Kk]rea ?2", "krea-2-raw"),
    (r"kolors/", "kolors"),
    (r"ltxvideo/", "ltx-video-0.9.5"),
    (r"pixart/", "pixart-sigma-xl-2-1024-ms"),
    (r"sana/", "sana_1600m_1024px"),
)
"""The checkpoint behind the family and flavour that the tables name (``simpletuner/helpers/models``)."""

_QUANTISED = {"int8": "int8", "fp8wo": "fp8", "fp8": "fp8 with activations"}
"""torchao's ``fp8`` works on activations in 8 bits too and keeps more of them; ``fp8wo`` is of weights alone."""


_TRAINED_AT = (
    (r"chroma/|kolors/|auraflow/|sd1x/|ernie/|hidream/|krea2/|cosmos/", 512, None),
    (r"ltxvideo/", 480, 48),
)
"""Side of the square of equal area, and frames, of the data set that each example trains on
(``examples/*/config.json`` ``data_backend_config``, 2026-08). The tables' resolution is the validation's, as the row of
Krea 2 says; validation was off."""


def _as_trained(plan: TrainingPlan, model: str) -> None:
    for pattern, side, frames in _TRAINED_AT:
        if re.search(pattern, model):
            plan.image_size = fact(ImageSize(side, side))
            if frames is not None:
                plan.extra["frames"] = fact(frames)


def _simpletuner(row: Row) -> TrainingPlan | None:
    """A LoRA row of SimpleTuner's tables: its examples hold base and adapters in bf16 under autocast, and compute
    latents and prompt embeddings beforehand (``simpletuner/examples``, 2026-08)."""
    name = next((known for pattern, known in _NAMES if re.search(pattern, row["model"])), None)
    rank = re.search(r"r(\d+)$", row["peft"])
    layers = re.search(r"mode=(none|layer);", row["settings_note"])
    if name is None or rank is None or "standard" not in row["peft"] or layers is None:
        return None
    base = re.search(r"base=(\w+)", row["precision"])
    plan = common_plan(row)
    plan.model = fact(name)
    plan.image_size = fact(ImageSize(int(float(row["image_h"])), int(float(row["image_w"]))))
    plan.precision = fact(Precision.BF16)
    plan.adapter = fact("lora")
    plan.adapter_rank = fact(int(rank[1]))
    plan.sharding = fact("none")
    plan.extra["adapter_bytes"] = fact(2)
    plan.extra["adapter_targets"] = fact("attention")
    plan.extra["vae_resident"] = plan.extra["text_encoders_resident"] = fact(value=False)
    if base is not None and base[1] in _QUANTISED:
        plan.extra["base_quantization"] = fact(_QUANTISED[base[1]])
    if frames := re.search(r"(\d+)f\b", row["settings_note"]):
        plan.extra["frames"] = fact(int(frames[1]))
    _as_trained(plan, row["model"])
    return plan
