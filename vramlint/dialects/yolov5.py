"""YOLOv5 and YOLOv7 ``train.py``: the batch is GLOBAL, accumulation is derived towards 64.

::

    accumulation = max(round(64 / batch), 1)      effective batch = batch x accumulation

Example (``train.sh``):

```shell
torchrun --nproc_per_node 2 train.py --data coco.yaml --weights yolov5s.pt --img 640 --batch-size 24
```

```plan
micro_batch: 12 launch 1
global_batch: 24 launch 1
nominal_batch: 64 default
accumulation: 3 derived
effective_batch: 72 derived
world_size: 2 launch 1
precision: fp16 default
image_size: 640x640 launch 1
workers_per_rank: 8 default
model: yolov5s launch 1
```

Without a launcher the script spreads the batch over the GPUs of ``--device`` (DataParallel): each has its share all the
same. Hyper-parameter files (``hyp*.yaml``), model files (``backbone:``, ``head:``) and data files (``names:``) hold no
batch: they are recognised and left alone.

Sources: YOLOv5 2026-08, ``train.py`` lines 229 (autobatch), 234 (nominal batch, hard-coded), 277 (batch per rank), 559
(defaults), 661 (the batch has to divide by the ranks); YOLOv7 ``train.py`` lines 110, 360 (autocast on every card), 534
and 601; ``utils/dataloaders.py`` line 148 (pin_memory).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.commands import Run, open_run, world_of
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World, device_count
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import location
from vramlint.dialects.reading import Natural, Schema, Settings, Size, Text, Whole, keys, plain_value
from vramlint.plan import Fact, ImageSize, NominalAccumulation, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "yolov5"
TITLE = "YOLOv5 and YOLOv7"

_SOURCE = "YOLOv5 2026-08 and YOLOv7"
_NOMINAL = 64
_STRIDE = 32


class Train(Schema):
    """The flags of ``train.py``; argparse takes them shortened, so ``--batch`` and ``--img`` count."""

    source: ClassVar[str] = _SOURCE

    batch: Whole | None = keys("batch_size", "batch", default=16)
    image_size: Size | None = keys("imgsz", "img_size", "img", default=640)
    workers_per_rank: Natural | None = keys("workers", default=8)
    epochs: Natural | None = keys("epochs")
    weights: Text | None = keys("weights")
    cfg: Text | None = keys("cfg")
    optimizer: Text | None = keys("optimizer")
    adam: Any = keys("adam", default=False)
    device: Any = keys("device")
    multi_scale: Any = keys("multi_scale", default=False)


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command."""
    run = open_run(claim, document, context)
    settings = run.settings(Train)
    draft = run.draft
    draft.fill(settings, ("workers_per_rank", "epochs", "image_size"))
    _size(draft, settings)
    draft.put("model", _model(settings))
    draft.put("implementation", default("yolov5", f"{_SOURCE}: heads with anchors"))
    segments = run.command is not None and "segment/" in run.command.program
    draft.put("task", derived("segment" if segments else "detect", "what train.py trains"))
    draft.put("optimizer", _optimizer(settings))
    draft.put("precision", default(Precision.FP16, f"{_SOURCE}: autocast on every card"))
    draft.put("grad_checkpointing", default(value=False, note=f"{_SOURCE}: none"))
    draft.put("ema", default(value=True, note=f"{_SOURCE}: always kept"))
    draft.put("pin_memory", default(value=True, note=f"{_SOURCE}, utils/dataloaders.py"))
    torch_prefetch(draft)
    draft.put("nominal_batch", default(_NOMINAL, f"{_SOURCE}: hard-coded"))
    found = _world(run, settings, context)
    _batch(draft, settings, found.ranks)
    return draft.close(found, NominalAccumulation())


def _size(draft: Draft, settings: Settings[Train]) -> None:
    """``--img 640 640`` is the train and the test size; ``--multi-scale`` varies it by half either way."""
    size = draft.plan.image_size
    if size.value is not None:
        side = size.value.height
        draft.put("image_size", Fact(ImageSize(side, side), size.origin, size.location, size.note))
    on = settings.fact("multi_scale")
    draft.put("multi_scale", Fact(bool(on.value), on.origin, on.location, on.note))
    if on.value and size.value is not None:
        largest = -(-size.value.height * 3 // 2 // _STRIDE) * _STRIDE
        draft.put("largest_image_size", derived(ImageSize(largest, largest), "1.5 x --img"))


def _model(settings: Settings[Train]) -> Fact[str]:
    """The model file, else the weights that training starts from."""
    for name in ("cfg", "weights"):
        fact = settings.fact(name)
        if fact.value:
            stem = re.sub(r"\.(pt|yaml|yml)$", "", str(fact.value).rsplit("/", 1)[-1])
            return Fact(stem, fact.origin, fact.location, fact.note)
    return unknown("neither --cfg nor --weights names a model")


def _optimizer(settings: Settings[Train]) -> Fact[str]:
    spelled = settings.fact("optimizer")
    if spelled.value:
        return spelled
    adam = settings.fact("adam")
    return Fact("Adam" if adam.value else "SGD", adam.origin, adam.location, adam.note or f"default of {_SOURCE}")


def _world(run: Run, settings: Settings[Train], context: Context) -> World:
    """The launcher's ranks, else the devices that DataParallel spreads the batch over."""
    launched = run.command is not None and bool(run.command.launchers)
    place = settings.places.get("device")
    count = device_count(plain_value(place.node)) if place is not None and not launched else None
    if place is not None and count is not None:
        note = f"DataParallel over {count} GPUs" if count > 1 else ""
        return World(Fact(count, place.source.origin, location(place), note), default(1, "one node"))
    return world_of(run, context, f"{_SOURCE}: one process without a launcher")


def _batch(draft: Draft, settings: Settings[Train], ranks: Fact[int]) -> None:
    """Each rank's share of the global batch. ``-1`` lets YOLOv5 search; a rest that does not divide is an error."""
    fact = settings.fact("batch")
    if not fact.known or fact.value is None or fact.value < 1:
        reason = (
            f"batch {fact.value}: the script searches for the batch that fills the card" if fact.known else fact.note
        )
        draft.put("global_batch", unknown(reason, fact.location))
        draft.put("micro_batch", unknown(reason, fact.location))
        return
    draft.put("global_batch", fact)
    if ranks.value is None:
        draft.put("micro_batch", unknown("the batch is global and the number of GPUs unknown", fact.location))
        return
    if "batch" in settings.places:
        draft.offer("micro_batch", settings.places["batch"], spelling_out.scaled(ranks.value))
    if fact.value % ranks.value:
        draft.put("micro_batch", unknown(f"{fact.value} images do not divide by {ranks.value} GPUs", fact.location))
        return
    note = fact.note if ranks.value == 1 else f"{fact.value} over {ranks.value} GPUs"
    draft.put("micro_batch", Fact(fact.value // ranks.value, fact.origin, fact.location, note))
