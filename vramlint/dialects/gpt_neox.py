"""gpt-neox: one run in several YAML files; DeepSpeed's three batch keys over data-parallel ranks.

Any two of the three keys give the third with floor divisions, and a mismatch stops the run::

    data-parallel ranks = ranks / (pipe_parallel_size, 0 being 1) / model_parallel_size
    train_batch_size = train_micro_batch_size_per_gpu x gradient_accumulation_steps x data-parallel ranks

Example (``125M.yml``):

```yaml
{
  "pipe-parallel-size": 1,
  "model-parallel-size": 2,
  "num-layers": 12,
  "hidden-size": 768,
  "num-attention-heads": 12,
  "seq-length": 2048,
  "optimizer": {"type": "Adam", "params": {"lr": 0.0006}},
  "zero_optimization": {"stage": 1},
  "train_micro_batch_size_per_gpu": 4,
  "gradient_accumulation_steps": 8,
  "checkpoint-activations": true,
  "fp16": {"enabled": true},
  "train-iters": 320000
}
```

```plan gpus=8
micro_batch: 4 file 10
accumulation: 8 file 11
data_parallel: 4 derived
effective_batch: 128 derived
seq_len: 2048 file 7
precision: fp16 file 13
grad_checkpointing: true file 12
sharding: zero1 file 9
optimizer: Adam file 8
workers_per_rank: 2 default
```

Keys are spelled with hyphens or underscores. ``deepy.py train.py 125M.yml local_setup.yml`` merges its files, so the
others of the one launch line known are read too. A file with a batch or a model's layers is a run (its missing half is
UNKNOWN); files with neither (paths of data, a cluster, text generation) are fragments and left alone. Sources: gpt-neox
2026-05, ``megatron/neox_arguments/arguments.py`` (``calculate_batch_parameters``, ``calculate_derived``: precision,
ranks), ``neox_args.py`` (defaults), ``megatron/model/transformer.py#ParallelMLP`` (width of gated layers).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import STAGES, language_facts, low_precision_weights, product, torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import only_launch
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, read_settings
from vramlint.plan import DecoderShape, Fact, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Command, Document, Mapping, Node, Scalar
from vramlint.sources.model import Sequence as Items

NAME = "gpt_neox"
TITLE = "gpt-neox"

_SOURCE = "gpt-neox 2026-05"


class Config(Schema):
    """The keys that decide batch and memory, with underscores."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train_micro_batch_size_per_gpu")
    accumulation: Count | None = keys("gradient_accumulation_steps")
    global_batch: Count | None = keys("train_batch_size")
    seq_len: Count | None = keys("seq_length")
    grad_checkpointing: Flag | None = keys("checkpoint_activations", default=False)
    optimizer: Text | None = keys("optimizer.type", default="Adam")
    learning_rate: float | None = keys("optimizer.params.lr")
    workers_per_rank: Natural | None = keys("num_workers", default=2)
    max_steps: Count | None = keys("train_iters")

    packing: Text | None = keys("pack_impl", default="packed")
    pipeline: Natural | None = keys("pipe_parallel_size", default=0)
    tensor: Natural | None = keys("model_parallel_size", default=1)
    gpus: Count | None = keys("num_gpus")
    nodes: Count | None = keys("num_nodes", default=1)
    stage: Natural | None = keys("zero_optimization.stage", default=0)
    precision: Text | None = keys("precision")
    fp16: Flag | None = keys("fp16.enabled")
    bf16: Flag | None = keys("bf16.enabled", "bfloat16.enabled")
    hidden: Count | None = keys("hidden_size")
    layers: Count | None = keys("num_layers")
    heads: Count | None = keys("num_attention_heads")
    kv_heads: Count | None = keys("num_kv_heads")
    ffn: Count | None = keys("intermediate_size")
    multiple: Count | None = keys("mlp_multiple_of", default=1)
    activation: Text | None = keys("activation", default="gelu")
    norm: Text | None = keys("norm", default="layernorm")
    untied: Flag | None = keys("no_weight_tying", default=False)
    norm_bias: Flag | None = keys("use_bias_in_norms", default=True)
    attention_bias: Flag | None = keys("use_bias_in_attn_linear", default=True)
    parallel_residual: Flag | None = keys("gpt_j_residual", default=False)
    attention: Any = keys("attention_config")
    experts: Count | None = keys("moe_num_experts", default=1)
    vocabulary: Count | None = keys("padded_vocab_size")
    vocabulary_multiple: Count | None = keys("make_vocab_size_divisible_by", default=128)
    vocabulary_file: Text | None = keys("vocab_file")
    tokenizer: Text | None = keys("tokenizer_type", default="GPT2BPETokenizer")
    position: Text | None = keys("pos_emb", default="learned")
    positions: Count | None = keys("max_position_embeddings")
    partitioned: Flag | None = keys("partition_activations", default=False)


