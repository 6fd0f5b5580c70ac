"""ms-swift: ``swift sft``, ``pt`` and ``rlhf`` as flags, as the YAML they are given, or as ``SftArguments`` calls.

The arguments are those of Hugging Face's Trainer with other defaults. Accumulation that nobody spells aims at 16::

    accumulation = max(1, ceil(16 / per_device_train_batch_size / ranks))
    effective batch = per_device_train_batch_size x ranks x accumulation

``NPROC_PER_NODE`` and ``NNODES`` in front of the command, or under ``ENV`` in the YAML, start the ranks. Without them
there is one process, which spreads the layers over all GPUs that it sees (``device_map``). GRPO accumulates nothing
unless told to.

Example (``sft.sh``):

```shell
NPROC_PER_NODE=2 CUDA_VISIBLE_DEVICES=0,1 \\
swift sft --model Qwen/Qwen2.5-7B-Instruct --tuner_type lora --lora_rank 8 --torch_dtype bfloat16 \\
    --per_device_train_batch_size 1 --max_length 2048 --dataset AI-ModelScope/alpaca-gpt4-data-en --deepspeed zero2
```

```plan
micro_batch: 1 launch 3
world_size: 2 launch 1
accumulation: 8 derived
effective_batch: 16 derived
precision: pure-bf16 launch 2
grad_checkpointing: true default
adapter: lora launch 2
adapter_rank: 8 launch 2
sharding: zero2 launch 3
seq_len: 2048 launch 3
workers_per_rank: 1 default
```

Sources: ms-swift 4.6 (2026-08), ``swift/cli/main.py`` (ranks, the YAML), ``trainers/arguments.py`` (defaults,
accumulation), ``arguments/sft_args.py`` (DeepSpeed by name), ``arguments/tuner_args.py`` (adapters),
``arguments/base_args/model_args.py#_init_mixed_precision`` (the dtype decides the precision), ``utils/env.py#is_mp``.
Releases 2 and 3 call the tuner ``sft_type`` and ``train_type``, and the model ``model_id_or_path``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from vramlint.dialects import hf_trainer
from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.environment_ranks import file_ranks, process_ranks
from vramlint.dialects.language import language_facts, low_precision_weights, preference
from vramlint.dialects.launch import World, device_count, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Source, location
from vramlint.dialects.reading import Count, Flag, Natural, Settings, Text, keys, plain_value, read_settings
from vramlint.plan import Fact, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Command, Definition, Document

NAME = "swift"
TITLE = "ms-swift"

_SOURCE = "ms-swift 4.6"
_AIM = 16
"""The effective batch that accumulation aims at where nobody spells it (``trainers/arguments.py``)."""


class Arguments(hf_trainer.Arguments):
    """TrainingArguments as ms-swift extends them, names of older releases included."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("per_device_train_batch_size", "batch_size", default=1)
    accumulation: Count | None = keys("gradient_accumulation_steps")
    eval_batch: Count | None = keys("per_device_eval_batch_size", "eval_batch_size", default=1)
    grad_checkpointing: Flag | None = keys("gradient_checkpointing", default=True)
    workers_per_rank: Natural | None = keys("dataloader_num_workers", default=1)
    model: Text | None = keys("model", "model_id_or_path", "ckpt_dir", "model_type")
    seq_len: Count | None = keys("packing_length", "max_length")
    adapter_rank: Count | None = keys("lora_rank")
    weights: Text | None = keys("torch_dtype", "dtype")

    tuner: Text | None = keys("tuner_type", "train_type", "sft_type", default="lora")
    adapter_targets: Any = keys("target_modules", "lora_target_modules", default="all-linear")
    adapter_dropout: float | None = keys("lora_dropout", default=0.05)
    bits: Any = keys("quant_bits", "quantization_bit")
    quantiser: Text | None = keys("quant_method")
    task_type: Text | None = keys("task_type", default="causal_lm")
    preference: Text | None = keys("rlhf_type", default="dpo")
    generations: Count | None = keys("num_generations", default=8)
    sequence_ranks: Count | None = keys("sequence_parallel_size", default=1)
    tensor_ranks: Count | None = keys("deepspeed_autotp_size", default=1)


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of a command, of the file it is given, or of a call."""
    command = claim.subject if isinstance(claim.subject, Command) else None
    settings = read_settings(Arguments, hf_trainer.arguments_of(claim, document, context))
    draft = Draft(claim, document, _title(claim, document))
    hf_trainer.fill(draft, claim, settings, context)
    language_facts(draft, "transformers")
    method = _method(claim, document, context)
    ranks = _world(document, command, context, settings)
    _accumulation(draft, settings, ranks, method)
    _adapter(draft, settings)
    _precision(draft, settings)
    _sharding(draft, settings)
    _task(draft, settings, method)
    _spread(draft, document, command, context, ranks)
    shared = (settings.values.sequence_ranks or 1) * (settings.values.tensor_ranks or 1)
    return draft.close(ranks, model_parallel=shared)


def _title(claim: Claim, document: Document) -> str:
    match claim.subject:
        case Command() as command:
            return title_of(document, command)
        case Definition() as call:
            return f"{call.name} in {call.function}" if call.function else call.name
        case _:
            return ""


def _world(document: Document, command: Command | None, context: Context, settings: Settings[Arguments]) -> World:
    """The ranks of a command, or of the one line that hands the file over, or of the file's own ``ENV``."""
    lines = [(document, command)] if command is not None else list(context.launches(document))
    files = settings.sources
    found = [process_ranks(at, line, _SOURCE, files) for at, line in lines if line.program in ("swift", "megatron")]
    if not lines:
        found = [file_ranks(files)]
    if len(found) == 1 and found[0] is not None:
        return found[0]
    return world(document, command, context)


