"""Lightning CLI: ``trainer:``, ``model:`` and ``data:`` in one YAML.

The batch belongs to the project's own data module and is taken per rank, as Lightning's samplers take it::

    effective batch = data batch_size x devices x nodes x accumulate_grad_batches

Example (``fit.yaml``):

```yaml
seed_everything: 42
trainer:
  accelerator: gpu
  devices: 2
  precision: 16-mixed
  accumulate_grad_batches: 4
  max_epochs: 50
model:
  class_path: terratorch.tasks.SemanticSegmentationTask
data:
  class_path: GenericNonGeoSegmentationDataModule
  init_args:
    batch_size: 8
    num_workers: 4
```

```plan
micro_batch: 8 file 13
accumulation: 4 file 6
world_size: 2 file 4
effective_batch: 64 derived
precision: fp16 file 5
workers_per_rank: 4 file 14
task: segment derived
```

Sources: Lightning 2026-07, ``pytorch/trainer/trainer.py`` (defaults), ``fabric/connector.py`` (precision words). A data
module that divides its batch by the ranks itself is not seen here. jsonargparse reads the file.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.agreement import with_devices, with_slurm
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World, device_count, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import launch_sources, only_launch
from vramlint.dialects.places import Place, location
from vramlint.dialects.reading import (
    Count,
    Flag,
    Natural,
    Schema,
    Settings,
    Size,
    Text,
    keys,
    plain_value,
    read_settings,
)
from vramlint.dialects.torchgeo_tasks import put_model
from vramlint.dialects.values import as_precision
from vramlint.plan import Fact, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Document, Mapping, lookup

NAME = "lightning"
TITLE = "Lightning CLI"

_SOURCE = "Lightning 2026-07"


def _data(*names: str) -> Any:
    """A setting of the data module: ``data.init_args.x``, or ``data.x`` where the class is fixed by the program."""
    homes = ("data.init_args", "data.dict_kwargs", "data", "data.init_args.dict_kwargs")
    return keys(*(f"{prefix}{home}.{name}" for name in names for prefix in ("", "fit.") for home in homes))


def _task(name: str) -> Any:
    """An argument of the model's task."""
    return keys(f"model.init_args.{name}", f"fit.model.init_args.{name}")


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = _data("batch_size", "train_batch_size", "per_device_batch_size")
    workers_per_rank: Natural | None = _data("num_workers", "workers")
    prefetch_factor: Natural | None = _data("prefetch_factor")
    persistent_workers: Flag | None = _data("persistent_workers")
    pin_memory: Flag | None = _data("pin_memory")
    image_size: Size | None = _data("image_size", "img_size")
    accumulation: Count | None = keys(
        "trainer.accumulate_grad_batches", "fit.trainer.accumulate_grad_batches", default=1
    )
    learning_rate: float | None = keys("optimizer.init_args.lr", "model.init_args.lr", "model.lr")
    epochs: float | None = keys("trainer.max_epochs", "fit.trainer.max_epochs")
    max_steps: int | None = keys("trainer.max_steps", "fit.trainer.max_steps")

    precision: Any = keys("trainer.precision", "fit.trainer.precision")
    devices: Any = keys("trainer.devices", "fit.trainer.devices")
    nodes: Count | None = keys("trainer.num_nodes", "fit.trainer.num_nodes", default=1)
    strategy: Any = keys("trainer.strategy", "fit.trainer.strategy")
    optimizer_class: Text | None = keys("optimizer.class_path", "optimizer")
    model_class: Text | None = keys("model.class_path", "fit.model.class_path")
    network: Text | None = _task("model")
    backbone: Text | None = _task("backbone")
    in_channels: Count | None = _task("in_channels")
    num_classes: Count | None = _task("num_classes")
    freeze_backbone: Flag | None = _task("freeze_backbone")
    freeze_decoder: Flag | None = _task("freeze_decoder")
    patch_size: Any = _data("patch_size")


