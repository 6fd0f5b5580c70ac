"""Megatron-LM: flags on a launch line, or the same flags in a functional test's YAML; a GLOBAL batch to reach.

Tensor, pipeline and context parallelism share one copy of the model; expert parallelism does not divide further::

    data-parallel ranks = ranks / (tensor x pipeline x context parallel)
    accumulation = --global-batch-size / (--micro-batch-size x data-parallel ranks), a remainder is refused
    effective batch = --global-batch-size, or --micro-batch-size x data-parallel ranks without one

Example (``train_gpt3.sh``):

```shell
torchrun --nproc_per_node 8 --nnodes 2 pretrain_gpt.py --num-layers 24 --hidden-size 2048 --num-attention-heads 16 \\
    --seq-length 2048 --max-position-embeddings 2048 --micro-batch-size 4 --global-batch-size 64 --train-iters 1000 \\
    --tensor-model-parallel-size 2 --sequence-parallel --bf16 --use-distributed-optimizer --lr 1.5e-4 \\
    --recompute-granularity full --recompute-method uniform --recompute-num-layers 1 --vocab-size 50257
```

```plan
micro_batch: 4 launch 2
global_batch: 64 launch 2
world_size: 16 launch 1
data_parallel: 8 derived
accumulation: 2 derived
effective_batch: 64 derived
seq_len: 2048 launch 2
precision: bf16 launch 3
grad_checkpointing: true launch 4
sharding: zero1 launch 3
optimizer: adam default
workers_per_rank: 2 default
```

``selective`` recomputation drops attention's inner tensors alone, which flash attention never keeps: it counts as no
activation checkpointing (``checkpointing_scope`` says so). A batch schedule leaves the effective batch UNKNOWN. Files
of ``MODE: inference`` and programs that generate, convert or serve are left alone. Sources: Megatron-LM 2026-08-22,
``training/arguments.py`` lines 415-735 (ranks, batches), 1320-1333 (widths), ``core/num_microbatches_calculator.py``
line 360, ``training/datasets/data_samplers.py`` (loader).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.environment_ranks import process_ranks
from vramlint.dialects.language import language_facts, low_precision_weights, product, torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.megatron_model import (
    MODEL_SWITCHES,
    ModelFlags,
    head_width,
    hybrid_layers,
    model_facts,
    stage_layers,
)
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import FlagSource, Place, Source, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, read_settings
from vramlint.dialects.signature import normal_flag
from vramlint.plan import (
    BatchPolicy,
    DecoderShape,
    DividedAccumulation,
    Fact,
    FlooredAccumulation,
    Origin,
    PerRank,
    Precision,
    default,
    derived,
    unknown,
)
from vramlint.sources.model import Command, Document, Entry, Mapping, Node, Scalar, Span, Style, Unknown
from vramlint.sources.model import Sequence as Items

NAME = "megatron"
TITLE = "Megatron-LM"

_SOURCE = "Megatron-LM 2026-08"


class Config(Schema):
    """The flags that decide batch and memory, without dashes; NeMo 2's test files put them under ``data`` and such."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("micro_batch_size", "data.micro_batch_size")
    seq_len: Count | None = keys("seq_length", "data.seq_length")
    workers_per_rank: Natural | None = keys("num_workers", default=2)
    optimizer: Text | None = keys("optimizer", default="adam")
    learning_rate: float | None = keys("lr")
    max_steps: Count | None = keys("train_iters", "trainer.max_steps")
    eval_batch: Count | None = keys("eval_micro_batch_size")

    global_batch: Count | None = keys("global_batch_size", "data.global_batch_size")
    schedule: Text | None = keys("step_batch_size_schedule")
    decrease: Flag | None = keys("decrease_batch_size_if_needed", default=False)
    tensor: Count | None = keys("tensor_model_parallel_size", "trainer.strategy.tensor_model_parallel_size", default=1)
    weight_shards: Count | None = keys("tensor_parallel_num_weight_shards")
    pipeline: Count | None = keys(
        "pipeline_model_parallel_size", "trainer.strategy.pipeline_model_parallel_size", default=1
    )
    context: Count | None = keys("context_parallel_size", "trainer.strategy.context_parallel_size", default=1)
    experts_parallel: Count | None = keys("expert_model_parallel_size", default=1)
    devices: Count | None = keys("trainer.devices")
    nodes: Count | None = keys("trainer.num_nodes", default=1)
    bf16: Flag | None = keys("bf16")
    fp16: Flag | None = keys("fp16")
    fp8: Text | None = keys("fp8_format")
    recompute: Text | None = keys("recompute_granularity")
    recompute_attention: Flag | None = keys("recompute_activations")
    distributed_optimizer: Flag | None = keys("use_distributed_optimizer")
    megatron_fsdp: Flag | None = keys("use_megatron_fsdp", "use_custom_fsdp")
    torch_fsdp: Flag | None = keys("use_torch_fsdp2")
    strategy: Text | None = keys("data_parallel_sharding_strategy", default="no_shard")
    offload: Flag | None = keys("optimizer_cpu_offload")
    fused_loss: Flag | None = keys("cross_entropy_loss_fusion")
    model: Text | None = keys("model", "load_hf_model", "hf_model_path")

    hidden: Count | None = keys("hidden_size")
    layers: Count | None = keys("num_layers")
    heads: Count | None = keys("num_attention_heads")
    groups: Count | None = keys("num_query_groups", default=1)
    grouped: Flag | None = keys("group_query_attention", default=False)
    head_dim: Count | None = keys("kv_channels")
    ffn: Count | None = keys("ffn_hidden_size")
    gated: Flag | None = keys("swiglu", default=False)
    norm: Text | None = keys("normalization", default="LayerNorm")
    no_bias: Flag | None = keys("disable_bias_linear", default=False)
    untied: Flag | None = keys("untie_embeddings_and_output_weights", default=False)
    vocabulary: Count | None = keys("padded_vocab_size", "vocab_size")
    vocabulary_multiple: Count | None = keys("make_vocab_size_divisible_by", default=128)
    vocabulary_file: Text | None = keys("vocab_file")
    tokenizer: Text | None = keys("tokenizer_model")
    tokenizer_kind: Text | None = keys("tokenizer_type")
    ratios: Any = keys("is_hybrid_model", "hybrid_attention_ratio", "hybrid_mlp_ratio")
    uneven: Any = keys(
        "decoder_first_pipeline_num_layers",
        "decoder_last_pipeline_num_layers",
        "pipeline_model_parallel_layout",
        "account_for_embedding_in_pipeline_split",
        "account_for_loss_in_pipeline_split",
    )
    offloaded: Any = keys("fine_grained_activation_offloading", "cpu_offloading")


