"""verl: reinforcement learning (PPO, GRPO, DAPO, ...) and supervised fine-tuning, by Hydra words or YAML.

Prompts are counted globally, sequences per GPU, and each prompt has ``rollout.n`` answers::

    sequences of a step = ppo_mini_batch_size x rollout.n
    data parallel = GPUs / (sequence, or tensor x pipeline x context parallel)
    accumulation = sequences of a step / data parallel / ppo_micro_batch_size_per_gpu
    effective batch = sequences of a step

Supervised fine-tuning counts samples: its effective batch is ``data.train_batch_size``.

Example (``run_grpo.sh``):

```shell
python3 -m verl.trainer.main_ppo \\
    algorithm.adv_estimator=grpo data.train_batch_size=1024 \\
    data.max_prompt_length=512 data.max_response_length=1024 \\
    actor_rollout_ref.model.path=Qwen/Qwen2-7B-Instruct \\
    actor_rollout_ref.actor.ppo_mini_batch_size=256 \\
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=40 \\
    actor_rollout_ref.rollout.n=5 \\
    trainer.n_gpus_per_node=8 trainer.nnodes=1
```

```plan
micro_batch: 40 launch 6
accumulation: 4 derived
effective_batch: 1280 derived
nominal_batch: 1280 derived
batch_unit: sequences derived
world_size: 8 launch 8
seq_len: 1536 derived
precision: bf16 default
grad_checkpointing: true default
prompts_per_rollout: 1024 launch 2
```

A YAML with ``defaults:`` starts from verl's own default config, so what it leaves out has verl's defaults. Files of a
config group alone (``actor/actor.yaml``, ``rollout/rollout.yaml``) are fragments and no run; generation and evaluation
train nothing. The estimator knows the actor's update under FSDP and the engine's share of the card (they take turns
where ``free_cache_engine`` is on); a critic on the card and Megatron workers are not worked out.

Sources: verl 2026-01-29, ``workers/fsdp_workers.py`` lines 241-264 and ``workers/megatron_workers.py`` (x n, then
// data parallel), ``workers/actor/dp_actor.py#update_policy`` (accumulation), ``utils/config.py#validate_config``,
``trainer/fsdp_sft_trainer.py#_normalize_config_bsz``, ``trainer/config/_generated_ppo_trainer.yaml`` (defaults).
OmegaConf reads the files, so ``1e-6`` is a number.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.hydra import file_sources, hydra_sources
from vramlint.dialects.language import language_facts, low_precision_weights, product
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Source, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, read_settings
from vramlint.plan import DividedAccumulation, Fact, Precision, default, derived, unknown
from vramlint.sources.model import Command, Document, plain

NAME = "verl"
TITLE = "verl"

_SOURCE = "verl 2026-01"
_ACTOR = "actor_rollout_ref.actor"


class Policy(Schema):
    """Reinforcement learning: the keys that decide the actor's batch and world."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys(f"{_ACTOR}.ppo_micro_batch_size_per_gpu")
    learning_rate: float | None = keys(f"{_ACTOR}.optim.lr", default=1e-6)
    epochs: float | None = keys("trainer.total_epochs", default=30)
    max_steps: int | None = keys("trainer.total_training_steps")
    grad_checkpointing: Flag | None = keys("actor_rollout_ref.model.enable_gradient_checkpointing", default=True)

    prompts_per_rollout: Count | None = keys("data.train_batch_size", default=1024)
    mini_batch_prompts: Count | None = keys(f"{_ACTOR}.ppo_mini_batch_size", default=256)
    responses_per_prompt: Count | None = keys("actor_rollout_ref.rollout.n", default=1)
    shared_micro: Count | None = keys(f"{_ACTOR}.ppo_micro_batch_size")
    dynamic: Flag | None = keys(f"{_ACTOR}.use_dynamic_bsz", default=False)
    prompt_length: Count | None = keys("data.max_prompt_length", default=512)
    response_length: Count | None = keys("data.max_response_length", default=512)
    gpus_per_node: Count | None = keys("trainer.n_gpus_per_node", default=8)
    nodes: Count | None = keys("trainer.nnodes", default=1)
    strategy: Text | None = keys(f"{_ACTOR}.strategy", default="fsdp")
    sequence_parallel: Count | None = keys(
        f"{_ACTOR}.ulysses_sequence_parallel_size", f"{_ACTOR}.fsdp_config.ulysses_sequence_parallel_size"
    )
    tensor_parallel: Count | None = keys(f"{_ACTOR}.megatron.tensor_model_parallel_size")
    pipeline_parallel: Count | None = keys(f"{_ACTOR}.megatron.pipeline_model_parallel_size")
    context_parallel: Count | None = keys(f"{_ACTOR}.megatron.context_parallel_size")
    held: Text | None = keys(f"{_ACTOR}.fsdp_config.model_dtype")
    lora_rank: Natural | None = keys("actor_rollout_ref.model.lora_rank", "actor_rollout_ref.model.lora.rank")
    checkpoint: Text | None = keys("actor_rollout_ref.model.path")
    estimator: Text | None = keys("algorithm.adv_estimator", default="gae")
    token_budget: Count | None = keys(f"{_ACTOR}.ppo_max_token_len_per_gpu", default=16384)
    entropy: float | None = keys(f"{_ACTOR}.entropy_coeff", default=0)
    calculates_entropy: Flag | None = keys(f"{_ACTOR}.calculate_entropy", default=False)
    remove_padding: Flag | None = keys("actor_rollout_ref.model.use_remove_padding")
    fused: Flag | None = keys("actor_rollout_ref.model.use_fused_kernels", default=False)
    parameters_offloaded: Flag | None = keys(f"{_ACTOR}.fsdp_config.param_offload", default=False)
    optimizer_offloaded: Flag | None = keys(f"{_ACTOR}.fsdp_config.optimizer_offload", default=False)
    activations_offloaded: Flag | None = keys("actor_rollout_ref.model.enable_activation_offload", default=False)
    engine: Text | None = keys("actor_rollout_ref.rollout.name", default="vllm")
    engine_share: float | None = keys("actor_rollout_ref.rollout.gpu_memory_utilization", default=0.5)
    engine_sleeps: Flag | None = keys("actor_rollout_ref.rollout.free_cache_engine", default=True)
    critic_parameters_offloaded: Flag | None = keys(
        "critic.model.fsdp_config.param_offload", "critic.fsdp.param_offload"
    )
    critic_optimizer_offloaded: Flag | None = keys(
        "critic.model.fsdp_config.optimizer_offload", "critic.fsdp.optimizer_offload"
    )


