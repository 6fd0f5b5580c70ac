"""NVIDIA NeMo 1 (Hydra YAML): Megatron's batches for language models, a batch per rank for speech.

Language models spell a micro batch and a GLOBAL batch that accumulation reaches; speech models a loader per rank::

    data-parallel ranks = devices x nodes / (tensor x pipeline x context parallel)
    language: accumulation = global_batch_size / (micro_batch_size x data-parallel ranks), a remainder is refused
    speech:   effective batch = train_ds.batch_size x ranks x trainer.accumulate_grad_batches

Example (``megatron_gpt_config.yaml``):

```yaml
name: megatron_gpt
trainer:
  devices: 8
  num_nodes: 2
  precision: bf16
exp_manager: {name: megatron_gpt}
model:
  micro_batch_size: 4
  global_batch_size: 64
  tensor_model_parallel_size: 2
  encoder_seq_length: 512
  num_layers: 12
  hidden_size: 768
  num_attention_heads: 12
  activations_checkpoint_granularity: full
  data:
    seq_length: ${model.encoder_seq_length}
    num_workers: 2
  optim: {name: fused_adam, lr: 2e-4}
```

```plan
micro_batch: 4 file 8
global_batch: 64 file 9
world_size: 16 file 3
data_parallel: 8 derived
accumulation: 2 derived
effective_batch: 64 derived
seq_len: 512 file 11
precision: bf16 file 5
grad_checkpointing: true file 15
optimizer: fused_adam file 19
workers_per_rank: 2 file 18
```

What trains has a trainer, an optimizer and either ``exp_manager`` or a ``train_ds``; files that generate, evaluate,
prune or export have ``inference``, ``server`` or no optimizer and are left alone. A batch in seconds of audio
(``batch_duration``), or one that is filled in on the command line (``???``), is UNKNOWN. Sources: NeMo 2025-09,
``examples/nlp/language_modeling/conf/megatron_gpt_config.yaml``, ``examples/asr/conf/conformer/*.yaml``,
``collections/nlp/modules/common/megatron/megatron_init.py`` (ranks), ``core/optim/distributed_adam.py``. OmegaConf
reads the file.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.interpolation import interpolated
from vramlint.dialects.language import language_facts, low_precision_weights, product, torch_prefetch
from vramlint.dialects.launch import World, device_count, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.nemo_model import Blocks, block_facts
from vramlint.dialects.overrides import word_overrides
from vramlint.dialects.places import location
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
from vramlint.dialects.values import as_precision
from vramlint.plan import (
    BatchPolicy,
    DecoderShape,
    DividedAccumulation,
    Fact,
    PerRank,
    Precision,
    default,
    derived,
    unknown,
)
from vramlint.sources.model import Document

NAME = "nemo"
TITLE = "NVIDIA NeMo"

_SOURCE = "NeMo 2025-09"


def _train(name: str) -> Any:
    """A setting of the training data, in each of its homes."""
    homes = ("model.data.train_ds", "data.train_ds", "model.train_ds")
    inner = ("", ".dataloader_params", ".batch_sampler")
    return keys(*(f"{home}{part}.{name}" for home in homes for part in inner), f"model.data.{name}")


def _parallel(name: str) -> Any:
    return keys(f"model.{name}", f"strategy.{name}", f"trainer.strategy.{name}", default=1)


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    workers_per_rank: Natural | None = _train("num_workers")
    pin_memory: Flag | None = _train("pin_memory")
    learning_rate: float | None = keys("model.optim.lr", "model.optimizer.lr", "optim.lr")
    epochs: float | None = keys("trainer.max_epochs")
    max_steps: int | None = keys("trainer.max_steps")

    batch_size: Count | None = _train("batch_size")
    micro_batch: Count | None = keys(
        "model.data.train_ds.micro_batch_size", "data.train_ds.micro_batch_size", "model.micro_batch_size"
    )
    global_batch: Count | None = keys(
        "model.data.train_ds.global_batch_size", "data.train_ds.global_batch_size", "model.global_batch_size"
    )
    accumulation: Count | None = keys("trainer.accumulate_grad_batches", default=1)
    duration: Any = keys("model.train_ds.batch_duration", "data.train_ds.batch_duration")
    buckets: Any = keys("model.train_ds.bucketing_batch_size", "data.train_ds.bucketing_batch_size")
    ramp: Any = keys("model.rampup_batch_size")
    devices: Any = keys("trainer.devices", "trainer.gpus")
    nodes: Count | None = keys("trainer.num_nodes", default=1)
    tensor: Count | None = _parallel("tensor_model_parallel_size")
    pipeline: Count | None = _parallel("pipeline_model_parallel_size")
    context: Count | None = _parallel("context_parallel_size")
    precision: Any = keys("trainer.precision", "plugins.precision", "trainer.plugins.precision")
    fp8: Flag | None = keys("model.fp8", default=False)
    amp: Flag | None = keys("model.megatron_amp_O2", default=False)
    recompute: Text | None = keys("model.activations_checkpoint_granularity")
    optimizer: Text | None = keys(
        "model.optim.name", "optim.name", "optim.config.optimizer", "model.optimizer._target_", "optim._target_"
    )
    strategy: Any = keys("trainer.strategy", "strategy")
    plugins: Any = keys("trainer.plugins", "plugins")
    fsdp: Flag | None = keys("model.fsdp", default=False)
    seq_len: Count | None = keys(
        "model.encoder_seq_length", "model.data.train_ds.max_seq_length", "data.train_ds.max_seq_length"
    )
    pretrained: Text | None = keys("model.pretrained_llm")
    name: Text | None = keys("name")
    peft: Text | None = keys("model.peft.peft_scheme")
    adapter_rank: Count | None = keys("model.peft.lora_tuning.adapter_dim")

    hidden: Count | None = keys("model.hidden_size")
    layers: Count | None = keys("model.num_layers")
    heads: Count | None = keys("model.num_attention_heads")
    groups: Count | None = keys("model.num_query_groups")
    head_dim: Count | None = keys("model.kv_channels")
    ffn: Count | None = keys("model.ffn_hidden_size")
    activation: Text | None = keys("model.activation", default="gelu")
    norm: Text | None = keys("model.normalization", default="layernorm")
    bias: Flag | None = keys("model.bias", default=True)
    tied: Flag | None = keys("model.share_embeddings_and_output_weights", default=True)
    experts: Any = keys("model.num_moe_experts", "model.hyena", "model.use_hyena")
    tokenizer: Text | None = keys("model.tokenizer.type")
    vocabulary_multiple: Count | None = keys("model.make_vocab_size_divisible_by", default=128)


_DIRECT = tuple(Config.model_fields)[:5]
_GATED = frozenset({"swiglu", "geglu", "reglu", "fast-swiglu", "fast-geglu", "fast-reglu"})
_GPT2_ENTRIES = 50257


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML, the words of its launch line over it."""
    sources = [*word_overrides(document, context), *interpolated(document)]
    settings = read_settings(Config, sources)
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    megatron = settings.spelled("micro_batch") or settings.spelled("global_batch")
    policy = _global_batch(draft, settings) if megatron else _batch_of_a_rank(draft, settings)
    draft.put("precision", _precision(settings))
    if megatron:
        _checkpointing(draft, settings)
        _model(draft, settings)
        block_facts(draft, read_settings(Blocks, sources))
        if settings.values.amp:
            low_precision_weights(draft, "megatron_amp_O2: fp32 main parameters")
    elif settings.values.pretrained is not None:
        draft.put("model", unknown("a language model behind an audio encoder"))
    else:
        draft.put("model", unknown(f"{settings.values.name or 'the model'} is spelled layer by layer"))
    draft.put("optimizer", _last(settings.fact("optimizer")))
    torch_prefetch(draft)
    found = _world(document, context, settings)
    draft.put("sharding", _sharding(settings, found.ranks))
    shared = product(settings.values.tensor, settings.values.pipeline, settings.values.context)
    doubtful = settings.doubts.keys() & {"tensor", "pipeline", "context"}
    return draft.close(found, policy, model_parallel=None if doubtful else shared)