_DIRECT = tuple(Config.model_fields)[:7]
_SHARDING = {"no_shard": "ddp", "optim": "zero1", "optim_grads": "zero2", "optim_grads_params": "fsdp"}
_NO_DECODER = re.compile(r"bert|(^|[_/])t5|(^|[_/])ict|vision|retro|vlm|multimodal|mimo")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command, or of the ``MODEL_ARGS`` of one YAML."""
    command = claim.subject if isinstance(claim.subject, Command) else None
    sources = _sources(document, command)
    settings = read_settings(Config, sources)
    draft = Draft(claim, document, "" if command is None else title_of(document, command))
    draft.fill(settings, _DIRECT)
    more = _more_flags(command)
    policy = _batch(draft, settings, more)
    found = _world(document, command, context, settings)
    other_defaults = command is not None and command.program == "megatron"
    draft.put("precision", _precision(settings, other_defaults=other_defaults))
    _checkpointing(draft, settings, other_defaults=other_defaults)
    if not other_defaults or settings.spelled("distributed_optimizer"):
        draft.put("sharding", _sharding(settings, found.ranks))
    _model(draft, settings, command, sources)
    if draft.plan.precision.value in (Precision.BF16, Precision.FP16, Precision.FP8):
        low_precision_weights(draft, "fp32 main parameters")
    draft.put("pin_memory", default(value=True, note=f"the loader of {_SOURCE}"))
    if draft.plan.workers_per_rank.value:
        draft.put("persistent_workers", default(value=True, note=f"the loader of {_SOURCE}, with workers"))
    torch_prefetch(draft)
    if settings.values.offload:
        draft.put("cpu_offload", settings.fact("offload"))
    _withhold_defaults(draft, more)
    return draft.close(found, policy, model_parallel=_shared(settings, more))


class Words(FlagSource):
    """Flags of a command line where an unset variable behind a flag's own words is more flags, not a value."""

    def find(self, dotted: str) -> Place | None:
        """``--bf16 $EXTRA`` is a switch, ``--micro-batch-size 4 $EXTRA`` is 4."""
        place = super().find(dotted)
        if place is None:
            return None
        node = place.node
        if isinstance(node, Items) and node.items and all(isinstance(item, Unknown) for item in node.items[1:]):
            return _with(place, node.items[0])
        if isinstance(node, Unknown) and dotted in _SWITCHES:
            bare = Scalar(Span(node.span.start, node.span.start), "", value=True, style=Style.EMPTY)
            return _with(place, bare)
        return place


