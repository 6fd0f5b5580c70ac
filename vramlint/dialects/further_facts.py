"""The table behind ``further``: which key spells which further fact, by framework, each group with source and version.

Keys are dotted where they nest; a flag is named without its dashes, with underscores. Rows of one fact are tried in
order. A default stands only where the framework's own source gives one that holds whenever the key is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from vramlint.dialects.further_readers import (
    attention,
    batches,
    capped,
    elements,
    flash,
    listed,
    number,
    objective,
    offloaded,
    scaled_dot_product,
    searched,
    static_scale,
    switch,
    whole,
    xformers,
)
from vramlint.dialects.values import as_flag, as_text


class Row(NamedTuple):
    """One fact: the keys that may spell it, how the value is read (None: it says nothing), the framework's default."""

    fact: str
    keys: tuple[str, ...]
    read: Callable[[Any], Any]
    default: Any = None


def _zero_rows(section: str) -> tuple[Row, ...]:
    """DeepSpeed's communication buffers (0.18 ``runtime/zero/config.py``)."""
    return (
        Row("reduce_bucket", (f"{section}.reduce_bucket_size",), elements),
        Row("overlap_comm", (f"{section}.overlap_comm",), as_flag),
        Row("contiguous_gradients", (f"{section}.contiguous_gradients",), as_flag),
        Row("max_live_parameters", (f"{section}.stage3_max_live_parameters",), elements),
    )


class Group(NamedTuple):
    """The rows of one framework, and the version whose source they were read in."""

    source: str
    rows: tuple[Row, ...]
    extends: tuple[str, ...] = ()


def groups_of(dialect: str) -> Iterator[Group]:
    """The dialect's own group, then those of the frameworks it extends."""
    group = FACTS.get(dialect)
    if group is None:
        return
    yield group
    for name in group.extends:
        yield from groups_of(name)


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
    Row("load_in_8bit", ("load_in_8bit",), as_flag),
    Row("modules_to_save", ("lora_modules_to_save", "modules_to_save", "additional_target"), listed),
    Row("max_samples", ("max_train_samples",), whole),
    Row("max_samples", ("dataset_train_split", "train_split", "split"), capped),
    Row("batch_search", ("auto_find_batch_size",), as_flag),
    Row("offload_optimizer", ("deepspeed.zero_optimization.offload_optimizer.device",), offloaded),
    Row("offload_parameters", ("deepspeed.zero_optimization.offload_param.device",), offloaded),
    *_zero_rows("deepspeed.zero_optimization"),
)

_MEGATRON_NAMES = {
    "tensor_parallel": "tensor_model_parallel_size",
    "pipeline_parallel": "pipeline_model_parallel_size",
    "context_parallel": "context_parallel_size",
    "expert_parallel": "expert_model_parallel_size",
    "experts": "num_experts",
    "heads": "num_attention_heads",
    "kv_heads": "num_query_groups",
    "hidden": "hidden_size",
    "layers": "num_layers",
    "ffn": "ffn_hidden_size",
    "positions": "max_position_embeddings",
}


def _megatron(*homes: str) -> tuple[Row, ...]:
    """Megatron's parallel degrees and sizes, in each of the sections a wrapper puts them."""
    rows = [Row(fact, tuple(f"{home}{key}" for home in homes), whole) for fact, key in _MEGATRON_NAMES.items()]
    return (*rows, Row("sequence_parallel", tuple(f"{home}sequence_parallel" for home in homes), as_flag))


_TWICE = Row(
    "fsdp_checkpointing",
    ("fsdp_config.activation_checkpointing", "fsdp_config.fsdp_activation_checkpointing"),
    as_flag,
)

_UNEVEN = (
    "pipeline_model_parallel_layout",
    "decoder_first_pipeline_num_layers",
    "decoder_last_pipeline_num_layers",
    "num_layers_in_first_pipeline_stage",
    "num_layers_in_last_pipeline_stage",
    "account_for_embedding_in_pipeline_split",
    "account_for_loss_in_pipeline_split",
)
"""Settings of Megatron that say how uneven pipeline stages come about."""

