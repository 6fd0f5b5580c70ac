"""fairseq: Hydra YAML of sections, or the flags of ``fairseq-train``.

Batches are bounded by tokens, by sentences or by both, on each rank; accumulation is a list, one number an epoch::

    effective batch = batch_size or max_tokens x ranks x update_freq[epoch]

Example (``hubert_base.yaml``):

```yaml
common:
  fp16: true
distributed_training:
  ddp_backend: legacy_ddp
  distributed_world_size: 8
dataset:
  num_workers: 6
  max_tokens: 1400000
criterion:
  _name: hubert
optimization:
  max_update: 400000
  lr: [0.0005]
  update_freq: [4]
optimizer:
  _name: adam
```

```plan
micro_batch: 1400000 file 8
accumulation: 4 file 14
batch_unit: tokens derived
batch_tokens: 1400000 file 8
effective_batch: 44800000 derived
world_size: 8 file 5
precision: fp16 file 2
workers_per_rank: 6 file 7
optimizer: adam file 16
```

With ``max_tokens`` (tokens, or audio samples for speech) a batch holds as many samples as fit, so batches are counted
in tokens, also beside a ``batch_size``, which then is one more upper bound. ``distributed_world_size`` is the world
the recipe was made for; left out it is every visible GPU. ``fp16`` keeps 16-bit weights beside fp32 masters: as many
bytes as autocast.

Sources: fairseq 2025-09-30, ``dataclass/configs.py`` (fields, defaults), ``fairseq_cli/train.py`` line 58,
``trainer.py#train_step`` (accumulation), ``checkpoint_utils.py`` and ``fairseq_cli/train.py#train`` (``update_freq``:
entry of the epoch, the last one from then on). OmegaConf reads the files.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.hydra import file_sources, hydra_sources
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import FlagSource, Source, location
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
)
from vramlint.dialects.values import as_count
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Command, Document, Scalar

NAME = "fairseq"
TITLE = "fairseq"

_SOURCE = "fairseq 2025-09"


class Config(Schema):
    """Section keys of the YAML and the flags of the command line."""

    source: ClassVar[str] = _SOURCE

    workers_per_rank: Natural | None = keys("dataset.num_workers", "num_workers", default=1)
    optimizer: Text | None = keys("optimizer._name", "optimizer")
    max_steps: int | None = keys("optimization.max_update", "max_update")
    epochs: float | None = keys("optimization.max_epoch", "max_epoch")
    ema: Flag | None = keys("ema.store_ema", "store_ema", default=False)

    tokens: Count | None = keys("dataset.max_tokens", "max_tokens")
    sentences: Count | None = keys("dataset.batch_size", "batch_size", "max_sentences", "dataset.max_sentences")
    update_freq: Any = keys("optimization.update_freq", "update_freq")
    world: Count | None = keys("distributed_training.distributed_world_size", "distributed_world_size")
    per_node: Count | None = keys("distributed_training.nprocs_per_node", "nprocs_per_node")
    fp16: Flag | None = keys("common.fp16", "fp16", default=False)
    efficient_fp16: Flag | None = keys("common.memory_efficient_fp16", "memory_efficient_fp16", default=False)
    bf16: Flag | None = keys("common.bf16", "bf16", default=False)
    efficient_bf16: Flag | None = keys("common.memory_efficient_bf16", "memory_efficient_bf16", default=False)
    amp: Flag | None = keys("common.amp", "amp", default=False)
    backend: Text | None = keys("distributed_training.ddp_backend", "ddp_backend", default="pytorch_ddp")
    checkpointing: Flag | None = keys("model.checkpoint_activations", "checkpoint_activations")
    model: Text | None = keys("model._name", "arch")


_DIRECT = ("workers_per_rank", "optimizer", "max_steps", "epochs", "ema")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of a YAML or a command line."""
    command = claim.subject if isinstance(claim.subject, Command) else None
    sources = _sources(document, command, context)
    settings = read_settings(Config, sources)
    draft = Draft(claim, document, title_of(document, command) if command else "")
    for source in sources:
        draft.use(source.document)
    draft.fill(settings, _DIRECT)
    _batch(draft, settings)
    _accumulation(draft, settings)
    draft.put("precision", _precision(settings))
    draft.put("grad_checkpointing", _checkpointing(settings))
    draft.put("sharding", _sharding(settings))
    draft.put("model", unknown(f"{settings.values.model or 'the task'} is an architecture of fairseq's own"))
    return draft.close(_world(document, command, settings, context))


