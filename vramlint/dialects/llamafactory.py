"""LLaMA-Factory: TrainingArguments keys with its own model, method and data keys around them.

The batch is Hugging Face's, per rank::

    effective batch = per_device_train_batch_size x ranks x gradient_accumulation_steps

Checkpointing is ON unless ``disable_gradient_checkpointing`` says otherwise.

Example (``sft.yaml``):

```yaml
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
template: llama3
cutoff_len: 2048
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1e-4
bf16: true
```

```plan gpus=2
micro_batch: 1 file 9
accumulation: 8 file 10
effective_batch: 16 derived
seq_len: 2048 file 8
precision: pure-bf16 file 12
grad_checkpointing: true default
adapter: lora file 4
adapter_rank: 8 file 5
learning_rate: 0.0001 file 11
```

Sources: LLaMA-Factory 0.9.5, ``hparams/`` (keys and defaults), ``hparams/parser.py`` (OmegaConf reads the file, so
``1e-4`` is a number), ``model/adapter.py`` (trained weights are cast to fp32 unless ``pure_bf16``, frozen ones stay
in the compute type); transformers 5.23.0 for the rest.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.agreement import agreed
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import (
    deepspeed_sharding,
    language_facts,
    low_precision_weights,
    offer_keys,
    preference,
    product,
    torch_prefetch,
)
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import word_sources
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, read_settings
from vramlint.dialects.spelling_out import switch
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "llamafactory"
TITLE = "LLaMA-Factory"

_SOURCE = "LLaMA-Factory 0.9.5"


class Config(Schema):
    """The keys that decide batch and memory; ``micro_batch_size`` and ``model`` are those of its v1 files."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("per_device_train_batch_size", "micro_batch_size")
    accumulation: Count | None = keys("gradient_accumulation_steps", default=1)
    seq_len: Count | None = keys("cutoff_len", default=2048)
    optimizer: Text | None = keys("optim", default="adamw_torch_fused")
    adapter_rank: Count | None = keys("lora_rank", "peft_config.r", "peft_config.lora_rank")
    model: Text | None = keys("model_name_or_path", "model")
    workers_per_rank: Natural | None = keys("dataloader_num_workers", default=0)
    prefetch_factor: Natural | None = keys("dataloader_prefetch_factor")
    persistent_workers: Flag | None = keys("dataloader_persistent_workers", default=False)
    pin_memory: Flag | None = keys("dataloader_pin_memory", default=True)
    learning_rate: float | None = keys("learning_rate")
    epochs: float | None = keys("num_train_epochs")
    max_steps: int | None = keys("max_steps")
    eval_batch: Count | None = keys("per_device_eval_batch_size")

    stage: Text | None = keys("stage")
    pref_loss: Text | None = keys("pref_loss")
    finetuning_type: Text | None = keys("finetuning_type", "peft_config.name", default="lora")
    disable_checkpointing: Flag | None = keys("disable_gradient_checkpointing", default=False)
    bf16: Flag | None = keys("bf16")
    fp16: Flag | None = keys("fp16")
    pure_bf16: Flag | None = keys("pure_bf16")
    quantization_bit: Count | None = keys("quantization_bit")
    double_quantization: Flag | None = keys("double_quantization", default=True)
    adapter_targets: Any = keys("lora_target")
    adapter_dropout: float | None = keys("lora_dropout")
    packing: Flag | None = keys("packing", "neat_packing")
    fused_loss: Flag | None = keys("enable_liger_kernel")
    tokenized: Text | None = keys("tokenized_path")
    tensor: Count | None = keys("tensor_model_parallel_size", default=1)
    pipeline: Count | None = keys("pipeline_model_parallel_size", default=1)
    distributed: Flag | None = keys("use_distributed_optimizer")
    recompute: Text | None = keys("recompute_granularity")
    recompute_method: Text | None = keys("recompute_method")
    recompute_layers: Count | None = keys("recompute_num_layers")
    context_ranks: Count | None = keys("context_parallel_size", default=1)
    deepspeed: Any = keys("deepspeed")
    fsdp: Any = keys("fsdp", "dist_config.name")
    galore: Flag | None = keys("use_galore")
    apollo: Flag | None = keys("use_apollo")
    muon: Flag | None = keys("use_muon")
    adam_mini: Flag | None = keys("use_adam_mini")
    badam: Flag | None = keys("use_badam")
    low_rank: Count | None = keys("galore_rank", "apollo_rank", default=16)
    low_rank_targets: Text | None = keys("galore_target", "apollo_target", default="all")
    layerwise: Flag | None = keys("galore_layerwise", "apollo_layerwise", default=False)


