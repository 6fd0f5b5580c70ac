"""TRL: ``SFTConfig``, ``DPOConfig``, ``GRPOConfig`` and their kin as calls, as flat YAML, or as flags of ``trl``.

The arguments are those of Hugging Face's Trainer with other defaults; what one sample is depends on the trainer::

    effective batch = per_device_train_batch_size x ranks x gradient_accumulation_steps

Example (``grpo.yaml``):

```yaml
model_name_or_path: Qwen/Qwen2.5-1.5B-Instruct
dataset_name: trl-lib/tldr
per_device_train_batch_size: 16
gradient_accumulation_steps: 4
num_generations: 8
max_completion_length: 512
learning_rate: 1e-6
```

```plan gpus=2
micro_batch: 16 file 3
accumulation: 4 file 4
effective_batch: 128 derived
batch_unit: completions derived
precision: bf16 default
grad_checkpointing: true default
responses_per_prompt: 8 file 5
```

bf16 and activation checkpointing are on unless switched off, and SFT cuts samples at 1024 tokens. Files with keys of
older releases (``max_seq_length``) leave these defaults UNKNOWN, as they came with TRL 0.20. GRPO and RLOO count
completions (a prompt is ``num_generations`` of them), DPO, ORPO, CPO and reward models count pairs; the estimator
knows their steps, and those of KTO, BCO, PRM and GKD. TRL's parser converts ``1e-6``, unlike
``HfArgumentParser.parse_yaml_file``.

Sources: TRL 1.10 (2026-07-24), ``trainer/base_config.py`` (defaults), ``sft_config.py`` line 205 (length),
``grpo_config.py`` lines 474-671 (generations), ``scripts/utils.py#parse_args_and_config``; huggingface/trl issue 3020
(completions).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects import hf_trainer
from vramlint.dialects.agreement import agreed
from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.language import preference
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import Count, Flag, Settings, Text, keys, read_settings
from vramlint.dialects.reinforcement import Sampling, sampling_facts
from vramlint.plan import Precision, default, derived, unknown
from vramlint.sources.model import Command, Definition, Document

NAME = "trl"
TITLE = "TRL"

_SOURCE = "TRL 1.10"


class Arguments(hf_trainer.Arguments):
    """TrainingArguments as TRL extends them."""

    source: ClassVar[str] = _SOURCE

    generations: Count | None = keys("num_generations", default=8)
    completion: Count | None = keys("max_completion_length")
    prompt: Count | None = keys("max_prompt_length")
    old_length: Any = keys("max_seq_length")
    rewards: Any = keys("reward_funcs", "reward_model_name_or_path", "reward_weights")
    beta: float | None = keys("beta")
    precomputed: Flag | None = keys("precompute_ref_log_probs", "reference_free")
    teacher: Text | None = keys("teacher_model_name_or_path")
    steps_per_generation: Count | None = keys("steps_per_generation")
    generation_batch: Count | None = keys("generation_batch_size")
    use_vllm: Flag | None = keys("use_vllm")
    vllm_mode: Text | None = keys("vllm_mode")
    vllm_share: float | None = keys("vllm_gpu_memory_utilization")
    vllm_sleeps: Flag | None = keys("vllm_enable_sleep_mode")
    fused_preference: Flag | None = keys("use_liger_loss")
    preferences: Any = keys("rpo_alpha", "precompute_ref_log_probs", "max_prompt_length", "truncation_mode")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of a call, a YAML or a command."""
    subject = claim.subject
    command = subject if isinstance(subject, Command) else None
    sources = hf_trainer.arguments_of(claim, document, context)
    settings = read_settings(Arguments, sources)
    title = title_of(document, command) if command else subject.name if isinstance(subject, Definition) else ""
    if isinstance(subject, Definition) and subject.function:
        title = f"{title} in {subject.function}"
    draft = Draft(claim, document, title)
    hf_trainer.fill(draft, claim, settings, context)
    _defaults(draft, settings)
    _unit(draft, _trainer(claim, document, context, settings), settings)
    return agreed(draft.close(world(document, command, context)), claim, settings, sources, context)