def _sources(document: Document, command: Command | None, context: Context) -> list[Source]:
    if command is None:
        return file_sources(document, context)
    return [FlagSource(document, command.options), *hydra_sources(document, command, context)]


def _batch(draft: Draft, settings: Settings[Config]) -> None:
    """Tokens bound the batch where they are given; sentences alone are a batch of samples."""
    tokens, sentences = settings.fact("tokens"), settings.fact("sentences")
    if tokens.location is not None and (tokens.value or not tokens.known):
        draft.put("batch_unit", derived("tokens", "max_tokens bounds the batch"))
        draft.put("batch_tokens", tokens)
        draft.put("micro_batch", tokens)
        return
    draft.put("micro_batch", sentences if sentences.known else unknown("neither max_tokens nor batch_size"))
    if "sentences" in settings.places and "sentences" not in settings.doubts:
        draft.offer("micro_batch", settings.places["sentences"])


def _accumulation(draft: Draft, settings: Settings[Config]) -> None:
    """``update_freq: [4]``, ``--update-freq 4`` or ``4,2,1``: an epoch each, the last one from then on."""
    place = settings.places.get("update_freq")
    if place is None:
        draft.put("accumulation", default(1, f"default of {_SOURCE}"))
        return
    node = place.node
    where = location(place)
    numbers = _numbers(plain_value(node))
    if not numbers:
        draft.put("accumulation", unknown(f"{place.name} is no list of numbers", where))
        return
    if len(set(numbers)) > 1:
        told = ", ".join(map(str, numbers))
        draft.put("accumulation", unknown(f"{place.name} changes from epoch to epoch: {told}", where))
        return
    draft.put("accumulation", Fact(numbers[0], place.source.origin, where))
    if isinstance(node, Scalar):
        draft.offer("accumulation", place)


def _numbers(value: object) -> list[int]:
    items: list[object] = list(value if isinstance(value, list) else str(value).strip("[]").split(","))
    numbers = []
    for item in items:
        try:
            number = as_count(item.strip() if isinstance(item, str) else item)
        except ValueError:
            return []
        if not isinstance(number, int) or number < 1:
            return []
        numbers.append(number)
    return numbers


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    """``fp16`` keeps 16-bit weights beside fp32 masters, ``amp`` autocasts; memory-efficient forms have no masters."""
    kinds = {
        "amp": Precision.FP16,
        "efficient_fp16": Precision.PURE_FP16,
        "fp16": Precision.FP16,
        "efficient_bf16": Precision.PURE_BF16,
        "bf16": Precision.BF16,
    }
    for name, kind in kinds.items():
        fact = settings.fact(name)
        if not fact.known:
            return unknown(fact.note, fact.location)
        if fact.value:
            return Fact(kind, fact.origin, fact.location)
    return default(Precision.FP32, f"default of {_SOURCE}")


def _checkpointing(settings: Settings[Config]) -> Fact[bool]:
    fact: Fact[bool] = settings.fact("checkpointing")
    return fact if fact.location is not None else default(value=False, note=f"default of {_SOURCE}")


def _sharding(settings: Settings[Config]) -> Fact[str]:
    fact = settings.fact("backend")
    kind = "fsdp" if fact.value == "fully_sharded" else "ddp"
    return Fact(kind, fact.origin, fact.location, fact.note) if fact.value else fact


def _world(document: Document, command: Command | None, settings: Settings[Config], context: Context) -> World:
    """The launcher, then the spelled world, then the target (every visible GPU)."""
    if command is not None and command.launchers:
        return world(document, command, context)
    fact: Fact[int] = settings.fact("world")
    if fact.location is None:
        return world(document, None, context)
    per_node = settings.values.per_node
    nodes = -(-fact.value // per_node) if fact.value and per_node else None
    return World(fact, derived(nodes, "world size / nprocs_per_node") if nodes else unknown("nodes are not spelled"))