_DIRECT = tuple(Config.model_fields)[:14]
_INSERTABLE = {
    "accumulation": "gradient_accumulation_steps",
    "workers_per_rank": "dataloader_num_workers",
    "prefetch_factor": "dataloader_prefetch_factor",
    "persistent_workers": "dataloader_persistent_workers",
    "pin_memory": "dataloader_pin_memory",
}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML or JSON."""
    sources = word_sources(document, context)
    settings = read_settings(Config, sources)
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    if not settings.spelled("micro_batch"):
        prepares = settings.spelled("tokenized")
        why = "tokenized_path without a batch: the file prepares data"
        draft.put("micro_batch", unknown(why) if prepares else default(8, "default of transformers 5.23.0"))
    _optimizer(draft, settings)
    _adapter(draft, settings)
    _precision(draft, settings)
    _checkpointing(draft, settings)
    if deepspeed_sharding(draft, settings.places.get("deepspeed"), context):
        low_precision_weights(draft, "DeepSpeed runs the model in 16 bits beside fp32 main weights, without autocast")
    elif settings.values.fsdp:
        draft.put("sharding", derived("fsdp", "fsdp is configured"))
        low_precision_weights(draft, "FSDP gathers the weights in the precision of the run")
    draft.put("packing", settings.fact("packing"))
    language_facts(draft, "transformers")
    _preferences(draft, settings)
    if settings.values.fused_loss:
        draft.put("fused_loss", derived(value=True, note="Liger's fused cross entropy holds no full logits"))
    torch_prefetch(draft)
    offer_keys(draft, document, _INSERTABLE, after="per_device_train_batch_size")
    # Degrees of its Megatron-Core backend; without them every rank holds the model.
    shared = product(settings.values.tensor, settings.values.pipeline, settings.values.context_ranks)
    if settings.spelled("tensor") or settings.spelled("pipeline"):
        _on_megatron(draft, settings)
    reading = draft.close(world(document, None, context), model_parallel=shared)
    return agreed(reading, claim, settings, sources, context)


def _on_megatron(draft: Draft, settings: Settings[Config]) -> None:
    """Its Megatron-Core backend runs Megatron's blocks without dropout beside fp32 main weights (mcore_adapter 0.9
    ``training_args.py``, ``model_config.py``)."""
    language_facts(draft, "megatron")
    low_precision_weights(draft, "fp32 main parameters")
    if settings.values.distributed:
        draft.put("sharding", Fact("zero1", *settings.fact("distributed")[1:3], note="optimizer states shared out"))
    recompute = settings.values.recompute
    if recompute == "full":
        draft.put("grad_checkpointing", derived(value=True, note="recompute_granularity full"))
        layers = settings.values.recompute_layers or 1
        draft.put(
            "recompute", derived(("full", settings.values.recompute_method or "uniform", layers, ()), "recompute")
        )
    elif recompute is None:
        draft.put("grad_checkpointing", derived(value=False, note="no recompute_granularity"))
    for name in ("hidden_dropout", "attention_dropout"):
        draft.put(name, derived(0.0, "default of mcore_adapter"))
    draft.put("attention_mask", derived(value=False, note="flash or fused attention is causal by itself"))


_PAIRS = ("dpo", "rm")
_SEVERAL = (*_PAIRS, "kto", "ppo")
_WITHOUT_REFERENCE = ("orpo", "simpo")


def _preferences(draft: Draft, settings: Settings[Config]) -> None:
    """DPO and reward models count pairs. ``pref_loss`` orpo and simpo compare with no reference model, which behind
    adapters is the model without them (``train/trainer_utils.py#create_ref_model``)."""
    stage = settings.values.stage
    if stage in _PAIRS:
        draft.put("batch_unit", derived("pairs", f"{stage} counts pairs"))
    if stage not in _SEVERAL:
        return
    alone = str(settings.values.pref_loss or "sigmoid") in _WITHOUT_REFERENCE
    word = "orpo" if stage == "dpo" and alone else stage
    preference(draft, "ppo" if stage == "ppo" else f"llamafactory {word}")


def _optimizer(draft: Draft, settings: Settings[Config]) -> None:
    """Switches that put another optimizer in the place of ``optim`` (``train/trainer_utils.py``)."""
    values, optim = settings.values, str(settings.values.optimizer or "")
    if values.galore:
        kind = (
            "galore_adafactor" if optim == "adafactor" else "galore_adamw_8bit" if "8bit" in optim else "galore_adamw"
        )
    elif values.apollo:
        kind = "apollo_adamw"
    elif values.badam:
        draft.put(
            "optimizer", unknown("BAdam steps the weights of one block at a time", settings.fact("badam").location)
        )
        return
    elif values.muon or values.adam_mini:
        place = settings.fact("muon" if values.muon else "adam_mini")
        draft.put("optimizer", Fact("muon_and_adamw" if values.muon else "adam_mini", place.origin, place.location))
        return
    else:
        return
    switch_of = settings.fact("galore" if values.galore else "apollo")
    word = f"{kind}_layerwise" if values.layerwise else kind
    draft.put("optimizer", Fact(word, switch_of.origin, switch_of.location))
    draft.put("optimizer_rank", settings.fact("low_rank"))
    targets = str(values.low_rank_targets or "all")
    if targets != "all":
        draft.put("optimizer_targets", derived(tuple(word.strip() for word in targets.split(",")), "its target"))


def _adapter(draft: Draft, settings: Settings[Config]) -> None:
    fact = settings.fact("finetuning_type")
    if fact.value not in ("lora", "full"):
        draft.put("adapter", unknown(f"finetuning_type {fact.value}", fact.location))
        draft.put("model", unknown(f"the memory of finetuning_type {fact.value} is not worked out", fact.location))
        return
    if fact.value == "full":
        draft.put("adapter", derived("none", "finetuning_type full"))
        return
    kind = "qlora" if settings.values.quantization_bit == 4 else "lora"
    draft.put("adapter", Fact(kind, fact.origin, fact.location, fact.note))
    if kind == "qlora":
        draft.put("double_quantization", settings.fact("double_quantization"))
    if settings.values.quantization_bit == 8:
        draft.put("base_quantization", settings.fact("quantization_bit")._replace(value="int8"))
    if not settings.spelled("adapter_rank"):
        draft.put("adapter_rank", default(8, f"default of {_SOURCE}"))
    targets = settings.fact("adapter_targets")
    draft.put("adapter_targets", targets if targets.known else default("all", f"default of {_SOURCE}"))
    draft.put("adapter_dropout", settings.fact("adapter_dropout"))


def _precision(draft: Draft, settings: Settings[Config]) -> None:
    """Frozen weights stay in the compute type; trained ones are fp32 unless ``pure_bf16``."""
    frozen = draft.plan.adapter.value in ("lora", "qlora")
    for name, mixed, pure in (
        ("pure_bf16", Precision.PURE_BF16, Precision.PURE_BF16),
        ("bf16", Precision.BF16, Precision.PURE_BF16),
        ("fp16", Precision.FP16, Precision.PURE_FP16),
    ):
        fact = settings.fact(name)
        if name in settings.places and not fact.known:
            draft.put("precision", fact)
            return
        if fact.value:
            draft.put("precision", Fact(pure if frozen else mixed, fact.origin, fact.location, fact.note))
            return
    draft.put("precision", default(Precision.FP32, "default of transformers 5.23.0"))


def _checkpointing(draft: Draft, settings: Settings[Config]) -> None:
    fact = settings.fact("disable_checkpointing")
    if not fact.known:
        draft.put("grad_checkpointing", fact)
        return
    draft.put("grad_checkpointing", Fact(not fact.value, fact.origin, fact.location, f"on unless disabled, {_SOURCE}"))
    if "disable_checkpointing" in settings.places:
        spell = switch(settings.values.disable_checkpointing)
        draft.offer("grad_checkpointing", settings.places["disable_checkpointing"], lambda value: spell(not value))
