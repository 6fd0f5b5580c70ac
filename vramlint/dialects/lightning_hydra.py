"""lightning-hydra-template: Hydra groups for ``data``, ``model`` and ``trainer`` around PyTorch Lightning.

``data.batch_size`` is GLOBAL: the template's DataModule divides it by the number of devices::

    micro batch = data.batch_size / devices      effective batch = data.batch_size x trainer.accumulate_grad_batches

Example (``configs/experiment/big.yaml``):

```yaml
# @package _global_
defaults:
  - override /data: mnist
  - override /trainer: ddp
data:
  batch_size: 256
  num_workers: 4
trainer:
  devices: 4
  accumulate_grad_batches: 2
  precision: 16
```

```plan
micro_batch: 64 file 6
global_batch: 256 file 6
accumulation: 2 file 10
world_size: 4 file 9
effective_batch: 512 derived
precision: fp16 file 11
workers_per_rank: 4 file 7
```

What runs is the primary config (its ``defaults`` name data and trainer), an experiment, or the line that starts
``train.py`` with ``a.b=c`` and ``group=name`` words; the chosen files are read with them. Files of a group are
fragments and are left alone. Where the DataModule's source is at hand and never asks for the world size, the batch is
per device, as in projects whose group has the old name ``datamodule``.

Sources: lightning-hydra-template, ``src/data/mnist_datamodule.py`` lines 115-124 (divides, raises where it does not
divide), ``configs/train.yaml``; Lightning 2.5 ``Trainer`` (accumulate_grad_batches 1, devices auto); Hydra 1.3.
"""

from __future__ import annotations

import posixpath
from typing import Any, ClassVar, NamedTuple

from vramlint.dialects import spelling_out
from vramlint.dialects.detectron2 import share
from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.hydra_compose import Composition, choices_of, compose, main_config, words_of
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.neighbours import reader_of
from vramlint.dialects.places import FlagSource, Source, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, plain_value, read_settings
from vramlint.dialects.values import as_precision
from vramlint.plan import Fact, Precision, default, unknown
from vramlint.sources.model import Command, Document, Mapping

NAME = "lightning_hydra"
TITLE = "lightning-hydra-template"

_SOURCE = "Lightning 2.5"


class Config(Schema):
    """The settings of a composed run."""

    source: ClassVar[str] = _SOURCE

    accumulation: Count | None = keys("trainer.accumulate_grad_batches")
    workers_per_rank: Natural | None = keys("data.num_workers", "datamodule.num_workers")
    pin_memory: Flag | None = keys("data.pin_memory", "datamodule.pin_memory")
    epochs: Count | None = keys("trainer.max_epochs")
    max_steps: int | None = keys("trainer.max_steps")
    learning_rate: float | None = keys("model.optimizer.lr", "model.lr")

    batch: Count | None = keys("data.batch_size", "datamodule.batch_size")
    module: Text | None = keys("data._target_", "datamodule._target_")
    network: Text | None = keys("model.net._target_", "model._target_")
    precision: Any = keys("trainer.precision")
    devices: Any = keys("trainer.devices")
    nodes: Count | None = keys("trainer.num_nodes", default=1)


_DIRECT = tuple(Config.model_fields)[:6]


