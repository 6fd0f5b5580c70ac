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

A data set may have a ``train_batch_size``, a ``resolution`` and a number of frames of its own, in the file that
``data_backend_config`` names: the largest counts, where the file is at hand. ``resolution`` is the side of the square
of equal area; with ``resolution_type`` ``pixel`` it is the shorter edge, and pictures may be larger. Latents and prompt
embeddings are computed before the training starts, so that neither VAE nor text encoders stay on the card; base and
adapters are held in bf16. Memory is known of the denoisers in ``vramlint models``.

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
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import Count, Flag, Schema, Settings, Text, keys, plain_value, read_settings
from vramlint.dialects.values import as_size
from vramlint.plan import Fact, ImageSize, default, derived, unknown
from vramlint.sources.model import Document, Mapping, Sequence

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
    backends: Text | None = keys("data_backend_config")
    flux_target: Text | None = keys("flux_lora_target")
    lycoris: Text | None = keys("lycoris_config")
    ema_device: Text | None = keys("ema_device", default="cpu")


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
    if settings.values.ema and settings.values.ema_device == "cpu":
        draft.put("ema", derived(value=False, note="use_ema; ema_device cpu holds the averages in host memory"))
    draft.put("precision", autocast(draft, settings))
    draft.put("image_size", _image_size(settings))
    _datasets(draft, settings, context)
    _adapter(draft, settings, context)
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
        return Fact(_side(value), fact.origin, fact.location, f"{value} megapixels")
    try:
        return Fact(as_size(value), fact.origin, fact.location, fact.note)
    except ValueError:
        return unknown(fact.note or f"resolution {value}", fact.location)


def _datasets(draft: Draft, settings: Settings[Options], context: Context) -> None:
    """What the data sets' own file says: a batch has pictures or clips of one data set, and the largest counts."""
    named = settings.values.backends
    found = context.document(named) if named else None
    listed = found.root if found is not None else None
    if found is None or not isinstance(listed, Sequence):
        return
    sets = [Source(found, item) for item in listed.items if isinstance(item, Mapping) and _trains(item)]
    places = [place for source in sets if (place := source.find("resolution")) is not None]
    sizes = [size for place in places if (size := _side(plain_value(place.node))) is not None]
    if sizes:
        draft.use(found)
        largest = max(sizes, key=lambda size: size.width * size.height)
        note = "the largest of the data sets" if len(sizes) > 1 else "resolution of the data set"
        draft.put("image_size", Fact(largest, places[0].source.origin, location(places[0]), note))
    frames = [value for source in sets if isinstance(value := _plain_of(source, "video.num_frames"), int)]
    if frames:
        draft.put("frames", derived(max(frames), f"video.num_frames in {named}"))
    batches = {value for source in sets if isinstance(value := _plain_of(source, "train_batch_size"), int)}
    if batches and (len(batches) > 1 or batches != {settings.values.micro_batch}):
        draft.slots.pop("micro_batch", None)
        draft.put("micro_batch", unknown(f"data sets in {named} have batches of their own"))


def _plain_of(source: Source, key: str) -> object:
    place = source.find(key)
    return None if place is None else plain_value(place.node)


def _trains(item: Mapping) -> bool:
    """Whether the entry is a data set that trains, not a cache of embeddings or one that is switched off."""
    kind, off = (item.get(key) for key in ("dataset_type", "disabled"))
    return (kind is None or plain_value(kind) in ("image", "video")) and (off is None or plain_value(off) is not True)


