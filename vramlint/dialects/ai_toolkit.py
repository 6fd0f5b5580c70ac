"""ai-toolkit: YAML jobs, each process with its own training section.

Two keys accumulate, and only one may be above 1; the older one counts optimizer steps, and its -1 is a whole epoch::

    effective batch = train.batch_size x ranks x max(gradient_accumulation, gradient_accumulation_steps)

Example (``train_lora.yaml``):

```yaml
job: extension
config:
  name: my_lora
  process:
    - type: sd_trainer
      network: {type: lora, linear: 16}
      datasets:
        - folder_path: /images
          resolution: [512]
      train:
        batch_size: 2
        steps: 2000
        gradient_accumulation: 4
        optimizer: adamw8bit
        lr: 1e-4
        dtype: bf16
        ema_config: {use_ema: true}
```

```plan gpus=1
micro_batch: 2 file 11
accumulation: 4 file 13
effective_batch: 8 derived
precision: bf16 file 16
grad_checkpointing: true default
optimizer: adamw8bit file 14
adapter: lora file 6
adapter_rank: 16 file 6
image_size: 512x512 file 9
ema: true file 17
workers_per_rank: 2 default
```

A ``batch_size`` of a data set wins over the one of ``train``. Processes that train nothing (extract, generate, merge)
are no runs. Of several resolutions the largest counts. Memory: of the denoisers in ``vramlint models``. ai-toolkit's
loader reads ``1e-4`` as a number and fills ``${VAR}`` from the environment.

Sources: ai-toolkit 2026-08-21, ``toolkit/config_modules.py`` lines 395-463 (train, both accumulations), 1044
(loader), ``toolkit/data_loader.py`` lines 700-735, ``jobs/process/BaseSDTrainProcess.py`` lines 2565-2611.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.launch import world
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
from vramlint.dialects.values import as_count, as_precision, as_size
from vramlint.plan import Fact, ImageSize, Precision, default, derived, unknown
from vramlint.sources.model import Document, Mapping, Sequence, lookup

NAME = "ai_toolkit"
TITLE = "ai-toolkit"

_SOURCE = "ai-toolkit 2026-08"


class Process(Schema):
    """The keys of one process."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train.batch_size", default=1)
    grad_checkpointing: Flag | None = keys("train.gradient_checkpointing", default=True)
    ema: Flag | None = keys("train.ema_config.use_ema", default=False)
    optimizer: Text | None = keys("train.optimizer", default="adamw")
    max_steps: int | None = keys("train.steps")
    learning_rate: float | None = keys("train.lr")
    adapter_rank: Count | None = keys("network.rank", "network.linear", default=4)

    dtype: Text | None = keys("train.dtype", default="fp32")
    real: Any = keys("train.gradient_accumulation")
    legacy: Any = keys("train.gradient_accumulation_steps")
    network: Text | None = keys("network.type")
    model: Text | None = keys("model.name_or_path")
    arch: Text | None = keys("model.arch")
    quantized: Flag | None = keys("model.quantize", default=False)
    quantized_text: Flag | None = keys("model.quantize_te")
    kind: Text | None = keys("model.qtype", default="qfloat8")
    cached_text: Flag | None = keys("train.cache_text_embeddings", default=False)
    offloaded: Flag | None = keys("model.layer_offloading", default=False)
    unloaded: Flag | None = keys("train.unload_text_encoder", default=False)


_DIRECT = tuple(Process.model_fields)[:7]