def _accumulation(draft: Draft, settings: Settings[Arguments], ranks: World, method: str) -> None:
    """``gradient_accumulation_steps`` that is not spelled comes to an effective batch of about 16, 1 under GRPO."""
    if settings.values.accumulation is not None or "accumulation" in settings.doubts:
        return
    if method == "rlhf" and settings.values.preference == "grpo":
        draft.put("accumulation", default(1, f"1 under GRPO, {_SOURCE} rlhf_args.py"))
        return
    batch, count = draft.plan.micro_batch.value, ranks.ranks.value
    if batch is None or count is None:
        draft.put("accumulation", unknown(f"aims at {_AIM} samples over all ranks, whose number is unknown"))
        return
    steps = max(1, math.ceil(_AIM / batch / count))
    draft.put("accumulation", derived(steps, f"not spelled: ceil({_AIM} / {batch} / {count}), {_SOURCE}"))


def _adapter(draft: Draft, settings: Settings[Arguments]) -> None:
    tuner, place = settings.fact("tuner"), settings.places.get("quantiser") or settings.places.get("bits")
    if tuner.value not in ("lora", "full"):
        draft.put("adapter", unknown(f"tuner {tuner.value}", tuner.location))
        draft.put("model", unknown(f"the memory of tuner {tuner.value} is not worked out", tuner.location))
        return
    if tuner.value == "full":
        draft.put("adapter", Fact("none", tuner.origin, tuner.location, "all weights are trained"))
        return
    bits, quantiser = settings.values.bits, str(settings.values.quantiser or "bnb")
    bits = None if bits in (0, "0") else bits  # release 2 says 0 for none
    in_four = bits in (4, "4") and quantiser == "bnb"
    draft.put("adapter", Fact("qlora" if in_four else "lora", tuner.origin, tuner.location, tuner.note))
    in_eight = bits in (8, "8") and quantiser == "bnb"
    if in_eight and place is not None:
        draft.put("base_quantization", Fact("int8", place.source.origin, location(place)))
    if bits is not None and not in_four and not in_eight and place is not None:
        draft.put("model", unknown(f"weights of {bits} bits by {quantiser} are not worked out", location(place)))
    if not settings.spelled("adapter_rank"):
        draft.put("adapter_rank", default(8, f"default of {_SOURCE}"))
    draft.put("adapter_targets", settings.fact("adapter_targets"))
    draft.put("adapter_dropout", settings.fact("adapter_dropout"))
    if in_four:
        draft.put("double_quantization", default(value=True, note=f"bnb_4bit_use_double_quant of {_SOURCE}"))


_PRECISIONS = {
    ("bfloat16", ""): Precision.PURE_BF16,
    ("bfloat16", "bf16"): Precision.PURE_BF16,
    ("float16", ""): Precision.PURE_FP16,
    ("float16", "fp16"): Precision.PURE_FP16,
    ("float32", ""): Precision.FP16,
    ("float32", "fp16"): Precision.FP16,
    ("float32", "bf16"): Precision.BF16,
}
"""By the dtype that weights are loaded in and the switch of autocast, which follows the dtype where it is left out."""


