"""OneTrainer: one JSON of what differs from its defaults.

The batch is per GPU, and accumulation is explicit::

    effective batch = batch_size x GPUs x gradient_accumulation_steps

Example (``sdxl_lora.json``):

```json
{
    "base_model_name": "stabilityai/stable-diffusion-xl-base-1.0",
    "model_type": "STABLE_DIFFUSION_XL_10_BASE",
    "training_method": "LORA",
    "batch_size": 4,
    "gradient_accumulation_steps": 2,
    "multi_gpu": true,
    "device_indexes": "0,1",
    "train_dtype": "BFLOAT_16",
    "resolution": "1024",
    "optimizer": {"optimizer": "ADAFACTOR"}
}
```

```plan
micro_batch: 4 file 5
accumulation: 2 file 6
world_size: 2 file 8
effective_batch: 16 derived
precision: bf16 file 9
image_size: 1024x1024 file 10
optimizer: ADAFACTOR file 11
adapter: lora file 4
grad_checkpointing: true default
workers_per_rank: 2 default
```

Checkpointing is asked for by each part of the model (``transformer.gradient_checkpointing``), in older files once for
all; parts that disagree leave it UNKNOWN. Without ``multi_gpu`` one GPU trains, whatever the machine has. Memory is
known of the denoisers in ``vramlint models``, whole or behind LoRA, with a share of its blocks in host memory
(``offload_fraction``) or without; a name that is not known is taken for the checkpoint that ``model_type`` names.

Sources: OneTrainer 2026-08-19, ``modules/util/config/TrainConfig.py`` lines 300-310, 834-842 and 1014-1255 (defaults,
older files), ``modules/trainer/MultiTrainer.py#train`` (world), ``modules/dataLoader/mixin/DataLoaderMgdsMixin.py``
line 46.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import root_source
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import (
    Count,
    Flag,
    Natural,
    Schema,
    Settings,
    Text,
    keys,
    plain_value,
    read_settings,
)
from vramlint.dialects.values import as_flag, as_size
from vramlint.plan import Fact, ImageSize, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Document, Mapping

NAME = "onetrainer"
TITLE = "OneTrainer"

_SOURCE = "OneTrainer 2026-08"


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("batch_size", default=1)
    accumulation: Count | None = keys("gradient_accumulation_steps", default=1)
    workers_per_rank: Natural | None = keys("dataloader_threads", default=2)
    epochs: float | None = keys("epochs", default=100)
    learning_rate: float | None = keys("learning_rate", default=3e-6)
    adapter_rank: Count | None = keys("lora_rank")

    model: Text | None = keys("base_model_name")
    method: Text | None = keys("training_method", default="FINE_TUNE")
    train_dtype: Text | None = keys("train_dtype", default="FLOAT_16")
    optimizer: Text | None = keys("optimizer.optimizer", default="ADAMW")
    resolution: Any = keys("resolution", default="512")
    ema: Any = keys("ema", default="OFF")
    multi_gpu: Flag | None = keys("multi_gpu", default=False)
    devices: Any = keys("device_indexes")
    checkpointing: Any = keys("gradient_checkpointing")
    caching: Flag | None = keys("latent_caching", default=True)
    model_type: Text | None = keys("model_type")


_DIRECT = (*tuple(Config.model_fields)[:6], "model", "optimizer")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one JSON."""
    sources = root_source(document)
    settings = read_settings(Config, sources)
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    draft.put("precision", _precision(settings))
    draft.put("image_size", _image_size(settings))
    draft.put("ema", _ema(settings))
    draft.put("grad_checkpointing", _checkpointing(settings, sources))
    _adapter(draft, settings)
    _card(draft, settings, sources)
    draft.put("batch_unit", derived("images", "one image or clip is one sample"))
    return draft.close(_world(document, settings, context))


