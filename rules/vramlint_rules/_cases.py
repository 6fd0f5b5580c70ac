"""Files that the cases of several rules are written in."""

from __future__ import annotations

_TRAINER = {
    "model_name_or_path": "Qwen/Qwen2.5-0.5B",
    "output_dir": "out",
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
}
_VISION = {"model": "resnet50", "image_size": "224 224", "batch_size": 64, "epochs": 5}


def trainer(**settings: object) -> str:
    """A YAML of Hugging Face's TrainingArguments; ``settings`` add to it or replace its lines."""
    return "".join(f"{key}: {value}\n" for key, value in {**_TRAINER, **settings}.items())


def torchrun(ranks: int = 2, **flags: object) -> str:
    """A launch line of a vision script with flags; a flag that is True is a bare switch."""
    return f"torchrun --nproc_per_node={ranks} train.py {_spelled({**_VISION, **flags})}\n"


def megatron(ranks: int = 8, **flags: object) -> str:
    """A launch line of Megatron-LM."""
    given = {"micro-batch-size": 2, "global-batch-size": 64, "lr": "1e-4", **flags}
    return f"torchrun --nproc_per_node={ranks} pretrain_gpt.py {_spelled(given)} --bf16\n"


def _spelled(flags: dict[str, object]) -> str:
    return " ".join(f"--{key}" if value is True else f"--{key} {value}" for key, value in flags.items())
