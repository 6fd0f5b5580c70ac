"""The table of dialects: one row each, most specific first.

Signatures come from the reference table of forty frameworks and were measured on its corpus
(``docs/dialects/README.md``). A row without a module is a framework vramlint knows from the outside only: recognised,
so that no generic dialect misreads its files, and left alone.
"""

from __future__ import annotations

from vramlint.dialects.rows import JSON, NOT_A_TRAINER, PYTHON, TOML, YAML, Row, call, keys, line, row
from vramlint.dialects.table_swift import SWIFT
from vramlint.dialects.table_vision import NOT_EVALUATION, VISION

__all__ = ["FRAMEWORKS", "Row"]

_LANGUAGE: tuple[Row, ...] = (
    row(
        "accelerate",
        "Hugging Face accelerate config",
        keys(
            "distributed_type",
            "num_processes num_machines compute_environment mixed_precision deepspeed_config fsdp_config "
            "main_training_function",
        ),
        module="accelerate",
    ),
    row(
        "axolotl",
        "axolotl",
        keys(
            "base_model",
            "datasets pretraining_dataset micro_batch_size sequence_len",
            none_of="merge_method slices stage _component_",
        ),
        module="axolotl",
    ),
    row(
        "llamafactory",
        "LLaMA-Factory",
        keys("stage finetuning_type"),
        keys("stage model_name_or_path", "template cutoff_len dataset"),
        keys("train_dataset", "dist_config cutoff_len optim_config model_class"),
        keys("model_name_or_path", "finetuning_type cutoff_len template"),
        module="llamafactory",
    ),
    row(
        "torchtune",
        "torchtune",
        keys("batch_size *._component_ optimizer._component_", syntaxes=YAML),
        module="torchtune",
    ),
    row("torchtune_other", "torchtune evaluation and generation", keys("*._component_", syntaxes=YAML)),
    row(
        "deepspeed",
        "DeepSpeed JSON",
        keys("zero_optimization", none_of="num_layers num-layers pipe-parallel-size pipe_parallel_size", syntaxes=JSON),
        keys(
            any_of="train_batch_size train_micro_batch_size_per_gpu gradient_accumulation_steps fp16{} bf16{} "
            "steps_per_print wall_clock_breakdown",
            least=2,
            none_of="num_layers num-layers base_model model_name_or_path output_dir max_bucket_reso LoRA_type "
            "model_family train_text_encoder epoch",
            syntaxes=JSON,
        ),
        module="deepspeed",
    ),
    row(
        "gpt_neox",
        "gpt-neox",
        keys(
            any_of="num_layers num-layers train_micro_batch_size_per_gpu train-micro-batch-size-per-gpu "
            "train_batch_size train-batch-size",
            also="pipe_parallel_size pipe-parallel-size model_parallel_size model-parallel-size train_iters "
            "train-iters no_weight_tying no-weight-tying checkpoint_activations checkpoint-activations "
            "num_attention_heads num-attention-heads seq_length seq-length data_impl data-impl lr_decay_style "
            "lr-decay-style attention_config attention-config",
            least_also=3,
            none_of="model_name_or_path base_model model{} trainer{}",
            syntaxes=(*YAML, *JSON),
        ),
        module="gpt_neox",
    ),
    row("litgpt", "LitGPT", keys("train.global_batch_size train.micro_batch_size"), module="litgpt"),
    row(
        "llm_foundry",
        "llm-foundry / composer",
        keys("train_loader max_duration", "global_train_batch_size device_train_microbatch_size model.name"),
        keys("parameters.train_loader parameters.max_duration"),
        module="llm_foundry",
    ),
    row(
        "llm_foundry_other",
        "llm-foundry evaluation and jobs",
        keys("max_duration", "global_train_batch_size device_train_microbatch_size train_loader"),
        keys(any_of="device_eval_batch_size icl_tasks max_seq_len", least=2),
        keys("image command", "gpu_num compute integrations"),
    ),
    row("verl_other", "verl generation and evaluation", line(r"verl\.trainer\.(main_generation|main_eval)|print_cfg")),
    row(
        "verl",
        "verl",
        keys("actor_rollout_ref", syntaxes=YAML),
        keys("transfer_queue defaults", syntaxes=YAML),
        keys("data.train_batch_size data.micro_batch_size_per_gpu trainer.n_gpus_per_node", syntaxes=YAML),
        line(r"(^|\.)verl\.(trainer|experimental)\.|(^|/)verl/trainer/\w+\.py$"),
        line(any_of=r"~^actor_rollout_ref\."),
        module="verl",
    ),
    row(
        "verl_fragment",
        "a part of verl's config",
        keys(
            any_of="ppo_mini_batch_size ppo_micro_batch_size_per_gpu log_prob_micro_batch_size_per_gpu", syntaxes=YAML
        ),
    ),
    row("openrlhf", "OpenRLHF", line(r"openrlhf\.cli\.train_"), module="openrlhf"),
    row("openrlhf_other", "OpenRLHF serving and combining", line(r"openrlhf\.cli\.")),
    row(
        "nemo",
        "NVIDIA NeMo",
        keys(
            "trainer{}",
            "model.optim model.optimizer optim",
            also="exp_manager model.train_ds model.data.train_ds data.train_ds",
            none_of="inference server test_ds_meta",
        ),
        module="nemo",
    ),
    row(
        "nemo_other",
        "NeMo generation, evaluation and export",
        keys("trainer{}", "exp_manager gpt_model_file mamba_model_file retro_model_file"),
        keys("trainer{} inference", "prune hparams_file checkpoint_name"),
    ),
    row(
        "megatron_other",
        "Megatron-LM inference",
        keys("MODEL_ARGS{} MODE=^inference$", syntaxes=YAML),
    ),
    row(
        "swift_megatron",
        "ms-swift on Megatron-Core",
        line(r"(^|/)megatron$", words=r"^(sft|pt|rlhf)$"),
        module="swift_megatron",
    ),
    row(
        "megatron",
        "Megatron-LM",
        keys("MODEL_ARGS{}", syntaxes=YAML),
        line(
            any_of="micro_batch_size tensor_model_parallel_size global_batch_size pipeline_model_parallel_size",
            least=2,
            not_program=NOT_A_TRAINER,
        ),
        module="megatron",
    ),
    row(
        "fairseq2",
        "fairseq2",
        keys("regime", "trainer dataset optimizer gang model", syntaxes=YAML),
        keys(any_of="dataset.max_num_tokens dataset.max_num_elements gang.tensor_parallel_size", syntaxes=YAML),
        keys("pretrained_model.name", "trainer regime dataset", syntaxes=YAML),
        keys("dataset.train_split model.config_overrides", syntaxes=YAML),
        module="fairseq2",
    ),
    row(
        "fairseq_other",
        "fairseq preprocessing and generation",
        line(r"(^|/)fairseq-(?!train|hydra-train)\w+|fairseq_cli[./](?!train|hydra_train)"),
    ),
    row(
        "fairseq",
        "fairseq",
        keys("optimization", "criterion task distributed_training common", syntaxes=YAML),
        keys(any_of="common{} checkpoint{} distributed_training criterion._name", least=2, syntaxes=YAML),
        line(any_of="update_freq max_tokens max_sentences", also="arch task criterion"),
        line(r"(^|/)fairseq-(hydra-)?train$|fairseq_cli[./](hydra_)?train"),
        module="fairseq",
    ),
    row(
        "torchtitan",
        "torchtitan",
        keys("training.seq_len model.flavor", syntaxes=TOML),
        keys("training model.flavor", "training.local_batch_size training.batch_size", syntaxes=TOML),
        keys("training parallelism", syntaxes=TOML),
        call(
            r"TrainingConfig$",
            "local_batch_size global_batch_size seq_len num_tokens_per_microbatch_per_dp_rank "
            "num_tokens_per_train_step max_context_length",
            imports=r"^torchtitan",
        ),
        module="torchtitan",
    ),
    row(
        "unsloth",
        "unsloth Studio",
        keys(
            "training{}",
            "training.max_seq_length training.training_type",
            none_of="trainer defaults config.process",
            syntaxes=YAML,
        ),
        module="unsloth",
    ),
    row(
        "nanogpt",
        "nanoGPT",
        keys(
            "batch_size gradient_accumulation_steps",
            "block_size max_iters eval_interval eval_iters wandb_run_name n_layer n_embd lr_decay_iters",
            least=2,
            none_of="eval_only=^True$",
            syntaxes=PYTHON,
        ),
        module="nanogpt",
    ),
)