def _side(value: object) -> ImageSize | None:
    """Below 16 it is megapixels."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
        return None
    side = round((float(value) * 1_000_000) ** 0.5 / 64) * 64 if value < 16 else int(value)
    return ImageSize(side, side)


def _adapter(draft: Draft, settings: Settings[Options], context: Context) -> None:
    kind, adapter = settings.fact("kind"), settings.fact("adapter")
    draft.put("weights_in_16_bits", derived(value=True, note="the base is loaded in the weights' type, bf16"))
    if kind.value != "lora":
        draft.put("adapter", Fact("none", kind.origin, kind.location))
        return
    if adapter.value != "standard":
        _lycoris(draft, settings, context)
        return
    draft.put("adapter", Fact("lora", kind.origin, kind.location))
    draft.put("adapter_rank", settings.fact("rank"))
    draft.put("adapter_bytes", derived(2, "adapters take the base's type"))
    target = str(settings.values.flux_target or "")
    everywhere = "ffs" in target or target == "ai-toolkit"
    targets = derived("all-linear", f"flux_lora_target {target}") if everywhere else derived("attention", _TARGETS)
    draft.put("adapter_targets", targets)
    _quantised(draft, settings)


_TARGETS = "DEFAULT_LORA_TARGET of the model families"


def _lycoris(draft: Draft, settings: Settings[Options], context: Context) -> None:
    """The method and its sizes stand in the file that ``lycoris_config`` names (``algo``, ``linear_dim``)."""
    kind = settings.fact("adapter")
    named = str(settings.values.lycoris or "")
    document = context.document(named) if named else None
    root = None if document is None else document.root
    algo = root.get("algo") if isinstance(root, Mapping) else None
    if algo is None:
        draft.put("adapter", unknown(f"lora_type {kind.value}: its config says the method", kind.location))
        return
    method = str(plain_value(algo))
    draft.put("adapter", Fact("lora", kind.origin, kind.location, f"{named}: algo {method}"))
    if method in ("lora", "locon"):
        draft.put("adapter_targets", derived("all-linear", named))
        rank = root.get("linear_dim") if isinstance(root, Mapping) else None
        draft.put("adapter_rank", derived(plain_value(rank), named) if rank is not None else settings.fact("rank"))
    else:
        draft.put("adapter_method", derived(method, named))
    draft.put("adapter_bytes", derived(2, "adapters take the base's type"))
    _quantised(draft, settings)


def _quantised(draft: Draft, settings: Settings[Options]) -> None:
    held = str(settings.fact("held_as").value)
    if held != "no_change":
        draft.put("base_quantization", derived(_held(held), f"base_model_precision {held}"))


def _held(word: str) -> str:
    """The width behind a ``base_model_precision``, of weights alone. ``fp8-torchao`` works on activations in 8 bits
    too, and keeps other tensors for that; so does whatever is not listed here."""
    kind = word.partition("-")[0]
    if word == "fp8-torchao":
        return word
    return _WIDTHS.get(kind, word)


_WIDTHS = {
    "int8": "int8", "uint8": "int8", "fp8": "fp8", "fp8uz": "fp8", "fp8wo": "fp8", "nf4": "nf4", "int4": "int4",
    "uint4": "int4", "uint3": "int3", "int2": "int2", "uint2": "int2",
}  # fmt: skip

_FAMILIES: dict[str, dict[str, str]] = {
    "sd1x": {"dreamshaper": "stable-diffusion-v1-5"},
    "sd2x": {"": "stable-diffusion-2-1"},
    "sdxl": {"base-1.0": "stable-diffusion-xl-base-1.0", "refiner-1.0": "sdxl refiner", "refiner-0.9": "sdxl refiner"},
    "kolors": {"1.0": "kolors"},
    "sd3": {"medium": "stable-diffusion-3.5-medium", "large": "stable-diffusion-3.5-large"},
    "flux": {"krea": "flux.1-dev", "schnell": "flux.1-schnell", "kontext": "flux.1-kontext-dev",
             "libreflux": "flux.1-schnell"},
    "flux2": {"klein-9b": "flux.2-klein-base-9b", "klein-4b": "flux.2-klein-base-4b", "dev": "flux.2-dev"},
    "auraflow": {"v0.3": "auraflow-v0.3"},
    "chroma": {"base": "chroma1-base"},
    "qwen_image": {"v2.0": "qwen-image", "edit-v1": "qwen-image-edit", "edit-v2": "qwen-image-edit",
                   "edit-v2+": "qwen-image-edit", "edit-v3": "qwen-image-edit"},
    "z_image": {"turbo-ostris-v2": "z-image"},
    "ltxvideo": {"0.9.5": "ltx-video"},
    "lumina2": {"2.0": "lumina-image-2.0"},
    "krea2": {"raw": "krea-2-raw"},
    "ernie": {"base": "ernie-image"},
    "hidream": {"full": "hidream-i1-full"},
    "pixart_sigma": {"900M-1024-v0.6": "pixart-900m-1024", "600M-512": "pixart-sigma", "600M-1024": "pixart-sigma",
                     "600M-2048": "pixart-sigma"},
    "sana": {"sana1.5-4.8b-1024": "sana1.5_4.8b_1024px", "sana1.5-1.6b-1024": "sana1.5_1.6b_1024px",
             "sana1.0-1.6b-2048": "sana_1600m_1024px", "sana1.0-1.6b-1024": "sana_1600m_1024px",
             "sana1.0-600m-1024": "sana_600m_1024px", "sana1.0-600m-512": "sana_600m_1024px"},
    "cosmos2image": {"2b": "cosmos-predict2-2b-text2image", "14b": "cosmos 14b"},
    "wan": {"t2v-480p-1.3b-2.1": "wan2.1-t2v-1.3b", "t2v-480p-14b-2.1": "wan2.1-t2v-14b",
            "animegen-t2v-high": "wan2.1-t2v-14b", "animegen-t2v-low": "wan2.1-t2v-14b",
            "i2v-14b-2.1": "wan2.1-i2v-14b", "i2v-14b-2.1-720p": "wan2.1-i2v-14b", "flf2v-14b-2.1": "wan2.1-i2v-14b",
            "i2v-14b-2.2-high": "wan2.2-i2v-a14b", "i2v-14b-2.2-low": "wan2.2-i2v-a14b",
            "ti2v-5b-2.2": "wan2.2-ti2v-5b", "vace-1.3b-2.1": "wan vace", "vace-14b-2.1": "wan vace"},
    "stable_cascade": {"stage-c": "stable-cascade-prior", "stage-c-lite": "stable-cascade-prior lite"},
    "deepfloyd": {"": "deepfloyd"},
}  # fmt: skip
"""The architecture of each family's flavours, the default flavour first, which flavours not listed share
(``helpers/models/*/model.py``, ``DEFAULT_MODEL_FLAVOUR`` and ``HUGGINGFACE_PATHS``). Names that are in no catalogue
keep a flavour that is another architecture from being taken for its family's."""


def _architecture(family: str, flavour: str | None) -> str | None:
    flavours = _FAMILIES.get({"pixart": "pixart_sigma", "cosmos": "cosmos2image"}.get(family, family))
    if flavours is None:
        return None
    return flavours.get(str(flavour), next(iter(flavours.values())))


def _model(draft: Draft, settings: Settings[Options]) -> None:
    family, named = settings.fact("family"), settings.fact("model")
    flavour = settings.fact("flavour").value
    alike = _architecture(str(family.value), flavour)
    if alike is not None:
        text = f"model_family {family.value}" + (f", model_flavour {flavour}" if flavour else "")
        draft.put("architecture_like", derived(alike, text))
    if settings.values.frames:
        draft.put("frames", derived(settings.values.frames, "validation_num_video_frames; the data sets may differ"))
    if named.value:
        draft.put("model", named)
    elif family.value:
        text = f"{family.value} {flavour}" if flavour else str(family.value)
        draft.put("model", Fact(text, family.origin, family.location))
    else:
        draft.put("model", default(None, "no model family"))
