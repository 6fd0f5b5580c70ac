"""The table of dialects: one row each, most specific first.

Signatures come from the reference table of forty frameworks and were measured on its corpus (``docs/dialects.md``).
A row without a module is a framework vramlint knows from the outside only: recognised, so that no generic dialect
misreads its files, and left alone.
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.dialects.signature import Defined, Keys, Line, Names, Signature, Tree
from vramlint.dialects.spellings import BATCH_NAMES, NOT_TRAINING, SPELLINGS, TRAINING_GROUPS
from vramlint.sources.model import Syntax

YAML, JSON, TOML, PYTHON = (Syntax.YAML,), (Syntax.JSON,), (Syntax.TOML,), (Syntax.PYTHON,)


class Row(NamedTuple):
    """One dialect. ``module`` is its module in this package; "" where vramlint leaves the files alone.

    ``generic`` rows are the last resort: they only look at what no other row claims.
    """

    name: str
    title: str
    module: str
    signatures: tuple[Signature, ...]
    generic: bool = False

    @property
    def syntaxes(self) -> tuple[Syntax, ...]:
        """The syntaxes in which this dialect is spelled."""
        return tuple({syntax: None for signature in self.signatures for syntax in signature.syntaxes})


_HF_KEYS = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "output_dir",
    "num_train_epochs",
    "lr_scheduler_type",
    "save_strategy",
    "eval_strategy",
    "evaluation_strategy",
    "warmup_ratio",
    "per_device_eval_batch_size",
)
_NOT_HF = (
    "stage",
    "finetuning_type",
    "cutoff_len",
    "base_model",
    "distributed_type",
    "architectures",
    "*._component_",
    "training{}",
    "trainer{}",
    "swift",
)
_ULTRALYTICS_KEYS = (
    "task",
    "mode=^train$",
    "epochs",
    "batch",
    "imgsz",
    "patience",
    "close_mosaic",
    "lr0",
    "lrf",
    "nbs",
    "mosaic",
    "hsv_h",
    "workers",
    "amp",
)
_NOT_TRAINER_SCRIPT = (
    r"(?i)(^|[/_.-])(eval|evaluate|evaluation|infer|inference|predict|prediction|test|export|convert|serve|server|demo|"
    r"generate|generation|benchmark|bench|preprocess|prepare|download|sample|visuali[sz]e|lm_eval|pytest)([/_.0-9-]|$)"
)

FRAMEWORKS: tuple[Row, ...] = (
    Row(
        "kubernetes",
        "Kubernetes and CI manifests",
        "",
        (
            Keys(Names(all_of=("apiVersion", "kind")), YAML),
            Keys(Names(all_of=("on", "jobs")), YAML),
            Keys(Names(all_of=("services{}",), none_of=("model", "trainer")), YAML),
        ),
    ),
    Row(
        "accelerate",
        "Hugging Face accelerate config",
        "",
        (
            Keys(
                Names(
                    all_of=("distributed_type",),
                    any_of=(
                        "num_processes",
                        "num_machines",
                        "compute_environment",
                        "mixed_precision",
                        "deepspeed_config",
                        "fsdp_config",
                        "main_training_function",
                    ),
                )
            ),
        ),
    ),
    Row(
        "axolotl",
        "axolotl",
        "",
        (
            Keys(
                Names(
                    all_of=("base_model",),
                    any_of=("datasets", "pretraining_dataset", "micro_batch_size", "sequence_len"),
                    none_of=("merge_method", "slices", "stage", "_component_"),
                )
            ),
        ),
    ),
    Row(
        "llamafactory",
        "LLaMA-Factory",
        "",
        (
            Keys(Names(all_of=("stage", "finetuning_type"))),
            Keys(Names(all_of=("stage", "model_name_or_path"), any_of=("template", "cutoff_len", "dataset"))),
            Keys(Names(all_of=("train_dataset",), any_of=("dist_config", "cutoff_len", "optim_config", "model_class"))),
            Keys(Names(all_of=("model_name_or_path",), any_of=("finetuning_type", "cutoff_len", "template"))),
        ),
    ),
    Row("torchtune", "torchtune", "", (Keys(Names(all_of=("*._component_",)), YAML),)),
    Row(
        "deepspeed",
        "DeepSpeed JSON",
        "",
        (
            Keys(
                Names(
                    all_of=("zero_optimization",), none_of=("num_layers", "pipe-parallel-size", "pipe_parallel_size")
                ),
                JSON,
            ),
            Keys(
                Names(
                    any_of=(
                        "train_batch_size",
                        "train_micro_batch_size_per_gpu",
                        "gradient_accumulation_steps",
                        "fp16{}",
                        "bf16{}",
                        "steps_per_print",
                        "wall_clock_breakdown",
                    ),
                    min_any=2,
                    none_of=("base_model", "model_name_or_path", "output_dir"),
                ),
                JSON,
            ),
        ),
    ),
    Row(
        "gpt_neox",
        "gpt-neox",
        "",
        (
            Keys(
                Names(
                    any_of=(
                        "train_micro_batch_size_per_gpu",
                        "pipe_parallel_size",
                        "pipe-parallel-size",
                        "num_layers",
                        "num-layers",
                        "model_parallel_size",
                        "model-parallel-size",
                        "no_weight_tying",
                        "train_iters",
                        "gradient_accumulation_steps",
                        "seq_length",
                        "vocab_file",
                    ),
                    min_any=3,
                ),
                YAML,
            ),
        ),
    ),
    Row("litgpt", "LitGPT", "", (Keys(Names(all_of=("train.global_batch_size", "train.micro_batch_size"))),)),
    Row(
        "llm_foundry",
        "llm-foundry / composer",
        "",
        (
            Keys(
                Names(
                    all_of=("max_duration",),
                    any_of=("global_train_batch_size", "device_train_microbatch_size", "train_loader"),
                )
            ),
            Keys(Names(all_of=("parameters.max_duration",))),
            Keys(Names(any_of=("device_eval_batch_size", "icl_tasks", "max_seq_len"), min_any=2)),
        ),
    ),
    Row(
        "verl",
        "verl",
        "",
        (
            Keys(Names(any_of=("actor_rollout_ref", "ppo_mini_batch_size"))),
            Line(program=r"verl\.trainer\."),
            Line(Names(any_of=(r"~^actor_rollout_ref\.",))),
        ),
    ),
    Row("openrlhf", "OpenRLHF", "", (Line(program=r"openrlhf\.cli\."),)),
    Row(
        "nemo",
        "NVIDIA NeMo",
        "",
        (
            Keys(Names(all_of=("trainer", "exp_manager"), any_of=("model", "name"))),
            Keys(Names(any_of=("model.train_ds", "exp_manager", "model.data.train_ds", "model.validation_ds"))),
        ),
    ),
    Row(
        "megatron",
        "Megatron-LM",
        "",
        (
            Keys(Names(all_of=("MODEL_ARGS",)), YAML),
            Line(
                Names(
                    any_of=(
                        "micro_batch_size",
                        "tensor_model_parallel_size",
                        "global_batch_size",
                        "pipeline_model_parallel_size",
                    ),
                    min_any=2,
                )
            ),
        ),
    ),
    Row(
        "fairseq2",
        "fairseq2",
        "",
        (
            Keys(Names(all_of=("regime",), any_of=("trainer", "dataset", "optimizer", "gang", "model"))),
            Keys(Names(any_of=("dataset.max_num_tokens", "dataset.max_num_elements", "gang", "pretrained_model"))),
        ),
    ),
    Row(
        "fairseq",
        "fairseq",
        "",
        (
            Keys(Names(all_of=("optimization",), any_of=("criterion", "task", "distributed_training", "common"))),
            Keys(Names(any_of=("common{}", "checkpoint{}", "distributed_training", "criterion._name"), min_any=2)),
            Line(Names(any_of=("update_freq", "max_tokens", "max_sentences"), also=("arch", "task", "criterion"))),
            Line(program=r"fairseq"),
        ),
    ),
    Row(
        "dinov2",
        "DINOv2",
        "",
        (
            Keys(Names(all_of=("train.batch_size_per_gpu",), any_of=("student", "teacher", "crops", "dino", "ibot"))),
            Keys(Names(any_of=("student", "teacher", "crops", "dino", "ibot"), min_any=2)),
        ),
    ),
    Row(
        "detectron2",
        "detectron2 and maskrcnn-benchmark",
        "",
        (
            Keys(
                Names(
                    all_of=("SOLVER",),
                    any_of=(
                        "SOLVER.IMS_PER_BATCH",
                        "MODEL.META_ARCHITECTURE",
                        "MODEL.WEIGHTS",
                        "DATALOADER.NUM_WORKERS",
                        "VERSION",
                        "_BASE_",
                    ),
                    none_of=("TRAIN.BATCH_SIZE_PER_GPU", "DATA.BATCH_SIZE"),
                ),
                YAML,
            ),
            Keys(Names(all_of=("_BASE_",), any_of=("MODEL", "SOLVER", "DATASETS", "INPUT")), YAML),
            Keys(Names(all_of=("MODEL{}",), any_of=("SOLVER", "DATASETS", "INPUT", "TEST", "DATA", "TRAIN")), YAML),
        ),
    ),
    Row("ai_toolkit", "ai-toolkit", "", (Keys(Names(all_of=("job", "config.process"))),)),
    Row(
        "onetrainer",
        "OneTrainer",
        "",
        (Keys(Names(all_of=("training_method",), any_of=("model_type", "base_model_name", "__version")), JSON),),
    ),
    Row(
        "kohya",
        "kohya sd-scripts",
        "",
        (
            Keys(
                Names(
                    all_of=("pretrained_model_name_or_path",),
                    any_of=("network_module", "train_batch_size", "max_train_steps", "optimizer_type"),
                ),
                (*TOML, *JSON),
            ),
            Keys(
                Names(
                    any_of=("LoRA_type", "num_cpu_threads_per_process", "max_bucket_reso", "cache_latents"), min_any=2
                ),
                JSON,
            ),
            Keys(Names(all_of=("datasets[]",), any_of=("general",)), TOML),
            Line(Names(all_of=("pretrained_model_name_or_path", "network_module"))),
        ),
    ),
    Row(
        "diffusers",
        "diffusers example scripts",
        "",
        (
            Line(
                program=r"train_(dreambooth|text_to_image|controlnet|instruct|lcm|custom|textual|cogvideox|unconditional|t2i).*\.py$"
            ),
            Line(Names(all_of=("pretrained_model_name_or_path", "train_batch_size"))),
        ),
    ),
    Row(
        "torchtitan",
        "torchtitan",
        "",
        (
            Keys(Names(all_of=("training.seq_len", "model.flavor")), TOML),
            Keys(Names(all_of=("training", "parallelism")), TOML),
            Defined(
                "call",
                Names(
                    any_of=("local_batch_size", "global_batch_size", "seq_len", "num_tokens_per_microbatch_per_dp_rank")
                ),
                name=r"TrainingConfig$",
            ),
        ),
    ),
    Row(
        "hydra_fragment",
        "Hydra and OmegaConf composition",
        "",
        (
            Keys(Names(any_of=("defaults[]", "_target_", "hydra", "*._target_")), YAML),
            Keys(Names(), YAML, text=r"(?m)^# @package|: +\?\?\? *$"),
        ),
    ),
    Row(
        "lightning",
        "Lightning CLI",
        "",
        (
            Keys(
                Names(
                    all_of=("trainer{}",),
                    any_of=(
                        "trainer.accelerator",
                        "trainer.devices",
                        "trainer.strategy",
                        "trainer.accumulate_grad_batches",
                        "seed_everything",
                    ),
                    also=("model", "data", "seed_everything", "ckpt_path", "fit"),
                    none_of=("exp_manager", "trainer.n_gpus_per_node", "train.global_batch_size"),
                ),
                YAML,
            ),
            Keys(Names(any_of=("model.class_path", "data.class_path", "*.init_args")), YAML),
        ),
    ),
    Row(
        "speechbrain",
        "SpeechBrain HyperPyYAML",
        "",
        (Keys(Names(), YAML, text=r"!(new|ref|name|apply|include):?[\w. <]"),),
    ),
    Row(
        "espnet",
        "ESPnet2",
        "",
        (
            Keys(
                Names(
                    any_of=(
                        "batch_bins",
                        "batch_type",
                        "accum_grad",
                        "optim_conf",
                        "scheduler_conf",
                        "encoder_conf",
                        "specaug_conf",
                        "max_epoch",
                    ),
                    min_any=2,
                ),
                YAML,
            ),
        ),
    ),
    Row(
        "unsloth",
        "unsloth Studio",
        "",
        (
            Keys(
                Names(
                    all_of=("training{}",),
                    any_of=("training.max_seq_length", "training.training_type"),
                    none_of=("trainer", "defaults", "config.process"),
                ),
                YAML,
            ),
        ),
    ),
    Row(
        "yolov5",
        "YOLOv5 and YOLOv7",
        "",
        (
            Keys(
                Names(
                    any_of=(
                        "lr0",
                        "lrf",
                        "warmup_bias_lr",
                        "box",
                        "cls",
                        "obj",
                        "anchor_t",
                        "iou_t",
                        "hsv_h",
                        "fl_gamma",
                    ),
                    min_any=6,
                    none_of=("batch", "imgsz", "task"),
                ),
                YAML,
            ),
            Line(
                Names(
                    all_of=("data=\\.ya?ml",),
                    any_of=("hyp", "cfg", "weights"),
                    also=("batch_size", "batch", "img", "img_size"),
                    none_of=("output_dir", "nbs"),
                ),
                program=r"train(_aux)?\.py$",
            ),
        ),
    ),
    Row(
        "ultralytics_model",
        "YOLO model, data and tracker files",
        "",
        (
            Keys(Names(all_of=("backbone[]",), any_of=("head[]", "nc")), YAML),
            Keys(Names(all_of=("names",), any_of=("train", "val", "path")), YAML),
            Keys(Names(all_of=("tracker_type",)), YAML),
            Keys(
                Names(all_of=("mode=^(val|predict|export|track|benchmark)$",), any_of=("task", "imgsz", "model")), YAML
            ),
        ),
    ),
    Row(
        "ultralytics",
        "Ultralytics YOLO",
        "ultralytics",
        (
            Keys(
                Names(
                    any_of=_ULTRALYTICS_KEYS,
                    min_any=4,
                    also=("batch", "imgsz", "nbs", "close_mosaic", "lr0"),
                    min_also=2,
                    none_of=(
                        "backbone",
                        "nc",
                        "names",
                        "obj",
                        "anchor_t",
                        "tracker_type",
                        "mode=^(val|predict|export|track|benchmark)$",
                    ),
                )
            ),
            Line(program=r"^(yolo|.*/yolo)$", words=(r"^(train|mode=train)$",)),
            Line(Names(all_of=("nbs",), any_of=("batch", "batch_size")), program=r"\.py$"),
            Defined(
                "call",
                Names(any_of=("data", "epochs", "imgsz", "batch", "cfg"), none_of=("dataset_dir",)),
                name=r"\.train$",
                imports=r"^ultralytics",
                constant=("batch", "imgsz", "epochs", "cfg"),
            ),
        ),
    ),
    Row(
        "rfdetr",
        "RF-DETR",
        "rfdetr",
        (
            Line(
                Names(
                    all_of=("size=^(nano|small|base|medium|large|xlarge|2xlarge)$",),
                    any_of=("batch", "batch_size"),
                    also=("accum", "grad_accum_steps", "resolution", "multi_scale", "num_queries"),
                ),
                program=r"\.py$",
                not_program=_NOT_TRAINER_SCRIPT,
            ),
            Line(program=r"^(.*/)?rfdetr$", words=(r"^(train|fit)$",)),
            Defined(
                "call",
                Names(any_of=("dataset_dir", "batch_size", "grad_accum_steps")),
                constant=("batch_size", "grad_accum_steps", "epochs"),
                name=r"\.train$",
                imports=r"^rfdetr",
            ),
            Defined("class", Names(all_of=("batch_size", "grad_accum_steps")), name=r"TrainConfig$"),
        ),
    ),
    Row(
        "timm",
        "timm train.py",
        "",
        (
            Line(
                Names(
                    all_of=("model",),
                    any_of=("sched", "aa", "mixup", "model_ema", "lr_base", "opt", "drop_path"),
                    min_any=2,
                ),
                program=r"(^|/)(train\.py|distributed_train\.sh)$",
            ),
            Keys(
                Names(
                    any_of=(
                        "aa",
                        "amp",
                        "batch_size",
                        "crop_pct",
                        "mixup",
                        "model_ema",
                        "sched",
                        "smoothing",
                        "drop_path",
                        "lr_base",
                        "train_interpolation",
                    ),
                    min_any=5,
                ),
                YAML,
            ),
        ),
    ),
    Row(
        "open_clip",
        "OpenCLIP",
        "",
        (
            Line(program=r"open_clip_train\.main|training\.main"),
            Line(Names(all_of=("train_data", "accum_freq"))),
        ),
    ),
    Row("mae", "MAE and BEiT family", "", (Line(Names(any_of=("blr", "accum_iter", "mask_ratio"), min_any=2)),)),
    Row("moco", "MoCo reference code", "", (Line(program=r"main_moco\.py$"),)),
    Row("detr", "DETR", "", (Line(Names(all_of=("coco_path",), any_of=("batch_size", "lr_drop", "backbone"))),)),
    Row(
        "mmengine",
        "MMEngine and mmcv",
        "",
        (
            Keys(
                Names(
                    any_of=(
                        "_base_",
                        "train_dataloader",
                        "optim_wrapper",
                        "auto_scale_lr",
                        "default_scope",
                        "default_hooks",
                    )
                ),
                PYTHON,
            ),
            Keys(Names(all_of=("data.samples_per_gpu",)), PYTHON),
        ),
    ),
    Row(
        "nanogpt",
        "nanoGPT",
        "",
        (
            Keys(
                Names(
                    any_of=(
                        "block_size",
                        "batch_size",
                        "gradient_accumulation_steps",
                        "max_iters",
                        "eval_interval",
                        "wandb_run_name",
                        "n_layer",
                        "n_embd",
                        "lr_decay_iters",
                    ),
                    min_any=3,
                ),
                PYTHON,
            ),
        ),
    ),
    Row(
        "model_config",
        "Hugging Face model config and saved state",
        "",
        (Keys(Names(any_of=("architectures", "transformers_version", "peft_type", "log_history"))),),
    ),
    Row(
        "job_spec",
        "job and package manifests",
        "",
        (
            Keys(Names(any_of=("run", "resources{}", "setup"), min_any=2), YAML),
            Keys(Names(any_of=("repos[]", "stages[]", "steps[]", "hooks[]", "Collections", "Models[]"))),
        ),
    ),
    Row(
        "hf_trainer",
        "Hugging Face TrainingArguments",
        "hf_trainer",
        (
            Keys(
                Names(
                    any_of=_HF_KEYS,
                    min_any=2,
                    also=(
                        "per_device_train_batch_size",
                        "learning_rate",
                        "num_train_epochs",
                        "max_steps",
                        "gradient_accumulation_steps",
                    ),
                    none_of=_NOT_HF,
                )
            ),
            Line(
                Names(all_of=("per_device_train_batch_size",), none_of=("stage", "finetuning_type")),
                not_program=r"^swift$",
            ),
            Defined(
                "call",
                constant=(
                    "per_device_train_batch_size",
                    "gradient_accumulation_steps",
                    "num_train_epochs",
                    "learning_rate",
                    "output_dir",
                    "max_steps",
                ),
                name=r"(TrainingArguments|(^|\.)(SFT|DPO|GRPO|KTO|RLOO|Reward|ORPO|CPO|BCO|GKD)Config)$",
            ),
        ),
    ),
)

_OTHERS = tuple(
    name
    for fact in (
        "accumulation",
        "workers_per_rank",
        "epochs",
        "max_steps",
        "learning_rate",
        "optimizer",
        "precision",
        "image_size",
        "queue_size",
        "prefetch_factor",
        "grad_checkpointing",
    )
    for name in SPELLINGS[fact]
)

GENERIC: tuple[Row, ...] = (
    Row(
        "argparse_trainer",
        "a training script with flags of its own",
        "argparse_trainer",
        (
            Line(
                Names(any_of=(*SPELLINGS["micro_batch"], "b"), also=_OTHERS),
                program=r"(\.py$|^[\w.]*\btrain[\w.]*$|^[\w]+(\.[\w]+)+$)",
                not_program=_NOT_TRAINER_SCRIPT,
            ),
        ),
        generic=True,
    ),
    Row(
        "python_config",
        "a Python config class",
        "python_config",
        (
            Defined(
                "class",
                Names(any_of=SPELLINGS["micro_batch"], also=_OTHERS),
                name=r"(?i)(config|cfg|conf|args|arguments|settings|hparams|params|options|hyper)",
            ),
            Defined(
                "class",
                Names(any_of=(*SPELLINGS["micro_batch"], *SPELLINGS["queue_size"], *SPELLINGS["accumulation"])),
                name=r"(?i)(config|cfg)",
                bases=r"(?i)(config|cfg)$",
            ),
        ),
        generic=True,
    ),
    Row(
        "nested_yaml",
        "a training program's own YAML or TOML",
        "nested_yaml",
        (Tree(BATCH_NAMES, TRAINING_GROUPS, 2, NOT_TRAINING),),
        generic=True,
    ),
)

ROWS: tuple[Row, ...] = FRAMEWORKS + GENERIC