def _global_batch(draft: Draft, settings: Settings[Config]) -> BatchPolicy:
    """Megatron's way; ``accumulate_grad_batches`` stays 1 there. Without a global batch nothing starts."""
    draft.fill(settings, ("micro_batch", "seq_len"))
    total = settings.fact("global_batch")
    draft.put("global_batch", total)
    draft.put("nominal_batch", total)
    if total.value is None:
        draft.put("accumulation", unknown(total.note or "no global_batch_size"))
        return PerRank()
    draft.offer("nominal_batch", settings.places["global_batch"])
    if isinstance(settings.values.ramp, list):
        draft.put("batch_ramp", settings.fact("ramp"))
    return DividedAccumulation()


def _batch_of_a_rank(draft: Draft, settings: Settings[Config]) -> BatchPolicy:
    draft.fill(settings, ("accumulation",))
    batch, seconds, buckets = (settings.fact(name) for name in ("batch_size", "duration", "buckets"))
    if seconds.value is not None:
        batch = unknown("batch_duration bounds the seconds of a batch, not its samples", seconds.location)
    elif buckets.value is not None:
        batch = unknown("bucketing_batch_size sets the batch by length", buckets.location)
    draft.put("micro_batch", batch)
    if batch.value is not None:
        draft.offer("micro_batch", settings.places["batch_size"])
    return PerRank()


def _world(document: Document, context: Context, settings: Settings[Config]) -> World:
    """``trainer.devices`` x ``trainer.num_nodes``; -1 is every GPU of the machine."""
    place, nodes = settings.places.get("devices"), settings.fact("nodes")
    count = _devices(plain_value(place.node)) if place is not None else None
    if place is None or count is None:
        return world(document, None, context)
    if nodes.value is None:
        return World(unknown("num_nodes unknown", location(place)), nodes)
    note = "" if nodes.value == 1 else f"{count} devices on each of {nodes.value} nodes"
    return World(Fact(count * nodes.value, place.source.origin, location(place), note), nodes)


