"""Which key spells which further fact in trainers of language models; each group with source and version."""

from __future__ import annotations

from vramlint.dialects.further_model_parallel import MODEL_PARALLEL
from vramlint.dialects.further_readers import (
    attention,
    batches,
    capped,
    eight_bits,
    flash,
    listed,
    number,
    objective,
    offloaded,
    scaled_dot_product,
    static_scale,
    switch,
    whole,
    xformers,
)
from vramlint.dialects.further_row import Group, Row, zero_rows
from vramlint.dialects.values import as_flag, as_text

_HF = (
    Row("learning_rate", ("learning_rate",), number),
    Row("warmup_steps", ("warmup_steps",), whole),
    Row("save_steps", ("save_steps",), whole),
    Row("save_strategy", ("save_strategy",), as_text, "steps"),
    Row("save_limit", ("save_total_limit",), whole),
    Row("save_only_model", ("save_only_model",), as_flag, default=False),
    Row("eval_steps", ("eval_steps",), whole),
    Row("eval_strategy", ("eval_strategy", "evaluation_strategy"), as_text, "no"),
    Row("prediction_loss_only", ("prediction_loss_only",), as_flag),
    Row("eval_accumulation", ("eval_accumulation_steps",), whole),
    Row("drop_last", ("dataloader_drop_last",), as_flag, default=False),
    Row("tf32", ("tf32",), as_flag),
    Row("attention", ("attn_implementation",), attention),
    Row("compile", ("torch_compile",), as_flag),
    Row("reentrant", ("gradient_checkpointing_kwargs.use_reentrant",), as_flag),
    Row("find_unused", ("ddp_find_unused_parameters",), as_flag),
    Row("base_quantization", ("load_in_8bit", "use_8bit_quantization", "use_8bit"), eight_bits),
    Row("modules_to_save", ("lora_modules_to_save", "modules_to_save", "additional_target"), listed),
    Row("max_samples", ("max_train_samples",), whole),
    Row("max_samples", ("dataset_train_split", "split"), capped),
    Row("batch_search", ("auto_find_batch_size",), as_flag),
    Row("offload_optimizer", ("deepspeed.zero_optimization.offload_optimizer.device",), offloaded),
    Row("offload_parameters", ("deepspeed.zero_optimization.offload_param.device",), offloaded),
    *zero_rows("deepspeed.zero_optimization"),
)

_TWICE = Row(
    "fsdp_checkpointing",
    ("fsdp_config.activation_checkpointing", "fsdp_config.fsdp_activation_checkpointing"),
    as_flag,
)

