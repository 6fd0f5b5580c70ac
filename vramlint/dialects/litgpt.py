"""LitGPT: one YAML a recipe; a GLOBAL batch and two floors.

Accumulation is worked out with two floor divisions, so the effective batch may be smaller than the one asked for::

    per rank = global_batch_size // ranks      accumulation = per rank // micro_batch_size
    effective batch = micro_batch_size x accumulation x ranks

Example (``lora.yaml``):

```yaml
checkpoint_dir: checkpoints/meta-llama/Llama-2-7b-hf
precision: bf16-true
devices: 3
lora_r: 32
train:
  global_batch_size: 8
  micro_batch_size: 2
  max_seq_length: 512
```

```plan
micro_batch: 2 file 7
accumulation: 1 derived
effective_batch: 6 derived
global_batch: 8 file 6
world_size: 3 file 3
precision: pure-bf16 file 2
seq_len: 512 file 8
adapter_rank: 32 file 4
model: Llama-2-7b-hf file 1
```

Source: litgpt 0.5.13, ``args.py#TrainArgs`` (``batch_size``, ``gradient_accumulation_iters``), ``config_hub/`` and the
recipes: one device to fine-tune and all of them to pre-train by default; ``finetune/*.py`` checkpoint where they shard.
jsonargparse reads the file.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import half, language_facts
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import launch_sources
from vramlint.dialects.places import location
from vramlint.dialects.reading import Count, Schema, Settings, Text, keys, plain_value, read_settings
from vramlint.dialects.values import as_precision
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.plan.batch import FlooredAccumulation
from vramlint.sources.model import Document

NAME = "litgpt"
TITLE = "LitGPT"

_SOURCE = "litgpt 0.5.13"


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train.micro_batch_size", default=4)
    global_batch: Count | None = keys("train.global_batch_size", default=64)
    seq_len: Count | None = keys("train.max_seq_length", "data.max_seq_length", "data.init_args.max_seq_length")
    adapter_rank: Count | None = keys("lora_r")
    epochs: float | None = keys("train.epochs")
    max_steps: int | None = keys("train.max_steps")
    workers_per_rank: Count | None = keys("data.init_args.num_workers")

    nodes: Count | None = keys("num_nodes", default=1)
    devices: Any = keys("devices")
    precision: Text | None = keys("precision")
    quantize: Text | None = keys("quantize")
    checkpoint: Text | None = keys("checkpoint_dir", "model_name")
    optimizer: Any = keys("optimizer")
    adapter_dropout: float | None = keys("lora_dropout")


_DIRECT = ("micro_batch", "global_batch", "seq_len", "adapter_rank", "epochs", "max_steps", "workers_per_rank")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML."""
    settings = read_settings(Config, launch_sources(document, context))
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    # The policy aims at the global batch as a nominal one.
    draft.put("nominal_batch", draft.plan.global_batch)
    if "global_batch" in settings.places:
        draft.offer("nominal_batch", settings.places["global_batch"])
    draft.put("precision", _precision(settings, context))
    if "precision" in settings.places:
        draft.offer("precision", settings.places["precision"], _word)
    _model(draft, settings)
    language_facts(draft, "litgpt")
    found = _world(document, context, settings)
    draft.put("grad_checkpointing", _checkpointing(found.ranks, settings))
    if found.ranks.value is not None and found.ranks.value > 1:
        draft.put("sharding", derived("fsdp", f"{_SOURCE} shards over several devices"))
    return draft.close(found, FlooredAccumulation())


def _world(document: Document, context: Context, settings: Settings[Config]) -> World:
    """``devices`` x ``num_nodes``; "auto" is every GPU of the machine."""
    place = settings.places.get("devices")
    value = plain_value(place.node) if place is not None else None
    nodes: Fact[int] = settings.fact("nodes")
    if place is not None and isinstance(value, int) and not isinstance(value, bool) and value > 0:
        note = "devices" if (nodes.value or 1) == 1 else f"{value} devices on each of {nodes.value} nodes"
        return World(Fact(value * (nodes.value or 1), place.source.origin, location(place), note), nodes)
    alone = f"default of {_SOURCE}" if place is None and settings.spelled("checkpoint") else ""
    return world(document, None, context, alone=alone)


def _precision(settings: Settings[Config], context: Context) -> Fact[Precision]:
    """Without a word the recipe takes mixed precision in the type the card has (``utils.py#get_default_supported``)."""
    fact = settings.fact("precision")
    if fact.value is None:
        return derived(half(context), f"{_SOURCE} mixes in bf16 where the card has it") if not fact.note else fact
    try:
        return Fact(as_precision(fact.value), fact.origin, fact.location)
    except ValueError:
        return unknown(f"precision {fact.value} is none of litgpt's", fact.location)


def _word(value: object) -> str:
    """A precision in Lightning Fabric's words."""
    return {
        Precision.FP32: "32-true",
        Precision.FP16: "16-mixed",
        Precision.BF16: "bf16-mixed",
        Precision.PURE_BF16: "bf16-true",
        Precision.PURE_FP16: "16-true",
    }[Precision(str(value))]


def _model(draft: Draft, settings: Settings[Config]) -> None:
    fact = settings.fact("checkpoint")
    if fact.value is not None:
        fact = Fact(str(fact.value).rstrip("/").rsplit("/", 1)[-1], fact.origin, fact.location, fact.note)
    draft.put("model", fact)
    optimizer = settings.values.optimizer
    name = optimizer.get("class_path") if isinstance(optimizer, dict) else optimizer
    draft.put("optimizer", derived(str(name).rsplit(".", 1)[-1], "optimizer") if name else default("AdamW", _SOURCE))
    if not settings.spelled("adapter_rank"):
        draft.put("adapter", derived("none", "no LoRA rank"))
        return
    four_bit = re.match(r"bnb\.(nf4|fp4)", settings.values.quantize or "") is not None
    draft.put("adapter", derived("qlora" if four_bit else "lora", "lora_r is set"))
    draft.put("adapter_dropout", settings.fact("adapter_dropout"))
    if four_bit:
        draft.put("double_quantization", derived("-dq" in (settings.values.quantize or ""), "quantize"))


def _checkpointing(ranks: Fact[int], settings: Settings[Config]) -> Fact[bool]:
    """Fine-tuning recipes checkpoint every block when they shard, and never on one device; pre-training never does."""
    if ranks.value is None:
        return unknown("depends on the number of devices")
    place = settings.places.get("checkpoint")
    tuned = place is not None and place.entry.key == "checkpoint_dir"
    return default(value=tuned and ranks.value > 1, note=f"{_SOURCE}: fine-tuning checkpoints where it shards")
