"""ESPnet2: one YAML a model, started by ``asr.sh`` and its kin.

The batch is GLOBAL: ranks share it out, so more GPUs change neither the step nor the learning rate::

    micro batch = batch_size / ranks
    effective batch = batch_size x accum_grad

Example (``train_asr_conformer.yaml``):

```yaml
batch_type: folded
batch_size: 64
accum_grad: 4
max_epoch: 50
use_amp: true
num_workers: 4
optim: adam
optim_conf:
  lr: 0.002
encoder: conformer
encoder_conf:
  output_size: 256
```

```plan gpus=2
micro_batch: 32 derived
accumulation: 4 file 3
effective_batch: 256 derived
precision: fp16 file 5
workers_per_rank: 4 file 6
optimizer: adam file 7
epochs: 50.0 file 4
```

``batch_type: numel`` and ``length`` fill batches up to ``batch_bins``: the unit is bins then. A batch
that does not divide goes out unevenly, so the micro batch stays UNKNOWN. Models are ESPnet's own: no memory.

Sources: espnet/espnet f0aa385, https://espnet.github.io/espnet/espnet2_distributed.html and
https://espnet.github.io/espnet/espnet2_training_option.html (batch types, "the batch-size is the total over GPUs"),
espnet issue 4436; defaults as in ``espnet2/tasks/abs_task.py``: ``batch_size`` 20, ``batch_bins`` 1000000,
``accum_grad`` 1, ``num_workers`` 1, ``use_amp`` false.
"""

from __future__ import annotations

from typing import ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import root_source, torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import flag_overrides
from vramlint.dialects.places import location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, read_settings
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "espnet"
TITLE = "ESPnet2"

_SOURCE = "espnet/espnet f0aa385"


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    accumulation: Count | None = keys("accum_grad", default=1)
    workers_per_rank: Natural | None = keys("num_workers", default=1)
    optimizer: Text | None = keys("optim", default="adadelta")
    epochs: float | None = keys("max_epoch")
    learning_rate: float | None = keys("optim_conf.lr")

    batch_type: Text | None = keys("batch_type", default="folded")
    batch: Count | None = keys("batch_size", default=20)
    bins: Count | None = keys("batch_bins", default=1_000_000)
    amp: Flag | None = keys("use_amp", default=False)
    gpus: Natural | None = keys("ngpu")
    ranks: Count | None = keys("dist_world_size")


_DIRECT = tuple(Config.model_fields)[:5]
_BINS = ("numel", "length")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML; flags of the one line that launches it win over the file."""
    settings = read_settings(Config, [*flag_overrides(document, context), *root_source(document)])
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    found = _world(document, context, settings)
    _batch(draft, settings, found.ranks.value)
    switch = settings.fact("amp")
    kind = Precision.FP16 if switch.value else Precision.FP32
    draft.put("precision", Fact(kind, switch.origin, switch.location, switch.note) if switch.known else switch)
    draft.put("grad_checkpointing", default(value=False, note=f"{_SOURCE} keeps all activations"))
    draft.put("model", unknown("the models are ESPnet's own"))
    torch_prefetch(draft)
    return draft.close(found)


def _batch(draft: Draft, settings: Settings[Config], ranks: int | None) -> None:
    if settings.values.batch_type in _BINS:
        bins = settings.fact("bins")
        draft.put("batch_unit", derived("bins", f"batch_type {settings.values.batch_type}"))
        draft.put("batch_tokens", bins)
    total = settings.fact("bins" if settings.values.batch_type in _BINS else "batch")
    if total.value is None or ranks is None:
        reason = "the batch is shared out over an unknown number of ranks" if total.value else total.note
        draft.put("micro_batch", unknown(reason, total.location))
        return
    if total.value % ranks:
        told = f"a batch of {total.value} goes out unevenly over {ranks} ranks"
        draft.put("micro_batch", unknown(told, total.location))
        return
    draft.put("micro_batch", derived(total.value // ranks, f"{total.value} / {ranks} ranks"))
    if settings.values.batch_type not in _BINS and "batch" in settings.places:
        draft.offer("micro_batch", settings.places["batch"], spelling_out.scaled(ranks))


def _world(document: Document, context: Context, settings: Settings[Config]) -> World:
    """``dist_world_size``, else ``ngpu`` above 1 (a launch flag or a saved config), else the launch and the target."""
    for name in ("ranks", "gpus"):
        place = settings.places.get(name)
        fact: Fact[int] = settings.fact(name)
        if place is not None and fact.value is not None and fact.value > (1 if name == "gpus" else 0):
            return World(Fact(fact.value, fact.origin, location(place)), unknown("nodes are not spelled"))
    return world(document, None, context)