_SWITCHES = frozenset(
    {"bf16", "fp16", "recompute_activations", "use_distributed_optimizer", "use_megatron_fsdp", "use_custom_fsdp"}
    | {"use_torch_fsdp2", "optimizer_cpu_offload", "cross_entropy_loss_fusion", "group_query_attention", "swiglu"}
    | {"disable_bias_linear", "untie_embeddings_and_output_weights", "multi_latent_attention"}
    | {"decrease_batch_size_if_needed"}
    | MODEL_SWITCHES
)
"""Flags that take no value."""


def _with(place: Place, node: Node) -> Place:
    entry = place.entry
    return place._replace(entry=Entry(entry.key, entry.key_span, node, entry.span, entry.merged))


def _more_flags(command: Command | None) -> str:
    """The first variable that stands where flags stand and that the script does not set; ``$@`` is the caller's own."""
    if command is None:
        return ""
    loose: list[Node] = [*command.positionals]
    for entry in command.options.entries:
        if isinstance(entry.value, Items):
            loose += entry.value.items[1:]
        elif normal_flag(entry.key) in _SWITCHES:
            loose.append(entry.value)
    for node in loose:
        text = node.text.strip("\"'") if isinstance(node, (Scalar, Unknown)) else ""
        # A word that is worked out has a value that differs from its text.
        unset = isinstance(node, Unknown) or (isinstance(node, Scalar) and node.value == text)
        if unset and _VARIABLE.fullmatch(text):
            return text
    return ""


_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*(\[[@*]\])?\}?")


def _withhold_defaults(draft: Draft, more: str) -> None:
    """What a line does not spell is no default while a variable may spell it."""
    if not more:
        return
    for name, fact in list(draft.plan.facts()):
        if fact.origin is Origin.DEFAULT:
            draft.put(name, unknown(f"{more} is not set here and may say"))


def _sources(document: Document, command: Command | None) -> list[Source]:
    """A command's flags, or the YAML mapping that is turned into flags."""
    if command is not None:
        return [Words(document, command.options)]
    arguments = document.root.get("MODEL_ARGS") if isinstance(document.root, Mapping) else None
    return [FlagSource(document, arguments, Origin.FILE)] if isinstance(arguments, Mapping) else []


def _batch(draft: Draft, settings: Settings[Config], more: str) -> BatchPolicy:
    """The global batch is what accumulation aims at; ``--decrease-batch-size-if-needed`` rounds it down."""
    if settings.spelled("schedule"):
        place = settings.places["schedule"]
        draft.put("global_batch", unknown("the batch grows by a schedule", location(place)))
        draft.put("accumulation", unknown("the batch grows by a schedule", location(place)))
        return PerRank()
    if settings.spelled("global_batch"):
        total = settings.fact("global_batch")
        draft.put("global_batch", total)
        draft.put("nominal_batch", total)
        if total.known:
            draft.offer("nominal_batch", settings.places["global_batch"])
        else:
            draft.put("accumulation", unknown(total.note, total.location))
            return PerRank()
    elif more:
        draft.put("accumulation", unknown(f"{more} is not set here and may hold a global batch"))
        return PerRank()
    floors = settings.values.decrease and draft.plan.nominal_batch.value is not None
    return FlooredAccumulation() if floors else DividedAccumulation()