_DIRECT = tuple(Config.model_fields)[:10]
_WORDS = {
    Precision.FP32: "32-true",
    Precision.FP16: "16-mixed",
    Precision.BF16: "bf16-mixed",
    Precision.PURE_BF16: "bf16-true",
    Precision.PURE_FP16: "16-true",
}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML."""
    settings = read_settings(Config, launch_sources(document, context))
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    draft.put("precision", precision_fact(settings))
    optimizer = settings.fact("optimizer_class")
    if optimizer.value is not None:
        draft.put("optimizer", Fact(optimizer.value.rsplit(".", 1)[-1], optimizer.origin, optimizer.location))
    model = settings.values.model_class
    draft.put("model", unknown(f"{model} builds its model itself" if model else "the program builds its model itself"))
    if not put_model(draft, settings) and model and re.search(r"(?i)segment", model):
        draft.put("task", derived("segment", model))
    found = _world(document, context, settings)
    put_sharding(draft, settings, found.ranks)
    torch_prefetch(draft)
    _slots(draft, document, settings)
    reading = draft.close(found)
    launched = world(document, None, context)
    if launched.ranks.origin is Origin.LAUNCH and found.ranks.origin is not Origin.LAUNCH:
        with_devices(reading, settings.places.get("devices"), launched, found.ranks.value)
    with_slurm(reading, only_launch(document, context))
    return reading


def precision_fact(settings: Settings[Any]) -> Fact[Precision]:
    """``16`` and ``bf16`` are aliases of the mixed forms; the true forms hold the weights in 16 bits."""
    place = settings.places.get("precision")
    value = plain_value(place.node) if place is not None else None
    if place is None or value is None:
        return settings.fact("precision") if place is not None else default(Precision.FP32, f"default of {_SOURCE}")
    try:
        return Fact(as_precision(value), place.source.origin, location(place))
    except ValueError:
        return unknown(f"precision {value} is none of Lightning's", location(place))


def _world(document: Document, context: Context, settings: Settings[Config]) -> World:
    """``devices`` x ``num_nodes``; "auto" and -1 are every GPU of the machine."""
    place = settings.places.get("devices")
    nodes: Fact[int] = settings.fact("nodes")
    if place is not None and nodes.value is None and _devices(plain_value(place.node)) is not None:
        return World(unknown("num_nodes unknown", location(place)), nodes)
    found = device_ranks(place, nodes.value or 1)
    return World(found.ranks, nodes) if found is not None else world(document, None, context)


def device_ranks(place: Place | None, nodes: int) -> World | None:
    """The ranks that ``Trainer(devices=...)`` at ``place`` starts on ``nodes`` nodes, None where every GPU is meant."""
    count = _devices(plain_value(place.node)) if place is not None else None
    if place is None or count is None:
        return None
    note = "" if nodes == 1 else f"{count} devices on each of {nodes} nodes"
    return World(Fact(count * nodes, place.source.origin, location(place), note), default(nodes, "num_nodes"))


def _devices(value: object) -> int | None:
    """``2`` is two, ``[0, 2]`` and ``"0,2"`` are two, ``"2"`` is two; "auto" and -1 say nothing certain."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value > 0 else None
    return device_count(value) if isinstance(value, list) or (isinstance(value, str) and "," in value) else None


def put_sharding(draft: Draft, settings: Settings[Any], ranks: Fact[int]) -> None:
    """What ``strategy`` shards: a word, or the name of a strategy's class."""
    value = settings.values.strategy
    word = str(value.get("class_path", "") if isinstance(value, dict) else value or "auto").lower()
    stage = re.search(r"deepspeed_stage_(\d)", word)
    if stage is not None:
        draft.put("sharding", derived(f"zero{stage[1]}", f"strategy {word}"))
    elif "fsdp" in word:
        draft.put("sharding", derived("fsdp", f"strategy {word}"))
    elif word.startswith(("ddp", "auto")) and ranks.value is not None:
        draft.put("sharding", derived("ddp" if ranks.value > 1 else "none", f"strategy {word}"))


def _slots(draft: Draft, document: Document, settings: Settings[Config]) -> None:
    for path in ("trainer", "fit.trainer"):
        trainer = lookup(document.root, path)
        if isinstance(trainer, Mapping):
            offer_trainer(draft, document, settings, trainer)


def offer_trainer(draft: Draft, document: Document, settings: Settings[Any], trainer: Mapping) -> None:
    """``trainer`` takes its own arguments, so accumulation and precision can be written or added there."""
    place = settings.places.get("precision")
    if place is not None:
        draft.offer("precision", place, _word)
    draft.offer_insert("accumulation", document, trainer, "accumulate_grad_batches")
    draft.offer_insert("precision", document, trainer, "precision", _word)


def _word(value: object) -> str:
    """A precision in Lightning's words."""
    return _WORDS[Precision(str(value))]
