"""torchtitan: three eras of one TOML or Python config; a global batch that is the local one by default.

The evidence in the file picks the era: ``training.batch_size`` (TOML until 2025-06), ``local_batch_size`` (TOML, then
Python ``TrainingConfig(...)`` from 2026-02), ``num_tokens_per_microbatch_per_dp_rank`` (Python from 2026-08-20: the
batch counts TOKENS)::

    ranks that see different data = ranks / (tensor x pipeline x context parallel)
    effective batch = global_batch_size, or local_batch_size x those ranks where it is -1

Example (``llama3_8b.toml``):

```toml
[model]
name = "llama3"
flavor = "8B"
hf_assets_path = "./assets/hf/Llama-3.1-8B"

[optimizer]
name = "AdamW"
lr = 3e-4

[training]
local_batch_size = 2
global_batch_size = 64
seq_len = 8192
steps = 1000

[parallelism]
data_parallel_shard_degree = -1
tensor_parallel_degree = 2

[activation_checkpoint]
mode = "full"
```

```plan gpus=8
micro_batch: 2 file 11
global_batch: 64 file 12
data_parallel: 4 derived
accumulation: 8 derived
effective_batch: 64 derived
seq_len: 8192 file 13
precision: bf16 default
grad_checkpointing: true file 21
model: Llama-3.1-8B file 4
sharding: fsdp derived
```

A spelled ``data_parallel_shard_degree`` fixes the number of ranks. A Python call without a batch in any era's words
leaves the batch UNKNOWN. Sources: torchtitan v0.1.0 ``config_manager.py``, v0.2.0 ``config/job_config.py`` (defaults),
``train.py`` lines 187-213 (batch), ``distributed/parallel_dims.py`` (ranks); 2026-08-21 ``config/configs.py`` (tokens).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import language_facts, low_precision_weights, product, sharded_accumulation
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import flag_overrides
from vramlint.dialects.places import Place, Source
from vramlint.dialects.reading import Count, Flag, Schema, Settings, Size, Text, Whole, keys, read_settings
from vramlint.dialects.torchtitan_parallel import FLAVOURS, Parallel, held_precision, parallel_facts
from vramlint.plan import DividedAccumulation, Fact, PerRank, Precision, default, derived, unknown
from vramlint.sources.model import Definition, Document, Mapping

NAME = "torchtitan"
TITLE = "torchtitan"

_SOURCE = "torchtitan 0.2.0"


class Config(Schema):
    """The keys that decide batch and memory, as TOML spells them."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("training.local_batch_size", "training.batch_size")
    seq_len: Count | None = keys("training.seq_len")
    image_size: Size | None = keys("training.img_size")
    learning_rate: float | None = keys("optimizer.lr", default=8e-4)
    max_steps: int | None = keys("training.steps", default=10000)

    global_batch: Whole | None = keys("training.global_batch_size", default=-1)
    tokens: Count | None = keys("training.num_tokens_per_microbatch_per_dp_rank")
    step_tokens: Whole | None = keys("training.num_tokens_per_train_step", default=-1)
    context_length: Count | None = keys("training.max_context_length")
    optimizer: Text | None = keys("optimizer.name", default="AdamW")
    dtype: Text | None = keys("training.dtype", default="float32")
    compute: Text | None = keys("training.mixed_precision_param", default="bfloat16")
    replicate: Count | None = keys("parallelism.data_parallel_replicate_degree", default=1)
    shard: Whole | None = keys("parallelism.data_parallel_shard_degree", default=-1)
    tensor: Count | None = keys("parallelism.tensor_parallel_degree", default=1)
    pipeline: Count | None = keys(
        "parallelism.pipeline_parallel_degree", "experimental.pipeline_parallel_degree", default=1
    )
    context: Count | None = keys(
        "parallelism.context_parallel_degree", "experimental.context_parallel_degree", default=1
    )
    pipeline_micro_batches: Count | None = keys("parallelism.num_pp_microbatches", default=1)
    checkpointing: Text | None = keys("activation_checkpoint.mode", default="selective")
    offload: Flag | None = keys("training.enable_cpu_offload", default=False)
    name: Text | None = keys("model.name")
    flavor: Text | None = keys("model.flavor")
    assets: Text | None = keys("model.hf_assets_path", "model.tokenizer_path")


_SECTIONS = {
    "training": r"TrainingConfig$",
    "parallelism": r"ParallelismConfig$",
    "activation_checkpoint": r"ActivationCheckpointConfig$",
}


