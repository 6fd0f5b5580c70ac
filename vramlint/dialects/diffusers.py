"""diffusers example scripts: flags of ``train_dreambooth.py``, ``train_text_to_image.py`` and their kin.

The batch is per rank; with prior preservation each instance image brings a class image into the same forward pass::

    micro batch = train_batch_size (x 2 with --with_prior_preservation)
    effective batch = micro batch x ranks x gradient_accumulation_steps

Example (``dreambooth.sh``):

```shell
accelerate launch --num_processes 2 train_dreambooth.py \\
  --pretrained_model_name_or_path stable-diffusion-v1-5/stable-diffusion-v1-5 \\
  --instance_data_dir dog --resolution 512 --train_batch_size 1 \\
  --with_prior_preservation --class_data_dir dogs \\
  --gradient_accumulation_steps 4 --gradient_checkpointing --mixed_precision fp16
```

```plan
micro_batch: 2 launch 3
accumulation: 4 launch 5
effective_batch: 16 derived
batch_unit: images derived
precision: fp16 launch 5
grad_checkpointing: true launch 5
image_size: 512x512 launch 3
workers_per_rank: 0 default
```

Defaults differ from script to script; where the script is a file of the repository its own argparse defaults count.
Without ``--mixed_precision`` the precision is that of ``accelerate launch`` and its config file. Memory is
known of the denoisers in ``vramlint models``.

Sources: diffusers 2026-08-23, ``examples/*/train_*.py`` (defaults),
``examples/dreambooth/train_dreambooth_lora_flux.py`` lines 895 (``collate_fn`` concatenates class images) and 1629
(total batch); ``examples/dreambooth/train_dreambooth.py`` line 1184.
"""

from __future__ import annotations

import re
from typing import ClassVar

from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import FlagSource, Place, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Size, Text, keys, read_settings
from vramlint.dialects.scripts import command_sources, script_of
from vramlint.dialects.values import as_precision
from vramlint.errors import EditRefused
from vramlint.plan import Fact, ImageSize, Precision, default, derived, unknown
from vramlint.sources.model import Command, Document, Mapping, Plain, Scalar

NAME = "diffusers"
TITLE = "diffusers example scripts"

_SOURCE = "diffusers 2026-08"


class Flags(Schema):
    """Flags that the scripts share."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train_batch_size")
    accumulation: Count | None = keys("gradient_accumulation_steps", default=1)
    grad_checkpointing: Flag | None = keys("gradient_checkpointing", default=False)
    workers_per_rank: Natural | None = keys("dataloader_num_workers")
    image_size: Size | None = keys("resolution")
    adapter_rank: Count | None = keys("rank")
    ema: Flag | None = keys("use_ema", default=False)
    model: Text | None = keys("pretrained_model_name_or_path")
    max_steps: int | None = keys("max_train_steps")
    epochs: float | None = keys("num_train_epochs")
    learning_rate: float | None = keys("learning_rate")

    prior: Flag | None = keys("with_prior_preservation", default=False)
    mixed: Text | None = keys("mixed_precision")
    eight_bit: Flag | None = keys("use_8bit_adam", default=False)
    cached: Flag | None = keys("cache_latents", default=False)
    text_trained: Flag | None = keys("train_text_encoder", default=False)
    embedded: Flag | None = keys("pre_compute_text_embeddings", default=False)
    captions: Text | None = keys("caption_column")
    offloaded: Flag | None = keys("offload", default=False)
    averages_off: Flag | None = keys("offload_ema", default=False)
    dora: Flag | None = keys("use_dora", default=False)
    four_bits: Text | None = keys("bnb_quantization_config_path")
    fp8: Flag | None = keys("do_fp8_training", default=False)
    optimizer: Text | None = keys("optimizer")


_DIRECT = tuple(Flags.model_fields)[:11]
_BATCH_OF = (
    (r"text_to_image|lcm_distill|instruct_pix2pix|unconditional|amused|vqgan|textual_inversion", 16),
    (r"dreambooth|control|cogvideox|custom_diffusion|t2i_adapter", 4),
)
_SIZE_OF = (
    (r"(dreambooth_lora|text_to_image(_lora)?|lcm_distill(_lora)?)_sdxl|t2i_adapter|train_control_(lora_)?flux", 1024),
    (r"instruct_pix2pix", 256),
    (r"unconditional", 64),
    (r"dreambooth|text_to_image|controlnet|lcm_distill|custom_diffusion|amused|vqgan|textual_inversion", 512),
)
"""Argparse defaults by the name of the script, the first that fits (diffusers 2026-08-23)."""


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command line."""
    command = claim.subject
    assert isinstance(command, Command)
    script = script_of(document, command, context)
    draft = Draft(claim, document, title_of(document, command))
    if script is not None:
        draft.use(script.document)
    settings = read_settings(Flags, command_sources(document, command, script))
    draft.fill(settings, _DIRECT)
    if script is None:
        _defaults(draft, command.program)
    _prior(draft, settings)
    draft.put("precision", _precision(draft, settings, document, command, context))
    _optimizer(draft, settings)
    _card(draft, settings, command.program.rsplit("/", 1)[-1])
    draft.put("batch_unit", derived("images", "an image is one sample, a class image too"))
    torch_prefetch(draft)
    return draft.close(world(document, command, context))


