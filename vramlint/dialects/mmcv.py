"""mmcv 1.x (mmdet 2, mmsegmentation 0, mmpose 0, mmcls, mmrotate 0, mmdet3d 1.0): the era before MMEngine.

``data.samples_per_gpu`` is one rank's; accumulation is a hook::

    effective batch = data.samples_per_gpu x ranks x optimizer_config.cumulative_iters

Example (``retinanet_r50.py``):

```python
model = dict(type="RetinaNet", backbone=dict(type="ResNet", depth=50))
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=4,
    train=dict(type="CocoDataset", pipeline=[dict(type="Resize", img_scale=(1333, 800), keep_ratio=True)]),
)
optimizer = dict(type="SGD", lr=0.01, momentum=0.9)
optimizer_config = dict(type="GradientCumulativeOptimizerHook", cumulative_iters=4)
runner = dict(type="EpochBasedRunner", max_epochs=12)
fp16 = dict(loss_scale=512.0)
```

```plan gpus=8
micro_batch: 2 file 3
accumulation: 4 file 8
effective_batch: 64 derived
workers_per_rank: 4 file 4
precision: fp16 file 10
image_size: 800x1333 file 5
optimizer: SGD file 7
epochs: 12 file 9
```

Fragments are the same as with MMEngine: files in a folder called ``_base_``, and data or a schedule without a model.

Sources: mmcv 1.7.2 ``runner/hooks/optimizer.py`` (GradientCumulativeOptimizerHook, cumulative_iters 1; the
Fp16OptimizerHook when ``fp16`` is set), mmdet 2.28 ``apis/train.py`` and ``datasets/builder.py#build_dataloader``
(samples and workers per GPU), mmaction2 0.24.1 ``apis/train.py`` (``videos_per_gpu``),
mmrotate 0.3 ``configs/_base_/datasets/dotav1.py``.
"""

from __future__ import annotations

from typing import Any, ClassVar

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
from vramlint.dialects.places import location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, plain_value, read_settings
from vramlint.plan import Fact, Precision, unknown
from vramlint.sources.model import Document

NAME = "mmcv"
TITLE = "mmcv 1.x"

_SOURCE = "mmcv 1.7.2"


class Settings1(Schema):
    """The keys of a config of mmcv's runner."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys(
        "data.train_dataloader.samples_per_gpu",
        "data.samples_per_gpu",
        "data.train_dataloader.videos_per_gpu",
        "data.videos_per_gpu",
    )
    accumulation: Count | None = keys("optimizer_config.cumulative_iters")
    workers_per_rank: Natural | None = keys("data.train_dataloader.workers_per_gpu", "data.workers_per_gpu")
    prefetch_factor: Count | None = keys("data.train_dataloader.prefetch_factor")
    persistent_workers: Flag | None = keys("data.train_dataloader.persistent_workers", "data.persistent_workers")
    pin_memory: Flag | None = keys("data.train_dataloader.pin_memory", "data.pin_memory")
    optimizer: Text | None = keys("optimizer.type")
    learning_rate: float | None = keys("optimizer.lr")
    epochs: Count | None = keys("runner.max_epochs", "total_epochs")
    max_steps: Count | None = keys("runner.max_iters", "total_iters")

    fp16: Any = keys("fp16")


_DIRECT = tuple(Settings1.model_fields)[:10]
_DEFAULTS = {"accumulation": 1}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one config with its base files."""
    return read_config(claim, open_config(document, context), context)


def read_config(claim: Claim, config: Config, context: Context) -> Reading:
    """The plan of a config that is already merged."""
    settings = read_settings(Settings1, config.sources)
    draft = Draft(claim, config.document)
    start(draft, config)
    draft.fill(settings, _DIRECT)
    for name, value in _DEFAULTS.items():
        if not settings.spelled(name):
            draft.put(name, left_out(config, value, f"default of {_SOURCE}"))
    if not settings.spelled("micro_batch"):
        missing = f"{config.missing[0]} is not at hand" if config.missing else "data names no samples_per_gpu"
        draft.put("micro_batch", unknown(missing))
    draft.put("precision", _precision(settings, config))
    torch_prefetch(draft)
    model_facts(draft, config)
    sizes = training_sizes(config, "data.train")
    put_sizes(draft, sizes)
    memory_facts(draft, config, "data.train", sizes)
    offer_child_key(draft, config, "workers_per_rank", "data", "workers_per_gpu")
    return draft.close(ranks(config, context))


def _precision(settings: Settings[Settings1], config: Config) -> Fact[Precision]:
    """A ``fp16`` section of any content switches the Fp16OptimizerHook on; ``None`` leaves fp32."""
    place = settings.places.get("fp16")
    if place is None:
        return left_out(config, Precision.FP32, f"default of {_SOURCE}: no fp16 section")
    on = plain_value(place.node) is not None
    return Fact(Precision.FP16 if on else Precision.FP32, place.source.origin, location(place))
