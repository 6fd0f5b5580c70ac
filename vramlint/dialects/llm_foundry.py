"""llm-foundry / composer: a GLOBAL batch, shared out over the ranks and cut into micro batches.

The step always sees the global batch; the last micro batch may be smaller, and ``auto`` lets composer find the size::

    per rank = global_train_batch_size / ranks (a remainder is refused)
    accumulation = ceil(per rank / device_train_microbatch_size)      effective batch = global_train_batch_size

Example (``mpt-1b.yaml``):

```yaml
variables:
  max_seq_len: 2048
max_seq_len: ${variables.max_seq_len}
model:
  name: mpt_causal_lm
  d_model: 2048
  n_heads: 16
  n_layers: 24
  expansion_ratio: 4
  vocab_size: 50368
train_loader:
  name: text
  num_workers: 8
optimizer:
  name: decoupled_adamw
  lr: 2.0e-4
max_duration: 24800ba
global_train_batch_size: 512
device_train_microbatch_size: 4
precision: amp_bf16
fsdp_config:
  sharding_strategy: FULL_SHARD
  activation_checkpointing: true
```

```plan gpus=8
micro_batch: 4 file 19
global_batch: 512 file 18
accumulation: 16 derived
effective_batch: 512 derived
seq_len: 2048 file 2
precision: bf16 file 20
grad_checkpointing: true file 23
optimizer: decoupled_adamw file 15
workers_per_rank: 8 file 13
sharding: fsdp derived
```

What trains has ``train_loader`` and a duration; evaluation, generation and conversion files have neither and are left
alone, as is a job file of MosaicML whose ``parameters`` hold no training loop. Sources: llm-foundry 2025-07,
``utils/config_utils.py`` (``calculate_batch_size_info``, ``TrainConfig``), ``models/mpt/configuration_mpt.py``;
composer 0.32 ``trainer/trainer.py`` (``auto``). OmegaConf reads the file.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.interpolation import interpolated
from vramlint.dialects.language import language_facts, low_precision_weights, sharded_accumulation, torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import only_launch, word_overrides
from vramlint.dialects.places import Source, locate, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, plain_value, read_settings
from vramlint.dialects.values import as_count, as_precision
from vramlint.plan import CeiledAccumulation, DecoderShape, Fact, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Command, Document, Mapping, Scalar, Sequence

NAME = "llm_foundry"
TITLE = "llm-foundry / composer"

_SOURCE = "llm-foundry 2025-07"


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    global_batch: Count | None = keys("global_train_batch_size")
    micro: Any = keys("device_train_microbatch_size", default="auto")
    seq_len: Count | None = keys("max_seq_len", "train_loader.dataset.max_seq_len")
    optimizer: Text | None = keys("optimizer.name")
    learning_rate: float | None = keys("optimizer.lr")
    workers_per_rank: Natural | None = keys("train_loader.num_workers")
    prefetch_factor: Natural | None = keys("train_loader.prefetch_factor")
    persistent_workers: Flag | None = keys("train_loader.persistent_workers")
    pin_memory: Flag | None = keys("train_loader.pin_memory")
    eval_batch: Count | None = keys("device_eval_batch_size")
    adapter_rank: Count | None = keys("model.peft_config.r")
    grad_checkpointing: Flag | None = keys("fsdp_config.activation_checkpointing", default=False)

    loader: Text | None = keys("train_loader.name")
    precision: Text | None = keys("precision", default="amp_bf16")
    fsdp: Any = keys("fsdp_config")
    strategy: Text | None = keys("fsdp_config.sharding_strategy", default="FULL_SHARD")
    tensor: Count | None = keys("tp_config.tensor_parallel_degree", default=1)
    builder: Text | None = keys("model.name")
    pretrained: Text | None = keys("model.pretrained_model_name_or_path")
    hidden: Count | None = keys("model.d_model", default=2048)
    heads: Count | None = keys("model.n_heads", default=16)
    layers: Count | None = keys("model.n_layers", default=24)
    expansion: float | None = keys("model.expansion_ratio", default=4)
    vocabulary: Count | None = keys("model.vocab_size", default=50368)
    head_dim: Count | None = keys("model.head_dim")
    kv_heads: Count | None = keys("model.attn_config.kv_n_heads")
    no_bias: Flag | None = keys("model.no_bias", default=False)
    tied: Flag | None = keys("model.tie_word_embeddings", default=True)
    norm: Text | None = keys("model.norm_type", default="low_precision_layernorm")
    ffn: Text | None = keys("model.ffn_config.ffn_type", default="mptmlp")
    adapter_targets: Any = keys("model.peft_config.target_modules")
    adapter_dropout: float | None = keys("model.peft_config.lora_dropout")


_DIRECT = tuple(name for name in list(Config.model_fields)[:12] if name not in ("micro", "global_batch"))
_WORDS = {Precision.FP32: "fp32", Precision.FP16: "amp_fp16", Precision.BF16: "amp_bf16", Precision.FP8: "amp_fp8"}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML, or of the ``parameters`` of a job file."""
    settings = read_settings(Config, _sources(document, context))
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    found = _world(document, context)
    _batch(draft, settings, found.ranks.value)
    draft.put("precision", _precision(settings))
    if "precision" in settings.places:
        draft.offer("precision", settings.places["precision"], lambda value: _WORDS[Precision(str(value))])
    _model(draft, settings)
    if settings.values.loader == "text":
        draft.put("packing", derived(value=True, note="the text loader reads joined documents"))
    torch_prefetch(draft)
    if found.ranks.value is not None:
        draft.put("sharding", _sharding(settings, found.ranks.value))
    if draft.plan.sharding.value in ("fsdp", "zero2"):
        low_precision_weights(draft, "FSDP gathers the weights in the precision of the run")
        sharded_accumulation(draft, "composer lets FSDP reduce at every micro batch")
    reading = draft.close(found, CeiledAccumulation())
    parameters = document.root.get("parameters") if isinstance(document.root, Mapping) else None
    reading.settings = parameters if isinstance(parameters, Mapping) else None
    return reading