class FineTuning(Schema):
    """Supervised fine-tuning: a GLOBAL batch of samples."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("data.micro_batch_size_per_gpu", default=4)
    nominal_batch: Count | None = keys("data.train_batch_size", default=256)
    seq_len: Count | None = keys("data.max_length", default=1024)
    learning_rate: float | None = keys("optim.lr")
    epochs: float | None = keys("trainer.total_epochs")
    max_steps: int | None = keys("trainer.total_training_steps")
    grad_checkpointing: Flag | None = keys("model.enable_gradient_checkpointing", default=True)
    model: Text | None = keys("model.partial_pretrain", "model.path")

    dynamic: Flag | None = keys("data.use_dynamic_bsz")
    gpus_per_node: Count | None = keys("trainer.n_gpus_per_node", default=8)
    nodes: Count | None = keys("trainer.nnodes", default=1)
    sequence_parallel: Count | None = keys("ulysses_sequence_parallel_size", "engine.ulysses_sequence_parallel_size")
    held: Text | None = keys("model.fsdp_config.model_dtype", "engine.model_dtype")
    lora_rank: Natural | None = keys("model.lora_rank")
    liger: Flag | None = keys("model.use_liger")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of a command or a YAML; which trainer it is shows in the program's name, else in the file's keys."""
    command = claim.subject if isinstance(claim.subject, Command) else None
    sources = hydra_sources(document, command, context) if command else file_sources(document, context)
    draft = Draft(claim, document, title_of(document, command) if command else "")
    for source in sources:
        draft.use(source.document)
    if _is_fine_tuning(command, sources):
        return _fine_tuning(draft, command, sources, context)
    return _policy(draft, command, sources, context)


def _is_fine_tuning(command: Command | None, sources: list[Source]) -> bool:
    if command is not None and re.search(r"(^|[._/])sft", command.program):
        return True
    return any(source.find("data.micro_batch_size_per_gpu") for source in sources) and not any(
        source.find("actor_rollout_ref") for source in sources
    )


