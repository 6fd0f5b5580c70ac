"""Hugging Face Trainer: ``TrainingArguments`` as flat YAML or JSON, as a Python call, or as flags.

The batch is per rank and accumulation is explicit::

    effective batch = per_device_train_batch_size x ranks x gradient_accumulation_steps

Example (``sft.yaml``):

```yaml
model_name_or_path: Qwen/Qwen2.5-0.5B
per_device_train_batch_size: 4
gradient_accumulation_steps: 8
bf16: true
gradient_checkpointing: true
dataloader_num_workers: 4
learning_rate: 2.0e-5
```

```plan gpus=2
micro_batch: 4 file 2
accumulation: 8 file 3
effective_batch: 64 derived
precision: bf16 file 4
grad_checkpointing: true file 5
workers_per_rank: 4 file 6
pin_memory: true default
model: Qwen/Qwen2.5-0.5B file 1
```

Sources: transformers 5.23.0, ``training_args.py`` (fields and defaults), ``trainer.py#get_total_train_batch_size``. How
scripts call adapters and quantised weights: peft 0.21 ``examples/sft/train.py`` (``use_4bit_quantization``), TRL 1.10
``trainer/model_config.py``, qlora ``qlora.py`` and LLaVA ``llava/train/train.py`` (``bits``, ``lora_enable``), FastChat
``fastchat/train/train_lora.py`` (``q_lora``).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.agreement import agreed
from vramlint.dialects.draft import Draft, title_of, value_misread
from vramlint.dialects.hf_script import script_facts
from vramlint.dialects.hf_vision import image_size_of_flags
from vramlint.dialects.language import deepspeed_sharding, low_precision_weights, optimizer_shapes, torch_prefetch
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import launch_sources
from vramlint.dialects.places import Place, Source, flags, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, read_settings
from vramlint.dialects.seq2seq import pair_lengths
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.rule import Confidence, Severity
from vramlint.sources.model import Command, Definition, Document, Mapping, Scalar, Syntax

NAME = "hf_trainer"
TITLE = "Hugging Face TrainingArguments"

_TRANSFORMERS = "transformers 5.23.0"


class Arguments(Schema):
    """``TrainingArguments`` and what stands beside it in one YAML (model and data arguments)."""

    source: ClassVar[str] = _TRANSFORMERS

    micro_batch: Count | None = keys("per_device_train_batch_size", "per_gpu_train_batch_size", default=8)
    accumulation: Count | None = keys("gradient_accumulation_steps", default=1)
    eval_batch: Count | None = keys("per_device_eval_batch_size", "per_gpu_eval_batch_size", default=8)
    grad_checkpointing: Flag | None = keys("activation_checkpointing", "gradient_checkpointing", default=False)
    optimizer: Text | None = keys("optim", default="adamw_torch_fused")
    workers_per_rank: Natural | None = keys("dataloader_num_workers", default=0)
    prefetch_factor: Natural | None = keys("dataloader_prefetch_factor")
    persistent_workers: Flag | None = keys("dataloader_persistent_workers", default=False)
    pin_memory: Flag | None = keys("dataloader_pin_memory", default=True)
    model: Text | None = keys("model_name_or_path", "model_name", "model_id")
    seq_len: Count | None = keys("max_seq_length", "max_length", "block_size", "model_max_length", "max_seq_len")
    adapter_rank: Count | None = keys("lora_r", "lora_rank", "peft_lora_r")
    epochs: float | None = keys("num_train_epochs")
    max_steps: int | None = keys("max_steps")
    learning_rate: float | None = keys("learning_rate")

    optim_args: Any = keys("optim_args")
    optim_targets: Any = keys("optim_target_modules")
    bf16: Flag | None = keys("bf16")
    fp16: Flag | None = keys("fp16")
    weights: Text | None = keys("torch_dtype", "dtype")
    liger: Flag | None = keys("use_liger_kernel", "use_liger")
    packing: Flag | None = keys("packing")
    use_peft: Flag | None = keys("use_peft", "use_lora", "use_peft_lora", "lora_enable", "q_lora")
    load_in_4bit: Flag | None = keys("load_in_4bit", "use_4bit_quantization", "use_4bit", "q_lora")
    load_in_8bit: Flag | None = keys("load_in_8bit", "use_8bit_quantization", "use_8bit")
    bits: Any = keys("bits")
    adapter_targets: Any = keys("lora_target_modules", "target_modules", "lora_targets")
    adapter_dropout: float | None = keys("lora_dropout")
    nested: Flag | None = keys("bnb_4bit_use_double_quant", "use_bnb_nested_quant", "use_nested_quant", "double_quant")
    auto_find_batch_size: Flag | None = keys("auto_find_batch_size", default=False)
    split_batches: Flag | None = keys("accelerator_config.split_batches", "split_batches")
    fsdp: Any = keys("fsdp")
    deepspeed: Any = keys("deepspeed")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of a file, a call or a command that carries TrainingArguments."""
    draft = Draft(claim, document, _title(claim, document))
    sources = arguments_of(claim, document, context)
    settings = read_settings(Arguments, sources)
    fill(draft, claim, settings, context)
    pair_lengths(draft, claim, sources)
    _misread(draft, sources, document, context)
    image_size_of_flags(draft, sources, claim.subject if isinstance(claim.subject, Command) else None)
    command = claim.subject if isinstance(claim.subject, Command) else None
    return agreed(draft.close(world(document, command, context)), claim, settings, sources, context)


