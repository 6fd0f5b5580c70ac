"""How people spell the settings of a training program that follows no framework's convention.

Data only: the plan's fact and the names that mean it, the most telling first, normalised (lower case, ``_`` for ``-``).
Collected from the five field projects, the flags of the programs in the reference table and the corpus. A name that
means different things in different programs is left out, unless the shape of its value tells them apart.
"""

from __future__ import annotations

SPELLINGS: dict[str, tuple[str, ...]] = {
    "micro_batch": (
        "batch_size",
        "train_batch_size",
        "batch_size_per_gpu",
        "per_gpu_batch_size",
        "batch_size_per_device",
        "per_device_batch_size",
        "per_device_train_batch_size",
        "per_gpu_train_batch_size",
        "micro_batch_size",
        "samples_per_gpu",
        "train_bs",
        "batchsize",
        "batch",
        "bs",
    ),
    "accumulation": (
        "gradient_accumulation_steps",
        "grad_accumulation_steps",
        "grad_accum_steps",
        "accumulation_steps",
        "accumulate_grad_batches",
        "accum_steps",
        "accum_iter",
        "gradient_accumulation",
        "grad_accumulation",
        "grad_accum",
        "accum_freq",
        "accumulate",
        "accum",
    ),
    "workers_per_rank": (
        "num_workers",
        "dataloader_num_workers",
        "n_workers",
        "workers",
        "nworkers",
        "loader_workers",
        "data_workers",
    ),
    "prefetch_factor": ("prefetch_factor", "dataloader_prefetch_factor"),
    "persistent_workers": ("persistent_workers", "dataloader_persistent_workers"),
    "pin_memory": ("pin_memory", "pin_mem", "dataloader_pin_memory"),
    "image_size": (
        "image_size",
        "img_size",
        "imgsz",
        "image_resolution",
        "resolution",
        "input_size",
        "crop_size",
        "train_size",
        "imsize",
        "size",
    ),
    "precision": (
        "mixed_precision",
        "precision",
        "amp_dtype",
        "use_amp",
        "amp",
        "use_fp16",
        "use_bf16",
        "fp16",
        "bf16",
    ),
    "grad_checkpointing": (
        "gradient_checkpointing",
        "use_gradient_checkpointing",
        "grad_checkpointing",
        "use_grad_checkpointing",
        "activation_checkpointing",
        "use_checkpoint",
        "grad_ckpt",
        "grad_checkpoint",
    ),
    "multi_scale": ("multi_scale", "multiscale", "multi_scale_training"),
    "ema": ("use_ema", "ema", "model_ema"),
    "queue_size": ("queue_size", "moco_k", "queue_length", "queue_len", "num_negatives", "memory_bank_size"),
    "projection_dim": ("projection_dim", "proj_dim", "moco_dim", "embedding_dim", "out_dim"),
    "num_queries": ("num_queries", "n_queries", "num_object_queries"),
    "num_classes": ("num_classes", "n_classes", "nb_classes", "num_labels"),
    "seq_len": (
        "seq_len",
        "seq_length",
        "sequence_length",
        "max_seq_len",
        "max_seq_length",
        "max_length",
        "block_size",
    ),
    "model": ("model_name", "model", "arch", "architecture", "backbone", "encoder", "network", "net", "model_type"),
    "optimizer": ("optimizer", "optimiser", "optim", "opt"),
    "learning_rate": ("learning_rate", "lr", "base_lr", "blr", "init_lr", "max_lr"),
    "epochs": ("epochs", "num_epochs", "max_epochs", "n_epochs", "num_train_epochs", "total_epochs", "max_epoch"),
    "max_steps": (
        "max_steps",
        "max_iters",
        "num_steps",
        "total_steps",
        "num_iterations",
        "max_train_steps",
        "iterations",
    ),
    "world_size": (
        "world_size",
        "num_gpus",
        "n_gpus",
        "gpus",
        "ngpu",
        "ngpus",
        "nproc_per_node",
        "num_processes",
        "devices",
    ),
    "nodes": ("num_nodes", "nnodes", "nodes"),
    "global_batch": ("global_batch_size", "total_batch_size", "effective_batch_size"),
}
"""Plan fact to names. ``precision`` names hold words or switches; a switch named after a type means that type."""

SHORT_FAMILY = frozenset({"batch", "bs", "accum", "workers", "amp", "imgsz", "resolution"})
"""Names of programs that abbreviate; the others spell their names out."""

INSERTED_LONG = {
    "accumulation": "gradient_accumulation_steps",
    "precision": "mixed_precision",
    "grad_checkpointing": "gradient_checkpointing",
    "prefetch_factor": "prefetch_factor",
    "persistent_workers": "persistent_workers",
    "pin_memory": "pin_memory",
}
"""What a missing setting is called in a file that spells its names out (``batch_size``, ``num_workers``)."""

INSERTED_SHORT = {"accumulation": "accum", "precision": "amp"}
"""The same in a file that abbreviates (``batch``, ``workers``)."""

BATCH_NAMES = frozenset(SPELLINGS["micro_batch"])
TRAINING_GROUPS = (
    frozenset(SPELLINGS["workers_per_rank"]),
    frozenset(SPELLINGS["epochs"] + SPELLINGS["max_steps"]),
    frozenset(SPELLINGS["learning_rate"]),
    frozenset(SPELLINGS["optimizer"]),
    frozenset(SPELLINGS["accumulation"]),
)
"""Kinds of settings that, beside a batch, make a program a training program."""

NOT_TRAINING = frozenset(
    {"val", "valid", "validation", "eval", "evaluation", "test", "testing", "predict", "inference", "infer", "export"}
    | {"val_dataloader", "test_dataloader", "val_loader", "test_loader", "eval_dataloader", "generation", "sampling"}
    | {"val_data", "test_data", "eval_data", "validation_data", "benchmark", "serve", "deploy", "evaluator"}
    | {"val_ds", "validation_ds", "test_ds", "val_dataset", "test_dataset", "eval_dataset"}
)
"""Sections whose settings are not those of the training loop."""