def _policy(draft: Draft, command: Command | None, sources: list[Source], context: Context) -> Reading:
    settings = read_settings(Policy, sources)
    draft.fill(settings, ("micro_batch", "learning_rate", "epochs", "max_steps", "grad_checkpointing"))
    draft.put("nominal_batch", _sequences(settings))
    draft.put("prompts_per_rollout", settings.fact("prompts_per_rollout"))
    draft.put("responses_per_prompt", settings.fact("responses_per_prompt"))
    draft.put("batch_unit", derived("sequences", "an answer of the policy is one sequence"))
    draft.put("seq_len", _sequence_length(settings))
    found = _world(draft.document, command, context, settings)
    values = settings.values
    megatron = values.strategy == "megatron" or (command is not None and "megatron" in _config_name(command))
    shared = product(values.tensor_parallel, values.pipeline_parallel, values.context_parallel)
    if not megatron:
        shared = product(values.sequence_parallel)
        draft.put("sharding", derived("fsdp", f"strategy {values.strategy}"))
    draft.put("precision", _precision(settings.fact("held")))
    _micro(draft, settings, found, shared)
    _adapter(draft, settings.fact("lora_rank"))
    _memory(draft, settings, megatron=megatron)
    return draft.close(found, DividedAccumulation(), model_parallel=shared)


def _memory(draft: Draft, settings: Settings[Policy], *, megatron: bool) -> None:
    """For the estimator: the actor's update, and the engine that writes on the same card.

    The reference policy always waits in host memory (``workers/fsdp_workers.py`` line 516), a critic where it is told
    to; actor and engine take turns: ``free_cache_engine`` puts the engine to sleep, ``param_offload`` and
    ``optimizer_offload`` move the actor out of its way.
    """
    values, checkpoint = settings.values, settings.fact("checkpoint")
    critic_stays = not (values.critic_parameters_offloaded and values.critic_optimizer_offloaded)
    if megatron:
        draft.put("model", unknown("the memory of verl's Megatron workers is not worked out", checkpoint.location))
        return
    if values.estimator == "gae" and critic_stays:
        draft.put("model", unknown("the critic beside the actor is not worked out", checkpoint.location))
        return
    draft.put("model", checkpoint)
    language_facts(draft, "transformers")
    low_precision_weights(draft, "FSDP gathers fp32 shards as 16-bit weights")
    entropy = bool(values.entropy) or bool(values.calculates_entropy)
    draft.put("preference", derived("verl with entropy" if entropy else "verl", f"entropy_coeff {values.entropy:g}"))
    draft.put("reference_model", derived(value=False, note="the reference policy waits in host memory"))
    if values.fused:
        draft.put("fused_loss", settings.fact("fused"))
        draft.put("fused_preference_loss", settings.fact("fused"))
    if values.activations_offloaded:
        draft.put("activation_offload", settings.fact("activations_offloaded"))
    if (values.sequence_parallel or 1) > 1:
        draft.put("context_parallel", settings.fact("sequence_parallel"))
    if values.dynamic and values.token_budget:
        tokens = values.token_budget * (values.sequence_parallel or 1)
        draft.put("token_budget", derived(tokens, "micro batches are filled up to ppo_max_token_len_per_gpu"))
    elif values.remove_padding is not False:
        draft.put("open_lengths", derived(value=True, note="use_remove_padding keeps the answers' own tokens"))
    offloads = bool(values.parameters_offloaded and values.optimizer_offloaded)
    share = values.engine_share or 0.0
    draft.put("rollout_engine", derived((str(values.engine), share, bool(values.engine_sleeps), offloads), ""))


def _config_name(command: Command) -> str:
    """``--config-name=ppo_megatron_trainer``: verl's own configs for Megatron say so in their name."""
    return str(plain(command.options.get("--config-name")) or "")


def _sequences(settings: Settings[Policy]) -> Fact[int]:
    """Prompts of one optimizer step times answers to each."""
    prompts, answers = settings.fact("mini_batch_prompts"), settings.fact("responses_per_prompt")
    if prompts.value is None or answers.value is None:
        return unknown(prompts.note or answers.note)
    return derived(prompts.value * answers.value, f"ppo_mini_batch_size {prompts.value} x rollout.n {answers.value}")


