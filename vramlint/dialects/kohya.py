"""kohya sd-scripts: TOML or flags for the scripts, JSON presets of the bmaltais GUI.

The batch is per rank, and each data set of a dataset TOML may have its own::

    effective batch = train_batch_size (or the data set's batch_size) x ranks x gradient_accumulation_steps

Example (``lora.toml``):

```toml
[model]
pretrained_model_name_or_path = "stabilityai/stable-diffusion-xl-base-1.0"
[training]
train_batch_size = 4
gradient_accumulation_steps = 2
gradient_checkpointing = true
mixed_precision = "bf16"
resolution = "1024,1024"
optimizer_type = "AdamW8bit"
[network]
network_module = "networks.lora"
network_dim = 32
```

```plan gpus=2
micro_batch: 4 file 4
accumulation: 2 file 5
effective_batch: 16 derived
precision: bf16 file 7
grad_checkpointing: true file 6
image_size: 1024x1024 file 8
optimizer: AdamW8bit file 9
adapter: lora file 11
adapter_rank: 32 file 12
workers_per_rank: 8 default
```

Section names of the TOML are cosmetic. Flags win over ``--config_file``; a ``batch_size`` in the dataset TOML that
``dataset_config`` names wins over both (the total that the script prints ignores it). In a GUI preset an empty text
means "not set". Memory is known of the denoisers in ``vramlint models``.

Sources: sd-scripts 2026-02-16, ``library/train_util.py`` lines 3650-4000 (flags, defaults) and 4700 (sections
flattened), ``library/config_util.py`` (data sets), ``train_network.py`` lines 780 (loader) and 985 (total); kohya_ss
presets.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any, ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import FlagSource, Place, Source, location
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
from vramlint.sources.model import Command, Document, Mapping, Scalar, Sequence, Syntax

NAME = "kohya"
TITLE = "kohya sd-scripts"

_SOURCE = "sd-scripts 2026-02"


class Arguments(Schema):
    """Flags of the training scripts, and what the GUI calls some of them."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train_batch_size", default=1)
    accumulation: Count | None = keys("gradient_accumulation_steps", default=1)
    grad_checkpointing: Flag | None = keys("gradient_checkpointing", default=False)
    workers_per_rank: Natural | None = keys("max_data_loader_n_workers", default=8)
    persistent_workers: Flag | None = keys("persistent_data_loader_workers", default=False)
    adapter_rank: Count | None = keys("network_dim")
    model: Text | None = keys("pretrained_model_name_or_path")
    max_steps: int | None = keys("max_train_steps")
    epochs: float | None = keys("max_train_epochs", "epoch")
    learning_rate: float | None = keys("learning_rate")

    optimizer: Text | None = keys("optimizer_type", "optimizer", default="AdamW")
    eight_bit: Flag | None = keys("use_8bit_adam", default=False)
    mixed: Text | None = keys("mixed_precision", default="no")
    full_fp16: Flag | None = keys("full_fp16", default=False)
    full_bf16: Flag | None = keys("full_bf16", default=False)
    resolution: Any = keys("resolution", "max_resolution")
    module: Text | None = keys("network_module")
    gui_adapter: Text | None = keys("LoRA_type")
    cached: Flag | None = keys("cache_latents", "cache_latents_to_disk", default=False)
    cached_text: Flag | None = keys("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk", default=False)
    cached_text_xl: Flag | None = keys("sdxl_cache_text_encoder_outputs", default=False)
    cached_text_sd3: Flag | None = keys("sd3_cache_text_encoder_outputs", default=False)
    cached_text_flux: Flag | None = keys("flux1_cache_text_encoder_outputs", default=False)
    vae_batch: Count | None = keys("vae_batch_size", default=1)
    whole_vae: Flag | None = keys("no_half_vae", default=False)
    fp8: Flag | None = keys("fp8_base", "fp8_base_unet", default=False)
    denoiser_only: Flag | None = keys("network_train_unet_only", default=False)
    text_trained: Flag | None = keys("train_text_encoder", default=False)
    network_args: Any = keys("network_args")
    fused_groups: Count | None = keys("fused_optimizer_groups")
    swapped: Any = keys("blocks_to_swap")
    offloaded: Flag | None = keys("cpu_offload_checkpointing", default=False)
    fused: Flag | None = keys("fused_backward_pass", default=False)
    is_xl: Flag | None = keys("sdxl")
    is_v2: Flag | None = keys("v2")
    is_sd3: Flag | None = keys("sd3_checkbox")
    is_flux: Flag | None = keys("flux1_checkbox")
    dataset_config: Text | None = keys("dataset_config")
    config_file: Text | None = keys("config_file")
    processes: Count | None = keys("num_processes")
    machines: Count | None = keys("num_machines")