class Loader(Schema):
    """The keys of a data set that its loader takes."""

    source: ClassVar[str] = _SOURCE

    workers_per_rank: Natural | None = keys("num_workers", default=2)
    prefetch_factor: Natural | None = keys("prefetch_factor", default=2)


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of the first process that trains."""
    process = _process(document)
    sources = [Source(document, process)] if process is not None else []
    settings = read_settings(Process, sources)
    draft = Draft(claim, document)
    if process is None or process.get("train") is None:
        draft.put("micro_batch", unknown("no process of this job trains"))
        return draft.close(world(document, None, context))
    draft.fill(settings, _DIRECT)
    _accumulation(draft, settings)
    draft.put("precision", _precision(draft, settings))
    _datasets(draft, document, process)
    network = settings.fact("network")
    if network.value:
        draft.put("adapter", Fact("lora", network.origin, network.location))
    else:
        draft.put("adapter", derived("none", "no network"))
        draft.put("adapter_rank", derived(None, "no network"))
    draft.put("model", settings.fact("model"))
    _card(draft, settings, process)
    draft.put("batch_unit", derived("images", "one image or clip is one sample"))
    reading = draft.close(world(document, None, context, alone="run.py is one process"))
    reading.settings = process
    return reading


def _card(draft: Draft, settings: Settings[Process], process: Mapping) -> None:
    """``quantize`` holds the base in 8-bit floats (``qfloat8``) unless ``qtype`` says another width, and the text
    encoders too; the network takes every linear layer of the blocks (``toolkit/lora_special.py``), in fp32. Nothing
    runs under autocast (``toolkit/accelerator.py``). A cache of latents moves the VAE off the card, one of embeddings
    the text encoders (``extensions_built_in/sd_trainer/SDTrainer.py`` ``hook_before_train_loop``)."""
    values = settings.values
    draft.put("autocast", derived(value=False, note="Accelerator() without mixed_precision"))
    draft.put("weights_in_16_bits", derived(value=True, note="the model is loaded in train.dtype"))
    if values.quantized:
        width = _width(str(values.kind))
        draft.put("base_quantization", derived(width, f"model.quantize, qtype {values.kind}"))
    if values.quantized if values.quantized_text is None else values.quantized_text:
        draft.put("text_encoder_bytes", derived(1, "quantize_te"))
    if values.offloaded:
        draft.put("moved_off", derived("layer_offloading", "layers wait in host memory"))
    cached = {
        name: _each(process, name) for name in ("cache_latents", "cache_latents_to_disk", "cache_text_embeddings")
    }
    draft.put(
        "vae_resident", derived(not (cached["cache_latents"] or cached["cache_latents_to_disk"]), "cache_latents")
    )
    gone = values.unloaded or values.cached_text or cached["cache_text_embeddings"]
    draft.put("text_encoders_resident", derived(not gone, "unload_text_encoder, cache_text_embeddings"))
    network = str(settings.fact("network").value or "")
    if network == "lora":
        draft.put("adapter_targets", derived("all-linear", "network.type lora"))
    elif network:
        draft.put("adapter_method", derived(network, "network.type"))
    alike = _ARCHITECTURES.get(_architecture(settings, process))
    if alike is not None:
        draft.put("architecture_like", derived(alike, "model.arch"))


def _width(kind: str) -> str:
    """The width behind a ``qtype``: quanto's, torchao's or ai-toolkit's own, ``|`` and an adapter after it or not."""
    found = re.match(r"(?:q|u)?(float8|int8|int4|uint4|int3|uint3|int2|uint2)", kind.partition("|")[0])
    if found is None:
        return kind
    return "fp8" if found[1] == "float8" else found[1].removeprefix("u")


def _architecture(settings: Settings[Process], process: Mapping) -> str:
    """``model.arch``, a tag after its colon left out, or the older switches (``is_flux``)."""
    if settings.values.arch:
        return settings.values.arch.partition(":")[0]
    source = process.get("model")
    switches = [entry.key for entry in source.entries] if isinstance(source, Mapping) else []
    on = (key for key in switches if key.startswith("is_") and isinstance(source, Mapping) and _is_true(source, key))
    return next(on, "")


def _is_true(mapping: Mapping, key: str) -> bool:
    node = mapping.get(key)
    return node is not None and plain_value(node) is True


def _each(process: Mapping, name: str) -> bool:
    """Whether every data set has the switch on."""
    listed = process.get("datasets")
    items = [item for item in listed.items if isinstance(item, Mapping)] if isinstance(listed, Sequence) else []
    return bool(items) and all(_is_true(item, name) for item in items)


_ARCHITECTURES = {
    "sd1": "stable-diffusion-v1-5", "sd2": "stable-diffusion-2-1", "is_v2": "stable-diffusion-2-1",
    "sdxl": "stable-diffusion-xl-base-1.0", "is_xl": "stable-diffusion-xl-base-1.0",
    "sd3": "stable-diffusion-3.5-large|stable-diffusion-3.5-medium",
    "is_v3": "stable-diffusion-3.5-large|stable-diffusion-3.5-medium",
    "flux": "flux.1-dev", "is_flux": "flux.1-dev", "flux_kontext": "flux.1-kontext-dev", "flex1": "flex.1-alpha",
    "flex2": "flex.2-preview", "flux2": "flux.2-dev", "flux2_klein_4b": "flux.2-klein-base-4b",
    "flux2_klein_9b": "flux.2-klein-base-9b", "pixart": "pixart-alpha", "pixart_sigma": "pixart-sigma",
    "auraflow": "auraflow-v0.3", "lumina2": "lumina-image-2.0", "is_lumina2": "lumina-image-2.0",
    "chroma": "chroma1-base", "hidream": "hidream-i1-full", "qwen_image": "qwen-image",
    "qwen_image_edit": "qwen-image-edit", "qwen_image_edit_plus": "qwen-image-edit", "zimage": "z-image",
    "krea2": "krea-2-raw", "ernie_image": "ernie-image", "cogview4": "cogview4-6b",
    "wan21": "wan2.1-t2v-14b|wan2.1-t2v-1.3b", "wan21_i2v": "wan2.1-i2v-14b", "wan22_14b": "wan2.1-t2v-14b",
    "wan22_14b_i2v": "wan2.2-i2v-a14b", "wan22_5b": "wan2.2-ti2v-5b",
}  # fmt: skip
"""The usual checkpoint of each ``arch`` (``toolkit/config_modules.py`` ``ModelConfig``, ``extensions_built_in``)."""