_DIFFUSION: tuple[Row, ...] = (
    row("ai_toolkit", "ai-toolkit", keys("job config.process[]"), module="ai_toolkit"),
    row(
        "onetrainer",
        "OneTrainer",
        keys("training_method", "model_type base_model_name __version", syntaxes=JSON),
        module="onetrainer",
    ),
    row(
        "simpletuner",
        "SimpleTuner",
        keys("model_family", "data_backend_config lora_type model_type train_batch_size", syntaxes=(*JSON, *TOML)),
        keys(
            "--data_backend_config",
            "--model_family --lora_type --model_type --train_batch_size",
            syntaxes=JSON,
        ),
        module="simpletuner",
    ),
    row(
        "kohya",
        "kohya sd-scripts",
        keys(
            "pretrained_model_name_or_path",
            "network_module train_batch_size max_train_steps optimizer_type",
            syntaxes=(*TOML, *JSON),
        ),
        keys(
            "*.pretrained_model_name_or_path",
            "*.network_module *.train_batch_size *.max_train_steps *.optimizer_type",
            syntaxes=TOML,
        ),
        keys(any_of="LoRA_type num_cpu_threads_per_process max_bucket_reso cache_latents", least=2, syntaxes=JSON),
        keys("datasets[]", "general", syntaxes=TOML),
        keys("datasets[]", syntaxes=TOML, text=r"\[\[\s*datasets\.subsets\s*\]\]"),
        line(all_of="pretrained_model_name_or_path network_module"),
        line(
            r"(^|/)((sdxl|flux|sd3|lumina|hunyuan_image|anima)_train(_\w+)?|train_(network|db|textual_inversion)|fine_tune)\.py$",
            any_of="config_file dataset_config max_data_loader_n_workers train_data_dir",
        ),
        module="kohya",
    ),
    row(
        "diffusers",
        "diffusers example scripts",
        line(
            r"train_(dreambooth|text_to_image|control|instruct|lcm|custom|textual|cogvideox|unconditional|t2i)\w*\.py$",
            none_of="network_module",
            not_program=r"_flax\.py$",
        ),
        line(all_of="pretrained_model_name_or_path train_batch_size", none_of="network_module"),
        module="diffusers",
    ),
)

