"""Lightning's ``Trainer(...)`` in a Python script, with the data module or loader that stands beside it.

The batch belongs to the loader of the same file and is taken per rank, as Lightning's samplers take it::

    effective batch = batch_size x devices x num_nodes x accumulate_grad_batches

Example (``train.py``):

```python
import lightning as L
from torchvision.models import resnet50

data = ImageNetDataModule(root="data", batch_size=64, num_workers=4)
trainer = L.Trainer(accelerator="gpu", devices=4, strategy="ddp", precision="16-mixed", accumulate_grad_batches=2)
trainer.fit(LitClassifier(resnet50()), data)
```

```plan
micro_batch: 64 file 4
accumulation: 2 file 5
world_size: 4 file 5
effective_batch: 512 derived
precision: fp16 file 5
workers_per_rank: 4 file 4
```

A batch that two loaders spell differently is left open (loaders that are named for validation or tests do not count),
and so is one that a parameter gives. A data module that divides its batch by the ranks itself is not seen.

Sources: Lightning 2026-07, ``pytorch/trainer/trainer.py`` (arguments and defaults), ``fabric/connector.py`` (words of
precision).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects import lightning
from vramlint.dialects.built_models import built_model
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Place, Source
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
    settings_from,
)
from vramlint.plan import Fact, Origin, unknown
from vramlint.sources.model import Definition, Document

NAME = "lightning_script"
TITLE = "Lightning Trainer calls"

_SOURCE = "Lightning 2026-07"


class Arguments(Schema):
    """The arguments of ``Trainer`` that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    accumulation: Count | None = keys("accumulate_grad_batches", default=1)
    epochs: float | None = keys("max_epochs")
    max_steps: int | None = keys("max_steps")

    precision: Any = keys("precision")
    devices: Any = keys("devices", "gpus")
    nodes: Count | None = keys("num_nodes", default=1)
    strategy: Any = keys("strategy")
    accelerator: Text | None = keys("accelerator")


class Loading(Schema):
    """What the data module or the loader of the training set is given."""

    source: ClassVar[str] = "torch.utils.data.DataLoader"

    micro_batch: Count | None = keys("batch_size")
    workers_per_rank: Natural | None = keys("num_workers")
    prefetch_factor: Natural | None = keys("prefetch_factor")
    persistent_workers: Flag | None = keys("persistent_workers")
    pin_memory: Flag | None = keys("pin_memory")


_TRAINER = ("accumulation", "epochs", "max_steps")
_FOR_EVALUATION = re.compile(r"(?i)val|test|predict|eval")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one ``Trainer`` call."""
    call = claim.subject
    assert isinstance(call, Definition)
    settings = read_settings(Arguments, [Source(document, call.members)])
    draft = Draft(claim, document, f"{call.name} in {call.function}" if call.function else call.name)
    draft.fill(settings, _TRAINER)
    draft.put("precision", lightning.precision_fact(settings))
    draft.fill(_loading(document))
    if settings.values.accelerator == "cpu":
        draft.put("model", unknown("the run is on the CPU"))
    else:
        draft.put("model", unknown("the program builds its model itself"))
        built_model(draft, document)
    found = _world(document, context, settings)
    lightning.put_sharding(draft, settings, found.ranks)
    torch_prefetch(draft)
    lightning.offer_trainer(draft, document, settings, call.members)
    return draft.close(found)


def _world(document: Document, context: Context, settings: Settings[Arguments]) -> World:
    """``devices`` x ``num_nodes``; "auto", -1 and a name are every GPU there is, or what the launch line says."""
    nodes: Fact[int] = settings.fact("nodes")
    launched = world(document, None, context)
    if launched.ranks.origin is Origin.LAUNCH:
        return launched
    found = lightning.device_ranks(settings.places.get("devices"), nodes.value or 1)
    return World(found.ranks, nodes) if found is not None else launched


def _loading(document: Document) -> Settings[Loading]:
    """Each setting where all loaders for training that spell it agree. A loader that shuffles is for training, which
    settles it; one in a method that is named for validation is not."""
    every = [
        Source(document, each.members)
        for each in document.definitions
        if each.kind == "call" and each.members.get("batch_size") and not _FOR_EVALUATION.search(each.function or "")
    ]
    shuffling = [source for source in every if (place := source.find("shuffle")) and plain_value(place.node) is True]
    places: dict[str, Place] = {}
    for name, setting in Loading.model_fields.items():
        found = [place for source in shuffling or every for key in setting.keys if (place := source.find(key))]
        values = [plain_value(place.node) for place in found]
        if found and values[0] is not None and all(value == values[0] for value in values):
            places[name] = found[0]
    return settings_from(Loading, places)
