"""SimpleTuner: one JSON or TOML of the trainer's options, their dashes kept in older files.

The batch is per rank and accumulation is explicit::

    effective batch = train_batch_size x ranks x gradient_accumulation_steps

Example (``config.json``):

```json
{
    "model_family": "flux",
    "model_type": "lora",
    "pretrained_model_name_or_path": "black-forest-labs/FLUX.1-dev",
    "lora_rank": 64,
    "train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "mixed_precision": "bf16",
    "base_model_precision": "int8-quanto",
    "optimizer": "adamw_bf16",
    "resolution": 1024,
    "resolution_type": "pixel_area"
}
```

```plan gpus=2
micro_batch: 2 file 6
accumulation: 4 file 7
effective_batch: 16 derived
precision: bf16 file 8
grad_checkpointing: true default
optimizer: adamw_bf16 file 10
image_size: 1024x1024 file 11
adapter: lora file 3
adapter_rank: 64 file 5
model: black-forest-labs/FLUX.1-dev file 4
```

A data set may have a ``train_batch_size`` and a ``resolution`` of its own, in the file that ``data_backend_config``
names, which is not read. ``resolution`` is the side of the square of equal area; with ``resolution_type`` ``pixel`` it
is the shorter edge, and pictures may be larger. Latents and prompt embeddings are computed before the training starts,
so that neither VAE nor text encoders stay on the card; base and adapters are held in bf16. Memory is known of the
denoisers in ``vramlint models``.

Sources: SimpleTuner 2026-08-22, ``simpletuner_sdk/server/services/field_registry/sections`` (names, defaults),
``documentation/OPTIONS.md``, ``helpers/models/common.py`` (adapters on attention by default),
``helpers/training/trainer.py``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.kohya import autocast
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Place, Source
from vramlint.dialects.reading import Count, Flag, Schema, Settings, Text, keys, read_settings
from vramlint.dialects.values import as_size
from vramlint.plan import Fact, ImageSize, default, derived, unknown
from vramlint.sources.model import Document, Mapping

NAME = "simpletuner"
TITLE = "SimpleTuner"

_SOURCE = "SimpleTuner 2026-08"


class Options(Schema):
    """The options that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train_batch_size", default=4)
    accumulation: Count | None = keys("gradient_accumulation_steps", default=1)
    grad_checkpointing: Flag | None = keys("gradient_checkpointing", default=True)
    ema: Flag | None = keys("use_ema", default=False)
    optimizer: Text | None = keys("optimizer", default="adamw_bf16")
    max_steps: int | None = keys("max_train_steps")
    epochs: float | None = keys("num_train_epochs")
    learning_rate: float | None = keys("learning_rate")

    mixed: Text | None = keys("mixed_precision", default="bf16")
    kind: Text | None = keys("model_type", default="full")
    rank: Count | None = keys("lora_rank", default=16)
    adapter: Text | None = keys("lora_type", default="standard")
    model: Text | None = keys("pretrained_model_name_or_path")
    family: Text | None = keys("model_family")
    flavour: Text | None = keys("model_flavour")
    held_as: Text | None = keys("base_model_precision", default="no_change")
    resolution: Any = keys("resolution", default=1024)
    group_offload: Flag | None = keys("enable_group_offload", default=False)
    ramtorch: Flag | None = keys("ramtorch", default=False)
    swapped: Any = keys("musubi_blocks_to_swap")
    interval: Count | None = keys("gradient_checkpointing_interval", default=1)
    frames: Count | None = keys("validation_num_video_frames")


_DIRECT = tuple(Options.model_fields)[:8]


