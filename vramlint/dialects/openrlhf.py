"""OpenRLHF: flags of ``openrlhf.cli.*``; a GLOBAL batch and a micro batch per GPU.

DeepSpeed gets all three numbers, so a batch that does not divide stops the run::

    data parallel = GPUs / (ring attention x tensor parallel)
    accumulation = train.batch_size / (train.micro_batch_size x data parallel)
    effective batch = train.batch_size

Example (``train_sft.sh``):

```shell
deepspeed --num_gpus 4 --module openrlhf.cli.train_sft \\
   --data.max_len 2048 --train.batch_size 256 --train.micro_batch_size 2 \\
   --model.model_name_or_path meta-llama/Meta-Llama-3-8B \\
   --ds.zero_stage 2 --ds.param_dtype bf16 --ds.packing_samples \\
   --model.gradient_checkpointing_enable
```

```plan
micro_batch: 2 launch 2
accumulation: 32 derived
effective_batch: 256 derived
world_size: 4 launch 1
seq_len: 2048 launch 2
precision: bf16 launch 4
sharding: zero2 launch 4
grad_checkpointing: true launch 5
model: meta-llama/Meta-Llama-3-8B launch 3
```

PPO counts sequences over the actor's own GPUs (``actor.num_nodes`` x ``actor.num_gpus_per_node``, 1 x 8 by default);
DPO and reward models count pairs. Their memory is not worked out: several models share the GPUs. Until 2026-04 the
flags had no dots (``--train_batch_size``, ``--micro_train_batch_size``), and ``--bf16`` had to be given.

Sources: OpenRLHF 2026-08-13, ``utils/deepspeed/deepspeed.py`` lines 110-117 and 455 (accumulation, what DeepSpeed
gets), ``cli/train_*.py`` (flags and defaults); the older flags in the parent of commit ed62d0e2.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.language import STAGES, language_facts, product
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import FlagSource, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, read_settings
from vramlint.plan import DividedAccumulation, Fact, Precision, default, derived, unknown
from vramlint.sources.model import Command, Document

NAME = "openrlhf"
TITLE = "OpenRLHF"

_SOURCE = "OpenRLHF 2026-08"


class Flags(Schema):
    """The flags of both eras."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train.micro_batch_size", "micro_train_batch_size")
    nominal_batch: Count | None = keys("train.batch_size", "train_batch_size", default=128)
    seq_len: Count | None = keys("data.max_len", "max_len")
    grad_checkpointing: Flag | None = keys(
        "model.gradient_checkpointing_enable",
        "actor.gradient_checkpointing_enable",
        "gradient_checkpointing",
        default=False,
    )
    ema: Flag | None = keys("train.enable_ema", "enable_ema", default=False)
    epochs: float | None = keys("train.max_epochs", "max_epochs")
    learning_rate: float | None = keys("adam.lr", "actor.adam.lr", "learning_rate", "actor_learning_rate")

    zero_stage: Natural | None = keys("ds.zero_stage", "zero_stage", default=2)
    param_dtype: Text | None = keys("ds.param_dtype", "param_dtype")
    bf16: Flag | None = keys("bf16")
    ring: Count | None = keys("ds.ring_attn_size", "ring_attn_size")
    tensor_parallel: Count | None = keys("ds.tensor_parallel_size", "ds_tensor_parallel_size")
    packing: Flag | None = keys("ds.packing_samples", "packing_samples")
    liger: Flag | None = keys("ds.use_liger_kernel", "use_liger_kernel")
    dynamic: Flag | None = keys("train.dynamic_batch_enable", "use_dynamic_batch")
    lora_rank: Natural | None = keys("ds.lora.rank", "lora_rank")
    four_bit: Flag | None = keys("ds.load_in_4bit", "load_in_4bit")
    checkpoint: Text | None = keys("model.model_name_or_path", "actor.model_name_or_path", "pretrain")
    rollout_prompts: Count | None = keys("rollout.batch_size", "rollout_batch_size")
    responses: Count | None = keys("rollout.n_samples_per_prompt", "n_samples_per_prompt")
    gpus_per_node: Count | None = keys("actor.num_gpus_per_node", "actor_num_gpus_per_node", default=8)
    nodes: Count | None = keys("actor.num_nodes", "actor_num_nodes", default=1)