def fill(draft: Draft, claim: Claim, settings: Settings[Any], context: Context) -> None:
    """Everything that TrainingArguments and the model arguments beside them say, with slots."""
    draft.fill(settings)
    _precision(draft, settings, context=context)
    _adapter(draft, settings)
    _sharding(draft, settings, context)
    if settings.values.auto_find_batch_size:
        draft.put("micro_batch", unknown("auto_find_batch_size halves the batch until it fits"))
    if settings.values.split_batches:
        draft.put("micro_batch", unknown("split_batches makes the batch a global one"))
    optimizer_shapes(draft, settings.fact("optim_args"), settings.fact("optim_targets"))
    torch_prefetch(draft)
    draft.put("packing", settings.fact("packing"))
    if settings.values.liger:
        draft.put("fused_loss", derived(value=True, note="Liger's fused cross entropy holds no full logits"))
    draft.put("task", derived("causal-lm", "a language model is trained") if draft.plan.seq_len.known else unknown())
    if isinstance(claim.subject, Definition):
        script_facts(draft, draft.document)
    _slots(draft, claim, draft.document, context)


def arguments_of(claim: Claim, document: Document, context: Context) -> list[Source]:
    """Where the arguments stand: flags, then the file that ``--config`` names; the keywords of a call; a file's keys.

    A file's keys become defaults of the flags (TRL 1.10 ``scripts/utils.py#parse_args_and_config``; H4ArgumentParser of
    alignment-handbook), so the flags of the one line that launches it win.
    """
    match claim.subject:
        case Command() as command:
            return [*flags(document, command), *_named_file(command, context)]
        case Definition() as call:
            return [Source(document, call.members)]
        case _:
            return launch_sources(document, context)


def _named_file(command: Command, context: Context) -> list[Source]:
    node = command.options.get("--config")
    named = [node, *command.positionals] if isinstance(node, Scalar) else command.positionals
    for word in named:
        if isinstance(word, Scalar) and str(word.value).endswith((".yaml", ".yml", ".json")):
            found = context.document(str(word.value))
            if found is not None and isinstance(found.root, Mapping):
                return [Source(found, found.root)]
    return []


def _title(claim: Claim, document: Document) -> str:
    match claim.subject:
        case Command() as command:
            return title_of(document, command)
        case Definition() as call:
            return f"{call.name} in {call.function}" if call.function else call.name
        case _:
            return ""


_HELD = {(Precision.BF16, "bfloat16"): Precision.PURE_BF16}
"""bf16 compute on weights that are loaded in bf16 holds no fp32 copy."""


def _precision(draft: Draft, settings: Settings[Arguments], *, context: Context) -> None:
    """``bf16`` and ``fp16`` are two switches; neither is fp32."""
    for name, kind in (("bf16", Precision.BF16), ("fp16", Precision.FP16)):
        fact = settings.fact(name)
        if name in settings.places and not fact.known:
            draft.put("precision", fact)
            return
        if fact.value:
            held = _HELD.get((kind, str(settings.values.weights).removeprefix("torch.")))
            note = f"weights are loaded in {settings.values.weights}" if held else fact.note
            draft.put("precision", Fact(held or kind, fact.origin, fact.location, note))
            draft.offer("precision", settings.places[name])
            return
    draft.put(
        "precision", default(Precision.FP32, f"default of {_TRANSFORMERS}, unless accelerate launch says otherwise")
    )
    spelled = [name for name in ("bf16", "fp16") if name in settings.places]
    wanted = _half(context)
    name = wanted if wanted in spelled or not spelled else spelled[0]
    if name in settings.places:
        place = settings.places[name]
        draft.put("precision", Fact(Precision.FP32, place.source.origin, settings.fact(name).location))
        draft.offer("precision", place)


def _half(context: Context) -> str:
    """The 16-bit switch to turn on: bf16 where the card is known to have it, else fp16, which every card has."""
    gpu = context.target.gpu
    return "bf16" if gpu is not None and gpu.has_bf16 else "fp16"


def _adapter(draft: Draft, settings: Settings[Arguments]) -> None:
    values = settings.values
    if values.use_peft or (values.use_peft is None and values.adapter_rank is not None):
        place = settings.places.get("use_peft") or settings.places.get("adapter_rank")
        in_four = values.load_in_4bit or values.bits == 4
        for name in ("adapter_targets", "adapter_dropout"):
            if settings.spelled(name):
                draft.put(name, settings.fact(name))
        if values.nested is not None:
            draft.put("double_quantization", settings.fact("nested"))
        if values.bits == 8 or values.load_in_8bit:
            name = "bits" if values.bits == 8 else "load_in_8bit"
            draft.put("base_quantization", settings.fact(name)._replace(value="int8"))
        kind = "qlora" if in_four else "lora"
        note = "use_peft" if values.use_peft else "a LoRA rank is given"
        draft.put("adapter", derived(kind, note if place is None else f"{place.name} is set"))