def _sources(document: Document, context: Context) -> list[Source]:
    """The words behind the launch line's YAML win; a job file keeps the settings under ``parameters``."""
    inner = interpolated(document, "parameters")
    return [*word_overrides(document, context), *(inner or interpolated(document))]


def _batch(draft: Draft, settings: Settings[Config], ranks: int | None) -> None:
    """The micro batch is never larger than a rank's share of the global batch: composer reduces it with a warning."""
    total = settings.fact("global_batch")
    draft.put("global_batch", total)
    draft.put("nominal_batch", total)
    if "global_batch" in settings.places:
        draft.offer("nominal_batch", settings.places["global_batch"])
    micro = _micro(settings)
    share = total.value // ranks if total.value and ranks and total.value % ranks == 0 else None
    if micro.value is not None and share is not None and micro.value > share:
        note = f"{micro.value} is more than the {share} of a rank, and is reduced"
        micro = Fact(share, Origin.DERIVED, micro.location, note)
    draft.put("micro_batch", micro)
    if "micro" in settings.places and micro.value is not None:
        draft.offer("micro_batch", settings.places["micro"])


def _micro(settings: Settings[Config]) -> Fact[int]:
    fact = settings.fact("micro")
    if fact.value == "auto":
        return unknown("auto: composer tries the rank's share and halves it until it fits", fact.location)
    try:
        value = as_count(fact.value)
    except ValueError:
        value = None
    if isinstance(value, int) and value > 0:
        return Fact(value, fact.origin, fact.location)
    return unknown(fact.note or f"device_train_microbatch_size {fact.value} is no whole number", fact.location)


def _world(document: Document, context: Context) -> World:
    """``composer -n 4 train.py`` starts four ranks on this node; without ``-n`` it starts one on every GPU."""
    found = only_launch(document, context)
    if found is not None and found[1].program.rsplit("/", 1)[-1] == "composer":
        at, command = found
        told = _told_ranks(command)
        if told is not None:
            ranks: Fact[int] = Fact(told[0], Origin.LAUNCH, locate(at, told[1].span))
            return World(ranks, default(1, "composer starts one node"))
    return world(document, None, context)