_DIRECT = tuple(Config.model_fields)[:9]
_GATED = frozenset({"swiglu", "geglu", "reglu", "bilinear", "glu"})
_VOCABULARIES = {"gpt2-vocab.json": 50257, "20B_tokenizer.json": 50277}
"""Entries of the two vocabularies that the project's own configs use (``configs/local_setup.yml``, Pythia's)."""


class DashedSource(Source):
    """A file whose keys may be spelled with hyphens (``NeoXArgs.from_ymls`` replaces them)."""

    def find(self, dotted: str) -> Place | None:
        """``seq_length`` as ``seq_length`` or ``seq-length``."""
        first, _, rest = dotted.partition(".")
        tail = f".{rest}" if rest else ""
        return super().find(dotted) or super().find(f"{first.replace('_', '-')}{tail}")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of the run that this file belongs to."""
    documents = [document, *_others(document, context)]
    sources = [DashedSource(each, each.root) for each in documents if isinstance(each.root, Mapping)]
    settings = read_settings(Config, sources)
    draft = Draft(claim, document)
    for other in documents[1:]:
        draft.use(other)
    draft.fill(settings, _DIRECT)
    shared = _shared(settings)
    found = _world(document, context, settings)
    _batch(draft, settings, found.ranks.value, shared)
    draft.put("precision", _precision(settings))
    stage = settings.fact("stage")
    kind = STAGES.get(stage.value) if stage.value is not None else None
    draft.put("sharding", Fact(kind, stage.origin, stage.location) if kind else unknown("no known ZeRO stage"))
    draft.put("pin_memory", default(value=True, note=f"the loader of {_SOURCE}"))
    torch_prefetch(draft)
    language_facts(draft, "gpt-neox")
    if settings.values.packing == "packed":
        draft.put("packing", derived(value=True, note="samples are cut from joined documents"))
    if draft.plan.precision.value in (Precision.BF16, Precision.FP16):
        low_precision_weights(draft, "DeepSpeed holds fp32 main weights")
    draft.put("model_shape", _shape(settings))
    _blocks(draft, settings)
    draft.put("model", unknown(draft.plan.model_shape.note))
    if not any(settings.spelled(name) for name in ("micro_batch", "global_batch", "accumulation", "stage")):
        _withhold_defaults(draft)
    return draft.close(found, model_parallel=shared)


def _withhold_defaults(draft: Draft) -> None:
    """A file that describes the model alone runs with others: what it does not spell is no default."""
    for name, fact in list(draft.plan.facts()):
        if fact.origin is Origin.DEFAULT:
            draft.put(name, unknown("may stand in another file of the run"))


def _blocks(draft: Draft, settings: Settings[Config]) -> None:
    """For the estimator: what the shape leaves open of the blocks, and what tensor-parallel ranks share of them."""
    values = settings.values
    if values.position == "learned" and values.positions is not None:
        draft.put("learned_positions", derived(values.positions, "pos_emb learned"))
    draft.put("parallel_residual", derived(bool(values.parallel_residual), "gpt_j_residual"))
    if values.partitioned:
        draft.put("partitioned_checkpoints", derived(value=True, note="partition_activations"))
    if draft.plan.model_shape.known and _spelled_vocabulary(values) is None:
        draft.put("assumed", derived(f"vocabulary of {values.tokenizer}: {_entries(values):,} entries", _SOURCE))


def _others(document: Document, context: Context) -> Iterator[Document]:
    """The other YAML files on the one launch line, from the project root or from the folder of ``-d``."""
    launch = only_launch(document, context)
    if launch is None:
        return
    words = [word for word in _words(launch[1]) if word.endswith((".yml", ".yaml"))]
    folders = [word for word in _words(launch[1]) if "." not in word]
    for word in words:
        for path in (word, *(f"{folder}/{word}" for folder in folders)):
            found = context.document(path)
            if found is not None:
                if found.path != document.path:
                    yield found
                break


def _words(command: Command) -> Iterator[str]:
    nodes: list[Node] = [*command.positionals, *(entry.value for entry in command.options.entries)]
    for node in nodes:
        for item in node.items if isinstance(node, Items) else [node]:
            if isinstance(item, Scalar) and isinstance(item.value, str):
                yield item.value


def _shared(settings: Settings[Config]) -> int | None:
    """Ranks that share one copy of the model; a file without the model leaves that to the file that has it."""
    if not any(settings.spelled(name) for name in ("layers", "pipeline", "tensor")):
        return None
    return product(settings.values.pipeline, settings.values.tensor)


def _batch(draft: Draft, settings: Settings[Config], world_size: int | None, shared: int | None) -> None:
    """``calculate_batch_parameters``: floor divisions; a micro batch alone means one step."""
    values = settings.values
    ranks = world_size // shared if world_size and shared and world_size % shared == 0 else None
    total, micro, steps = values.global_batch, values.micro_batch, values.accumulation
    if settings.doubts.keys() & {"global_batch", "micro_batch", "accumulation"}:
        return
    if total is not None and micro is None:
        divisor = (ranks or 0) * (steps or 1)
        note = f"{total} // {ranks}" + (f" // {steps}" if steps else "")
        draft.put("micro_batch", _floored(total, divisor, note))
    if steps is not None:
        return
    if total is None and micro is None:
        draft.put("accumulation", unknown("the batch is spelled in another file of the run"))
    elif total is None or micro is None:
        draft.put("accumulation", default(1, f"one batch key alone: one step, {_SOURCE}"))
    else:
        draft.put("accumulation", _floored(total, micro * (ranks or 0), f"{total} // {micro} // {ranks}"))


def _floored(total: int, divisor: int, note: str) -> Fact[int]:
    if not divisor:
        return unknown("data-parallel ranks unknown")
    return derived(total // divisor, note) if total >= divisor else unknown(f"{note} is nothing at all")


def _world(document: Document, context: Context, settings: Settings[Config]) -> World:
    """``num_gpus`` on each of ``num_nodes``, else the launch line or the target."""
    place, gpus, nodes = settings.places.get("gpus"), settings.values.gpus, settings.fact("nodes")
    if place is None or gpus is None or nodes.value is None:
        return world(document, None, context)
    note = "" if nodes.value == 1 else f"{gpus} on each of {nodes.value} nodes"
    return World(Fact(gpus * nodes.value, place.source.origin, location(place), note), nodes)


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    """DeepSpeed holds 16-bit weights beside fp32 masters: as many bytes as autocast over fp32 weights."""
    for name, kind in (("fp16", Precision.FP16), ("bf16", Precision.BF16)):
        fact = settings.fact(name)
        if fact.value:
            return Fact(kind, fact.origin, fact.location)
        if name in settings.doubts:
            return unknown(fact.note, fact.location)
    word = settings.fact("precision")
    if not any(settings.spelled(name) for name in ("micro_batch", "global_batch", "precision", "fp16", "bf16")):
        return unknown("training is spelled in another file of the run")
    kinds = {"fp16": Precision.FP16, "bfloat16": Precision.BF16, "fp32": Precision.FP32}
    if word.value is None:
        return default(Precision.FP32, f"neither fp16 nor bf16 is enabled, {_SOURCE}")
    if word.value not in kinds:
        return unknown(f"precision {word.value} is none of gpt-neox's", word.location)
    return Fact(kinds[word.value], word.origin, word.location)


def _shape(settings: Settings[Config]) -> Fact[DecoderShape]:
    """A plain decoder's shape; other blocks and experts are more than a shape."""
    values = settings.values
    hidden, layers, heads = values.hidden, values.layers, values.heads
    if hidden is None or layers is None or heads is None:
        return unknown("the model is spelled in another file of the run")
    if not _plain_attention(values.attention) or (values.experts or 1) > 1:
        return unknown("blocks of a kind that no formula here covers")
    vocabulary = _vocabulary(values)
    if vocabulary is None:
        return unknown("the vocabulary is not spelled here")
    gated = values.activation in _GATED
    shape = DecoderShape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=values.kv_heads or heads,
        head_dim=hidden // heads,
        ffn=_width(values.ffn or 4 * hidden, values.multiple or 1) if gated else values.ffn or 4 * hidden,
        vocabulary=vocabulary,
        tied=not values.untied,
        gated=gated,
        norm="rms" if "rms" in str(values.norm) else "layer",
        biases=bool(values.attention_bias and values.norm_bias),
    )
    return Fact(shape, Origin.FILE, location(settings.places["hidden"]), f"keys of {_SOURCE}")