class Dashed(Source):
    """Options as keys, with or without the dashes of a command line."""

    def find(self, dotted: str) -> Place | None:
        """The place of an option, its dashes left out of ``dotted``."""
        return super().find(dotted) or super().find(f"--{dotted}")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one file."""
    sources = [Dashed(document, document.root)] if isinstance(document.root, Mapping) else []
    settings = read_settings(Options, sources)
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    draft.put("precision", autocast(draft, settings))
    draft.put("image_size", _image_size(settings))
    _adapter(draft, settings)
    _model(draft, settings)
    for name in ("group_offload", "ramtorch", "swapped"):
        if settings.fact(name).value:
            draft.put("moved_off", derived(settings.places[name].name, "layers wait in host memory"))
    if (settings.values.interval or 1) > 1:
        draft.put("moved_off", derived("gradient_checkpointing_interval", "some blocks are not checkpointed"))
    draft.put("vae_resident", derived(value=False, note="latents are computed beforehand"))
    draft.put("text_encoders_resident", derived(value=False, note="prompt embeddings are computed beforehand"))
    draft.put("batch_unit", derived("images", "one image or clip is one sample"))
    return draft.close(world(document, None, context))


def _image_size(settings: Settings[Options]) -> Fact[ImageSize]:
    """Below 16 a number is megapixels of the older ``resolution_type`` ``area``."""
    fact = settings.fact("resolution")
    value = fact.value
    if isinstance(value, (int, float)) and value < 16:
        side = round((float(value) * 1_000_000) ** 0.5 / 64) * 64
        return Fact(ImageSize(side, side), fact.origin, fact.location, f"{value} megapixels")
    try:
        return Fact(as_size(value), fact.origin, fact.location, fact.note)
    except ValueError:
        return unknown(fact.note or f"resolution {value}", fact.location)


def _adapter(draft: Draft, settings: Settings[Options]) -> None:
    kind, adapter = settings.fact("kind"), settings.fact("adapter")
    draft.put("weights_in_16_bits", derived(value=True, note="the base is loaded in the weights' type, bf16"))
    if kind.value != "lora":
        draft.put("adapter", Fact("none", kind.origin, kind.location))
        return
    if adapter.value != "standard":
        draft.put("adapter", unknown(f"lora_type {adapter.value}: its config says the method", adapter.location))
        return
    draft.put("adapter", Fact("lora", kind.origin, kind.location))
    draft.put("adapter_rank", settings.fact("rank"))
    draft.put("adapter_bytes", derived(2, "adapters take the base's type"))
    draft.put("adapter_targets", derived("attention", "DEFAULT_LORA_TARGET of the model families"))
    held = str(settings.fact("held_as").value)
    if held != "no_change":
        draft.put("base_quantization", derived(_HELD_AS.get(held, held), f"base_model_precision {held}"))


_HELD_AS = {
    "int8-quanto": "int8",
    "int8-torchao": "int8",
    "int8-sdnq": "int8",
    "fp8-quanto": "fp8",
    "fp8uz-quanto": "fp8",
    "fp8wo-torchao": "fp8",
    "nf4-bnb": "nf4",
}
"""Weights alone. ``fp8-torchao`` works on activations in 8 bits too, and keeps other tensors for that."""

_FAMILIES = {
    "sd1x": "stable-diffusion-v1-5",
    "sdxl": "stable-diffusion-xl-base-1.0",
    "flux": "flux.1-dev",
    "auraflow": "auraflow-v0.3",
    "chroma": "chroma1-base",
    "qwen_image": "qwen-image",
    "z_image": "z-image",
    "ltxvideo": "ltx-video",
    "lumina2": "lumina-image-2.0",
    "krea2": "krea-2-raw",
    "ernie": "ernie-image",
}
"""A checkpoint of the family, where all of its flavours share one architecture (``helpers/models/*/model.py``)."""


def _model(draft: Draft, settings: Settings[Options]) -> None:
    family, named = settings.fact("family"), settings.fact("model")
    flavour = settings.fact("flavour").value
    alike = _FAMILIES.get(str(family.value))
    if alike is not None:
        draft.put("architecture_like", derived(alike, f"model_family {family.value}"))
    if settings.values.frames:
        draft.put("frames", derived(settings.values.frames, "validation_num_video_frames; the data sets may differ"))
    if named.value:
        draft.put("model", named)
    elif family.value:
        text = f"{family.value} {flavour}" if flavour else str(family.value)
        draft.put("model", Fact(text, family.origin, family.location))
    else:
        draft.put("model", default(None, "no model family"))