def _told_ranks(command: Command) -> tuple[int, Scalar] | None:
    """The first word behind ``-n`` (``--nproc``), where it is a number; several nodes are left to the target."""
    if any(entry.key in ("--world_size", "--node_rank") for entry in command.options.entries):
        return None
    for entry in command.options.entries:
        if entry.key not in ("-n", "--nproc"):
            continue
        node = entry.value.items[0] if isinstance(entry.value, Sequence) and entry.value.items else entry.value
        value = plain_value(node)
        if isinstance(node, Scalar) and isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value, node
    return None


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    fact = settings.fact("precision")
    try:
        return Fact(as_precision(fact.value), fact.origin, fact.location, fact.note)
    except ValueError:
        return unknown(fact.note or f"precision {fact.value} is none of composer's", fact.location)


def _sharding(settings: Settings[Config], ranks: int) -> Fact[str]:
    if ranks == 1:
        return derived("none", "one rank")
    if not settings.values.fsdp:
        return derived("ddp", "no fsdp_config")
    strategy = str(settings.values.strategy)
    if strategy == "NO_SHARD":
        return derived("ddp", "sharding_strategy NO_SHARD")
    if strategy == "SHARD_GRAD_OP":
        return derived("zero2", "sharding_strategy SHARD_GRAD_OP")
    return derived("fsdp", f"sharding_strategy {strategy}")


def _model(draft: Draft, settings: Settings[Config]) -> None:
    """MPT spells its shape; a Hugging Face model is named."""
    builder, name = settings.fact("builder"), settings.fact("pretrained")
    if builder.value == "hf_t5":
        draft.put("model", name if name.value else builder)
        return
    mpt = builder.value == "mpt_causal_lm"
    language_facts(draft, "llm-foundry" if mpt else "transformers")
    draft.put("model", builder if name.value is None else name)
    if (settings.values.tensor or 1) > 1:
        # tp/ffn_tp_strategy.py: every rank has samples of its own, which are gathered around each MLP.
        draft.put("model", unknown("MLPs over the gathered samples of several ranks are not worked out"))
        return
    if mpt and name.value is None:
        draft.put("model_shape", _shape(settings))
    if draft.plan.adapter_rank.known:
        draft.put("adapter", derived("lora", "peft_config"))
        draft.put("adapter_dropout", settings.fact("adapter_dropout"))
        if settings.spelled("adapter_targets"):
            draft.put("adapter_targets", settings.fact("adapter_targets"))
    else:
        draft.put("adapter", derived("none", "no peft_config"))


_SHAPE = {"hidden", "heads", "layers", "expansion", "vocabulary", "head_dim", "kv_heads"}


def _shape(settings: Settings[Config]) -> Fact[DecoderShape]:
    """The shape of an MPT model; experts (``ffn_type`` mb_moe, mb_dmoe) are more than a shape."""
    values = settings.values
    spelled = ("hidden", "heads", "layers")
    if not all(settings.spelled(name) and name not in settings.doubts for name in spelled) or settings.doubts.keys() & {
        "expansion",
        "vocabulary",
        "head_dim",
        "kv_heads",
    }:
        return unknown("d_model, n_heads and n_layers are not all spelled")
    if values.ffn not in ("mptmlp", "mptglu"):
        return unknown(f"ffn_type {values.ffn} is no dense MLP")
    hidden, heads = values.hidden or 0, values.heads or 1
    shape = DecoderShape(
        hidden=hidden,
        layers=values.layers or 0,
        heads=heads,
        kv_heads=values.kv_heads or heads,
        head_dim=values.head_dim or hidden // heads,
        ffn=int(hidden * (values.expansion or 4)),
        vocabulary=values.vocabulary or 0,
        tied=bool(values.tied),
        gated=values.ffn == "mptglu",
        norm="rms" if "rms" in str(values.norm) else "layer",
        biases=not values.no_bias,
    )
    return Fact(shape, Origin.FILE, location(settings.places["hidden"]), f"model of {_SOURCE}")