_TYPES = {
    "FLOAT_32": Precision.FP32,
    "TFLOAT_32": Precision.FP32,
    "FLOAT_16": Precision.FP16,
    "BFLOAT_16": Precision.BF16,
}


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    """``train_dtype`` is the type of autocast; the parts hold their weights in types of their own."""
    fact = settings.fact("train_dtype")
    kind = _TYPES.get(str(fact.value))
    if kind is None:
        return unknown(fact.note or f"train_dtype {fact.value}", fact.location)
    return Fact(kind, fact.origin, fact.location, fact.note)


def _image_size(settings: Settings[Config]) -> Fact[ImageSize]:
    """One number, ``WxH``, or a list of them, of which each batch takes one: the largest counts."""
    fact = settings.fact("resolution")
    words = [word.strip() for word in str(fact.value).split(",")]
    try:
        size = max(map(as_size, words), key=lambda each: each.width * each.height)
    except ValueError:
        return unknown(fact.note or f"resolution {fact.value}", fact.location)
    note = f"the largest of {fact.value}" if len(words) > 1 else fact.note
    return Fact(ImageSize(size.width, size.height), fact.origin, fact.location, note)


def _ema(settings: Settings[Config]) -> Fact[bool]:
    fact = settings.fact("ema")
    if fact.value not in ("OFF", "GPU", "CPU"):
        return unknown(fact.note or f"ema {fact.value}", fact.location)
    return Fact(fact.value == "GPU", fact.origin, fact.location, fact.note)


def _checkpointing(settings: Settings[Config], sources: list[Source]) -> Fact[bool]:
    """The parts' own switches; an older file has one word for all (``ON``, ``OFF``, ``CPU_OFFLOADED``)."""
    whole = settings.fact("checkpointing")
    if whole.location is not None:
        on = {"ON": True, "CPU_OFFLOADED": True, "OFF": False, "True": True, "False": False}.get(str(whole.value))
        return unknown(f"{whole.value}", whole.location) if on is None else Fact(on, whole.origin, whole.location)
    places = [place for source in sources for place in _parts(source)]
    said = {plain_value(place.node) for place in places}
    if len(said) > 1:
        return unknown("the parts of the model disagree", location(places[0]))
    if said:
        return Fact(as_flag(said.pop()), Origin.FILE, location(places[0]), places[0].name)
    return default(value=True, note=f"default of {_SOURCE}")


def _parts(source: Source) -> list[Place]:
    """The switches of the parts that are trained: ``"train": false`` leaves a part's switch without effect."""
    found = []
    for entry in source.mapping.entries:
        part = entry.value
        if not isinstance(part, Mapping) or _value_of(part, "train") is False:
            continue
        place = source.find(f"{entry.key}.gradient_checkpointing")
        if place is not None and isinstance(plain_value(place.node), bool):
            found.append(place)
    return found


def _value_of(mapping: Mapping, key: str) -> object:
    """The plain value of one key, None where it is absent."""
    node = mapping.get(key)
    return None if node is None else plain_value(node)


def _adapter(draft: Draft, settings: Settings[Config]) -> None:
    fact = settings.fact("method")
    if fact.value == "LORA":
        draft.put("adapter", Fact("lora", fact.origin, fact.location))
        if not settings.spelled("adapter_rank"):
            draft.put("adapter_rank", default(16, f"default of {_SOURCE}"))
    elif fact.value in ("FINE_TUNE", "FINE_TUNE_VAE"):
        draft.put("adapter", Fact("none", fact.origin, fact.location))
    elif fact.value is not None:
        draft.put("adapter", unknown(f"training_method {fact.value}", fact.location))


_TRAINED_PARTS = ("transformer", "unet", "prior")