class CallSource(Source):
    """The keyword arguments of one ``SectionConfig(...)`` call, found under the section's name."""

    def __init__(self, document: Document, mapping: Mapping, section: str) -> None:
        super().__init__(document, mapping)
        self._section = section

    def find(self, dotted: str) -> Place | None:
        """``training.seq_len`` is ``seq_len`` of the call that makes the section."""
        section, _, key = dotted.partition(".")
        return super().find(key) if section == self._section else None


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one TOML, or of one ``TrainingConfig(...)`` call."""
    call = claim.subject if isinstance(claim.subject, Definition) else None
    sources = [*flag_overrides(document, context), *_sources(document, call)]
    settings = read_settings(Config, sources)
    draft = Draft(claim, document, (call.function or "") if call is not None else "")
    draft.fill(settings, ("micro_batch", "learning_rate", "max_steps"))
    _optimizer(draft, settings, call)
    draft.put("precision", _precision(settings))
    _checkpointing(draft, settings, call)
    _model(draft, settings)
    draft.put("workers_per_rank", default(0, f"the loader of {_SOURCE} has no workers"))
    found = _world(document, context, settings)
    if found.ranks.value is not None:
        draft.put("sharding", _sharding(settings, found.ranks.value))
    if draft.plan.sharding.value == "fsdp":
        low_precision_weights(draft, "FSDP2 gathers the weights in mixed_precision_param")
        sharded_accumulation(draft, "FSDP2 reduces at every micro batch")
    if settings.values.offload:
        draft.put("cpu_offload", settings.fact("offload"))
    shared = product(settings.values.tensor, settings.values.pipeline, settings.values.context)
    ranks = found.ranks.value
    if ranks is not None and ranks % shared == 0:
        alike = product(settings.values.tensor, settings.values.pipeline)
        draft.put("precision", held_precision(draft.plan.precision, draft.plan.sharding.value, alike))
    parallel_facts(draft, read_settings(Parallel, sources), settings.values.pipeline or 1)
    if settings.spelled("tokens") or settings.spelled("step_tokens"):
        return _in_tokens(draft, settings, found, shared)
    _batch(draft, settings, toml=call is None)
    return draft.close(found, DividedAccumulation(), model_parallel=shared)


def _sources(document: Document, call: Definition | None) -> list[Source]:
    """The TOML's root, or the section calls of the function that makes the config."""
    root = document.root
    if call is None:
        return [Source(document, root)] if isinstance(root, Mapping) else []
    found: list[Source] = [CallSource(document, call.members, "training")]
    for other in document.definitions:
        section = next((name for name, pattern in _SECTIONS.items() if re.search(pattern, other.name)), None)
        if section not in (None, "training") and other.kind == "call" and other.function == call.function:
            found.append(CallSource(document, other.members, str(section)))
    return found


def _batch(draft: Draft, settings: Settings[Config], *, toml: bool) -> None:
    """Samples, before the era of tokens. A Python call that spells no batch may be of either era."""
    if not settings.spelled("micro_batch"):
        era = toml or settings.spelled("seq_len") or settings.spelled("global_batch")
        named = "a call of 2026 counts samples or tokens, and this one says neither"
        draft.put("micro_batch", default(8, f"default of {_SOURCE}") if era else unknown(named))
    if settings.values.global_batch is not None and settings.values.global_batch > 0:
        draft.put("global_batch", settings.fact("global_batch"))
        draft.put("nominal_batch", settings.fact("global_batch"))
        draft.offer("nominal_batch", settings.places["global_batch"])
    images = settings.values.name == "flux" or settings.spelled("image_size")
    if images:
        draft.fill(settings, ("image_size",))
        return
    known = settings.spelled("seq_len") or not draft.plan.micro_batch.known
    draft.put("seq_len", settings.fact("seq_len") if known else default(2048, f"default of {_SOURCE}"))
    if settings.spelled("seq_len"):
        draft.offer("seq_len", settings.places["seq_len"])


