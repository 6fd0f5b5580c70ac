"""nanoGPT: a Python file of bare values; accumulation counts the steps of ALL ranks together.

``train.py`` shares the accumulation out, so the effective batch does not depend on the ranks::

    accumulation of a rank = gradient_accumulation_steps / ranks (asserted to divide)
    effective batch = batch_size x gradient_accumulation_steps

Example (``train_gpt2.py``):

```python
wandb_run_name = "gpt2-124M"
dataset = "openwebtext"
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8
max_iters = 600000
dtype = "bfloat16"
```

```plan gpus=8
micro_batch: 12 file 3
global_accumulation: 40 file 5
accumulation: 5 derived 5
effective_batch: 480 derived
seq_len: 1024 file 4
precision: bf16 file 7
grad_checkpointing: false default
optimizer: AdamW default
sharding: ddp derived
```

A run that no launcher starts has one rank. What a config leaves out is taken from the ``train.py`` of the repository
when it is there, else from nanoGPT's own. A module is a run when it holds the batch, the accumulation and two more of
the trainer's names; the files that only evaluate set no accumulation and are left alone. The vocabulary is known for
datasets of GPT-2 tokens. Sources: nanoGPT ``train.py`` (defaults lines 32-73, ranks 94-95, vocabulary 137-155),
``model.py`` (shape), ``configurator.py`` (``--key=value`` behind the config wins).
"""

from __future__ import annotations

from typing import ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import half, language_facts
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import flag_overrides, only_launch
from vramlint.dialects.places import Place, Source
from vramlint.dialects.reading import Count, Flag, Schema, Settings, Text, keys, read_settings
from vramlint.dialects.spelling_out import scaled
from vramlint.plan import (
    DecoderShape,
    Fact,
    Origin,
    PerRank,
    Precision,
    SharedAccumulation,
    default,
    derived,
    unknown,
)
from vramlint.sources.model import Document, Mapping, Scalar, Unknown
from vramlint.sources.scalars import python_literal

NAME = "nanogpt"
TITLE = "nanoGPT"

_SOURCE = "nanoGPT train.py"