_WHOLE = r"train_(text_to_image|dreambooth|instruct_pix2pix)(_(sdxl|flux|sd3))?\.py"
"""Scripts that train the denoiser itself and nothing beside it."""

_EVERYWHERE = r"dreambooth_lora_(flux|flux_kontext|flux2_klein|krea2|flux_advanced)"
"""Scripts whose LoRA takes the feed-forward layers too; the others' takes the attention (their ``target_modules``)."""

_EMBEDS_FIRST = (
    r"dreambooth_(lora_)?(sdxl|flux|flux_kontext|sd3|sana|lumina2)|train_text_to_image_sdxl|(sdxl|flux)_advanced"
)
"""Scripts that encode one prompt, or all captions, and drop the text encoders before they train."""

_WAITS_ON_CPU = r"dreambooth_lora_(hidream|qwen_image|z_image|flux2|flux2_klein|krea2|ideogram4)"
"""Scripts whose text encoders are on the card while they encode, and on the CPU afterwards with ``--offload``."""

_ALIKE = (
    (r"flux_kontext", "flux.1-kontext-dev"),
    (r"flux2_klein", "flux.2-klein-base-4b|flux.2-klein-base-9b"),
    (r"flux2", "flux.2-dev"),
    (r"flux", "flux.1-dev"),
    (r"sdxl", "stable-diffusion-xl-base-1.0"),
    (r"sd3", "stable-diffusion-3-medium|stable-diffusion-3.5-large|stable-diffusion-3.5-medium"),
    (r"sana", "sana_1600m_1024px"),
    (r"lumina2", "lumina-image-2.0"),
    (r"hidream", "hidream-i1-full"),
    (r"qwen_image", "qwen-image"),
    (r"z_image", "z-image"),
    (r"krea2", "krea-2-raw"),
    (r"train_(dreambooth|text_to_image)(_lora)?\.py", "stable-diffusion-v1-5|stable-diffusion-2-1"),
)
"""The architecture that a script trains, whatever the checkpoint is called, by the first word that fits its name."""


def _card(draft: Draft, settings: Settings[Flags], script: str) -> None:
    """What trains and what stays on the card, as the script of this name has it."""
    values = settings.values
    alike = next((model for pattern, model in _ALIKE if re.search(pattern, script)), None)
    if alike is not None:
        draft.put("architecture_like", derived(alike, script))
    if "_lora" in script:
        draft.put("adapter", derived("lora", script))
        if not settings.spelled("adapter_rank"):
            draft.put("adapter_rank", default(32 if "krea2" in script else 4, f"default of {script} in {_SOURCE}"))
        everywhere = re.search(_EVERYWHERE, script) is not None
        draft.put(
            "adapter_targets", derived("all-linear" if everywhere else "attention", "target_modules of the script")
        )
    if not re.search(f"{_WHOLE}|train_(dreambooth|text_to_image)_lora", script):
        part = re.sub(r"^train_|\.py$", "", script)
        draft.put("adapter_method", derived(part, "the script trains another part, or another way"))
    elif values.dora:
        draft.put("adapter_method", derived("dora", "use_dora"))
    if values.four_bits:
        draft.put("base_quantization", derived("nf4", "bnb_quantization_config_path"))
    elif values.fp8:
        draft.put("base_quantization", derived("fp8 with activations", "do_fp8_training"))
    if values.averages_off:
        draft.put("ema", derived(value=False, note="offload_ema"))
    _residents(draft, settings, script)