def _defaults(draft: Draft, settings: Settings[Arguments]) -> None:
    """What TRL switches on by itself."""
    old = "this default came with TRL 0.20, and the file has keys of an older one"
    note = f"default of {_SOURCE}"
    is_old = settings.spelled("old_length")
    if not settings.spelled("grad_checkpointing"):
        draft.put("grad_checkpointing", unknown(old) if is_old else default(value=True, note=note))
    if not any(settings.spelled(name) for name in ("bf16", "fp16")):
        draft.put("precision", unknown(old) if is_old else default(Precision.BF16, note))
        draft.slots.pop("precision", None)


_KIND = re.compile(r"(?i)(sft|online_?dpo|grpo|dpo|rloo|kto|orpo|cpo|reward|bco|gkd|prm|ppo|nash_?md|xpo)")


def _trainer(claim: Claim, document: Document, context: Context, settings: Settings[Arguments]) -> str:
    """Which trainer: the class of a call, the program of a line, else what the keys of the file give away."""
    subject = claim.subject
    names: list[str] = []
    if isinstance(subject, Definition):
        names = [subject.name]
    elif isinstance(subject, Command):
        names = [subject.subcommand or "", *(str(word.value) for word in subject.positionals), subject.program]
    else:
        names = [f"{line.subcommand or ''} {line.program}" for _, line in context.launches(document)]
    for name in names:
        found = _KIND.search(name.rsplit("/", 1)[-1])
        if found is not None:
            word = found[1].lower()
            return {"onlinedpo": "online_dpo", "nashmd": "nash_md"}.get(word, word)
    if settings.spelled("generations") or settings.spelled("completion"):
        return "grpo"
    if settings.spelled("beta") or settings.spelled("preferences"):
        return "dpo"
    return "sft"


_UNITS = {
    **dict.fromkeys(("grpo", "rloo"), "completions"),
    **dict.fromkeys(("dpo", "orpo", "cpo", "reward"), "pairs"),
    **dict.fromkeys(("kto", "bco", "prm", "gkd", "ppo", "online_dpo", "nash_md", "xpo"), "samples"),
}

_TILED = ("sft", "dpo", "kto", "grpo", "rloo")
"""Trainers that call ``add_fused_lm_head`` (TRL 1.15 and 1.16)."""

_LENGTHS = ("dpo", "kto", "bco", "orpo", "cpo", "reward", "prm", "gkd")
"""Trainers that cut samples at 1024 tokens by default (TRL 0.16 to 1.16)."""


def _unit(draft: Draft, trainer: str, settings: Settings[Arguments]) -> None:
    if trainer in _TILED:
        draft.put(
            "tiled_loss", derived(value=True, note="TRL 1.15 computes the loss in tiles, older ones whole logits")
        )
    unit = _UNITS.get(trainer)
    if unit is None:
        if trainer == "sft" and not settings.spelled("seq_len") and not draft.plan.seq_len.known:
            draft.put("seq_len", default(1024, f"default of {_SOURCE}"))
            draft.put("task", derived("causal-lm", "a language model is trained"))
        return
    if unit != "samples":
        draft.put("batch_unit", derived(unit, f"{trainer} counts {unit}"))
    precomputed = settings.values.precomputed
    preference(draft, trainer, derived(value=False, note="no reference at hand") if precomputed else None)
    if trainer in _LENGTHS and not draft.plan.seq_len.known:
        draft.put("seq_len", default(1024, f"default of {_SOURCE}"))
    if settings.values.teacher:
        draft.put("teacher", settings.fact("teacher"))
    if settings.values.fused_preference:
        draft.put("fused_loss", settings.fact("fused_preference"))
        draft.put("fused_preference_loss", settings.fact("fused_preference"))
    if unit == "completions":
        draft.put("responses_per_prompt", settings.fact("generations"))
        sampling_facts(draft, trainer, _sampling(settings))


def _sampling(settings: Settings[Arguments]) -> Sampling:
    values = settings.values
    return Sampling(
        values.prompt, values.completion, values.beta, values.steps_per_generation, values.generation_batch,
        values.use_vllm, values.vllm_mode, values.vllm_share, values.vllm_sleeps,
    )  # fmt: skip
