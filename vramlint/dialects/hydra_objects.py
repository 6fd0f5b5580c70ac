"""Hydra configs that build their objects with ``_target_``: a DataLoader, and a Lightning Trainer or an optimizer.

Only leaves whose target is known count; the same key under another target means something else. The batch is per rank,
as torch's DataLoader has it::

    effective batch = DataLoader batch_size x ranks x Trainer accumulate_grad_batches

Example (``conf/config.yaml``):

```yaml
batch_size: 32
trainer:
  _target_: lightning.pytorch.Trainer
  devices: 2
  accumulate_grad_batches: 4
  precision: 16-mixed
  max_epochs: 50
train_loader:
  _target_: torch.utils.data.DataLoader
  batch_size: ${batch_size}
  num_workers: 4
  pin_memory: true
optimizer:
  _target_: torch.optim.AdamW
  lr: 1e-4
```

```plan
micro_batch: 32 file 1
accumulation: 4 file 5
world_size: 2 file 4
effective_batch: 256 derived
precision: fp16 file 6
workers_per_rank: 4 file 11
optimizer: AdamW file 14
learning_rate: 0.0001 file 15
```

``a.b=c`` words of the one line that launches the file win. Of several loaders the one whose path says ``train`` counts;
where none does and they differ, the batch is UNKNOWN. A program without a Trainer has its loop in code: accumulation
stays UNKNOWN unless ``gradient_accumulation_steps`` or its kin stands at the top. A file with a ``defaults`` list may
take more from its groups, so what it does not say itself is UNKNOWN and never a default. Files that build no loader are
fragments and left alone.

Sources: Hydra 1.3, "Instantiating objects with Hydra" (``_target_``); Lightning 2.5 ``Trainer`` (devices auto,
accumulate_grad_batches 1, precision 32-true); torch 2.13 ``utils/data/dataloader.py``. OmegaConf reads the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from vramlint.dialects.draft import Draft
from vramlint.dialects.interpolation import interpolated
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.lightning import device_ranks
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import word_overrides
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, keys, plain_value, settings_from
from vramlint.dialects.values import as_precision
from vramlint.plan import Fact, Precision, default, unknown
from vramlint.sources.model import Document, Mapping, Scalar, lookup

NAME = "hydra_objects"
TITLE = "Hydra configs with _target_"

_SOURCE = "Lightning 2.5"


class Config(Schema):
    """What is read of the three objects, by the fact it becomes."""

    source: ClassVar[str] = ""

    micro_batch: Count | None = keys("loader.batch_size")
    workers_per_rank: Natural | None = keys("loader.num_workers")
    prefetch_factor: Natural | None = keys("loader.prefetch_factor")
    pin_memory: Flag | None = keys("loader.pin_memory")
    persistent_workers: Flag | None = keys("loader.persistent_workers")
    accumulation: Count | None = keys("trainer.accumulate_grad_batches")
    epochs: float | None = keys("trainer.max_epochs")
    max_steps: int | None = keys("trainer.max_steps")
    learning_rate: float | None = keys("optimizer.lr")

    precision: Any = keys("trainer.precision")
    devices: Any = keys("trainer.devices")
    nodes: Count | None = keys("trainer.num_nodes")


_DIRECT = tuple(Config.model_fields)[:9]
_LOOSE_STEPS = ("gradient_accumulation_steps", "accumulate_grad_batches", "grad_accum_steps", "accum_steps")


class Built(NamedTuple):
    """An object of the file: the dotted path that holds its ``_target_``, and the target."""

    path: str
    target: str


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML."""
    root = document.root
    objects = list(_objects(root)) if isinstance(root, Mapping) else []
    trainer = next((each for each in objects if each.target.endswith("Trainer")), None)
    optimizer = next((each for each in objects if ".optim" in each.target), None)
    chosen = {"loader": _loader(objects), "trainer": trainer, "optimizer": optimizer}
    sources = [*word_overrides(document, context), *interpolated(document)]
    settings = settings_from(Config, dict(_places(chosen, sources)))
    complete = lookup(root, "defaults") is None
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    if chosen["loader"] is None:
        draft.put("micro_batch", unknown("several loaders, and none says that it is for training"))
    _accumulation(draft, settings, sources, trainer=trainer, complete=complete)
    draft.put("precision", _precision(settings, trainer=trainer, complete=complete))
    if optimizer is not None:
        place = _find(sources, f"{optimizer.path}._target_")
        if place is not None:
            draft.put("optimizer", Fact(optimizer.target.rpartition(".")[2], place.source.origin, location(place)))
    draft.put("model", unknown("the file builds its model of its own classes"))
    torch_prefetch(draft)
    return draft.close(_world(document, context, settings))


def _objects(root: Mapping, prefix: str = "") -> Iterator[Built]:
    target = root.get("_target_")
    if isinstance(target, Scalar) and isinstance(target.value, str):
        yield Built(prefix.rstrip("."), target.value)
    for entry in root.entries:
        if isinstance(entry.value, Mapping) and prefix.count(".") < _DEEPEST:
            yield from _objects(entry.value, f"{prefix}{entry.key}.")


_DEEPEST = 8
"""Objects inside objects that are looked into."""


def _loader(objects: list[Built]) -> Built | None:
    """The loader for training: the only one, or the one whose path says so."""
    loaders = [each for each in objects if each.target.endswith("DataLoader")]
    training = [each for each in loaders if "train" in each.path.lower()]
    found = training or loaders
    return found[0] if len(found) == 1 else None


def _places(chosen: dict[str, Built | None], sources: list[Source]) -> Iterator[tuple[str, Place]]:
    for name, setting in Config.model_fields.items():
        kind, _, key = setting.keys[0].partition(".")
        built = chosen[kind]
        place = _find(sources, f"{built.path}.{key}") if built is not None else None
        if place is not None:
            yield name, place


def _find(sources: list[Source], dotted: str) -> Place | None:
    return next((place for source in sources if (place := source.find(dotted)) is not None), None)


def _accumulation(
    draft: Draft, settings: Settings[Config], sources: list[Source], *, trainer: Built | None, complete: bool
) -> None:
    if settings.spelled("accumulation"):
        return
    for name in _LOOSE_STEPS if trainer is None else ():
        place = _find(sources, name)
        value = plain_value(place.node) if place is not None else None
        if place is not None and isinstance(value, int) and not isinstance(value, bool) and value > 0:
            draft.put("accumulation", Fact(value, place.source.origin, location(place)))
            return
    if trainer is not None and complete:
        draft.put("accumulation", default(1, f"default of {_SOURCE}"))
    else:
        draft.put("accumulation", unknown("the loop is in code" if trainer is None else "another group may say"))


def _precision(settings: Settings[Config], *, trainer: Built | None, complete: bool) -> Fact[Precision]:
    fact = settings.fact("precision")
    if fact.value is None:
        is_default = trainer is not None and complete and not settings.spelled("precision")
        return default(Precision.FP32, f"default of {_SOURCE}") if is_default else unknown(fact.note, fact.location)
    try:
        return Fact(as_precision(fact.value), fact.origin, fact.location)
    except ValueError:
        return unknown(f"precision {fact.value} is none of Lightning's", fact.location)


def _world(document: Document, context: Context, settings: Settings[Config]) -> World:
    """``devices`` x ``num_nodes`` of the Trainer, else the launch line or the target."""
    found = device_ranks(settings.places.get("devices"), settings.values.nodes or 1)
    return found or world(document, None, context)
