"""DINOv2: a YAML merged over ``ssl_default_config.yaml``.

The batch is per GPU, in images; each image becomes two global and eight local crops. Nothing accumulates::

    effective batch = train.batch_size_per_gpu x GPUs

Example (``vitl14.yaml``):

```yaml
train:
  dataset_path: ImageNet22k
  batch_size_per_gpu: 32
student:
  arch: vit_large
  patch_size: 14
teacher:
  momentum_teacher: 0.994
optim:
  epochs: 500
crops:
  local_crops_size: 98
```

```plan gpus=8
micro_batch: 32 file 3
accumulation: 1 default
effective_batch: 256 derived
workers_per_rank: 10 default
precision: fp16 default
sharding: zero2 default
image_size: 224x224 default
epochs: 500 file 10
```

A file without a ``train`` section describes a network for evaluation: it is recognised and left alone.

Sources: DINOv2, ``dinov2/configs/ssl_default_config.yaml`` (defaults), ``dinov2/utils/config.py`` (the learning rate is
``base_lr x sqrt(effective batch / 1024)``; ``a.b=c`` words of the command win), ``dinov2/run/submit.py`` (``--ngpus`` 8
on each of ``--nodes`` 1), ``dinov2/fsdp/__init__.py`` (SHARD_GRAD_OP).
"""

from __future__ import annotations

import posixpath
from typing import Any, ClassVar

from vramlint.dialects.commands import Run, open_run, per_node
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import only_launch, word_overrides
from vramlint.dialects.reading import Count, Natural, Schema, Settings, Size, Text, keys, read_settings
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "dinov2"
TITLE = "DINOv2"

_SOURCE = "DINOv2 ssl_default_config.yaml"


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train.batch_size_per_gpu", default=64)
    workers_per_rank: Natural | None = keys("train.num_workers", default=10)
    image_size: Size | None = keys("crops.global_crops_size", default=224)
    epochs: Count | None = keys("optim.epochs", default=100)
    learning_rate: float | None = keys("optim.base_lr", default=0.004)

    arch: Text | None = keys("student.arch", default="vit_large")
    dtype: Any = keys("compute_precision.student.backbone.mixed_precision.param_dtype", default="fp16")
    strategy: Any = keys("compute_precision.student.backbone.sharding_strategy", default="SHARD_GRAD_OP")
    local_crops: Natural | None = keys("crops.local_crops_number", default=8)


_DIRECT = tuple(Config.model_fields)[:5]
_KINDS = {"fp16": Precision.FP16, "bf16": Precision.BF16, "fp32": Precision.FP32}
_SHARDINGS = {"SHARD_GRAD_OP": "zero2", "FULL_SHARD": "fsdp", "NO_SHARD": "ddp"}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML, with the words of the line that launches it."""
    run = open_run(claim, document, context)
    settings = read_settings(Config, [*word_overrides(document, context), *run.sources])
    draft = run.draft
    draft.fill(settings, _DIRECT)
    draft.put("accumulation", default(1, "DINOv2: no accumulation"))
    draft.put("precision", _word(settings, "dtype", _KINDS))
    draft.put("sharding", _word(settings, "strategy", _SHARDINGS))
    draft.put("optimizer", default("adamw", "DINOv2 train.py"))
    draft.put("ema", derived(value=True, note="the teacher follows the student"))
    draft.put("pin_memory", default(value=True, note="DINOv2 data/loaders.py"))
    _model(draft, settings)
    torch_prefetch(draft)
    return draft.close(_world(run, context))


def _word(settings: Settings[Config], name: str, meanings: dict[str, Any]) -> Fact[Any]:
    fact = settings.fact(name)
    value = meanings.get(str(fact.value))
    if not fact.known or value is None:
        return unknown(fact.note or f"{fact.value} is none that is known", fact.location)
    return Fact(value, fact.origin, fact.location, fact.note)


def _model(draft: Draft, settings: Settings[Config]) -> None:
    """Student and teacher over ten crops an image: no profile of a single network says what that takes."""
    crops = 2 + (settings.values.local_crops or 0)
    draft.put("model", unknown(f"a student and a teacher {settings.values.arch} over {crops} crops an image"))


def _world(run: Run, context: Context) -> World:
    """``dinov2/run/train/train.py`` submits a job; ``dinov2/train/train.py`` is one rank of it."""
    found = only_launch(run.document, context)
    if found is not None and "/run/" in f"/{posixpath.normpath(found[1].program)}":
        launched = run._replace(document=found[0], command=found[1])
        return per_node(launched, "ngpus", "nodes", (8, 1), "DINOv2 run/submit.py")
    return world(run.document, None, context)
