"""accelerate config YAML: how many ranks, which sharding, which precision; it holds no batch.

``num_processes`` counts the ranks of ALL machines.

Example (``fsdp.yaml``):

```yaml
distributed_type: FSDP
mixed_precision: bf16
num_machines: 2
num_processes: 16
fsdp_config:
  fsdp_version: 2
  fsdp_activation_checkpointing: true
```

```plan
world_size: 16 file 4
nodes: 2 file 3
precision: bf16 file 2
sharding: fsdp file 1
grad_checkpointing: true file 7
```

Source: accelerate 2026-07, ``commands/config/config_args.py``, ``commands/launch.py`` and ``data_loader.py``
(``prepare_data_loader``: the ranks of tp, cp and sp read the same batch).
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import STAGES, product, root_source
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import Count, Flag, Schema, Settings, Text, keys, read_settings
from vramlint.dialects.values import as_precision
from vramlint.plan import Fact, Precision, default, unknown
from vramlint.sources.model import Document

NAME = "accelerate"
TITLE = "Hugging Face accelerate config"

_SOURCE = "accelerate 2026-07"


class Config(Schema):
    """The keys that decide ranks and memory."""

    source: ClassVar[str] = _SOURCE

    ranks: Count | None = keys("num_processes")
    machines: Count | None = keys("num_machines", default=1)
    kind: Text | None = keys("distributed_type")
    precision: Any = keys("mixed_precision")
    accumulation: Count | None = keys("deepspeed_config.gradient_accumulation_steps", "gradient_accumulation_steps")
    grad_checkpointing: Flag | None = keys("fsdp_config.fsdp_activation_checkpointing")
    stage: Any = keys("deepspeed_config.zero_stage")
    tensor_parallel: Count | None = keys("parallelism_config.parallelism_config_tp_size")
    context_parallel: Count | None = keys("parallelism_config.parallelism_config_cp_size")
    sequence_parallel: Count | None = keys("parallelism_config.parallelism_config_sp_size")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one file: everything but the batch."""
    settings = read_settings(Config, root_source(document))
    draft = Draft(claim, document)
    draft.fill(settings, ("accumulation", "grad_checkpointing"))
    draft.put("precision", _precision(settings))
    draft.put("sharding", _sharding(settings))
    draft.put("micro_batch", unknown("an accelerate config holds no batch"))
    draft.put("model", unknown("an accelerate config names no model"))
    ranks: Fact[int] = settings.fact("ranks")
    machines: Fact[int] = settings.fact("machines")
    found = World(ranks, machines) if ranks.known else world(document, None, context)
    values = settings.values
    shared = product(values.tensor_parallel, values.context_parallel, values.sequence_parallel)
    return draft.close(found, model_parallel=shared)


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    fact = settings.fact("precision")
    if fact.value is None:
        return fact if settings.spelled("precision") else default(Precision.FP32, f"default of {_SOURCE}")
    try:
        return Fact(as_precision(fact.value), fact.origin, fact.location)
    except ValueError:
        return unknown(f"mixed_precision {fact.value} is none of accelerate's", fact.location)


def _sharding(settings: Settings[Config]) -> Fact[str]:
    kind, stage = settings.fact("kind"), settings.fact("stage")
    match str(kind.value):
        case "FSDP":
            return Fact("fsdp", kind.origin, kind.location)
        case "DEEPSPEED":
            known = STAGES.get(stage.value) if isinstance(stage.value, int) else None
            return Fact(known, stage.origin, stage.location) if known else unknown("the ZeRO stage stands elsewhere")
        case "MULTI_GPU":
            return Fact("ddp", kind.origin, kind.location)
        case "NO":
            return Fact("none", kind.origin, kind.location)
        case other:
            return unknown(f"distributed_type {other}", kind.location)