def _in_tokens(draft: Draft, settings: Settings[Config], found: World, shared: int) -> Reading:
    """From 2026-08-20 the batch counts tokens; a context length bounds one document, it does not shape the batch."""
    tokens = settings.fact("tokens") if settings.spelled("tokens") else default(16384, "default of torchtitan 2026-08")
    draft.put("micro_batch", tokens)
    draft.put("batch_unit", derived("tokens", "num_tokens_per_microbatch_per_dp_rank"))
    draft.put("seq_len", unknown("the batch counts tokens, whatever the length of a document"))
    draft.put("context_length", settings.fact("context_length"))
    steps = settings.values.pipeline_micro_batches or 1
    total = settings.values.step_tokens
    if total is not None and total > 0:
        draft.put("global_batch", settings.fact("step_tokens"))
        draft.put("nominal_batch", settings.fact("step_tokens"))
        draft.offer("nominal_batch", settings.places["step_tokens"])
        return draft.close(found, DividedAccumulation(), model_parallel=shared)
    draft.put("accumulation", derived(steps, "micro batches of the pipeline"))
    return draft.close(found, PerRank(), model_parallel=shared)


def _world(document: Document, context: Context, settings: Settings[Config]) -> World:
    """The launch line or the target; a spelled shard degree needs exactly the product of all degrees."""
    found = world(document, None, context)
    values = settings.values
    if found.ranks.known or values.shard is None or values.shard < 1:
        return found
    ranks = product(values.replicate, values.shard, values.tensor, values.pipeline, values.context)
    return World(derived(ranks, "the product of the parallel degrees"), found.nodes)


def _sharding(settings: Settings[Config], ranks: int) -> Fact[str]:
    """Fully sharded over the shard degree (-1: all that is left); replicas alone are DDP."""
    values = settings.values
    rest = ranks // product(values.replicate, values.tensor, values.pipeline, values.context)
    shard = values.shard if values.shard and values.shard > 0 else rest
    if shard > 1 or (values.context or 1) > 1:
        return derived("fsdp", f"data_parallel_shard_degree {shard}")
    return derived("ddp" if (values.replicate or 1) > 1 else "none", "no sharding over data-parallel ranks")


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    """``dtype`` holds the weights; ``mixed_precision_param`` is what FSDP (or autocast) computes in."""
    held, compute = settings.fact("dtype"), settings.fact("compute")
    if held.value == "bfloat16":
        return Fact(Precision.PURE_BF16, held.origin, held.location, held.note)
    kinds = {"bfloat16": Precision.BF16, "float32": Precision.FP32}
    kind = kinds.get(str(compute.value))
    if held.value != "float32" or kind is None:
        return unknown(f"dtype {held.value} with {compute.value} is none of torchtitan's", held.location)
    return Fact(kind, compute.origin, compute.location, compute.note)


def _checkpointing(draft: Draft, settings: Settings[Config], call: Definition | None) -> None:
    """``selective`` recomputes a part of each block (or every n-th block), ``full`` all of it."""
    mode = settings.fact("checkpointing")
    if call is not None and not settings.spelled("checkpointing"):
        draft.put("grad_checkpointing", unknown("set elsewhere in the config function"))
        return
    draft.put("grad_checkpointing", Fact(mode.value != "none", mode.origin, mode.location, f"mode {mode.value}"))
    if mode.value in ("selective", "memory_budget"):
        draft.put("checkpointing_scope", mode)
    place = settings.places.get("checkpointing")
    if place is not None:
        draft.offer("grad_checkpointing", place, lambda value: "full" if value else "none")


def _optimizer(draft: Draft, settings: Settings[Config], call: Definition | None) -> None:
    if call is None:
        draft.fill(settings, ("optimizer",))


def _model(draft: Draft, settings: Settings[Config]) -> None:
    """The Hugging Face assets name the model when they are of the flavour's size; else ``name`` and ``flavor``."""
    name, flavor, assets = (settings.fact(key) for key in ("name", "flavor", "assets"))
    if name.value != "flux":
        language_facts(draft, "torchtitan")
        draft.put("packing", derived(value=True, note="documents are joined and cut to seq_len"))
    if name.value is None:
        draft.put("model", unknown("the model is built in code"))
        return
    shape_of = FLAVOURS.get((str(name.value), str(flavor.value)))
    if shape_of is not None:
        draft.put("model", Fact(shape_of, name.origin, flavor.location, f"{name.value} {flavor.value}"))
        return
    folder = str(assets.value or "").rstrip("/").rsplit("/", 1)[-1]
    if flavor.value and assets.spelled and re.search(rf"(?i)(^|[-_]){re.escape(flavor.value)}($|[-_])", folder):
        draft.put("model", Fact(folder, assets.origin, assets.location, f"{name.value} {flavor.value}"))
        return
    spelled: Any = f"{name.value} {flavor.value}" if flavor.value else name.value
    draft.put("model", Fact(spelled, name.origin, flavor.location or name.location))