_SHORT = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""``--dtype`` of release 2, beside ``AUTO``."""


def _precision(draft: Draft, settings: Settings[Arguments]) -> None:
    """``torch_dtype`` holds the weights, the model's own by default; ``--bf16`` and ``--fp16`` are autocast."""
    if any(name in settings.doubts for name in ("bf16", "fp16", "weights")):
        draft.put("precision", unknown("its switches are no constants"))
        return
    draft.slots.pop("precision", None)
    switch = "bf16" if settings.values.bf16 else "fp16" if settings.values.fp16 else ""
    weights = settings.fact("weights")
    own = weights.value is None or weights.value == "AUTO"
    dtype = "bfloat16" if own else str(weights.value).removeprefix("torch.")
    dtype = _SHORT.get(dtype, dtype)
    kind = _PRECISIONS.get((dtype, switch))
    if dtype == "float32" and not switch and settings.values.fp16 is False and settings.spelled("fp16"):
        kind = Precision.FP32
    if kind is None:
        text = f"torch_dtype {dtype}" + (f" under autocast to {switch}" if switch else "")
        draft.put("precision", unknown(text, weights.location))
    elif own:
        draft.put("precision", default(kind, "the model's own dtype, taken as bfloat16"))
    else:
        draft.put("precision", Fact(kind, weights.origin, weights.location, f"torch_dtype {weights.value}"))


_STAGES = {"zero0": "ddp", "zero1": "zero1", "zero2": "zero2", "zero3": "zero3"}


def _sharding(draft: Draft, settings: Settings[Arguments]) -> None:
    """DeepSpeed configurations by name, of which two offload."""
    place = settings.places.get("deepspeed")
    named = str(plain_value(place.node)) if place is not None else ""
    stage, offloads, rest = named.partition("_offload")
    if place is None or stage not in _STAGES or rest:
        return
    where = location(place)
    draft.put("sharding", Fact(_STAGES[stage], place.source.origin, where, f"the configuration {named} of {_SOURCE}"))
    low_precision_weights(draft, "DeepSpeed runs the model in 16 bits beside fp32 main weights, without autocast")
    if offloads:
        draft.put("offload_optimizer", Fact(value=True, origin=place.source.origin, location=where, note=named))
    if offloads and stage == "zero3":
        draft.put("offload_parameters", Fact(value=True, origin=place.source.origin, location=where, note=named))


def _method(claim: Claim, document: Document, context: Context) -> str:
    """``sft``, ``pt`` or ``rlhf``: the subcommand, the class of a call, the line that hands the file over."""
    return next((name for name in _names(claim, document, context) if name), "sft")


def _names(claim: Claim, document: Document, context: Context) -> Iterator[str]:
    match claim.subject:
        case Command() as command:
            lines = [command]
        case Definition() as call:
            yield "rlhf" if "RLHF" in call.name else ""
            lines = []
        case _:
            lines = [line for _, line in context.launches(document)]
    for line in lines:
        words = (line.subcommand or "", *(str(word.value) for word in line.positionals), line.program)
        yield "rlhf" if any("rlhf" in word for word in words[:2]) or line.program.endswith("rlhf.py") else ""


_UNITS = {
    **dict.fromkeys(("grpo", "ppo"), "completions"),
    **dict.fromkeys(("dpo", "orpo", "simpo", "cpo", "rm"), "pairs"),
}


def _task(draft: Draft, settings: Settings[Arguments], method: str) -> None:
    """What one sample is, and tasks whose loss is not over the vocabulary."""
    kind = settings.fact("task_type")
    if kind.value != "causal_lm":
        draft.put("model", unknown(f"the memory of task_type {kind.value} is not worked out", kind.location))
    if method != "rlhf" and not settings.spelled("preference"):
        return
    trainer = str(settings.values.preference)
    if trainer in _UNITS:
        draft.put("batch_unit", derived(_UNITS[trainer], f"{trainer} counts {_UNITS[trainer]}"))
    if trainer == "grpo":
        draft.put("responses_per_prompt", settings.fact("generations"))
        draft.put("model", unknown("what ms-swift's GRPO holds beside the model is not worked out"))
        return
    preference(draft, trainer)


def _spread(draft: Draft, document: Document, command: Command | None, context: Context, ranks: World) -> None:
    """One process that sees several GPUs spreads the layers over them (``utils/env.py#is_mp``)."""
    if command is None or command.program != "swift" or command.launchers:
        return
    single = Source(document, command.environment, Origin.LAUNCH).find("SWIFT_SINGLE_DEVICE_MODE")
    if single is not None and str(plain_value(single.node)) == "1":
        return
    visible = Source(document, command.environment, Origin.LAUNCH).find("CUDA_VISIBLE_DEVICES")
    gpus = device_count(plain_value(visible.node)) if visible is not None else context.target.gpus
    nodes = ranks.nodes.value or 1
    here = (ranks.ranks.value or 0) // nodes
    if gpus is None or here == 0 or gpus // here < 2:
        return
    where = location(visible) if visible is not None else None
    each = f"{gpus} GPUs for {here} process" + ("es" if here > 1 else "")
    draft.put("model", unknown(f"{each}: device_map spreads the layers, whose shares are not worked out", where))