_DIRECT = tuple(Arguments.model_fields)[:10]


class Sections(Source):
    """A TOML or JSON whose section names do not matter; an empty text is no setting."""

    def find(self, dotted: str) -> Place | None:
        tables = [self.mapping, *(entry.value for entry in self.mapping.entries if isinstance(entry.value, Mapping))]
        for table in reversed(tables):
            entry = table.entry(dotted)
            if entry is not None and not (isinstance(entry.value, Scalar) and entry.value.value == ""):
                return Place(self, dotted, entry, table)
        return None


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of a TOML, a GUI preset or a command line, with the files that it names."""
    command = claim.subject if isinstance(claim.subject, Command) else None
    draft = Draft(claim, document, title_of(document, command) if command else "")
    sources = _sources(draft, command, context)
    settings = read_settings(Arguments, sources)
    if command is None and not any(settings.spelled(name) for name in _OF_A_RUN):
        return _data_only(draft, settings, context)
    draft.fill(settings, _DIRECT)
    draft.put("image_size", _image_size(settings))
    _datasets(draft, settings, context)
    draft.put("precision", _precision(draft, settings))
    draft.put("optimizer", _optimizer(settings))
    _adapter(draft, settings)
    _card(draft, settings, command)
    _family(draft, settings, command)
    torch_prefetch(draft)
    draft.put("batch_unit", derived("images", "one image or clip is one sample"))
    return draft.close(_world(document, command, settings, context))


_OF_A_RUN = ("model", "module", "optimizer", "max_steps", "mixed", "gui_adapter", "learning_rate", "accumulation")


def _data_only(draft: Draft, settings: Settings[Arguments], context: Context) -> Reading:
    """A dataset TOML alone: everything but the batch and the size stands in the command that names it."""
    _datasets(draft, settings, context)
    draft.put("batch_unit", derived("images", "one image or clip is one sample"))
    return draft.close(world(draft.document, None, context))


def _sources(draft: Draft, command: Command | None, context: Context) -> list[Source]:
    document = draft.document
    if command is None:
        return [Sections(document, document.root)] if isinstance(document.root, Mapping) else []
    flags = FlagSource(document, command.options)
    named = flags.find("config_file")
    config = _beside(document, _text(named), context)
    if config is None or not isinstance(config.root, Mapping):
        return [flags]
    draft.use(config)
    return [flags, Sections(config, config.root)]


def _datasets(draft: Draft, settings: Settings[Arguments], context: Context) -> None:
    """``[[datasets]] batch_size`` wins over ``train_batch_size``; data sets that disagree leave the batch open."""
    place = settings.places.get("dataset_config")
    if place is None:
        datasets: Document | None = draft.document if draft.document.syntax is Syntax.TOML else None
    else:
        datasets = _beside(place.source.document, _text(place), context)
    if datasets is None:
        if place is not None:
            told = f"the data sets stand in {_text(place)}, which is not at hand"
            draft.put("micro_batch", unknown(told, location(place)))
            draft.slots.pop("micro_batch", None)
        return
    found = list(_values_of(datasets, "batch_size"))
    sizes_of = _values_of(datasets, "resolution")
    if found or sizes_of:
        draft.use(datasets)
    if sizes_of:
        draft.put("image_size", _largest(sizes_of))
    if not found:
        return
    draft.slots.pop("micro_batch", None)
    sizes = {plain_value(batch.node) for batch in found}
    size = _count(found[0])
    if len(sizes) > 1 or size is None:
        draft.put("micro_batch", unknown(f"data sets of different batches: {sorted(map(str, sizes))}"))
        return
    draft.put("micro_batch", Fact(size, found[0].source.origin, location(found[0]), "batch_size of the data set"))
    if len(found) == 1:
        draft.offer("micro_batch", found[0], spelling_out.number)


def _values_of(datasets: Document, key: str) -> list[Place]:
    """The key of each data set, of ``[general]`` where a data set has none."""
    root = datasets.root
    if not isinstance(root, Mapping):
        return []
    source = Source(datasets, root)
    common = source.find(f"general.{key}")
    listed = root.get("datasets")
    if not isinstance(listed, Sequence):
        return []
    places = [Source(datasets, item).find(key) or common for item in listed.items if isinstance(item, Mapping)]
    return list({id(place.entry): place for place in places if place is not None}.values())


def _largest(places: list[Place]) -> Fact[ImageSize]:
    """A batch is of one data set and one bucket, whose area is at most the resolution's (``BucketManager``)."""
    try:
        sizes = [as_size(plain_value(place.node)) for place in places]
    except ValueError:
        return unknown("resolutions of the data sets are no sizes", location(places[0]))
    area, place = max(zip(sizes, places, strict=True), key=lambda pair: pair[0].width * pair[0].height)
    note = "resolution of the data set" if len(places) == 1 else "the largest of the data sets"
    return Fact(ImageSize(area.width, area.height), place.source.origin, location(place), note)


