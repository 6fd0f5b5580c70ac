"""Keras: ``model.fit(batch_size=...)``, the batch over all replicas of a distribution strategy.

Without a strategy one device trains; with one, each replica takes its part of the batch::

    micro batch = batch_size / replicas      effective batch = batch_size x gradient_accumulation_steps of the optimizer

Example (``train.py``):

```python
import tensorflow as tf

strategy = tf.distribute.MirroredStrategy()
tf.keras.mixed_precision.set_global_policy("mixed_float16")
with strategy.scope():
    model = tf.keras.applications.ResNet50(weights=None)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
model.fit(x, y, batch_size=256, epochs=10)
```

```plan gpus=4
micro_batch: 64 derived
accumulation: 1 default
effective_batch: 256 derived
world_size: 4 derived
precision: fp16 derived
epochs: 10.0 file 8
```

``fit`` on a ``tf.data`` set takes its batches from there and is no run here. A batch that does not divide over the
replicas goes out unevenly: the micro batch stays UNKNOWN. TensorFlow's memory is not worked out.

Sources: https://keras.io/guides/distributed_training_with_tensorflow/ ("the batch size is the global one"), Keras 3.12
``trainers/trainer.py#fit`` (default 32), ``tf.distribute.InputContext.get_per_replica_batch_size``,
``optimizers/base_optimizer.py`` (``gradient_accumulation_steps``).
"""

from __future__ import annotations

import re
from typing import ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.draft import Draft
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Source
from vramlint.dialects.reading import Count, Schema, keys, read_settings
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Definition, Document

NAME = "keras"
TITLE = "Keras"

_SOURCE = "Keras 3.12"


class Fit(Schema):
    """The keywords of ``fit``."""

    source: ClassVar[str] = _SOURCE

    epochs: float | None = keys("epochs", default=1)

    batch: Count | None = keys("batch_size")


_STRATEGY = re.compile(r"(^|\.)\w*Strategy$")
_POLICY = re.compile(r"set_(?:global_)?(?:dtype_)?policy\(\s*[\"'](\w+)[\"']")
_ACCUMULATION = re.compile(r"gradient_accumulation_steps\s*=")
_POLICIES = {
    "mixed_float16": Precision.FP16,
    "mixed_bfloat16": Precision.BF16,
    "float32": Precision.FP32,
    "float16": Precision.PURE_FP16,
    "bfloat16": Precision.PURE_BF16,
}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one call."""
    call = claim.subject
    assert isinstance(call, Definition)
    settings = read_settings(Fit, [Source(document, call.members)])
    draft = Draft(claim, document, f"{call.name} in {call.function}" if call.function else call.name)
    draft.put("epochs", settings.fact("epochs"))
    found = _world(document, context)
    total, ranks = settings.fact("batch"), found.ranks.value
    if total.value is None or ranks is None:
        draft.put("micro_batch", unknown(total.note or "shared out over an unknown number of replicas", total.location))
    elif total.value % ranks:
        told = f"batch_size {total.value} goes out unevenly over {ranks} replicas"
        draft.put("micro_batch", unknown(told, total.location))
    elif ranks == 1:
        draft.put("micro_batch", total)
        draft.offer("micro_batch", settings.places["batch"])
    else:
        draft.put("micro_batch", derived(total.value // ranks, f"batch_size {total.value} / {ranks} replicas"))
        draft.offer("micro_batch", settings.places["batch"], spelling_out.scaled(ranks))
    accumulates = _ACCUMULATION.search(document.text) is not None
    draft.put(
        "accumulation",
        unknown("an optimizer of this file accumulates") if accumulates else default(1, f"default of {_SOURCE}"),
    )
    draft.put("precision", _precision(document))
    draft.put("model", unknown("the memory of TensorFlow's models is not worked out"))
    return draft.close(found)


def _world(document: Document, context: Context) -> World:
    """One replica, unless the file makes a strategy: then those of the target."""
    names = [definition.name for definition in document.definitions if definition.kind == "call"]
    if any(_STRATEGY.search(name) for name in names):
        return world(document, None, context)
    one = default(1, "no distribution strategy in this file")
    return World(one, default(1, "one machine"))


def _precision(document: Document) -> Fact[Precision]:
    """The one policy that the file sets for all layers."""
    words = set(_POLICY.findall(document.text))
    if not words:
        return default(Precision.FP32, f"default of {_SOURCE}")
    kind = _POLICIES.get(next(iter(words))) if len(words) == 1 else None
    if kind is None:
        return unknown(f"policies {', '.join(sorted(words))}")
    return derived(kind, f"policy {next(iter(words))}")
