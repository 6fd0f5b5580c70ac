"""Every key of the tables of further facts stands in the framework's own source, where that is published.

What the installed version no longer has, or what its users name, is listed with its reason.
"""

from __future__ import annotations

import re

import pytest

from tests.rules.witnesses.archives import found, texts_of
from vramlint.dialects import further_images, further_language
from vramlint.dialects.further_facts import IMAGES

TABLES = {**further_language.FACTS, **further_images.FACTS}
_ARGUMENTS = ("transformers-*.whl", r"transformers/training_args\.py")
_TRL = ("trl-*.whl", r"trl/(trainer/(model|sft|base)_config|scripts/utils)\.py")
_ZERO = ("deepspeed-0.19.8*", r"runtime/zero/(offload_)?config\.py")
_ENGINE = ("deepspeed-0.19.8*", r"deepspeed/runtime/(config|constants|precision_config|lr_schedules)\.py")
SOURCES = {
    "hf_trainer": (_ARGUMENTS, _TRL, _ZERO),
    "trl": (_TRL,),
    "llamafactory": (("llamafactory-*.whl", r"hparams/\w+\.py"),),
    "axolotl": (("axolotl-*.whl", r"utils/schemas/\w+\.py"), _ARGUMENTS, _TRL, _ZERO),
    "openrlhf": (("openrlhf-*.whl", r"openrlhf/cli/\w+\.py"),),
    "deepspeed": (_ZERO, _ENGINE, ("deepspeed-0.19.8*", r"runtime/tensor_parallel/config\.py")),
    "accelerate": (("accelerate-*.whl", r"accelerate/(utils/dataclasses|commands/(config/cluster|launch))\.py"),),
    "torchtune": (
        ("torchtune-*.whl", r"recipes/(full_finetune_distributed\.py|configs/llama3_1/\w+\.yaml)"),
        ("torchtune-*.whl", r"torchtune/datasets/_alpaca\.py"),
    ),
    "torchtitan": (("torchtitan-*.whl", r"torchtitan/(config/configs|components/.*|trainer)\.py"),),
    "litgpt": (("litgpt-*.whl", r"litgpt/args\.py"),),
    "llm_foundry": (("llm_foundry-*.whl", r"llmfoundry/(utils/config_utils|models/mpt/\w+|command_utils/train)\.py"),),
    "lightning": (("lightning-*.whl", r"lightning/pytorch/(trainer/trainer|strategies/ddp)\.py"),),
    "mmengine": (
        ("mmengine-*.whl", r"mmengine/(runner/\w+|optim/optimizer/\w+|hooks/checkpoint_hook)\.py"),
        ("mmdet-*.whl", r"configs/_base_/models/retinanet_r50_fpn\.py"),
    ),
    "ultralytics": (("ultralytics-*.whl", r"ultralytics/cfg/default\.yaml"),),
}
"""The files of the published archives that name the keys."""

ELSEWHERE = {
    "evaluation_strategy": "transformers before 4.46",
    "gradient_checkpointing_kwargs.use_reentrant": "a keyword of torch.utils.checkpoint",
    "max_train_samples": "transformers' example scripts",
    "modules_to_save": "PEFT's LoraConfig",
    "additional_target": "LLaMA-Factory's hparams/finetuning_args.py",
    "fsdp_config.fsdp_activation_checkpointing": "transformers strips fsdp_",
    "fsdp_config.fsdp_offload_params": "axolotl strips fsdp_",
    "fsdp_config.fsdp_sharding_strategy": "accelerate's commands/launch.py, which axolotl hands it to",
    "fsdp_config.sharding_strategy": "the same without its prefix, and composer's FSDPConfig",
    "model_kwargs.attn_implementation": "TRL's scripts",
    "flash_attn": "OpenRLHF before 2025-10",
    "adam_offload": "OpenRLHF before 2026-04",
    "ds_tensor_parallel_size": "OpenRLHF before 2026-04",
    "tensor_model_parallel_size": "mcore_adapter's training_args.py, LLaMA-Factory's Megatron-Core backend",
    "pipeline_model_parallel_size": "mcore_adapter's training_args.py",
    "context_parallel_size": "mcore_adapter's training_args.py",
    "expert_model_parallel_size": "mcore_adapter's training_args.py",
    "context_parallel_dim": "torchtune after 0.6.1",
    "checkpoint.enable_checkpoint": "torchtitan before 2025-07",
    "training.compile": "torchtitan before 2025-07",
    "trainer.strategy.init_args.gradient_as_bucket_view": "a keyword of torch's DistributedDataParallel",
    "fsdp_config.activation_checkpointing_reentrant": "composer 0.32.1 utils/parallelism.py",
    "scheduler.t_warmup": "composer 0.32.1 optim/scheduler.py",
    "train_dataloader.drop_last": "a keyword of torch's DataLoader",
}
"""Keys that stand in another version or in the source of another program."""


@pytest.mark.parametrize("dialect", SOURCES)
def test_the_framework_has_the_keys(dialect: str) -> None:
    missing = [archive for archive, _ in SOURCES[dialect] if found(archive) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: run tools/fetch_wheels.sh")
    text = "\n".join(part for archive, files in SOURCES[dialect] for part in texts_of(archive, files))
    keys = {key for row in TABLES[dialect].rows for key in row.keys}
    if dialect == "lightning":
        keys = {key for key in keys if not key.startswith("data.")}  # data modules name these themselves
    assert [key for key in sorted(keys - ELSEWHERE.keys()) if not _names(text, key.rsplit(".", 1)[-1])] == []


def _names(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){word.replace('_', '[_-]')}(?!\w)", text) is not None


@pytest.mark.parametrize("dialect", TABLES)
def test_a_group_names_its_files(dialect: str) -> None:
    group = TABLES[dialect]
    assert re.search(r"\d", group.source), "no version or commit"
    assert group.files or not group.rows


def test_every_dialect_is_in_the_table_that_is_asked() -> None:
    assert set(IMAGES) == set(further_images.FACTS)
    assert not set(IMAGES) & set(further_language.FACTS)
