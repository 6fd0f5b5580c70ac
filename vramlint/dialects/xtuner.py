"""XTuner 0.1 and 0.2: Python configs of MMEngine's kind that fine-tune language models of Hugging Face.

The batch is per rank and accumulation explicit; ranks that share a sequence share its samples too::

    effective batch = train_dataloader.batch_size x optim_wrapper.accumulative_counts x ranks / sequence_parallel_size

Example (``qwen_7b_qlora.py``):

```python
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from peft import LoraConfig
from xtuner.model import SupervisedFinetune

max_length = 2048
pack_to_max_length = True
model = dict(
    type=SupervisedFinetune,
    llm=dict(
        type=AutoModelForCausalLM.from_pretrained,
        pretrained_model_name_or_path="Qwen/Qwen2.5-7B",
        torch_dtype=torch.float16,
        quantization_config=dict(type=BitsAndBytesConfig, load_in_4bit=True, bnb_4bit_use_double_quant=True),
    ),
    lora=dict(type=LoraConfig, r=64, lora_dropout=0.1),
)
train_dataloader = dict(batch_size=1, num_workers=4, dataset=dict(max_length=max_length))
optim_wrapper = dict(type=AmpOptimWrapper, accumulative_counts=16, dtype="float16")
```

```plan gpus=1
micro_batch: 1 file 17
accumulation: 16 file 18
effective_batch: 16 derived
seq_len: 2048 file 5
adapter: qlora file 13
adapter_rank: 64 file 15
grad_checkpointing: true default
precision: pure-fp16 file 12
model: Qwen/Qwen2.5-7B file 11
workers_per_rank: 4 file 17
```

Activation checkpointing is on unless ``use_activation_checkpointing`` says otherwise, and adapters go to every linear
layer. ``NPROC_PER_NODE`` in front of ``xtuner train`` starts the ranks, ``--deepspeed deepspeed_zero2`` shards.

Sources: XTuner 2026-08, ``xtuner/model/sft.py`` (``SupervisedFinetune``), ``model/utils.py#find_all_linear_names``,
``entry_point.py`` (ranks), ``configs/deepspeed/`` (DeepSpeed by name), ``parallel/sequence`` (samples of a group).
"""

from __future__ import annotations

import re
from typing import ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.environment_ranks import process_ranks
from vramlint.dialects.language import STAGES, language_facts, low_precision_weights, preference
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import flag_overrides, word_overrides
from vramlint.dialects.places import Source, locate, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, plain_value, read_settings
from vramlint.plan import Fact, Origin, Precision, derived, unknown
from vramlint.sources.model import Document, Mapping, Scalar, Unknown, lookup

NAME = "xtuner"
TITLE = "XTuner"

_SOURCE = "XTuner 2026-08"


class Config(Schema):
    """The values that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train_dataloader.batch_size", default=1)
    accumulation: Count | None = keys("optim_wrapper.accumulative_counts", default=1)
    workers_per_rank: Natural | None = keys("train_dataloader.num_workers", default=0)
    learning_rate: float | None = keys("optim_wrapper.optimizer.lr")
    epochs: Count | None = keys("train_cfg.max_epochs")
    max_steps: Count | None = keys("train_cfg.max_iters")
    seq_len: Count | None = keys("max_length", "train_dataloader.dataset.max_length")
    grad_checkpointing: Flag | None = keys("model.use_activation_checkpointing", default=True)
    model: Text | None = keys("model.llm.pretrained_model_name_or_path")
    adapter_rank: Count | None = keys("model.lora.r")

    packing: Flag | None = keys("pack_to_max_length", "train_dataloader.dataset.pack_to_max_length")
    in_four_bits: Flag | None = keys("model.llm.quantization_config.load_in_4bit")
    in_eight_bits: Flag | None = keys("model.llm.quantization_config.load_in_8bit")
    twice: Flag | None = keys("model.llm.quantization_config.bnb_4bit_use_double_quant")
    adapter_dropout: float | None = keys("model.lora.lora_dropout")
    sequence_ranks: Count | None = keys("sequence_parallel_size", default=1)
    computes: Text | None = keys("optim_wrapper.dtype", default="float16")


_DIRECT = tuple(Config.model_fields)[:10]


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one config, with what ``--cfg-options`` of its launch line changes."""
    own = [Source(document, document.root)] if isinstance(document.root, Mapping) else []
    settings = read_settings(Config, [*word_overrides(document, context), *own])
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    language_facts(draft, "transformers")
    draft.put("packing", settings.fact("packing"))
    draft.put("optimizer", _optimizer(document))
    _adapter(draft, settings, document)
    _precision(draft, settings, document)
    _sharding(draft, document, context)
    _kind(draft, document)
    return draft.close(_ranks(document, context), model_parallel=settings.values.sequence_ranks)


def _ranks(document: Document, context: Context) -> World:
    launches = context.launches(document)
    found = [process_ranks(at, line, _SOURCE) for at, line in launches if line.program == "xtuner"]
    return found[0] if len(found) == 1 and found[0] is not None else world(document, None, context)