_TRAINER = re.compile(r"train_(\w+)")
_MICRO = {"sft": 8, "dpo": 8, "rm": 1, "ppo_ray": 1}
_LENGTH = {"sft": 2048, "dpo": 512, "rm": 512, "ppo_ray": 2048}
_UNITS = {"dpo": "pairs", "rm": "pairs", "ppo_ray": "sequences"}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command."""
    command = claim.subject
    assert isinstance(command, Command)
    found = _TRAINER.search(command.program)
    trainer = found[1] if found else ""
    settings = read_settings(Flags, [FlagSource(document, command.options)])
    draft = Draft(claim, document, title_of(document, command))
    draft.fill(settings)
    _defaults(draft, trainer)
    draft.put("precision", _precision(settings, command))
    draft.put("sharding", _sharding(settings))
    draft.put("packing", settings.fact("packing"))
    _adapter(draft, settings)
    _model(draft, settings, trainer)
    if settings.values.dynamic:
        draft.put("micro_batch", unknown("dynamic batches are filled up to a token budget"))
        draft.slots.pop("micro_batch", None)
    shared = product(settings.values.ring, settings.values.tensor_parallel)
    return draft.close(
        _world(document, command, context, settings, trainer), DividedAccumulation(), model_parallel=shared
    )


def _defaults(draft: Draft, trainer: str) -> None:
    """Micro batch and length differ from trainer to trainer (``cli/train_*.py``)."""
    if not draft.plan.micro_batch.spelled and trainer in _MICRO:
        draft.put("micro_batch", default(_MICRO[trainer], f"default of {_SOURCE}"))
    if not draft.plan.seq_len.spelled and trainer in _LENGTH:
        draft.put("seq_len", default(_LENGTH[trainer], f"default of {_SOURCE}"))
    unit = _UNITS.get(trainer)
    if unit is not None:
        draft.put("batch_unit", derived(unit, f"train_{trainer} counts {unit}"))


def _world(document: Document, command: Command, context: Context, settings: Settings[Flags], trainer: str) -> World:
    """PPO's actor has its own GPUs, which Ray starts; the other trainers have those of the launcher."""
    if trainer != "ppo_ray":
        return world(document, command, context)
    place = settings.places.get("gpus_per_node")
    if place is None and context.target.world_size is not None:
        return world(document, None, context)
    gpus, nodes = settings.fact("gpus_per_node"), settings.fact("nodes")
    if gpus.value is None or nodes.value is None:
        return World(unknown(gpus.note or nodes.note, gpus.location or nodes.location), nodes)
    where = location(place) if place is not None else None
    note = f"{gpus.value} GPUs of the actor on each of {nodes.value} nodes" if nodes.value > 1 else gpus.note
    return World(Fact(gpus.value * nodes.value, gpus.origin, where, note), nodes)


_DTYPES = {"bf16": Precision.BF16, "fp16": Precision.FP16}


def _precision(settings: Settings[Flags], command: Command) -> Fact[Precision]:
    """``param_dtype`` is bf16 by default; in the era without dots bf16 was a switch, off by default."""
    spelled = settings.fact("param_dtype")
    if spelled.location is not None:
        kind = _DTYPES.get(str(spelled.value))
        if kind is None:
            return unknown(spelled.note or f"param_dtype {spelled.value}", spelled.location)
        return Fact(kind, spelled.origin, spelled.location)
    switch = settings.fact("bf16")
    if switch.location is not None:
        kind = Precision.BF16 if switch.value else Precision.FP32
        return Fact(kind, switch.origin, switch.location) if switch.known else switch
    if any("." in entry.key for entry in command.options.entries):
        return default(Precision.BF16, f"default of {_SOURCE}")
    return default(Precision.FP32, "--bf16 is off by default before OpenRLHF 2026-04")


def _sharding(settings: Settings[Flags]) -> Fact[str]:
    fact: Fact[Any] = settings.fact("zero_stage")
    kind = STAGES.get(fact.value) if fact.value is not None else None
    if kind is None:
        return unknown(fact.note or f"ZeRO stage {fact.value}", fact.location)
    return Fact(kind, fact.origin, fact.location, fact.note)


def _adapter(draft: Draft, settings: Settings[Flags]) -> None:
    rank = settings.fact("lora_rank")
    if rank.value:
        draft.put("adapter", Fact("qlora" if settings.values.four_bit else "lora", rank.origin, rank.location))
        draft.put("adapter_rank", rank)
    elif rank.value == 0 or rank.location is None:
        draft.put("adapter", derived("none", "no LoRA rank"))


def _model(draft: Draft, settings: Settings[Flags], trainer: str) -> None:
    """One model alone is trained only in supervised fine-tuning."""
    fact = settings.fact("checkpoint")
    if trainer != "sft":
        draft.put("model", unknown("several models share the GPUs", fact.location))
    else:
        draft.put("model", fact)
        language_facts(draft, "transformers")
    if settings.values.liger:
        draft.put("fused_loss", derived(value=True, note="Liger's fused cross entropy holds no full logits"))
    if trainer == "ppo_ray":
        draft.put("prompts_per_rollout", settings.fact("rollout_prompts"))
        draft.put("responses_per_prompt", settings.fact("responses"))
