"""MMEngine (mmdet 3, mmsegmentation 1, mmpose 1, mmpretrain, mmyolo, mmaction2 1, …): Python configs over base files.

``train_dataloader.batch_size`` is one rank's, accumulation stands in the optimizer wrapper::

    effective batch = train_dataloader.batch_size x ranks x optim_wrapper.accumulative_counts

Example (``faster-rcnn_2xb4.py``):

```python
model = dict(type="FasterRCNN", backbone=dict(type="ResNet", depth=50, with_cp=True))
train_pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(1333, 800), keep_ratio=True)]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type="CocoDataset", pipeline=train_pipeline),
)
optim_wrapper = dict(type="AmpOptimWrapper", accumulative_counts=2, optimizer=dict(type="SGD", lr=0.02))
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=12)
```

```plan gpus=2
micro_batch: 4 file 4
accumulation: 2 file 9
effective_batch: 16 derived
precision: fp16 file 9
grad_checkpointing: true file 1
image_size: 800x1333 file 2
workers_per_rank: 2 file 5
persistent_workers: true file 6
prefetch_factor: 2 default
optimizer: SGD file 9
epochs: 12 file 10
```

A file in a folder called ``_base_``, and a file that neither builds on base files nor sets a model beside its data or
schedule, is a fragment: other configs take it over, it is no run and is left alone. A value that a base file spells is
edited in that file. One launch line counts with its ``--amp`` and ``--cfg-options a.b=c`` words.

Sources: mmengine 0.10.7, ``optim/optimizer/optimizer_wrapper.py`` (accumulative_counts 1),
``optim/optimizer/amp_optimizer_wrapper.py`` (float16 unless dtype says otherwise), ``config/config.py`` (base files),
``runner/runner.py#build_dataloader`` (arguments go to torch's DataLoader as they are); mmdet 3.3.0 ``tools/train.py``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects import mmcv
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.openmmlab import (
    Config,
    left_out,
    model_facts,
    offer_child_key,
    open_config,
    put_sizes,
    ranks,
    start,
)
from vramlint.dialects.openmmlab_memory import memory_facts
from vramlint.dialects.openmmlab_sizes import training_sizes
from vramlint.dialects.places import Place, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, plain_value, read_settings
from vramlint.plan import Fact, Precision, unknown
from vramlint.sources.model import Document, Unknown

NAME = "mmengine"
TITLE = "MMEngine"

_SOURCE = "mmengine 0.10.7"
_LEGACY = ("data", "runner", "lr_config", "optimizer_config", "total_epochs", "checkpoint_config")
_OWN = ("train_dataloader", "optim_wrapper", "train_cfg", "default_hooks", "default_scope", "val_evaluator")


class Settings2(Schema):
    """The keys of a MMEngine config that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train_dataloader.batch_size", "data.samples_per_gpu")
    accumulation: Count | None = keys("optim_wrapper.accumulative_counts")
    workers_per_rank: Natural | None = keys("train_dataloader.num_workers")
    prefetch_factor: Count | None = keys("train_dataloader.prefetch_factor")
    persistent_workers: Flag | None = keys("train_dataloader.persistent_workers")
    pin_memory: Flag | None = keys("train_dataloader.pin_memory")
    optimizer: Text | None = keys("optim_wrapper.optimizer.type")
    learning_rate: float | None = keys("optim_wrapper.optimizer.lr")
    epochs: Count | None = keys("train_cfg.max_epochs")
    max_steps: Count | None = keys("train_cfg.max_iters")

    wrapper: Any = keys("optim_wrapper.type")
    dtype: Any = keys("optim_wrapper.dtype")


_DIRECT = tuple(Settings2.model_fields)[:10]
_DEFAULTS = {"accumulation": 1, "workers_per_rank": 0, "persistent_workers": False, "pin_memory": False}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one config with its base files; a chain that turns out to be of the era before is read as such."""
    config = open_config(document, context)
    if config.has(*_LEGACY) and not config.has(*_OWN):
        return mmcv.read_config(claim._replace(dialect=mmcv.NAME), config, context)
    settings = read_settings(Settings2, config.sources)
    draft = Draft(claim, document)
    start(draft, config)
    draft.fill(settings, _DIRECT)
    for name, value in _DEFAULTS.items():
        if not settings.spelled(name):
            draft.put(name, left_out(config, value, f"default of {_SOURCE} and torch's DataLoader"))
    if not settings.spelled("micro_batch"):
        draft.put("micro_batch", unknown(_why_no_batch(config)))
    draft.put("precision", _precision(settings, config))
    torch_prefetch(draft)
    model_facts(draft, config)
    # Half moved to mmengine: nuImages' base file in mmdetection3d 1.4.0 still spells the data as mmcv 1.x had it.
    dataset = "data.train" if config.has("data") and not config.has("train_dataloader") else "train_dataloader.dataset"
    sizes = training_sizes(config, dataset)
    put_sizes(draft, sizes)
    memory_facts(draft, config, dataset, sizes)
    offer_child_key(draft, config, "accumulation", "optim_wrapper", "accumulative_counts")
    offer_child_key(draft, config, "workers_per_rank", "train_dataloader", "num_workers")
    return draft.close(ranks(config, context))


def _why_no_batch(config: Config) -> str:
    if config.missing:
        return f"{config.missing[0]} is not at hand"
    return "train_dataloader names no batch_size" if config.has("train_dataloader") else "nothing is trained"


def _precision(settings: Settings[Settings2], config: Config) -> Fact[Precision]:
    """``--amp`` and ``AmpOptimWrapper`` mean autocast, in float16 unless ``dtype`` says otherwise."""
    amp = config.switch("amp")
    place = amp if amp is not None else settings.places.get("wrapper")
    if place is None:
        return left_out(config, Precision.FP32, f"default of {_SOURCE}: OptimWrapper")
    kind = _name(place)
    if amp is None and kind is None:
        return unknown("the type of optim_wrapper is no constant", location(place))
    if amp is None and not (kind or "").endswith("AmpOptimWrapper"):
        known = (kind or "").endswith("OptimWrapper")
        return Fact(Precision.FP32, place.source.origin, location(place)) if known else unknown(f"wrapper {kind}")
    dtype = settings.places.get("dtype")
    word = _name(dtype) if dtype is not None else "float16"
    found = {"float16": Precision.FP16, "bfloat16": Precision.BF16, "None": Precision.FP16}.get(
        str(word).split(".")[-1]
    )
    if found is None:
        return unknown(f"dtype {word} is none of autocast's", location(place))
    return Fact(found, place.source.origin, location(place))


def _name(place: Place) -> str | None:
    """A type as text, or as the imported class that new-style configs name."""
    if isinstance(place.node, Unknown):
        text = place.node.text
        return text if text.replace(".", "").replace("_", "").isalnum() else None
    return str(plain_value(place.node))