def _moved_off(draft: Draft, settings: Settings[Config], sources: list[Source]) -> None:
    """What waits in host memory: a share of the blocks' weights, and what the blocks keep (``offload_fraction`` and
    ``activation_offloading`` of a part; in older files ``layer_offload_fraction`` and ``enable_activation_offloading``
    under ``CPU_OFFLOADED``). ``fused_back_pass`` steps inside backward."""
    offloaded = str(settings.fact("checkpointing").value) == "CPU_OFFLOADED"
    share = _of_parts(sources, "offload_fraction")
    if share is None and offloaded:
        share = _first(sources, ("layer_offload_fraction",)) or 0.0
    if isinstance(share, (int, float)) and share:
        draft.put("blocks_on_host", derived(min(float(share), 1.0), f"offload_fraction {share}"))
    moves = _of_parts(sources, "activation_offloading")
    if moves is None and offloaded:
        moves = _first(sources, ("enable_activation_offloading",)) is not False
    if moves:
        draft.put("activation_offload", derived(value=True, note="activation offloading"))
    name = settings.fact("optimizer").value
    if _first(sources, ("optimizer.fused_back_pass", f"optimizer_defaults.{name}.fused_back_pass")):
        draft.put("optimizer_in_backward", derived(value=True, note="fused_back_pass"))
    elif share and settings.fact("method").value != "LORA" and "adafactor" not in str(name).lower():
        draft.put("moved_off", derived("offload_fraction", "where the optimizer's states are then is not known"))


def _trains_text(settings: Settings[Config], sources: list[Source]) -> bool:
    """Every part trains unless it says otherwise (``TrainModelPartConfig``); one frozen encoder counts for all."""
    parts = ("text_encoder", *(f"text_encoder_{number}" for number in (2, 3, 4)))
    frozen = any(_first(sources, (f"{part}.train",)) is False for part in parts)
    return settings.fact("method").value == "FINE_TUNE" and not frozen


def _of_parts(sources: list[Source], key: str) -> object:
    return _first(sources, tuple(f"{part}.{key}" for part in _TRAINED_PARTS))


def _first(sources: list[Source], names: tuple[str, ...]) -> object:
    """The value of the first of these keys that is there."""
    places = (source.find(name) for source in sources for name in names)
    return next((plain_value(place.node) for place in places if place is not None), None)


_HELD_AS = {
    "NFLOAT_4": "nf4",
    "INT_8": "int8",
    "INT_W8A8": "int8",
    "FLOAT_8": "fp8",
    "FLOAT_W8A8": "fp8",
}
"""The formats whose matrix products are in 8 bits too (``W8A8``) keep their input in 8 bits, which is left out."""
_WIDTHS = {"NFLOAT_4": 0.5625, "FLOAT_32": 4.0, "TFLOAT_32": 4.0, **dict.fromkeys(("INT_8", "FLOAT_8"), 1.0)}
_NAMED = {
    "STABLE_DIFFUSION_15": "stable-diffusion-v1-5",
    "STABLE_DIFFUSION_15_INPAINTING": "stable-diffusion-inpainting",
    "STABLE_DIFFUSION_20": "stable-diffusion-2-1",
    "STABLE_DIFFUSION_20_BASE": "stable-diffusion-2-1",
    "STABLE_DIFFUSION_20_INPAINTING": "stable-diffusion-2-inpainting",
    "STABLE_DIFFUSION_21": "stable-diffusion-2-1",
    "STABLE_DIFFUSION_21_BASE": "stable-diffusion-2-1",
    "STABLE_DIFFUSION_XL_10_BASE": "stable-diffusion-xl-base-1.0",
    "STABLE_DIFFUSION_XL_10_BASE_INPAINTING": "stable-diffusion-xl-1.0-inpainting-0.1",
    "STABLE_DIFFUSION_3": "stable-diffusion-3-medium",
    "STABLE_DIFFUSION_35": "stable-diffusion-3.5-large|stable-diffusion-3.5-medium",
    "FLUX_DEV_1": "flux.1-dev",
    "FLUX_FILL_DEV_1": "flux.1-fill-dev",
    "FLUX_2": "flux.2-dev|flux.2-klein-base-9b|flux.2-klein-base-4b",
    "PIXART_ALPHA": "pixart-alpha",
    "PIXART_SIGMA": "pixart-sigma",
    "SANA": "sana-1600m",
    "HUNYUAN_VIDEO": "hunyuanvideo",
    "HI_DREAM_FULL": "hidream-i1-full",
    "CHROMA_1": "chroma1-base",
    "QWEN": "qwen-image",
    "KREA_2": "krea-2-raw",
    "Z_IMAGE": "z-image",
    "ERNIE": "ernie-image",
    "STABLE_CASCADE_1": "stable-cascade-prior",
}
"""The architecture behind a ``model_type`` (``modules/util/enum/ModelType.py``); fine-tunes share it. Where a type has
several sizes (Stable Diffusion 3.5, FLUX.2, Sana), the checkpoint's name says which; this is the usual one."""