class Config(Schema):
    """The names that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("batch_size", default=12)
    seq_len: Count | None = keys("block_size", default=1024)
    learning_rate: float | None = keys("learning_rate", default=6e-4)
    max_steps: Count | None = keys("max_iters", default=600000)

    global_accumulation: Count | None = keys("gradient_accumulation_steps", default=40)
    dtype: Text | None = keys("dtype")
    init_from: Text | None = keys("init_from", default="scratch")
    dataset: Text | None = keys("dataset", default="openwebtext")
    layers: Count | None = keys("n_layer", default=12)
    heads: Count | None = keys("n_head", default=12)
    hidden: Count | None = keys("n_embd", default=768)
    bias: Flag | None = keys("bias", default=False)
    vocabulary: Count | None = keys("vocab_size")


_DIRECT = ("micro_batch", "seq_len", "learning_rate", "max_steps")
_DTYPES = {"bfloat16": Precision.BF16, "float16": Precision.FP16, "float32": Precision.FP32}
_PRETRAINED = {
    "gpt2": (12, 12, 768),
    "gpt2-medium": (24, 16, 1024),
    "gpt2-large": (36, 20, 1280),
    "gpt2-xl": (48, 25, 1600),
}
"""Layers, heads and width (``model.py#from_pretrained``); 50257 tokens, biases, a context of 1024."""
_GPT2_TOKENS = frozenset({"openwebtext", "shakespeare"})
"""Datasets of the repository whose ``prepare.py`` writes GPT-2 tokens and no ``meta.pkl``."""


_TYPES: dict[str, type] = {
    **dict.fromkeys(
        ("batch_size", "block_size", "gradient_accumulation_steps", "n_layer", "n_head", "n_embd", "max_iters",
         "warmup_iters", "lr_decay_iters", "eval_interval", "eval_iters", "log_interval"),
        int,
    ),
    **dict.fromkeys(("learning_rate", "min_lr", "weight_decay", "beta1", "beta2", "grad_clip", "dropout"), float),
    **dict.fromkeys(("compile", "bias", "decay_lr", "eval_only", "always_save_checkpoint", "wandb_log"), bool),
}  # fmt: skip
"""The types of ``train.py``'s values (nanoGPT 3adf61e1, lines 34-74): ``configurator.py`` line 41 asserts them."""


class Defaults(Source):
    """The module values of the repository's ``train.py``, each as it is first assigned."""

    def __init__(self, document: Document, mapping: Mapping) -> None:
        super().__init__(document, mapping, Origin.DEFAULT, f"default in {document.path}")

    def find(self, dotted: str) -> Place | None:
        """The first assignment; the script changes some of its values later on. An expression is no default."""
        for entry in self.mapping.entries:
            if entry.key == dotted:
                return None if isinstance(entry.value, Unknown) else Place(self, dotted, entry, self.mapping)
        return None


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one module."""
    draft = Draft(claim, document)
    settings = read_settings(Config, _sources(draft, document, context))
    draft.fill(settings, _DIRECT)
    _refused_words(draft, document, context)
    found = _world(document, context)
    policy = _batch(draft, settings, found.ranks)
    draft.put("precision", _precision(settings, context))
    draft.put("optimizer", default("AdamW", f"{_SOURCE}: configure_optimizers"))
    draft.put("grad_checkpointing", default(value=False, note=f"{_SOURCE} keeps all activations"))
    if found.ranks.value is not None:
        draft.put("sharding", derived("ddp" if found.ranks.value > 1 else "none", "DistributedDataParallel or none"))
    shape = _shape(settings)
    draft.put("model_shape", shape)
    draft.put("model", _name(settings, shape))
    language_facts(draft, "nanogpt")
    draft.put("packing", derived(value=True, note="blocks are cut from one stream of tokens"))
    return draft.close(found, policy)


def _sources(draft: Draft, document: Document, context: Context) -> list[Source]:
    sources = flag_overrides(document, context)
    if isinstance(document.root, Mapping):
        sources.append(Source(document, document.root))
    script = context.document("train.py")
    if script is not None and script.path != document.path and isinstance(script.root, Mapping):
        draft.use(script)
        sources.append(Defaults(script, script.root))
    return sources


def _refused_words(draft: Draft, document: Document, context: Context) -> None:
    """``--learning_rate=1`` and ``--compile=false``: the words are evaluated as Python, and another type is refused."""
    script = context.document("train.py")
    known = [each.root for each in (document, script) if each is not None and isinstance(each.root, Mapping)]
    for source in flag_overrides(document, context):
        for key, kind in _TYPES.items():
            place = source.find(key)
            if place is None or not isinstance(place.node, Scalar) or not isinstance(place.node.text, str):
                continue
            given = python_literal(place.node.text)
            own = next((node.value for root in known if isinstance(node := root.get(key), Scalar)), None)
            if own is not None and type(own) is not kind:
                continue  # this project's value is of another type
            if type(given) is not kind:
                draft.doubt(
                    place,
                    f"{key}={place.node.text} is {_a(type(given))} where {_a(kind)} is wanted: nanoGPT stops",
                    f"Write {_HOW[kind]}.",
                )


_HOW = {int: "a whole number", float: "a number with a dot", bool: "True or False"}
_NAMES = {int: "a whole number", float: "a fraction", bool: "a switch", str: "a text"}


def _a(kind: type) -> str:
    return _NAMES.get(kind, f"a {kind.__name__}")


def _world(document: Document, context: Context) -> World:
    """Without a launcher there is no RANK in the environment, and one process trains on one GPU."""
    launch = only_launch(document, context)
    if launch is not None and not launch[1].launchers:
        return World(default(1, "no launcher on the line"), default(1, "no launcher on the line"))
    return world(document, None, context)


def _batch(draft: Draft, settings: Settings[Config], ranks: Fact[int]) -> PerRank | SharedAccumulation:
    """``assert gradient_accumulation_steps % ddp_world_size == 0``, then each rank takes its share."""
    steps = settings.fact("global_accumulation")
    draft.put("global_accumulation", steps)
    if steps.value is None:
        draft.put("accumulation", unknown(steps.note, steps.location))
        return PerRank()
    place = settings.places.get("global_accumulation")
    if place is not None:
        draft.offer("global_accumulation", place)
    if ranks.value is not None and steps.value % ranks.value == 0:
        share = Fact(steps.value // ranks.value, Origin.DERIVED, steps.location, f"{steps.value} / {ranks.value}")
        draft.put("accumulation", share)
        if place is not None:
            draft.offer("accumulation", place, scaled(ranks.value))
    return SharedAccumulation(steps.value)


def _precision(settings: Settings[Config], context: Context) -> Fact[Precision]:
    """Autocast in ``dtype``; by default bf16 where the card has it."""
    fact = settings.fact("dtype")
    if fact.value is None:
        return fact if fact.note else derived(half(context), "bf16 where the card has it, else fp16")
    kind = _DTYPES.get(fact.value)
    if kind is None:
        return unknown(f"dtype {fact.value} is none of nanoGPT's", fact.location)
    return Fact(kind, fact.origin, fact.location, fact.note)


def _name(settings: Settings[Config], shape: Fact[DecoderShape]) -> Fact[str]:
    start = settings.fact("init_from")
    if start.value in _PRETRAINED:
        return Fact(start.value, start.origin, start.location)
    return derived("a GPT of its own shape", "n_layer, n_head and n_embd") if shape.known else unknown(shape.note)


def _shape(settings: Settings[Config]) -> Fact[DecoderShape]:
    values = settings.values
    if values.init_from in _PRETRAINED:
        layers, heads, hidden = _PRETRAINED[values.init_from]
        return derived(_gpt(hidden, layers, heads, 50257, biases=True), f"{values.init_from}: model.py")
    layers_, heads_, hidden_ = values.layers, values.heads, values.hidden
    if values.init_from != "scratch" or settings.doubts.keys() & {"layers", "heads", "hidden", "init_from"}:
        return unknown("the model comes from a checkpoint")
    vocabulary = values.vocabulary or (50304 if values.dataset in _GPT2_TOKENS else None)
    if vocabulary is None or layers_ is None or heads_ is None or hidden_ is None or hidden_ % heads_:
        return unknown(f"the vocabulary of {values.dataset} stands in its meta.pkl")
    shape = _gpt(hidden_, layers_, heads_, vocabulary, biases=bool(values.bias))
    place = settings.places.get("hidden")
    origin = place.source.origin if place is not None and isinstance(place.node, Scalar) else Origin.DEFAULT
    return Fact(shape, origin, None, "n_layer, n_head and n_embd of model.py")


def _gpt(hidden: int, layers: int, heads: int, vocabulary: int, *, biases: bool) -> DecoderShape:
    return DecoderShape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=4 * hidden,
        vocabulary=vocabulary,
        tied=True,
        gated=False,
        norm="layer",
        biases=biases,
    )