def _sequence_length(settings: Settings[Policy]) -> Fact[int]:
    prompt, answer = settings.fact("prompt_length"), settings.fact("response_length")
    if prompt.value is None or answer.value is None:
        return unknown(prompt.note or answer.note)
    return derived(prompt.value + answer.value, f"prompt {prompt.value} + response {answer.value}")


def _micro(draft: Draft, settings: Settings[Policy], found: World, shared: int) -> None:
    """A token budget has no micro batch; the older key counts over all ranks and is floored to each."""
    total, ranks = settings.values.shared_micro, found.ranks.value
    if settings.values.dynamic:
        draft.put("micro_batch", unknown("use_dynamic_bsz: micro batches are filled up to a token budget"))
        draft.slots.pop("micro_batch", None)
        return
    if draft.plan.micro_batch.value is not None or total is None:
        return
    replicas = ranks // shared if ranks else None
    if not replicas or total < replicas:
        draft.put("micro_batch", unknown(f"ppo_micro_batch_size {total} over an unknown or larger number of ranks"))
        return
    draft.put("micro_batch", derived(total // replicas, f"ppo_micro_batch_size {total} // {replicas} replicas"))


def _fine_tuning(draft: Draft, command: Command | None, sources: list[Source], context: Context) -> Reading:
    settings = read_settings(FineTuning, sources)
    draft.fill(settings)
    draft.put("precision", _precision(settings.fact("held")))
    draft.put("sharding", derived("fsdp", f"the fine-tuning trainer of {_SOURCE} shards"))
    _adapter(draft, settings.fact("lora_rank"))
    language_facts(draft, "transformers")
    if settings.values.liger:
        draft.put("fused_loss", derived(value=True, note="Liger's fused cross entropy holds no full logits"))
    engine = command is not None and re.search(r"trainer\.sft_trainer", command.program) is not None
    if settings.values.dynamic or (engine and settings.values.dynamic is None):
        draft.put("micro_batch", unknown("use_dynamic_bsz: micro batches are filled up to a token budget"))
        draft.slots.pop("micro_batch", None)
    found = _world(draft.document, command, context, settings)
    return draft.close(found, DividedAccumulation(), model_parallel=product(settings.values.sequence_parallel))


def _world(document: Document, command: Command | None, context: Context, settings: Settings[Any]) -> World:
    """A launcher's ranks; else ``n_gpus_per_node`` x ``nnodes``; else the target; else verl's default of 8 GPUs."""
    launched = command is not None and any(launcher.name != "ray" for launcher in command.launchers)
    if launched:
        return world(document, command, context)
    place = settings.places.get("gpus_per_node")
    gpus, nodes = settings.fact("gpus_per_node"), settings.fact("nodes")
    if place is None and context.target.world_size is not None:
        return world(document, None, context)
    if gpus.value is None or nodes.value is None:
        return World(unknown(gpus.note or nodes.note, gpus.location or nodes.location), nodes)
    note = f"{gpus.value} GPUs on each of {nodes.value} nodes" if nodes.value > 1 else gpus.note
    origin, where = gpus.origin, location(place) if place is not None else None
    return World(Fact(gpus.value * nodes.value, origin, where, note), nodes)


_HELD_16 = ("bf16", "bfloat16")


def _precision(held: Fact[str]) -> Fact[Precision]:
    """Compute is bf16 (``MixedPrecision(param_dtype=bf16)``); weights are fp32 unless ``model_dtype`` says so."""
    if held.value in _HELD_16:
        return Fact(Precision.PURE_BF16, held.origin, held.location, "model_dtype: weights are held in bf16")
    if held.location is not None and held.value not in (None, "fp32", "float32"):
        return unknown(f"model_dtype {held.value}", held.location)
    return default(Precision.BF16, f"default of {_SOURCE}: bf16 compute over fp32 weights")


def _adapter(draft: Draft, rank: Fact[int]) -> None:
    if rank.value:
        draft.put("adapter", Fact("lora", rank.origin, rank.location, "lora_rank is set"))
        draft.put("adapter_rank", rank)
    elif not rank.note or rank.value == 0:
        draft.put("adapter", derived("none", "no LoRA rank"))