def _shared(settings: Settings[Config], more: str) -> int | None:
    """Ranks that share one copy of the model. Shards of the weights count the tensor-parallel ranks in."""
    if settings.doubts.keys() & {"tensor", "pipeline", "context", "weight_shards"}:
        return None
    if more and not (settings.spelled("tensor") and settings.spelled("pipeline")):
        return None
    values = settings.values
    return product(values.weight_shards or values.tensor, values.pipeline, values.context)


def _world(document: Document, command: Command | None, context: Context, settings: Settings[Config]) -> World:
    """The launcher, the target, or the devices that a NeMo 2 test file spells."""
    if (
        command is not None
        and command.program == "megatron"
        and (started := process_ranks(document, command, "ms-swift 4.6"))
    ):
        return started
    place, devices, nodes = settings.places.get("devices"), settings.values.devices, settings.fact("nodes")
    if place is None or devices is None or nodes.value is None:
        return world(document, command, context)
    return World(Fact(devices * nodes.value, place.source.origin, location(place), "devices x nodes"), nodes)


def _precision(settings: Settings[Config], *, other_defaults: bool) -> Fact[Precision]:
    """16-bit weights beside fp32 main parameters and gradients."""
    if settings.values.fp8 and not (settings.values.bf16 or settings.values.fp16):
        return unknown("fp8 products of fp32 tensors", settings.fact("fp8").location)
    for name, kind in (("fp8", Precision.FP8), ("bf16", Precision.BF16), ("fp16", Precision.FP16)):
        fact = settings.fact(name)
        if name in settings.doubts:
            return unknown(fact.note, fact.location)
        if fact.value:
            return Fact(kind, fact.origin, fact.location)
    if settings.spelled("devices") or other_defaults:
        return unknown("the recipe or the wrapper chooses the precision")
    return default(Precision.FP32, f"neither --bf16 nor --fp16, {_SOURCE}")


def _checkpointing(draft: Draft, settings: Settings[Config], *, other_defaults: bool) -> None:
    fact = settings.fact("recompute")
    if fact.value == "full":
        draft.put("grad_checkpointing", Fact(value=True, origin=fact.origin, location=fact.location))
        return
    if fact.value is not None or settings.values.recompute_attention:
        where = fact if fact.value is not None else settings.fact("recompute_attention")
        note = "selective: attention's inner tensors alone are recomputed"
        draft.put("grad_checkpointing", Fact(value=False, origin=where.origin, location=where.location, note=note))
        draft.put("checkpointing_scope", Fact("selective", where.origin, where.location))
    elif settings.spelled("recompute") or settings.spelled("devices") or other_defaults:
        draft.put("grad_checkpointing", unknown(fact.note or "the recipe or the wrapper chooses"))
    else:
        draft.put("grad_checkpointing", default(value=False, note=f"default of {_SOURCE}"))


def _sharding(settings: Settings[Config], ranks: Fact[int]) -> Fact[str]:
    """The distributed optimizer shares out optimizer states; the two FSDP forms share out more."""
    values = settings.values
    if values.torch_fsdp:
        fact = settings.fact("torch_fsdp")
        return Fact("fsdp", fact.origin, fact.location)
    if values.megatron_fsdp:
        fact = settings.fact("strategy")
        kind = _SHARDING.get(str(fact.value))
        return Fact(kind, fact.origin, fact.location) if kind else unknown(f"no sharding strategy {fact.value}")
    fact = settings.fact("distributed_optimizer")
    if fact.value:
        return Fact("zero1", fact.origin, fact.location, "optimizer states shared out, one main copy in all")
    if ranks.value is None:
        return unknown("depends on the number of ranks")
    return derived("ddp" if ranks.value > 1 else "none", "no distributed optimizer")