FACTS: dict[str, Group] = {
    "hf_trainer": Group("transformers 5.23.0", (*_HF, _TWICE)),
    "trl": Group(
        "TRL 1.10",
        (Row("attention", ("attn_implementation", "model_kwargs.attn_implementation"), attention),),
        ("hf_trainer",),
    ),
    "unsloth": Group("unsloth 2026-08", (), ("hf_trainer",)),
    "kubeflow": Group("transformers 5.23.0", (), ("hf_trainer",)),
    "llamafactory": Group(
        "LLaMA-Factory 0.9.6",
        (
            Row("attention", ("flash_attn",), attention),
            Row("max_samples", ("max_samples",), whole),
            Row("reentrant", ("use_reentrant_gc",), as_flag),
            Row("objective", ("stage",), objective),
        ),
        ("hf_trainer",),
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
    ),
    "openrlhf": Group(
        "OpenRLHF 0.9",
        (
            Row("attention", ("attn_implementation",), attention),
            Row("attention", ("flash_attn",), flash),
            Row("offload_optimizer", ("adam_offload",), as_flag),
            Row("max_samples", ("max_samples",), whole),
            Row("warmup_ratio", ("lr_warmup_ratio",), number),
            Row("save_steps", ("save_steps",), whole),
        ),
    ),
    "diffusers": Group(
        "diffusers 0.36 examples",
        (
            Row("warmup_steps", ("lr_warmup_steps",), whole),
            Row("max_steps", ("max_train_steps",), whole),
            Row("tf32", ("allow_tf32",), as_flag),
            Row("save_steps", ("checkpointing_steps",), whole),
            Row("save_limit", ("checkpoints_total_limit",), whole),
            Row("max_samples", ("max_train_samples",), whole),
        ),
    ),
    "kohya": Group(
        "kohya sd-scripts 0.9.1",
        (
            Row("warmup_steps", ("lr_warmup_steps",), whole),
            Row("max_steps", ("max_train_steps",), whole),
            Row("save_steps", ("save_every_n_steps",), whole),
            Row("learning_rate", ("learning_rate",), number),
            Row("persistent_workers", ("persistent_data_loader_workers",), as_flag),
        ),
    ),
    "deepspeed": Group(
        "DeepSpeed 0.18",
        (
            Row("offload_optimizer", ("zero_optimization.offload_optimizer.device",), offloaded),
            Row("offload_optimizer", ("zero_optimization.cpu_offload",), as_flag),
            Row("offload_parameters", ("zero_optimization.offload_param.device",), offloaded),
            *_zero_rows("zero_optimization"),
            Row("loss_scale", ("fp16.loss_scale",), static_scale),
            Row("warmup_steps", ("scheduler.params.warmup_num_steps",), whole),
            Row("max_steps", ("scheduler.params.total_num_steps",), whole),
        ),
    ),
    "accelerate": Group(
        "accelerate 1.15",
        (
            Row("offload_optimizer", ("deepspeed_config.offload_optimizer_device",), offloaded),
            Row("offload_parameters", ("deepspeed_config.offload_param_device",), offloaded),
            Row("offload_parameters", ("fsdp_config.fsdp_offload_params",), as_flag),
        ),
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
    ),
    "litgpt": Group(
        "litgpt 0.5.13",
        (
            Row("warmup_steps", ("train.lr_warmup_steps",), whole),
            Row("max_steps", ("train.max_steps",), whole),
            Row("save_steps", ("train.save_interval",), whole),
        ),
    ),
    "llm_foundry": Group(
        "llm-foundry 0.21",
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
    ),
    "megatron": Group(
        "Megatron-LM 2026-08",
        (
            *_megatron(""),
            Row("warmup_steps", ("lr_warmup_iters",), whole),
            Row("max_steps", ("train_iters",), whole),
            Row("learning_rate", ("lr",), number),
            Row("loss_scale", ("loss_scale",), static_scale),
            Row("save_steps", ("save_interval",), whole),
            Row("eval_steps", ("eval_interval",), whole),
            Row("attention", ("use_flash_attn",), flash),
            Row("vocabulary", ("padded_vocab_size",), whole),
            Row("uneven_stages", _UNEVEN, str),
        ),
    ),
    "nemo": Group(
        "NeMo 2025-09",
        (
            *_megatron("model.", "strategy.", "trainer.strategy."),
            Row("uneven_stages", tuple(f"{home}.{key}" for home in ("model", "strategy") for key in _UNEVEN), str),
            Row("warmup_steps", ("model.optim.sched.warmup_steps", "optim.sched.warmup_steps"), whole),
            Row("max_steps", ("trainer.max_steps",), whole),
            Row("eval_batch", ("model.validation_ds.batch_size", "model.data.validation_ds.micro_batch_size"), whole),
            Row("sync_batch_norm", ("trainer.sync_batchnorm",), as_flag),
        ),
    ),
    "gpt_neox": Group(
        "gpt-neox 2026-05",
        (
            Row("tensor_parallel", ("model_parallel_size",), whole),
            Row("pipeline_parallel", ("pipe_parallel_size",), whole),
            Row("heads", ("num_attention_heads",), whole),
            Row("kv_heads", ("num_kv_heads",), whole),
            Row("hidden", ("hidden_size",), whole),
            Row("layers", ("num_layers",), whole),
            Row("positions", ("max_position_embeddings",), whole),
            Row("positional", ("pos_emb",), as_text, "learned"),
            Row("save_steps", ("checkpoint_factor", "save_interval"), whole),
            Row("save_limit", ("keep_last_n_checkpoints",), whole),
            Row("eval_steps", ("eval_interval",), whole),
            Row("loss_scale", ("fp16.loss_scale",), static_scale),
            Row("offload_optimizer", ("zero_optimization.cpu_offload",), as_flag),
            *_zero_rows("zero_optimization"),
        ),
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
    ),
    "fairseq": Group(
        "fairseq 0.12.3",
        (
            Row("warmup_steps", ("lr_scheduler.warmup_updates", "warmup_updates"), whole),
            Row("max_steps", ("optimization.max_update", "max_update"), whole),
            Row("save_steps", ("checkpoint.save_interval_updates", "save_interval_updates"), whole),
            Row("save_limit", ("checkpoint.keep_interval_updates", "keep_interval_updates"), whole),
        ),
    ),
    "lightning": Group(
        "Lightning 2026-07",
        (
            Row("drop_last", ("data.init_args.drop_last", "data.drop_last"), as_flag),
            Row("sync_batch_norm", ("trainer.sync_batchnorm",), as_flag),
            Row("find_unused", ("trainer.strategy.init_args.find_unused_parameters",), as_flag),
            Row("bucket_view", ("trainer.strategy.init_args.gradient_as_bucket_view",), as_flag),
            Row("eval_batch", ("data.init_args.val_batch_size", "data.init_args.eval_batch_size"), whole),
        ),
    ),
    "lightning_hydra": Group(
        "Lightning 2026-07",
        (
            Row("drop_last", ("data.drop_last",), as_flag),
            Row("sync_batch_norm", ("trainer.sync_batchnorm",), as_flag),
        ),
    ),
    "detectron2": Group(
        "detectron2 0.6",
        (
            Row("warmup_steps", ("SOLVER.WARMUP_ITERS",), whole),
            Row("max_steps", ("SOLVER.MAX_ITER",), whole),
            Row("save_steps", ("SOLVER.CHECKPOINT_PERIOD",), whole),
            Row("eval_steps", ("TEST.EVAL_PERIOD",), whole),
            Row("base_world", ("SOLVER.REFERENCE_WORLD_SIZE",), whole),
        ),
    ),
    "mmengine": Group(
        "mmengine 0.10.7",
        (
            Row("base_batch", ("auto_scale_lr.base_batch_size",), whole),
            Row("lr_scaling", ("auto_scale_lr.enable",), as_flag, default=False),
            Row("learning_rate", ("optim_wrapper.optimizer.lr", "optimizer.lr"), number),
            Row("loss_scale", ("optim_wrapper.loss_scale",), static_scale),
            Row("find_unused", ("find_unused_parameters", "model_wrapper_cfg.find_unused_parameters"), as_flag),
            Row("save_limit", ("default_hooks.checkpoint.max_keep_ckpts",), whole),
            Row("max_steps", ("train_cfg.max_iters",), whole),
            Row("eval_batch", ("val_dataloader.batch_size",), whole),
            Row("drop_last", ("train_dataloader.drop_last",), as_flag, default=False),
            Row("norm", ("model.backbone.norm_cfg.type", "norm_cfg.type"), as_text),
        ),
    ),
    "mmcv": Group(
        "mmcv 1.7",
        (
            Row("base_batch", ("auto_scale_lr.base_batch_size",), whole),
            Row("lr_scaling", ("auto_scale_lr.enable",), as_flag, default=False),
            Row("learning_rate", ("optimizer.lr",), number),
            Row("find_unused", ("find_unused_parameters",), as_flag),
            Row("loss_scale", ("fp16.loss_scale",), static_scale),
        ),
    ),
    "ultralytics": Group(
        "ultralytics 8.4.190",
        (
            Row("cache", ("cache",), str),
            Row("dataset", ("data",), as_text),
            Row("warmup_epochs", ("warmup_epochs",), number),
            Row("compile", ("compile",), switch),
            Row("batch_search", ("batch",), searched),
        ),
    ),
    "yolov5": Group(
        "yolov5 7.0",
        (
            Row("cache", ("cache",), str),
            Row("dataset", ("data",), as_text),
            Row("sync_batch_norm", ("sync_bn",), as_flag),
            Row("batch_search", ("batch_size",), searched),
        ),
    ),
    "timm": Group(
        "timm 1.0.31",
        (
            Row("warmup_epochs", ("warmup_epochs",), number),
            Row("sync_batch_norm", ("sync_bn",), as_flag),
            Row("learning_rate", ("lr",), number),
            Row("eval_batch", ("validation_batch_size",), whole),
            Row("compile", ("torchcompile",), switch),
        ),
    ),
}
"""The rows of each dialect that has any."""

_COMMON = Group(
    "the program's own settings",
    (
        Row("drop_last", ("drop_last", "data.drop_last", "dataloader.drop_last", "dataset.drop_last"), as_flag),
        Row("attention", ("attn_implementation",), attention),
        Row("sync_batch_norm", ("sync_bn", "sync_batchnorm"), as_flag),
        Row("warmup_epochs", ("warmup_epochs", "trainer.warmup_epochs"), number),
        Row("warmup_steps", ("warmup_steps", "trainer.warmup_steps"), whole),
    ),
)
for _name in ("nested_yaml", "argparse_trainer", "python_config", "moco", "mae", "detr", "open_clip"):
    FACTS.setdefault(_name, _COMMON)