def _sharding(draft: Draft, settings: Settings[Arguments], context: Context) -> None:
    """Which sharding is asked for; a DeepSpeed stage stands in the file that is named."""
    if deepspeed_sharding(draft, settings.places.get("deepspeed"), context):
        low_precision_weights(draft, "DeepSpeed runs the model in 16 bits beside fp32 main weights, without autocast")
        return
    if not settings.values.fsdp:
        return
    fact = settings.fact("fsdp")
    draft.put("sharding", Fact("fsdp", fact.origin, fact.location))
    # accelerate 1.15 ``state.py`` hands the precision to FSDP, which gathers fp32 shards as 16-bit weights
    low_precision_weights(draft, "FSDP gathers the weights in the precision of the run")


_INSERTABLE = {
    "micro_batch": "per_device_train_batch_size",
    "accumulation": "gradient_accumulation_steps",
    "grad_checkpointing": "gradient_checkpointing",
    "workers_per_rank": "dataloader_num_workers",
    "prefetch_factor": "dataloader_prefetch_factor",
    "persistent_workers": "dataloader_persistent_workers",
    "pin_memory": "dataloader_pin_memory",
}
_PREDECESSORS = {
    "accumulation": ("per_device_train_batch_size",),
    "precision": ("gradient_accumulation_steps", "per_device_train_batch_size"),
    "grad_checkpointing": ("gradient_accumulation_steps", "per_device_train_batch_size"),
    "workers_per_rank": ("dataloader_prefetch_factor", "dataloader_pin_memory"),
}
"""After which key a new one reads best."""


def _slots(draft: Draft, claim: Claim, document: Document, context: Context) -> None:
    """Every key is known to the parser, so a missing one can be added: to the file, the call or the command."""
    subject = claim.subject
    if isinstance(subject, Command):
        parent, dashes = subject.options, "--"
    elif isinstance(subject, Definition):
        parent, dashes = subject.members, ""
    elif isinstance(document.root, Mapping):
        parent, dashes = document.root, ""
    else:
        return
    for fact, key in _INSERTABLE.items():
        if not getattr(draft.plan, fact).spelled:
            draft.offer_insert(fact, document, parent, dashes + key, after=_after(parent, fact, dashes))
    precision = draft.plan.precision
    if precision.value is Precision.FP32 and not precision.spelled:
        key = _half(context)
        after = _after(parent, "precision", dashes)
        draft.offer_insert("precision", document, parent, dashes + key, spelling_out.precision(key), after=after)


def _after(parent: Mapping, fact: str, dashes: str) -> str | None:
    return next((dashes + key for key in _PREDECESSORS.get(fact, ()) if parent.get(dashes + key) is not None), None)


_NUMBERS = ("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm")
"""Numbers that people write with an exponent; the trainer or the optimizer compares each."""


def _misread(draft: Draft, sources: list[Source], document: Document, context: Context) -> None:
    """``learning_rate: 1e-4`` is a text for PyYAML; whether that harms depends on who reads the file.

    ``HfArgumentParser.parse_yaml_file`` hands the text to the dataclass, and the optimizer stops at it (transformers
    5.23.0, ``hf_argparser.py`` lines 374-428, ``trainer.py`` line 1394): an error where a script that launches the file
    calls it. TRL's parser makes the file's values argparse defaults, which argparse converts (TRL 1.10,
    ``scripts/utils.py#parse_args_and_config``): nothing to say where a line passes the file as ``--config``. Otherwise
    nobody knows, and it is a warning.
    """
    if document.syntax is not Syntax.YAML:
        return
    for key in _NUMBERS:
        place = next((place for source in sources if (place := source.find(key)) is not None), None)
        if place is not None and place.source.document is document and isinstance(place.node, Scalar):
            _text_for_pyyaml(draft, place, place.node.value, context)


def _text_for_pyyaml(draft: Draft, place: Place, text: object, context: Context) -> None:
    if not isinstance(text, str) or not re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", text):
        return
    launches = context.launches(draft.document)
    if any(command.options.get("--config") is not None for _, command in launches):
        return
    scripts = (context.document(command.program) for _, command in launches)
    certain = any(script is not None and "parse_yaml_file" in script.text for script in scripts)
    message = f"{place.name} {text} is text for PyYAML: without a dot and a signed exponent it is no number"
    draft.findings.append(
        value_misread(location(place), message, f"Write {_with_dot(text)}.", draft.plan.title)._replace(
            severity=Severity.ERROR if certain else Severity.WARNING,
            confidence=Confidence.HIGH if certain else Confidence.MEDIUM,
        )
    )


def _with_dot(text: str) -> str:
    """``1e-4`` as PyYAML's float: ``1.0e-4``."""
    mantissa, exponent = re.split("[eE]", text)
    sign = "" if exponent[0] in "+-" else "+"
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{sign}{exponent}"