def _process(document: Document) -> Mapping | None:
    """The first process with a ``train`` section, else the first."""
    listed = lookup(document.root, "config.process")
    found = [item for item in listed.items if isinstance(item, Mapping)] if isinstance(listed, Sequence) else []
    return next((item for item in found if isinstance(item.get("train"), Mapping)), found[0] if found else None)


def _accumulation(draft: Draft, settings: Settings[Process]) -> None:
    """Both above 1 stop the job; -1 of the older key accumulates a whole epoch."""
    places = {name: settings.places[name] for name in ("real", "legacy") if name in settings.places}
    values = {name: _number(place) for name, place in places.items()}
    if values.get("legacy") == -1:
        told = "gradient_accumulation_steps -1 accumulates a whole epoch"
        draft.put("accumulation", unknown(told, location(places["legacy"])))
        return
    if any(value is None or value < 1 for value in values.values()):
        place = next(iter(places.values()))
        draft.put("accumulation", unknown("no number of steps", location(place)))
        return
    if values.get("real", 1) != 1 and values.get("legacy", 1) != 1:
        told = "gradient_accumulation and gradient_accumulation_steps exclude each other"
        draft.put("accumulation", unknown(told, location(places["legacy"])))
        return
    if not places:
        draft.put("accumulation", default(1, f"default of {_SOURCE}"))
        return
    name = max(places, key=lambda each: values[each] or 1)
    place = places[name]
    draft.put("accumulation", Fact(values[name], place.source.origin, location(place)))
    draft.offer("accumulation", place)


def _number(place: Place) -> int | None:
    try:
        value = as_count(plain_value(place.node))
    except ValueError:
        return None
    return value if isinstance(value, int) else None


def _precision(draft: Draft, settings: Settings[Process]) -> Fact[Precision]:
    fact = settings.fact("dtype")
    try:
        kind = as_precision(fact.value)
    except ValueError:
        return unknown(fact.note or f"dtype {fact.value}", fact.location)
    if "dtype" in settings.places:
        draft.offer("precision", settings.places["dtype"])
    return Fact(kind, fact.origin, fact.location, fact.note)


def _datasets(draft: Draft, document: Document, process: Mapping) -> None:
    """The first data set's loader is everybody's; batches and sizes count where all data sets agree."""
    listed = process.get("datasets")
    items = [item for item in listed.items if isinstance(item, Mapping)] if isinstance(listed, Sequence) else []
    sources = [Source(document, item) for item in items]
    draft.fill(read_settings(Loader, sources[:1]))
    batches = [place for source in sources if (place := source.find("batch_size")) is not None]
    if batches:
        _own_batch(draft, batches, len(sources))
    lengths = {_number(place) for source in sources if (place := source.find("num_frames")) is not None}
    if len(lengths) == 1:
        draft.put("frames", derived(lengths.pop(), "num_frames of the data sets"))
    places = [place for source in sources if (place := source.find("resolution")) is not None]
    if places:
        draft.put("image_size", _size(places))


def _own_batch(draft: Draft, batches: list[Place], datasets: int) -> None:
    draft.slots.pop("micro_batch", None)
    sizes = {_number(place) for place in batches}
    size = sizes.pop()
    if sizes or size is None or len(batches) < datasets:
        draft.put("micro_batch", unknown("data sets have batches of their own", location(batches[0])))
        return
    note = "batch_size of the data set"
    draft.put("micro_batch", Fact(size, batches[0].source.origin, location(batches[0]), note))


def _size(places: list[Place]) -> Fact[ImageSize]:
    """A list is several copies of the data set, one for each resolution; a batch has one, and the largest counts."""
    values = [plain_value(place.node) for place in places]
    sizes = [size for value in values for size in (value if isinstance(value, list) else [value])]
    place = places[0]
    try:
        found = {as_size(size) for size in sizes}
        largest = max(found, key=lambda size: size.width * size.height)
    except ValueError:
        return unknown(f"resolution {', '.join(map(str, sizes))}", location(place))
    note = f"the largest of {', '.join(map(str, sizes))}" if len(found) > 1 else ""
    return Fact(largest, place.source.origin, location(place), note)