def _width(ffn: int, multiple: int) -> int:
    """Gated layers keep the parameters of plain ones: two thirds of the width, in two halves, rounded up."""
    half = int(ffn * 2 / 3) // 2
    return multiple * -(-half // multiple)


def _plain_attention(config: object) -> bool:
    """``[[["flash"], 32]]``: every layer's attention is full attention."""
    if config is None:
        return True
    if not isinstance(config, list):
        return False
    kinds = [kind for group in config if isinstance(group, list) and group for kind in _listed(group[0])]
    return bool(kinds) and all(kind in ("global", "flash") for kind in kinds)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _vocabulary(values: Config) -> int | None:
    """Padded to a multiple for every tensor-parallel rank."""
    if values.vocabulary is not None:
        return values.vocabulary
    size = _entries(values)
    if size is None:
        return None
    multiple = (values.vocabulary_multiple or 128) * (values.tensor or 1)
    return multiple * -(-size // multiple)


def _spelled_vocabulary(values: Config) -> int | None:
    return values.vocabulary or _VOCABULARIES.get(str(values.vocabulary_file or "").rsplit("/", 1)[-1])


def _entries(values: Config) -> int | None:
    """Entries of the vocabulary; of a tokenizer whose file stands in another file of the run, the project's own."""
    spelled = _spelled_vocabulary(values)
    if spelled is not None or values.vocabulary_file is not None:
        return spelled
    return {"GPT2BPETokenizer": 50257, "HFTokenizer": 50277}.get(str(values.tokenizer))
