"""fairseq2: one YAML of sections over a recipe's Python defaults.

Batches are bounded by tokens (or audio elements) on each data-parallel rank, unless ``batch_size`` counts samples::

    effective batch = batch_size or bound x ranks / tensor parallel x trainer.grad_accumulation.num_batches

Example (``base_10h.yaml``):

```yaml
model:
  arch: base_10h
dataset:
  max_audio_len: 800_000
  max_num_elements: 3_200_000
optimizer:
  config:
    lr: 5e-05
trainer:
  mixed_precision:
    dtype: torch.float16
  grad_accumulation:
    num_batches: 4
regime:
  num_steps: 20_000
```

```plan gpus=2
micro_batch: 3200000 file 5
accumulation: 4 file 13
batch_unit: elements derived
batch_tokens: 3200000 file 5
effective_batch: 25600000 derived
precision: fp16 file 11
max_steps: 20000 file 15
```

What a file leaves out stands in the recipe, not in fairseq2, so sharding, checkpointing and the token bound stay
UNKNOWN then. Cards of models and data sets (``assets/cards``) are no configs.

Sources: fairseq2 2026-04-10, ``src/fairseq2/recipe/config.py`` lines 217-350 (sections and their defaults),
``recipes/lm/sft/config.py`` (``batch_size`` wins over ``max_num_tokens``). fairseq2 reads the file as YAML 1.2, so
``5e-05`` is a number; ``torch.float16`` and ``float16`` are the same.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.hydra import file_sources
from vramlint.dialects.language import product
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import Count, Schema, Settings, Text, keys, read_settings
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "fairseq2"
TITLE = "fairseq2"

_SOURCE = "fairseq2 2026-04"


class Config(Schema):
    """The sections that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    accumulation: Count | None = keys("trainer.grad_accumulation.num_batches", default=1)
    seq_len: Count | None = keys("dataset.max_seq_len")
    max_steps: int | None = keys("regime.num_steps")
    learning_rate: float | None = keys("optimizer.config.lr")

    samples: Count | None = keys("dataset.batch_size")
    tokens: Count | None = keys("dataset.max_num_tokens")
    elements: Count | None = keys("dataset.max_num_elements")
    optimizer_name: Text | None = keys("optimizer.name")
    tensor_parallel: Count | None = keys("gang.tensor_parallel_size")
    mixing: Any = keys("trainer.mixed_precision.mode", default="static")
    mixed_type: Text | None = keys("trainer.mixed_precision.dtype", default="bfloat16")
    held: Text | None = keys("model.dtype", default="float32")
    sharding: Text | None = keys("trainer.data_parallelism")
    checkpointing: Any = keys("trainer.activation_checkpointing.mode")


_DIRECT = ("accumulation", "seq_len", "max_steps", "learning_rate")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML."""
    settings = read_settings(Config, file_sources(document, context))
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    _batch(draft, settings)
    draft.put("precision", _precision(settings))
    draft.put("grad_checkpointing", _checkpointing(settings))
    sharding = settings.fact("sharding")
    known = sharding.value in ("ddp", "fsdp")
    draft.put("sharding", sharding if known else unknown("the recipe decides", sharding.location))
    draft.put("optimizer", settings.fact("optimizer_name"))
    draft.put("model", unknown("the memory of fairseq2's models is not worked out"))
    return draft.close(world(document, None, context), model_parallel=product(settings.values.tensor_parallel))


def _batch(draft: Draft, settings: Settings[Config]) -> None:
    """Samples where they are counted, else the bound on tokens or elements."""
    samples = settings.fact("samples")
    if samples.value is not None:
        draft.put("micro_batch", samples)
        draft.offer("micro_batch", settings.places["samples"])
        return
    bound, unit = (settings.fact("tokens"), "tokens")
    if bound.location is None:
        bound, unit = settings.fact("elements"), "elements"
    if bound.location is None:
        draft.put("micro_batch", unknown("the recipe bounds the batch"))
        return
    draft.put("micro_batch", bound)
    draft.put("batch_unit", derived(unit, f"batches are bounded by {unit}"))
    draft.put("batch_tokens", bound)


_TYPES = {"float16": Precision.FP16, "bfloat16": Precision.BF16, "float32": Precision.FP32}
_HELD = {"float16": Precision.PURE_FP16, "bfloat16": Precision.PURE_BF16, "float32": Precision.FP32}


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    """``off`` trains in ``model.dtype``; the other modes compute in ``mixed_precision.dtype`` over fp32 steps."""
    # YAML 1.1 readers see False where YAML 1.2 has the word off.
    off = settings.values.mixing is False or str(settings.values.mixing) == "off"
    fact = settings.fact("held" if off else "mixed_type")
    kind = (_HELD if off else _TYPES).get(str(fact.value).removeprefix("torch."))
    if kind is None:
        return unknown(fact.note or f"dtype {fact.value}", fact.location)
    if fact.location is None:
        return default(kind, f"default of {_SOURCE}")
    return Fact(kind, fact.origin, fact.location)


def _checkpointing(settings: Settings[Config]) -> Fact[bool]:
    fact = settings.fact("checkpointing")
    if fact.location is None:
        return unknown("the recipe decides")
    on = {"layerwise": True, "off": False, "False": False}.get(str(fact.value))
    return unknown(f"mode {fact.value}", fact.location) if on is None else Fact(on, fact.origin, fact.location)
