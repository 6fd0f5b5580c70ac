"""MAE, BEiT and the scripts grown from them (``main_pretrain.py``, ``main_finetune.py``).

The batch is per process and accumulation is explicit; the learning rate follows the effective batch::

    effective batch = --batch_size x processes x --accum_iter      lr = --blr x effective batch / 256

Example (``pretrain.sh``):

```shell
torchrun --nproc_per_node=8 main_pretrain.py --model mae_vit_base_patch16 --batch_size 64 --accum_iter 8 --blr 1.5e-4
```

```plan
micro_batch: 64 launch 1
accumulation: 8 launch 1
world_size: 8 launch 1
effective_batch: 4096 derived
precision: fp16 default
workers_per_rank: 10 default
pin_memory: true default
image_size: 224x224 default
model: mae_vit_base_patch16 launch 1
```

``submitit_*.py`` asks for ``--ngpus`` (8) on each of ``--nodes`` (2).

Sources: MAE, ``main_pretrain.py`` lines 40-108 and ``main_finetune.py`` (flags, defaults), ``engine_pretrain.py``
(``torch.cuda.amp.autocast`` on every step), ``submitit_pretrain.py`` lines 21-23.
"""

from __future__ import annotations

import posixpath
from typing import ClassVar

from vramlint.dialects.commands import Run, open_run, per_node, world_of
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Size, Text, keys
from vramlint.plan import Precision, default, unknown
from vramlint.sources.model import Document

NAME = "mae"
TITLE = "MAE and BEiT family"

_SOURCE = "MAE main_pretrain.py"


class Train(Schema):
    """Flags that all of these scripts share."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("batch_size", default=64)
    accumulation: Count | None = keys("accum_iter", "update_freq", default=1)
    workers_per_rank: Natural | None = keys("num_workers", default=10)
    pin_memory: Flag | None = keys("pin_mem", default=True)
    image_size: Size | None = keys("input_size", default=224)
    learning_rate: float | None = keys("lr")
    epochs: Count | None = keys("epochs")
    num_classes: Count | None = keys("nb_classes")
    model: Text | None = keys("model")


_FLAGS = {"accumulation": "--accum_iter", "workers_per_rank": "--num_workers"}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command."""
    run = open_run(claim, document, context)
    settings = run.settings(Train)
    draft = run.draft
    draft.fill(settings)
    if not settings.spelled("model"):
        draft.put("model", unknown("the script's own default, which differs between pre-training and fine-tuning"))
    draft.put("precision", default(Precision.FP16, "MAE engine_pretrain.py: autocast on every step"))
    draft.put("grad_checkpointing", default(value=False, note=f"{_SOURCE}: none"))
    draft.put("optimizer", default("adamw", f"default of {_SOURCE}"))
    torch_prefetch(draft)
    run.offer_flags(_FLAGS, of_framework=True)
    return draft.close(_world(run, context))


def _world(run: Run, context: Context) -> World:
    if run.command is not None and posixpath.basename(run.command.program).startswith("submitit_"):
        return per_node(run, "ngpus", "nodes", (8, 2), "MAE submitit_pretrain.py")
    return world_of(run, context, f"{_SOURCE}: one process without a launcher")