def _count(place: Place) -> int | None:
    try:
        value = as_count(plain_value(place.node))
    except ValueError:
        return None
    return value if isinstance(value, int) and value > 0 else None


def _precision(draft: Draft, settings: Settings[Arguments]) -> Fact[Precision]:
    """``mixed_precision`` autocasts; ``full_fp16`` and ``full_bf16`` hold weights and gradients in 16 bits too."""
    for name, kind in (("full_bf16", Precision.PURE_BF16), ("full_fp16", Precision.PURE_FP16)):
        fact = settings.fact(name)
        if fact.value:
            return Fact(kind, fact.origin, fact.location)
    return autocast(draft, settings)


def autocast(draft: Draft, settings: Settings[Any]) -> Fact[Precision]:
    """What ``mixed_precision``, the field ``mixed`` of ``settings``, autocasts to; repairs may write it."""
    fact = settings.fact("mixed")
    try:
        kind = as_precision(fact.value)
    except ValueError:
        return unknown(fact.note or f"mixed_precision {fact.value}", fact.location)
    if "mixed" in settings.places:
        draft.offer("precision", settings.places["mixed"])
    return Fact(kind, fact.origin, fact.location, fact.note)


def _optimizer(settings: Settings[Arguments]) -> Fact[str]:
    switch = settings.fact("eight_bit")
    return Fact("AdamW8bit", switch.origin, switch.location) if switch.value else settings.fact("optimizer")


def _image_size(settings: Settings[Arguments]) -> Fact[ImageSize]:
    """``resolution`` is one number or "width,height"."""
    fact = settings.fact("resolution")
    if fact.value is None:
        return unknown(fact.note, fact.location)
    try:
        size = as_size(fact.value)
    except ValueError:
        return unknown(f"resolution {fact.value} is no size", fact.location)
    return Fact(ImageSize(size.width, size.height), fact.origin, fact.location)


def _adapter(draft: Draft, settings: Settings[Arguments]) -> None:
    for name in ("module", "gui_adapter"):
        fact = settings.fact(name)
        if fact.value:
            draft.put("adapter", Fact("lora", fact.origin, fact.location, f"{settings.places[name].name} {fact.value}"))
            return
    draft.put("adapter", derived("none", "no network module: the model itself is trained"))


def _card(draft: Draft, settings: Settings[Arguments], command: Command | None) -> None:
    """What stays on the card: caching moves the VAE (``train_network.py``, ``vae.to("cpu")``) and the text encoders
    off it; ``networks.lora`` adapts every linear layer of the blocks (``networks/lora.py`` ``UNET_TARGET_...``)."""
    texts = ("cached_text", "cached_text_xl", "cached_text_sd3", "cached_text_flux")
    text = next((name for name in texts if settings.fact(name).value), texts[0])
    for name, fact in (("vae_resident", "cached"), ("text_encoders_resident", text)):
        given: Fact[bool] = settings.fact(fact)
        draft.put(name, Fact(not given.value, given.origin, given.location, given.note))
    if settings.fact("whole_vae").value:
        draft.put("vae_bytes", derived(4, "no_half_vae"))
    if command is None or "_network" in command.program:  # the others encode the whole batch at once
        draft.put("vae_batch", derived(settings.values.vae_batch, "vae_batch_size (train_network.py encodes in parts)"))
    if settings.fact("fp8").value:
        draft.put("base_quantization", derived("fp8", settings.places["fp8"].name))
    swapped = settings.fact("swapped").value
    if isinstance(swapped, int) and swapped > 0:
        draft.put("blocks_on_host", derived(f"swap {swapped}", "blocks_to_swap"))
    if settings.fact("offloaded").value:
        draft.put("activation_offload", derived(value=True, note="cpu_offload_checkpointing"))
    if settings.fact("fused").value or settings.fact("fused_groups").value:
        draft.put("optimizer_in_backward", derived(value=True, note="the optimizer steps inside backward"))
    draft.put("ema", derived(value=False, note="the scripts keep no averages"))
    if _trains_text(settings, command):
        draft.put("text_encoders_trained", derived(value=True, note="train_text_encoder, the default of train_db.py"))
    _network(draft, settings)