_LOADER_AND_TRAINER = (
    r"(?m)\A(?=[\s\S]*^ +_target_: *[\w.]*\bDataLoader\b)(?=[\s\S]*^ +batch_size:)"
    r"(?=[\s\S]*^ +_target_: *[\w.]*(?:\bTrainer\b|\boptim\.\w+))"
)
"""Objects that make a run of a file: a DataLoader with a batch, and a Trainer or an optimizer of torch."""

_LAYOUTS: tuple[Row, ...] = (
    row(
        "monai",
        "MONAI bundles",
        keys(
            any_of="network_def._target_ network._target_ network_def network",
            also="train.trainer._target_=(^|\\.)SupervisedTrainer$",
        ),
        module="monai",
    ),
    row(
        "hydra_objects",
        "Hydra configs with _target_",
        keys(syntaxes=YAML, path=NOT_EVALUATION, text=_LOADER_AND_TRAINER),
        module="hydra_objects",
    ),
    row(
        "hydra_fragment",
        "Hydra and OmegaConf composition",
        keys(any_of="defaults[] _target_ hydra *._target_", syntaxes=YAML),
        keys(syntaxes=YAML, text=r"(?m)^# @package|: +\?\?\? *$"),
    ),
    row(
        "lightning",
        "Lightning CLI",
        keys(
            "trainer{}",
            "trainer.accelerator trainer.devices trainer.strategy trainer.accumulate_grad_batches seed_everything",
            also="model data seed_everything ckpt_path fit",
            none_of="exp_manager trainer.n_gpus_per_node train.global_batch_size",
            syntaxes=YAML,
        ),
        keys("model.class_path data.class_path", none_of="exp_manager", syntaxes=YAML),
        keys("trainer{}", "model.class_path data.class_path", none_of="exp_manager defaults", syntaxes=YAML),
        module="lightning",
    ),
    row(
        "lightning_script",
        "Lightning Trainer calls",
        call(
            r"(^|\.)Trainer$",
            any_of="accelerator devices gpus strategy precision max_epochs max_steps accumulate_grad_batches num_nodes",
            none_of="args train_dataset data_collator",
            imports=r"^(pytorch_lightning|lightning)(\.|$)",
        ),
        module="lightning_script",
    ),
    row(
        "jsonargparse",
        "classes and arguments for jsonargparse",
        keys(any_of="model.class_path data.class_path *.init_args", syntaxes=YAML),
    ),
    row(
        "speechbrain",
        "SpeechBrain HyperPyYAML",
        keys(
            any_of="number_of_epochs N_epochs epoch_counter opt_class grad_accumulation_factor train_dataloader_opts",
            syntaxes=YAML,
            text=r"!(new|ref|name|apply|include):?[\w. <]",
        ),
        module="speechbrain",
    ),
    row(
        "hyperpyyaml",
        "HyperPyYAML that trains nothing",
        keys(syntaxes=YAML, text=r"!(new|ref|name|apply|include):?[\w. <]"),
    ),
    row(
        "espnet",
        "ESPnet2",
        keys(
            any_of="batch_bins batch_type accum_grad optim_conf scheduler_conf encoder_conf specaug_conf max_epoch",
            least=2,
            also="batch_size batch_bins accum_grad batch_type",
            syntaxes=YAML,
        ),
        module="espnet",
    ),
)

_NO_TRAINING: tuple[Row, ...] = (
    row(
        "model_config",
        "Hugging Face model config and saved state",
        keys(any_of="architectures transformers_version peft_type log_history"),
    ),
    row(
        "job_spec",
        "job and package manifests",
        keys(any_of="run resources{} setup", least=2, syntaxes=YAML),
        keys(any_of="repos[] stages[] steps[] hooks[] Collections Models[]"),
    ),
)

