"""DETR's ``main.py`` and the detectors grown from it.

The batch is per GPU and nothing accumulates::

    effective batch = --batch_size x processes

Example (``train.sh``):

```shell
python -m torch.distributed.launch --nproc_per_node=8 --use_env main.py --coco_path /data/coco --batch_size 4 --dilation
```

```plan
micro_batch: 4 launch 1
accumulation: 1 default
world_size: 8 launch 1
effective_batch: 32 derived
precision: fp32 default
image_size: 800x1333 default
num_queries: 100 default
workers_per_rank: 2 default
model: detr_resnet50_dc5 derived
```

``run_with_submitit.py`` asks for ``--ngpus`` (8) on each of ``--nodes`` (4).

Sources: DETR, ``main.py`` lines 20-105 (flags and defaults), ``datasets/coco.py`` lines 115-145 (short sides of 480 to
800, long side of 1333 at most), ``run_with_submitit.py``, ``hubconf.py`` (names of the models).
"""

from __future__ import annotations

import posixpath
from typing import ClassVar

from vramlint.dialects.commands import Run, open_run, per_node, world_of
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys
from vramlint.dialects.signature import flag_texts
from vramlint.plan import Fact, ImageSize, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "detr"
TITLE = "DETR"

_SOURCE = "DETR main.py"


class Train(Schema):
    """The flags that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("batch_size", default=2)
    workers_per_rank: Natural | None = keys("num_workers", default=2)
    num_queries: Count | None = keys("num_queries", default=100)
    learning_rate: float | None = keys("lr", default=1e-4)
    epochs: Count | None = keys("epochs", default=300)

    backbone: Text | None = keys("backbone", default="resnet50")
    dilation: Flag | None = keys("dilation", default=False)
    masks: Flag | None = keys("masks", default=False)


_DIRECT = tuple(Train.model_fields)[:5]
_OWN_BACKBONES = ("resnet50", "resnet101")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command."""
    run = open_run(claim, document, context)
    settings = run.settings(Train)
    draft = run.draft
    draft.fill(settings, _DIRECT)
    own = _is_own(run)
    if not own:
        _forget_defaults(run, settings)
    draft.put("accumulation", default(1, f"{_SOURCE}: no accumulation"))
    draft.put("precision", default(Precision.FP32, f"{_SOURCE}: no autocast"))
    draft.put("grad_checkpointing", default(value=False, note=f"{_SOURCE}: none"))
    draft.put("optimizer", default("adamw", f"{_SOURCE}"))
    draft.put("image_size", default(ImageSize(800, 1333), "DETR datasets/coco.py: the largest of its random sizes"))
    draft.put("multi_scale", default(value=True, note="DETR datasets/coco.py: short sides of 480 to 800"))
    draft.put("task", derived("segment" if settings.values.masks else "detect", "what main.py trains"))
    draft.put("model", _model(settings) if own else unknown("flags that DETR has not: a relative of it"))
    torch_prefetch(draft)
    return draft.close(_world(run, context))


_FLAGS = frozenset({
    "lr", "lr_backbone", "batch_size", "weight_decay", "epochs", "lr_drop", "clip_max_norm", "frozen_weights",
    "backbone", "dilation", "position_embedding", "enc_layers", "dec_layers", "dim_feedforward", "hidden_dim",
    "dropout", "nheads", "num_queries", "pre_norm", "masks", "no_aux_loss", "set_cost_class", "set_cost_bbox",
    "set_cost_giou", "mask_loss_coef", "dice_loss_coef", "bbox_loss_coef", "giou_loss_coef", "eos_coef",
    "dataset_file", "coco_path", "coco_panoptic_path", "remove_difficult", "output_dir", "device", "seed", "resume",
    "start_epoch", "eval", "num_workers", "world_size", "dist_url", "ngpus", "nodes", "timeout", "job_dir",
    "partition",
})  # fmt: skip


def _is_own(run: Run) -> bool:
    """Whether the command gives DETR's flags only; Deformable DETR, DINO and others add theirs and change defaults."""
    return run.command is None or set(flag_texts(run.command)) <= _FLAGS


def _forget_defaults(run: Run, settings: Settings[Train]) -> None:
    for name in _DIRECT:
        if not settings.spelled(name):
            run.draft.put(name, unknown("flags that DETR has not: the script's default is its own"))


def _model(settings: Settings[Train]) -> Fact[str]:
    """The name that ``hubconf.py`` gives the variant; relatives with flags of their own are other models."""
    backbone = settings.values.backbone
    if backbone not in _OWN_BACKBONES:
        return unknown(f"backbone {backbone} is none of DETR's published ones")
    name = f"detr_{backbone}{'_dc5' if settings.values.dilation else ''}"
    return derived(name, f"{backbone}{' with dilation' if settings.values.dilation else ''} in {_SOURCE}")


def _world(run: Run, context: Context) -> World:
    if run.command is not None and posixpath.basename(run.command.program) == "run_with_submitit.py":
        return per_node(run, "ngpus", "nodes", (8, 4), "DETR run_with_submitit.py")
    return world_of(run, context, f"{_SOURCE}: one process without a launcher")
