"""The first look at a file: a byte search, in a module of its own so that most files cost no other import."""

from __future__ import annotations

import os
import re


def prefilter(path: str, data: bytes) -> bool:
    """Whether ``data`` can be a training config at all: a byte search, so that most files are never parsed."""
    _, suffix = os.path.splitext(path)
    needles = _NEEDLES.get(suffix.lower())
    if needles is None:
        needles = _SHELL if not suffix and data.startswith(b"#!") and b"sh" in data[:40] else None
    return needles is not None and all(needle.search(data) for needle in needles)


_BATCH = re.compile(
    rb"(?i)batch|samples_per|accum|base_model|distributed_type|zero_optimization|_component_|finetuning_type"
    rb"|_BASE_|max_num_tokens|max_tokens|(?:^|[\s\"'])bs[\"']?\s*:|per_device|MODEL_ARGS|training_method|pipe.parallel.size"
)
_LAUNCHES = re.compile(rb"(?i)python|torchrun|accelerate|deepspeed|yolo|srun|mpirun|\btrl\b|train|rfdetr|\btune\b")
_FLAGGED = re.compile(rb"(?i)batch|accum|--bs\b|\s-b\s|per_device|\byolo\b|rfdetr")
_PYTHON = re.compile(
    rb"(?im)^_base_\s*=|read_base\(|samples_per_gpu|^train_dataloader\b|^dataloader\b"
    rb"|^from [\w.]+ import .*\bdataloader\b"
    rb"|TrainingArguments\(|TrainingConfig\(|^gradient_accumulation_steps[ \t]*="
    rb"|\b(?:SFT|DPO|GRPO|KTO|RLOO|Reward|ORPO|CPO|BCO|GKD)Config\(|\.train\("
    rb"|^[ \t]+(?:[a-z_]*batch_?size[a-z_]*|batch|bs|queue_(?:size|len|length)|[a-z_]*accum[a-z_]*)\s*[:=]"
)
_DATA = (_BATCH,)
_SHELL = (_FLAGGED, _LAUNCHES)
_NEEDLES: dict[str, tuple[re.Pattern[bytes], ...]] = {
    **dict.fromkeys((".yaml", ".yml", ".json", ".jsonc", ".toml"), _DATA),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".slurm", ".sbatch", ".bat", ".job"), _SHELL),
    ".py": (_PYTHON,),
}