def _card(draft: Draft, settings: Settings[Config], sources: list[Source]) -> None:
    """How the trained part is held, and what caching moves off the card (``modules/modelSetup/Base*Setup.py``
    ``setup_train_device``): VAE, and the text encoders that are not trained. LoRA takes every linear layer unless a
    filter says otherwise; its weights are fp32 (``lora_weight_dtype``)."""
    kind = str(_of_parts(sources, "weight_dtype") or _first(sources, ("weight_dtype",)) or "")
    if kind in _HELD_AS:
        draft.put("base_quantization", derived(_HELD_AS[kind], f"weight_dtype {kind}"))
    elif kind in ("BFLOAT_16", "FLOAT_16"):
        draft.put("weights_in_16_bits", derived(value=True, note=f"weight_dtype {kind}"))
    _moved_off(draft, settings, sources)
    if settings.values.caching:
        draft.put("vae_resident", derived(value=False, note="latent_caching"))
        draft.put("text_encoders_resident", derived(value=False, note="latent_caching"))
    else:
        draft.put("vae_resident", derived(value=True, note="latent_caching is off"))
        draft.put("text_encoders_resident", derived(value=True, note="latent_caching is off"))
        for name, part in (("vae_bytes", "vae"), ("text_encoder_bytes", "text_encoder")):
            held = str(_first(sources, (f"{part}.weight_dtype",)))
            draft.put(name, derived(_WIDTHS.get(held, 2.0), f"{part}.weight_dtype"))
    if settings.fact("method").value == "LORA":
        draft.put("adapter_targets", derived("all-linear", "LoRA without a layer filter"))
        if _first(sources, ("lora_weight_dtype",)) in ("BFLOAT_16", "FLOAT_16"):
            draft.put("adapter_bytes", derived(2, "lora_weight_dtype"))
        kind_of = str(_first(sources, ("peft_type",)) or "LORA")
        if kind_of != "LORA":
            draft.put("adapter_method", derived(kind_of.lower(), "peft_type"))
    elif _trains_text(settings, sources):
        draft.put("text_encoders_trained", derived(value=True, note="text_encoder.train is on by default"))
    alike = _NAMED.get(str(settings.fact("model_type").value))
    if alike is not None:
        draft.put("architecture_like", derived(alike, "model_type"))


def _world(document: Document, settings: Settings[Config], context: Context) -> World:
    """``multi_gpu`` takes the devices named, else all of the machine; without it one GPU trains."""
    one = default(1, "one machine")
    switch = settings.fact("multi_gpu")
    if not switch.known:
        return World(unknown(switch.note, switch.location), one)
    if not switch.value:
        return World(Fact(1, switch.origin, switch.location, "multi_gpu is off"), one)
    named = settings.places.get("devices")
    listed = [word for word in str(settings.values.devices or "").split(",") if word.strip()]
    if named is not None and listed:
        return World(Fact(len(listed), named.source.origin, location(named)), one)
    return world(document, None, context)