def _model(draft: Draft, settings: Settings[Config], command: Command | None, sources: list[Source]) -> None:
    """A GPT's shape is spelled flag by flag; its vocabulary often comes from a tokenizer that is not at hand."""
    if settings.values.fused_loss:
        draft.put("loss_kernel", derived("fused", "--cross-entropy-loss-fusion"))
    if command is not None and _NO_DECODER.search(command.program):
        draft.put("model", unknown(f"{command.program} trains no plain decoder"))
        return
    language_facts(draft, "megatron")
    draft.put("packing", derived(value=True, note="samples are cut from joined documents"))
    flags = read_settings(ModelFlags, sources)
    shape = _shape(settings, flags)
    draft.put("model_shape", shape)
    model_facts(draft, flags)
    name = settings.fact("model")
    draft.put("model", name if name.value is not None else unknown(shape.note))


def _shape(settings: Settings[Config], flags: Settings[ModelFlags]) -> Fact[DecoderShape]:
    values = settings.values
    hidden, heads = values.hidden, values.heads
    pattern = hybrid_layers(flags.values)
    layers = values.layers or flags.values.decoder_layers or (sum(map(len, pattern)) if pattern else None)
    if hidden is None or layers is None or heads is None:
        return unknown("no --hidden-size, --num-layers and --num-attention-heads")
    if (flags.spelled("pattern") and pattern is None) or (settings.spelled("ratios") and pattern is None):
        return unknown("hybrid layers that these flags do not place on the stages")
    if settings.values.uneven and pattern is None and stage_layers(flags.values) is None:
        return unknown("pipeline stages of sizes that these flags do not say")
    if settings.values.offloaded:
        return unknown("offloaded activations: no formula here covers them")
    vocabulary = _vocabulary(values, flags.values.extra_ids or 0)
    if vocabulary is None:
        return unknown("the vocabulary is not spelled here")
    gated = bool(values.gated)
    shape = DecoderShape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=(values.groups or 1) if values.grouped else heads,
        head_dim=head_width(flags, values.head_dim or hidden // heads),
        ffn=values.ffn or (int(4 * hidden * 2 / 3) // 64 * 64 if gated else 4 * hidden),
        vocabulary=vocabulary,
        tied=not values.untied,
        gated=gated,
        norm="rms" if str(values.norm).lower() == "rmsnorm" else "layer",
        biases=not values.no_bias,
    )
    place = settings.places["hidden"]
    return Fact(shape, place.source.origin, location(place), f"flags of {_SOURCE}")


_VOCABULARIES = {"gpt2-vocab.json": 50257, "bpe/vocab.json": 50257, "bert-large-cased-vocab.txt": 28996 + 2}
"""Entries of well-known vocabulary files; Megatron's BERT tokenizer adds ``[BOS]`` and ``[EOS]``."""

_TOKENIZERS = (
    (r"nemotron_2_256k\.model$", 256000),
    (r"multiMixV8\..*\.128k\.vocab\.json$", 131072),
    (r"(?i)llama-?3", 128256),
    (r"(?i)llama-?2|mixtral|mistral-7b(-v0\.1|-instruct-v0\.[12])?$", 32000),
)
"""Entries of tokenizers by what their models are called: Nemotron's, and those of the Llama and first Mistral
families, which all their checkpoints share."""


def _vocabulary(values: Config, extra_ids: int) -> int | None:
    """Padded to a multiple for every tensor-parallel rank (``--make-vocab-size-divisible-by``)."""
    entries = values.vocabulary
    file = str(values.vocabulary_file or "")
    if entries is None:
        entries = next((size for name, size in _VOCABULARIES.items() if file.endswith(name)), None)
    if entries is None and values.tokenizer is not None:
        named = values.tokenizer
        entries = next((size for pattern, size in _TOKENIZERS if re.search(pattern, named)), None)
    if entries is None and values.tokenizer_kind in ("GPT2BPETokenizer", "Llama2Tokenizer"):
        entries = 50257 if values.tokenizer_kind == "GPT2BPETokenizer" else 32000
    if entries is None:
        return None
    multiple = (values.vocabulary_multiple or 128) * (values.tensor or 1)
    return multiple * -(-(entries + extra_ids) // multiple)