def _residents(draft: Draft, settings: Settings[Flags], script: str) -> None:
    values = settings.values
    cached = values.cached or script == "train_text_to_image_sdxl.py"
    draft.put("vae_resident", derived(not cached, "cache_latents" if cached else f"{script} keeps it"))
    if re.search(r"sdxl|sd3|sana|lumina2", script) and not cached:
        draft.put("vae_bytes", derived(4, f"{script} holds the VAE in fp32"))
    if values.text_trained:
        draft.put("text_encoders_resident", derived(value=True, note="train_text_encoder"))
        if "_lora" not in script:
            draft.put("text_encoders_trained", derived(value=True, note="train_text_encoder"))
        return
    first = re.search(_EMBEDS_FIRST, script) is not None and (not values.captions or "text_to_image" in script)
    waits = bool(values.offloaded) and re.search(_WAITS_ON_CPU, script) is not None
    gone = first or waits or bool(values.embedded)
    draft.put(
        "text_encoders_resident", derived(not gone, "prompts are encoded first" if gone else f"{script} keeps them")
    )


def _defaults(draft: Draft, program: str) -> None:
    """What the script's own parser would fill in, as far as its name tells."""
    name = program.rsplit("/", 1)[-1]
    note = f"default of {name} in {_SOURCE}"
    plan = draft.plan
    batch = next((value for pattern, value in _BATCH_OF if re.search(pattern, name)), None)
    size = next((value for pattern, value in _SIZE_OF if re.search(pattern, name)), None)
    if not plan.micro_batch.spelled and plan.micro_batch.location is None and batch is not None:
        draft.put("micro_batch", default(batch, note))
    if not plan.image_size.spelled and plan.image_size.location is None and size is not None:
        draft.put("image_size", default(ImageSize(size, size), note))
    if plan.workers_per_rank.location is None and (batch or size) and not re.search(r"custom|t2i|cosmos", name):
        draft.put("workers_per_rank", default(0, note))


def _prior(draft: Draft, settings: Settings[Flags]) -> None:
    """Class images double the forward batch, so a micro batch is spelled as half of itself."""
    fact = draft.plan.micro_batch
    if not settings.values.prior or fact.value is None:
        return
    note = f"train_batch_size {fact.value}, doubled by prior preservation"
    draft.put("micro_batch", Fact(fact.value * 2, fact.origin, fact.location, note))
    if "micro_batch" in settings.places:
        draft.offer("micro_batch", settings.places["micro_batch"], _halved)


def _halved(value: object) -> Plain:
    if not isinstance(value, int) or value % 2:
        raise EditRefused(f"{value} images are no pairs of instance and class image")
    return value // 2


def _precision(
    draft: Draft, settings: Settings[Flags], document: Document, command: Command, context: Context
) -> Fact[Precision]:
    """The script's flag, else accelerate's flag, else accelerate's config file; nothing of these leaves it open."""
    place = settings.places.get("mixed")
    if place is None or settings.values.mixed is None:
        place = _of_accelerate(document, command, context)
    if place is None or not isinstance(place.node, Scalar):
        return unknown("mixed_precision is left to accelerate's own config")
    if place.source.editable:
        draft.offer("precision", place)
    try:
        return Fact(as_precision(place.node.value), place.source.origin, location(place), place.source.note)
    except ValueError:
        return unknown(f"mixed_precision {place.node.value}", location(place))


def _of_accelerate(document: Document, command: Command, context: Context) -> Place | None:
    for launcher in command.launchers:
        flags = FlagSource(document, launcher.options)
        place = flags.find("mixed_precision")
        if place is not None:
            return place
        named = flags.find("config_file")
        config = context.document(str(named.node.value)) if named and isinstance(named.node, Scalar) else None
        if config is not None and isinstance(config.root, Mapping):
            return FlagSource(config, config.root).find("mixed_precision")
    return None


def _optimizer(draft: Draft, settings: Settings[Flags]) -> None:
    switch, named = settings.fact("eight_bit"), settings.fact("optimizer")
    if switch.value:
        draft.put("optimizer", Fact("AdamW8bit", switch.origin, switch.location))
    else:
        draft.put("optimizer", named if named.value else default("AdamW", f"default of {_SOURCE}"))