FACTS: dict[str, Group] = {
    **MODEL_PARALLEL,
    "hf_trainer": Group(
        "transformers 5.24.0",
        (*_HF, _TWICE),
        files="training_args.py; evaluation_strategy: before 4.46; max_train_samples: its example scripts",
    ),
    "trl": Group(
        "TRL 1.16.0",
        (Row("attention", ("attn_implementation", "model_kwargs.attn_implementation"), attention),),
        ("hf_trainer",),
        files="trainer/model_config.py, scripts/utils.py",
    ),
    "unsloth": Group("unsloth 2026-08", (), ("hf_trainer",)),
    "kubeflow": Group("transformers 5.24.0", (), ("hf_trainer",)),
    "llamafactory": Group(
        "LLaMA-Factory 0.9.5",
        (
            Row("attention", ("flash_attn",), attention),
            Row("max_samples", ("max_samples",), whole),
            Row("reentrant", ("use_reentrant_gc",), as_flag),
            Row("objective", ("stage",), objective),
        ),
        ("hf_trainer",),
        files="hparams/model_args.py, data_args.py, finetuning_args.py",
    ),
    "swift": Group(
        "ms-swift 4.6",
        (Row("attention", ("attn_impl",), attention), Row("objective", ("rlhf_type",), objective)),
        ("hf_trainer",),
        files="arguments/base_args/model_args.py, rlhf_args.py",
    ),
    "axolotl": Group(
        "axolotl 0.19.0",
        (
            Row("objective", ("rl",), objective),
            Row("attention", ("flash_attention",), flash),
            Row("attention", ("xformers_attention",), xformers),
            Row("attention", ("sdp_attention",), scaled_dot_product),
            Row("attention", ("flex_attention",), switch),
            Row("attention", ("sage_attention",), switch),
            Row("save_strategy", ("save_strategy",), as_text),
            Row("eval_strategy", ("eval_strategy",), as_text),
            Row("offload_parameters", ("fsdp_config.offload_params", "fsdp_config.fsdp_offload_params"), as_flag),
            *_HF,
        ),
        files="utils/schemas/config.py, validation.py, fsdp.py",
    ),
    "openrlhf": Group(
        "OpenRLHF 0.11.2",
        (
            Row("attention", ("ds.attn_implementation", "attn_implementation"), attention),
            Row("attention", ("flash_attn",), flash),
            Row("offload_optimizer", ("ds.adam_offload", "adam_offload"), as_flag),
            Row("max_samples", ("data.max_samples", "max_samples"), whole),
            Row("warmup_ratio", ("actor.lr_warmup_ratio", "lr_warmup_ratio"), number),
            Row("save_steps", ("ckpt.save_steps", "save_steps"), whole),
        ),
        files="cli/train_sft.py, cli/train_ppo_ray.py; the names without a section: before 2026-04",
    ),
    "deepspeed": Group(
        "DeepSpeed 0.19.8",
        (
            Row("offload_optimizer", ("zero_optimization.offload_optimizer.device",), offloaded),
            Row("offload_optimizer", ("zero_optimization.cpu_offload",), as_flag),
            Row("offload_parameters", ("zero_optimization.offload_param.device",), offloaded),
            *zero_rows("zero_optimization"),
            Row("loss_scale", ("fp16.loss_scale",), static_scale),
            Row("warmup_steps", ("scheduler.params.warmup_num_steps",), whole),
            Row("max_steps", ("scheduler.params.total_num_steps",), whole),
        ),
        files="runtime: zero/config.py, zero/offload_config.py, precision_config.py, lr_schedules.py",
    ),
    "accelerate": Group(
        "accelerate 1.15.0",
        (
            Row("offload_optimizer", ("deepspeed_config.offload_optimizer_device",), offloaded),
            Row("offload_parameters", ("deepspeed_config.offload_param_device",), offloaded),
            Row("offload_parameters", ("fsdp_config.fsdp_offload_params",), as_flag),
        ),
        files="utils/dataclasses.py, commands/config/cluster.py",
    ),
    "torchtune": Group(
        "torchtune 0.6.1",
        (
            Row("objective", ("loss._component_",), objective),
            Row("warmup_steps", ("lr_scheduler.num_warmup_steps",), whole),
            Row("steps_per_epoch", ("max_steps_per_epoch",), whole),
            Row("compile", ("compile",), switch),
            Row("offload_parameters", ("fsdp_cpu_offload",), as_flag),
            Row("optimizer_in_backward", ("optimizer_in_bwd",), as_flag),
            Row("activation_offload", ("enable_activation_offloading",), as_flag),
            Row("max_samples", ("dataset.split",), capped),
            Row("tensor_parallel", ("tensor_parallel_dim",), whole),
            Row("context_parallel", ("context_parallel_dim",), whole),
        ),
        files="recipes/full_finetune_distributed.py; context_parallel_dim: 2026-04",
    ),
    "torchtitan": Group(
        "torchtitan 0.2.0",
        (
            Row("warmup_steps", ("lr_scheduler.warmup_steps",), whole),
            Row("max_steps", ("training.steps",), whole),
            Row("save_steps", ("checkpoint.interval",), whole),
            Row("saves", ("checkpoint.enable", "checkpoint.enable_checkpoint"), as_flag, default=False),
            Row("save_limit", ("checkpoint.keep_latest_k",), whole),
            Row("learning_rate", ("optimizer.lr",), number),
            Row("compile", ("compile.enable", "training.compile"), as_flag),
            Row("tensor_parallel", ("parallelism.tensor_parallel_degree",), whole),
            Row("pipeline_parallel", ("parallelism.pipeline_parallel_degree",), whole),
            Row("context_parallel", ("parallelism.context_parallel_degree",), whole),
            Row("expert_parallel", ("parallelism.expert_parallel_degree",), whole),
        ),
        files="config/job_config.py; checkpoint.enable_checkpoint, training.compile: before 2025-07",
    ),
    "litgpt": Group(
        "litgpt 0.5.13",
        (
            Row("warmup_steps", ("train.lr_warmup_steps",), whole),
            Row("max_steps", ("train.max_steps",), whole),
            Row("save_steps", ("train.save_interval",), whole),
        ),
        files="args.py#TrainArgs",
    ),
    "llm_foundry": Group(
        "llm-foundry 0.22.0",
        (
            Row("warmup_steps", ("scheduler.t_warmup",), batches),
            Row("max_steps", ("max_duration",), batches),
            Row("save_limit", ("save_num_checkpoints_to_keep",), whole),
            Row("save_steps", ("save_interval",), batches),
            Row("eval_steps", ("eval_interval",), batches),
            Row("eval_batch", ("device_eval_batch_size",), whole),
            Row("hidden", ("model.d_model",), whole),
            Row("heads", ("model.n_heads",), whole),
            Row("positions", ("model.max_seq_len",), whole),
            Row("attention", ("model.attn_config.attn_impl",), attention),
            Row("reentrant", ("fsdp_config.activation_checkpointing_reentrant",), as_flag),
        ),
        files="utils/config_utils.py#TrainConfig, models/mpt/configuration_mpt.py; composer 0.32.1 optim/scheduler.py",
    ),
    "nanogpt": Group(
        "nanoGPT 2023-11",
        (
            Row("hidden", ("n_embd",), whole),
            Row("heads", ("n_head",), whole),
            Row("layers", ("n_layer",), whole),
            Row("max_steps", ("max_iters",), whole),
            Row("warmup_steps", ("warmup_iters",), whole),
            Row("eval_steps", ("eval_interval",), whole),
            Row("compile", ("compile",), as_flag),
        ),
        files="train.py, lines 34-75",
    ),
    "fairseq": Group(
        "fairseq 3d262bb2",
        (
            Row("warmup_steps", ("lr_scheduler.warmup_updates", "warmup_updates"), whole),
            Row("max_steps", ("optimization.max_update", "max_update"), whole),
            Row("save_steps", ("checkpoint.save_interval_updates", "save_interval_updates"), whole),
            Row("save_limit", ("checkpoint.keep_interval_updates", "keep_interval_updates"), whole),
        ),
        files="fairseq/dataclass/configs.py, fairseq/optim/lr_scheduler",
    ),
}
"""The rows of each trainer of language, speech and preferences."""