FRAMEWORKS: tuple[Row, ...] = (
    row(
        "kubeflow",
        "Kubeflow training job",
        keys("apiVersion kind=^(TrainJob|PyTorchJob)$ spec", syntaxes=YAML),
        module="kubeflow",
    ),
    row("kubeflow_runtime", "Kubeflow runtime", keys("apiVersion kind=^(Cluster)?TrainingRuntime$", syntaxes=YAML)),
    row(
        "kubernetes_job",
        "Kubernetes job",
        keys("apiVersion kind=^(Job|CronJob|Pod|JobSet|MPIJob|RayJob|AppWrapper|StatefulSet)$ spec", syntaxes=YAML),
        module="kubernetes_job",
        job=True,
    ),
    row("github_workflow", "GitHub workflow", keys("on jobs{}", syntaxes=YAML), module="github_workflow", job=True),
    row(
        "skypilot",
        "SkyPilot task",
        keys(
            "run",
            "resources{} num_nodes setup envs file_mounts workdir",
            none_of="jobs on apiVersion steps trainer model",
            syntaxes=YAML,
        ),
        module="skypilot",
        job=True,
    ),
    row(
        "kubernetes",
        "Kubernetes and CI manifests",
        keys("apiVersion kind", syntaxes=YAML),
        keys("on jobs", syntaxes=YAML),
        keys("services{}", none_of="model trainer", syntaxes=YAML),
    ),
    *_LANGUAGE,
    *_DIFFUSION,
    *VISION,
    *_LAYOUTS,
    *_NO_TRAINING,
    row(
        "keras",
        "Keras",
        call(r"\.fit$", any_of="batch_size", imports=r"^(tensorflow|keras|tf_keras)(\.|$)", constant="batch_size"),
        module="keras",
    ),
    *SWIFT,
    row(
        "trl",
        "TRL",
        keys(
            any_of="num_generations max_completion_length max_prompt_length dataset_mixer dataset_mixture rpo_alpha "
            "padding_free packing_strategy assistant_only_loss completion_only_loss reward_funcs vllm_mode use_vllm "
            "sync_ref_model dataset_text_field dataset_kwargs precompute_ref_log_probs use_peft",
            also="per_device_train_batch_size gradient_accumulation_steps num_train_epochs",
            none_of="stage finetuning_type cutoff_len base_model distributed_type architectures *._component_ "
            "training{} trainer{} swift model_id",
        ),
        keys(
            "model_name_or_path per_device_train_batch_size",
            "packing max_length max_seq_length",
            also="attn_implementation torch_dtype dtype",
            none_of="stage finetuning_type cutoff_len template distributed_type *._component_ swift",
        ),
        keys(
            "model_name_or_path per_device_train_batch_size packing",
            "max_length max_seq_length",
            none_of="stage finetuning_type cutoff_len template distributed_type *._component_ swift",
        ),
        line(
            r"(^|/)trl(\.cli|\.scripts\.\w+|/scripts/\w+\.py)?$|(^|/)examples/scripts/"
            r"(sft|dpo|kto|orpo|cpo|bco|grpo|rloo|gkd)(_\w+)?\.py$",
            any_of="per_device_train_batch_size gradient_accumulation_steps learning_rate",
        ),
        call(
            r"(^|\.)(SFT|DPO|GRPO|KTO|RLOO|Reward|ORPO|CPO|BCO|GKD|PRM|PPO|OnlineDPO|NashMD|XPO)Config$",
            constant="per_device_train_batch_size gradient_accumulation_steps num_train_epochs learning_rate "
            "output_dir max_steps",
        ),
        module="trl",
    ),
    row(
        "hf_trainer",
        "Hugging Face TrainingArguments",
        keys(
            any_of="per_device_train_batch_size gradient_accumulation_steps output_dir num_train_epochs "
            "lr_scheduler_type save_strategy eval_strategy evaluation_strategy warmup_ratio per_device_eval_batch_size",
            least=2,
            also="per_device_train_batch_size learning_rate num_train_epochs max_steps gradient_accumulation_steps",
            none_of="stage finetuning_type cutoff_len base_model distributed_type architectures *._component_ "
            "training{} trainer{} swift",
        ),
        line(all_of="per_device_train_batch_size", none_of="stage finetuning_type", not_program=r"^swift$"),
        call(
            r"TrainingArguments$",
            constant="per_device_train_batch_size gradient_accumulation_steps num_train_epochs learning_rate "
            "output_dir max_steps",
        ),
        module="hf_trainer",
    ),
)
"""Frameworks, most specific first: keys that only one framework has, then layouts, then keys that many share."""