def _named(document: Document, dotted: str) -> tuple[str, Scalar | Unknown | None]:
    """The class or dtype at ``dotted``, by its own name where a variable or a text stands for it."""
    node = lookup(document.root, dotted)
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value.rsplit(".", 1)[-1], node
    if not isinstance(node, Unknown):
        return "", None
    variable = lookup(document.root, node.text) if node.text.isidentifier() else None
    text = variable.text if isinstance(variable, Unknown) else node.text
    return text.rsplit(".", 1)[-1], node


def _optimizer(document: Document) -> Fact[str]:
    name, node = _named(document, "optim_wrapper.optimizer.type")
    if node is None:
        return unknown("no optimizer is named")
    return Fact(name, Origin.FILE, locate(document, node.span))


def _adapter(draft: Draft, settings: Settings[Config], document: Document) -> None:
    """``lora`` beside ``llm``; its layers are all linear ones unless it names them."""
    model, lora = lookup(document.root, "model"), lookup(document.root, "model.lora")
    if not isinstance(model, Mapping) or isinstance(lora, Unknown):
        draft.put("adapter", unknown("the model is put together elsewhere"))
        return
    if not isinstance(lora, Mapping):
        draft.put("adapter", derived("none", "no lora beside the model"))
        return
    four, eight = settings.fact("in_four_bits"), settings.fact("in_eight_bits")
    place = settings.places.get("in_four_bits") if four.value else settings.places.get("adapter_rank")
    note = "lora beside the model"
    draft.put(
        "adapter",
        derived("qlora" if four.value else "lora", note)
        if place is None
        else Fact("qlora" if four.value else "lora", Origin.FILE, location(place), note),
    )
    targets = lookup(lora, "target_modules")
    draft.put("adapter_targets", derived(plain_value(targets) if targets is not None else "all-linear", note))
    draft.put("adapter_dropout", settings.fact("adapter_dropout"))
    if four.value:
        draft.put("double_quantization", settings.fact("twice"))
    elif eight.value:
        draft.put("base_quantization", eight._replace(value="int8"))


_HELD = {"float16": Precision.PURE_FP16, "bfloat16": Precision.PURE_BF16}
_COMPUTES = {"float16": Precision.FP16, "bfloat16": Precision.BF16}


def _precision(draft: Draft, settings: Settings[Config], document: Document) -> None:
    """Weights as ``torch_dtype`` loads them, autocast where the optimizer wrapper is ``AmpOptimWrapper``."""
    dtype, node = _named(document, "model.llm.torch_dtype")
    wrapper, _ = _named(document, "optim_wrapper.type")
    if dtype in _HELD and node is not None:
        draft.put("precision", Fact(_HELD[dtype], Origin.FILE, locate(document, node.span), f"weights in {dtype}"))
        return
    if node is None:
        draft.put("weights_as_saved", derived(value=True, note="from_pretrained is given no dtype"))
    if not wrapper:
        draft.put("precision", unknown("no optimizer wrapper is named"))
        return
    if wrapper != "AmpOptimWrapper":
        draft.put("precision", derived(Precision.FP32, f"{wrapper} does not autocast"))
        return
    fact = settings.fact("computes")
    kind = _COMPUTES.get(str(fact.value))
    text = f"autocast to {fact.value}"
    draft.put("precision", unknown(text, fact.location) if kind is None else fact._replace(value=kind, note=text))


_NAMED = re.compile(r"deepspeed_zero([123])(_offload)?")


def _sharding(draft: Draft, document: Document, context: Context) -> None:
    """``--deepspeed deepspeed_zero2`` on the launch line."""
    for source in flag_overrides(document, context):
        place = source.find("deepspeed")
        if place is None:
            continue
        where, text = location(place), str(plain_value(place.node))
        found = _NAMED.fullmatch(text)
        if found is None:
            draft.put("sharding", unknown(f"the ZeRO stage stands in {text}", where))
            return
        draft.put("sharding", Fact(STAGES[int(found[1])], Origin.LAUNCH, where, text))
        low_precision_weights(draft, "DeepSpeed runs the model in 16 bits beside fp32 main weights, without autocast")
        if found[2]:
            draft.put("offload_optimizer", Fact(value=True, origin=Origin.LAUNCH, location=where, note=text))
        if found[2] and found[1] == "3":
            draft.put("offload_parameters", Fact(value=True, origin=Origin.LAUNCH, location=where, note=text))


_PREFERENCES = {"DPO": "dpo", "ORPO": "orpo", "RewardModel": "reward"}


def _kind(draft: Draft, document: Document) -> None:
    """What the model class trains: preferences are counted in pairs, towers beside the language model are not read."""
    name, node = _named(document, "model.type")
    if name in _PREFERENCES:
        draft.put("batch_unit", derived("pairs", f"{name} counts pairs"))
        preference(draft, _PREFERENCES[name])
    elif name != "SupervisedFinetune":
        where = None if node is None else locate(document, node.span)
        draft.put("model", unknown(f"{name or 'the model'} is more than a language model", where))
        draft.put("adapter", unknown("which parts are trained or adapted is not worked out", where))
        draft.put("precision", unknown("the parts beside the language model have dtypes of their own", where))
