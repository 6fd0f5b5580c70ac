"""torchtune: recipes configured by one YAML of components.

The batch is per data-parallel rank; weights are held in ``dtype``, there is no autocast::

    effective batch = batch_size x gradient_accumulation_steps x ranks / (tensor x context parallel)

Example (``8B_lora.yaml``):

```yaml
model:
  _component_: torchtune.models.llama3_1.lora_llama3_1_8b
  lora_attn_modules: [q_proj, v_proj, output_proj]
  apply_lora_to_mlp: true
  lora_rank: 8
tokenizer:
  _component_: torchtune.models.llama3.llama3_tokenizer
  max_seq_len: 4096
batch_size: 2
optimizer:
  _component_: torch.optim.AdamW
  lr: 3e-4
epochs: 1
gradient_accumulation_steps: 8
dtype: bf16
enable_activation_checkpointing: true
```

```plan gpus=2
micro_batch: 2 file 9
accumulation: 8 file 14
effective_batch: 32 derived
seq_len: 4096 file 8
precision: pure-bf16 file 15
grad_checkpointing: true file 16
adapter: lora derived
adapter_rank: 8 file 5
optimizer: AdamW file 11
workers_per_rank: 0 default
```

Sources: torchtune 0.6.1, ``recipes/full_finetune_distributed.py`` (batch, accumulation, dtype, a DataLoader without
workers), ``training/_distributed.py#ParallelDims`` (ranks). OmegaConf reads the file, so ``3e-4`` is a number.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import language_facts, product
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import word_sources
from vramlint.dialects.reading import Count, Flag, Schema, Settings, Text, keys, read_settings
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "torchtune"
TITLE = "torchtune"

_SOURCE = "torchtune 0.6.1"


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("batch_size")
    accumulation: Count | None = keys("gradient_accumulation_steps", default=1)
    seq_len: Count | None = keys("tokenizer.max_seq_len")
    grad_checkpointing: Flag | None = keys("enable_activation_checkpointing", default=False)
    adapter_rank: Count | None = keys("model.lora_rank")
    learning_rate: float | None = keys("optimizer.lr")
    epochs: float | None = keys("epochs")

    component: Text | None = keys("model._component_")
    optimizer_component: Text | None = keys("optimizer._component_")
    dtype: Text | None = keys("dtype")
    attention_targets: Any = keys("model.lora_attn_modules")
    mlp_targets: Flag | None = keys("model.apply_lora_to_mlp")
    adapter_dropout: float | None = keys("model.lora_dropout")
    packed: Flag | None = keys("dataset.packed")
    tensor_parallel: Count | None = keys("tensor_parallel_dim")
    context_parallel: Count | None = keys("context_parallel_dim")
    checkpointer: Text | None = keys("checkpointer.checkpoint_dir")
    loss: Text | None = keys("loss._component_")
    fused: Flag | None = keys("optimizer.fused")


_DIRECT = ("micro_batch", "accumulation", "seq_len", "grad_checkpointing", "adapter_rank", "learning_rate", "epochs")
_DTYPES = {"bf16": Precision.PURE_BF16, "fp32": Precision.FP32, "fp16": Precision.PURE_FP16}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one recipe's YAML."""
    settings = read_settings(Config, word_sources(document, context))
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    single = _is_single(document)
    draft.put("precision", _dtype(settings))
    draft.put("optimizer", _optimizer(settings))
    _loss(draft, settings)
    _model(draft, settings)
    draft.put("packing", settings.fact("packed"))
    draft.put("workers_per_rank", default(0, f"the recipes of {_SOURCE} load without workers"))
    language_facts(draft, "torchtune")
    shared = product(settings.values.tensor_parallel, settings.values.context_parallel)
    found = world(document, None, context)
    if single and not found.ranks.spelled:
        found = World(default(1, "a single-device recipe"), default(1, "a single-device recipe"))
    elif found.ranks.value != 1:
        draft.put("sharding", derived("fsdp", f"the distributed recipes of {_SOURCE} shard"))
    return draft.close(found, model_parallel=shared)


def _optimizer(settings: Settings[Config]) -> Fact[str]:
    found = _last(settings.fact("optimizer_component"))
    return found._replace(value=f"{found.value}_fused") if found.value and settings.values.fused else found


def _loss(draft: Draft, settings: Settings[Config]) -> None:
    """``CEWithChunkedOutputLoss`` and ``LinearCrossEntropyLoss`` never hold all logits in fp32; others do."""
    fact = settings.fact("loss")
    if fact.value is not None:
        chunked = "Chunked" in fact.value or "Linear" in fact.value
        draft.put("chunked_loss", Fact(value=chunked, origin=fact.origin, location=fact.location))


_LAUNCHED = re.compile(r"tune run\b[^\n]*?\s(\w+)\s+--config")
_NAMED_SINGLE = re.compile(r"single[_-]device")


def _is_single(document: Document) -> bool:
    """Whether the recipe runs on one device: its file says so, else every ``tune run`` line of its comments does."""
    if _NAMED_SINGLE.search(document.path.rpartition("/")[2]):
        return True
    recipes = _LAUNCHED.findall(document.text[:4000])
    return bool(recipes) and all(_NAMED_SINGLE.search(recipe) for recipe in recipes)


def _dtype(settings: Settings[Config]) -> Fact[Precision]:
    """Weights, gradients and compute are all of ``dtype`` (full_finetune_distributed.py line 138)."""
    fact = settings.fact("dtype")
    kind = _DTYPES.get(str(fact.value))
    if kind is None:
        return unknown(fact.note or f"dtype {fact.value}", fact.location)
    return Fact(kind, fact.origin, fact.location, fact.note)


def _last(fact: Fact[Any]) -> Fact[Any]:
    """``torch.optim.AdamW`` is AdamW; ``bitsandbytes.optim.PagedAdamW8bit`` is PagedAdamW8bit."""
    if fact.value is None:
        return fact
    return Fact(str(fact.value).rsplit(".", 1)[-1], fact.origin, fact.location, fact.note)


_PREFIX = re.compile(r"^(lora|qlora|dora|qat_lora)_")


def _model(draft: Draft, settings: Settings[Config]) -> None:
    """``torchtune.models.llama3_1.qlora_llama3_1_8b``: the builder says model and adapter."""
    name = _last(settings.fact("component"))
    if name.value is None:
        draft.put("model", name)
        return
    builder = str(name.value)
    prefix = _PREFIX.match(builder)
    draft.put("model", Fact(_PREFIX.sub("", builder), name.origin, name.location, builder))
    if prefix is None:
        draft.put("adapter", derived("none", f"{builder} trains all weights"))
        return
    draft.put("adapter", derived("qlora" if prefix[1] == "qlora" else "lora", builder))
    targets = settings.values.attention_targets
    if isinstance(targets, list):
        linears = [*map(str, targets), *(["mlp"] if settings.values.mlp_targets else [])]
        draft.put("adapter_targets", derived(linears, "lora_attn_modules and apply_lora_to_mlp"))
    draft.put("adapter_dropout", settings.fact("adapter_dropout"))