def _devices(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int):
        return value if value > 0 else None
    return device_count(value) if isinstance(value, list) or (isinstance(value, str) and "," in value) else None


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    """Lightning's words; ``megatron_amp_O2`` holds 16-bit weights beside fp32 ones, as many bytes as autocast."""
    if settings.values.fp8:
        fact = settings.fact("fp8")
        return Fact(Precision.FP8, fact.origin, fact.location)
    fact = settings.fact("precision")
    if fact.value is None and settings.spelled("plugins"):
        return unknown("a plugin of the trainer chooses the precision")
    if fact.value is None:
        return default(Precision.FP32, f"default of {_SOURCE}") if not fact.note else fact
    try:
        return Fact(as_precision(fact.value), fact.origin, fact.location)
    except ValueError:
        return unknown(f"precision {fact.value} is none of Lightning's", fact.location)


def _checkpointing(draft: Draft, settings: Settings[Config]) -> None:
    """``selective`` recomputes attention's inner tensors alone, which flash attention never keeps."""
    fact = settings.fact("recompute")
    if fact.value == "full":
        draft.put("grad_checkpointing", Fact(value=True, origin=fact.origin, location=fact.location))
    elif fact.value is not None:
        note = "selective: attention's inner tensors alone are recomputed"
        draft.put("grad_checkpointing", Fact(value=False, origin=fact.origin, location=fact.location, note=note))
        draft.put("checkpointing_scope", fact)
    elif "recompute" in settings.doubts or settings.spelled("plugins"):
        draft.put("grad_checkpointing", unknown(fact.note or "the model's own configuration chooses"))
    else:
        draft.put("grad_checkpointing", default(value=False, note=f"default of {_SOURCE}"))


def _last(fact: Fact[Any]) -> Fact[Any]:
    """``torch.optim.AdamW`` is AdamW."""
    if fact.value is None:
        return fact
    return Fact(str(fact.value).rsplit(".", 1)[-1], fact.origin, fact.location, fact.note)


def _sharding(settings: Settings[Config], ranks: Fact[int]) -> Fact[str]:
    """Apex's distributed Adam shares out gradients and states (ZeRO 2), Megatron core's the states (ZeRO 1)."""
    optimizer = settings.fact("optimizer")
    if settings.values.fsdp:
        fact = settings.fact("fsdp")
        return Fact("fsdp", fact.origin, fact.location)
    kind = {"distributed_fused_adam": "zero2", "mcore_distributed_optim": "zero1"}.get(str(optimizer.value))
    if kind is not None:
        return Fact(kind, optimizer.origin, optimizer.location, str(optimizer.value))
    strategy = settings.values.strategy
    plain = strategy is None or (isinstance(strategy, str) and strategy.startswith(("ddp", "auto")))
    if not plain or ranks.value is None:
        return unknown("depends on the strategy and on the number of ranks")
    return derived("ddp" if ranks.value > 1 else "none", "no sharding is configured")


def _model(draft: Draft, settings: Settings[Config]) -> None:
    """A GPT's shape is spelled under ``model``; encoders and decoders of T5 stand elsewhere."""
    shape = _shape(settings)
    draft.put("model_shape", shape)
    draft.put("model", unknown(shape.note))
    if shape.known:
        language_facts(draft, "megatron")
    if settings.values.peft == "lora":
        draft.put("adapter", Fact("lora", settings.fact("peft").origin, settings.fact("peft").location))
        draft.fill(settings, ("adapter_rank",))


def _shape(settings: Settings[Config]) -> Fact[DecoderShape]:
    values = settings.values
    hidden, layers, heads = values.hidden, values.layers, values.heads
    if hidden is None or layers is None or heads is None:
        return unknown("no hidden_size, num_layers and num_attention_heads under model")
    if values.experts is not None or "gpt" not in str(values.name or "").lower():
        return unknown("no plain GPT")
    if values.tokenizer != "GPT2BPETokenizer":
        return unknown("the vocabulary is not spelled here")
    multiple = (values.vocabulary_multiple or 128) * (values.tensor or 1)
    gated = values.activation in _GATED
    shape = DecoderShape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=values.groups or heads,
        head_dim=values.head_dim or hidden // heads,
        ffn=values.ffn or 4 * hidden,
        vocabulary=multiple * -(-_GPT2_ENTRIES // multiple),
        tied=bool(values.tied),
        gated=gated,
        norm="rms" if values.norm == "rmsnorm" else "layer",
        biases=bool(values.bias),
    )
    place = settings.places["hidden"]
    return Fact(shape, place.source.origin, location(place), f"model of {_SOURCE}")
