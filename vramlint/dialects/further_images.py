"""Which key spells which further fact in trainers of image models; each group with source and version."""

from __future__ import annotations

from vramlint.dialects.further_readers import (
    number,
    searched,
    static_scale,
    switch,
    whole,
)
from vramlint.dialects.further_row import Group, Row
from vramlint.dialects.values import as_flag, as_text

FACTS: dict[str, Group] = {
    "diffusers": Group(
        "diffusers 2026-08",
        (
            Row("warmup_steps", ("lr_warmup_steps",), whole),
            Row("max_steps", ("max_train_steps",), whole),
            Row("tf32", ("allow_tf32",), as_flag),
            Row("save_steps", ("checkpointing_steps",), whole),
            Row("save_limit", ("checkpoints_total_limit",), whole),
            Row("max_samples", ("max_train_samples",), whole),
        ),
        files="examples/text_to_image, examples/dreambooth: parse_args",
    ),
    "kohya": Group(
        "sd-scripts 48d368fa",
        (
            Row("warmup_steps", ("lr_warmup_steps",), whole),
            Row("max_steps", ("max_train_steps",), whole),
            Row("save_steps", ("save_every_n_steps",), whole),
            Row("learning_rate", ("learning_rate",), number),
            Row("persistent_workers", ("persistent_data_loader_workers",), as_flag),
        ),
        files="library/train_util.py#add_training_arguments, add_optimizer_arguments",
    ),
    "lightning": Group(
        "Lightning 2.6.6",
        (
            Row("drop_last", ("data.init_args.drop_last", "data.drop_last"), as_flag),
            Row("sync_batch_norm", ("trainer.sync_batchnorm",), as_flag),
            Row("find_unused", ("trainer.strategy.init_args.find_unused_parameters",), as_flag),
            Row("bucket_view", ("trainer.strategy.init_args.gradient_as_bucket_view",), as_flag),
            Row("eval_batch", ("data.init_args.val_batch_size", "data.init_args.eval_batch_size"), whole),
        ),
        files="pytorch/trainer/trainer.py, pytorch/strategies/ddp.py; data.*: names that data modules give",
    ),
    "lightning_hydra": Group(
        "Lightning 2.6.6",
        (
            Row("drop_last", ("data.drop_last",), as_flag),
            Row("sync_batch_norm", ("trainer.sync_batchnorm",), as_flag),
        ),
        files="pytorch/trainer/trainer.py",
    ),
    "detectron2": Group(
        "detectron2 02b5c4e2",
        (
            Row("warmup_steps", ("SOLVER.WARMUP_ITERS",), whole),
            Row("max_steps", ("SOLVER.MAX_ITER",), whole),
            Row("save_steps", ("SOLVER.CHECKPOINT_PERIOD",), whole),
            Row("eval_steps", ("TEST.EVAL_PERIOD",), whole),
            Row("base_world", ("SOLVER.REFERENCE_WORLD_SIZE",), whole),
        ),
        files="detectron2/config/defaults.py",
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
        files="runner/runner.py, optim/optimizer/, hooks/checkpoint_hook.py",
    ),
    "mmcv": Group(
        "mmdet 2.28.2",
        (
            Row("base_batch", ("auto_scale_lr.base_batch_size",), whole),
            Row("lr_scaling", ("auto_scale_lr.enable",), as_flag, default=False),
            Row("learning_rate", ("optimizer.lr",), number),
            Row("find_unused", ("find_unused_parameters",), as_flag),
            Row("loss_scale", ("fp16.loss_scale",), static_scale),
        ),
        files="mmdet/apis/train.py",
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
        files="cfg/default.yaml",
    ),
    "yolov5": Group(
        "yolov5 7.0.14",
        (
            Row("cache", ("cache",), str),
            Row("dataset", ("data",), as_text),
            Row("sync_batch_norm", ("sync_bn",), as_flag),
            Row("batch_search", ("batch_size",), searched),
        ),
        files="train.py#parse_opt",
    ),
    "timm": Group(
        "timm aa4b5850",
        (
            Row("warmup_epochs", ("warmup_epochs",), number),
            Row("sync_batch_norm", ("sync_bn",), as_flag),
            Row("learning_rate", ("lr",), number),
            Row("eval_batch", ("validation_batch_size",), whole),
            Row("compile", ("torchcompile",), switch),
        ),
        files="train.py",
    ),
}
"""The rows of each trainer of images, and of Lightning."""