class Parts(NamedTuple):
    """A run's sources, the strongest first, and what could not be read."""

    sources: list[Source]
    missing: list[str]


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of a primary config, an experiment or a command."""
    command = claim.subject if isinstance(claim.subject, Command) else None
    parts = _of_command(document, command, context) if command is not None else _of_file(document, context)
    settings = read_settings(Config, parts.sources)
    draft = Draft(claim, document, title_of(document, command) if command is not None else "")
    for source in parts.sources:
        draft.use(source.document)
    draft.fill(settings, _DIRECT)
    trainer = next((name for name in parts.missing if name.startswith("trainer/")), None)
    if not settings.spelled("accumulation"):
        note = f"default of {_SOURCE}"
        draft.put("accumulation", unknown(f"{trainer} is not at hand") if trainer else default(1, note))
    draft.put("precision", _precision(settings, trainer))
    draft.put("model", unknown(f"{settings.values.network or 'the program'} builds its model itself"))
    torch_prefetch(draft)
    found = _world(document, command, context, settings)
    _batch(draft, settings, found.ranks, context)
    return draft.close(found)


def _of_file(document: Document, context: Context) -> Parts:
    """An experiment is read over the primary config beside its folder; a primary config by itself."""
    folder = posixpath.dirname(document.path)
    own = document.root
    assert isinstance(own, Mapping)
    if posixpath.basename(folder) != "experiment":
        return _parts(compose(folder, document, context, {}), [])
    stem = posixpath.splitext(posixpath.basename(document.path))[0]
    above = posixpath.dirname(folder)
    primary = reader_of(document, context)(posixpath.join(above, "train.yaml"))
    if primary is None:
        return Parts([Source(document, own)], ["trainer/default"] if own.get("trainer") is None else [])
    composed = compose(above, primary, context, {"experiment": stem})
    return _parts(
        composed, [] if any(part.document is document for part in composed.parts) else [Source(document, own)]
    )


def _of_command(document: Document, command: Command, context: Context) -> Parts:
    """The words, then the primary config that the script's ``@hydra.main`` or the command's flags name."""
    words = words_of(document, command)
    folder, name = _primary(document, command, context)
    primary = context.document(posixpath.join(folder, f"{name}.yaml"))
    if primary is None:
        return Parts([words], ["trainer/default"])
    return _parts(compose(folder, primary, context, choices_of(command)), [words])


def _primary(document: Document, command: Command, context: Context) -> tuple[str, str]:
    """The template's own folder and name where neither the script nor a flag says others."""
    here = posixpath.dirname(document.path)
    script = context.document(command.program) or context.document(
        posixpath.normpath(posixpath.join(here, command.program))
    )
    folder, name = (main_config(script) if script is not None else None) or ("configs", "train")
    flags = FlagSource(document, command.options)
    chosen = flags.find("config_name")
    if chosen is not None:
        name = str(plain_value(chosen.node)).removesuffix(".yaml")
    return folder, name


def _parts(composed: Composition, stronger: list[Source]) -> Parts:
    return Parts([*stronger, *composed.sources()], composed.missing)


def _precision(settings: Settings[Config], trainer: str | None) -> Fact[Precision]:
    place = settings.places.get("precision")
    value = plain_value(place.node) if place is not None else None
    if place is None or value is None:
        if trainer is not None:
            return unknown(f"{trainer} is not at hand")
        return default(Precision.FP32, f"default of {_SOURCE}")
    try:
        return Fact(as_precision(value), place.source.origin, location(place))
    except ValueError:
        return unknown(f"precision {value} is none of Lightning's", location(place))


def _world(document: Document, command: Command | None, context: Context, settings: Settings[Config]) -> World:
    """``trainer.devices`` on each of ``trainer.num_nodes``; "auto" and -1 are every GPU of the machine."""
    place = settings.places.get("devices")
    value = plain_value(place.node) if place is not None else None
    count = len(value) if isinstance(value, list) else value
    nodes: Fact[int] = settings.fact("nodes")
    if (
        place is None
        or isinstance(count, bool)
        or not str(count).isdecimal()
        or nodes.value is None
        or int(str(count)) < 1
    ):
        return world(document, command, context)
    note = "" if nodes.value == 1 else f"{count} devices on each of {nodes.value} nodes"
    return World(Fact(int(str(count)) * nodes.value, place.source.origin, location(place), note), nodes)


def _batch(draft: Draft, settings: Settings[Config], ranks: Fact[int], context: Context) -> None:
    """Global where the DataModule divides; without its source, the name of the group tells the release."""
    batch: Fact[int] = settings.fact("batch")
    place = settings.places.get("batch")
    if place is None or not batch.known:
        draft.put("micro_batch", unknown(batch.note or "no batch_size in data", batch.location))
        return
    if not _divides(settings, place.name, context):
        draft.put("micro_batch", batch)
        draft.offer("micro_batch", place)
        return
    draft.put("global_batch", batch)
    draft.put("micro_batch", share(batch, ranks))
    if ranks.value is not None:
        draft.offer("micro_batch", place, spelling_out.scaled(ranks.value))


def _divides(settings: Settings[Config], key: str, context: Context) -> bool:
    """Whether the DataModule shares the batch out: it asks the trainer for its world size."""
    target = settings.values.module or ""
    path = target.rpartition(".")[0].replace(".", "/")
    source = context.document(f"{path}.py") if path else None
    if source is not None:
        return "world_size" in source.text
    return key.startswith("data.")