def _trains_text(settings: Settings[Arguments], command: Command | None) -> bool:
    if settings.fact("text_trained").value:
        return True
    return command is not None and posixpath.basename(command.program) == "train_db.py"


_PLAIN_LORA = (
    "networks.lora",
    "networks.lora_flux",
    "networks.lora_sd3",
    "networks.lora_lumina",
    "networks.lora_anima",
)
_GUI_KINDS = {"Standard": "lora", "Flux1": "lora", "SD3": "lora", "LyCORIS/LoKr": "lokr", "LyCORIS/LoHa": "loha"}


def _network(draft: Draft, settings: Settings[Arguments]) -> None:
    """``lycoris.kohya`` says its method in ``network_args`` (``algo=lokr``); plain LoRA without."""
    module = str(settings.fact("module").value or "")
    gui = str(settings.fact("gui_adapter").value or "")
    if not (module or gui):
        return
    if module == "lycoris.kohya":
        found = re.search(r"algo=(\w+)", str(settings.fact("network_args").value or ""))
        kind = found[1].lower() if found else "lora"
        kind = {"locon": "lora"}.get(kind, kind)
    else:
        kind = "lora" if module in _PLAIN_LORA else _GUI_KINDS.get(gui, module or gui)
    draft.put("adapter_targets", derived("all-linear", module or gui))
    if kind != "lora":
        draft.put("adapter_method", derived(kind, module or gui))


_SCRIPTS = (
    ("sdxl_", "stable-diffusion-xl-base-1.0"),
    ("flux_", "flux.1-dev"),
    ("sd3_", "stable-diffusion-3.5-large|stable-diffusion-3.5-medium"),
    ("lumina_", "lumina-image-2.0"),
)
_OLD_SCRIPTS = ("train_network.py", "train_db.py", "fine_tune.py", "train_textual_inversion.py")


def _family(draft: Draft, settings: Settings[Arguments], command: Command | None) -> None:
    """The architecture that the script's name or the GUI's switches say, whatever the checkpoint is called. A network's
    module says it too, where the command that runs a TOML is not at hand."""
    script = "" if command is None else posixpath.basename(command.program)
    found = next(((model, script) for prefix, model in _SCRIPTS if script.startswith(prefix)), None)
    found = found or _switched(settings)
    if found is not None:
        draft.put("architecture_like", derived(*found))
    elif script in _OLD_SCRIPTS or (settings.spelled("is_xl") and settings.spelled("is_v2")) or settings.values.is_v2:
        old = "stable-diffusion-2-1" if settings.values.is_v2 else "stable-diffusion-v1-5"
        draft.put("architecture_like", derived(old, "neither sdxl nor another family; v2 tells 1.x from 2.x"))


def _switched(settings: Settings[Arguments]) -> tuple[str, str] | None:
    values = settings.values
    if values.is_xl:
        return _SCRIPTS[0][1], "sdxl"
    if values.is_flux or values.module == "networks.lora_flux":
        return _SCRIPTS[1][1], "flux1_checkbox" if values.is_flux else "networks.lora_flux"
    if values.is_sd3 or values.module == "networks.lora_sd3":
        return _SCRIPTS[2][1], "sd3_checkbox" if values.is_sd3 else "networks.lora_sd3"
    return (_SCRIPTS[3][1], "networks.lora_lumina") if values.module == "networks.lora_lumina" else None


def _world(document: Document, command: Command | None, settings: Settings[Arguments], context: Context) -> World:
    """accelerate's ranks; a GUI preset may hold what the GUI gives to accelerate (``num_processes``)."""
    fact: Fact[int] = settings.fact("processes")
    if command is not None or fact.value is None:
        return world(document, command, context)
    machines: Fact[int] = settings.fact("machines")
    return World(fact, machines if machines.value else default(1, "one machine"))


def _text(place: Place | None) -> str:
    return str(place.node.value) if place is not None and isinstance(place.node, Scalar) else ""


def _beside(document: Document, named: str, context: Context) -> Document | None:
    """A named TOML (sd-scripts adds the suffix), from the project root or from the folder of the file that names it."""
    if not named:
        return None
    file = named if named.endswith((".toml", ".json")) else f"{named}.toml"
    folder = posixpath.dirname(document.path)
    for path in (posixpath.normpath(file), posixpath.normpath(posixpath.join(folder, file))):
        if not path.startswith(("/", "..")) and (found := context.document(path)) is not None:
            return found
    return None
