"""Programs that are started by flags or by Hydra, up to what they do with their settings.

A function takes settings as their file spells them (dotted keys nested, a command's flags flat) and a place; what it
raises is the framework's answer.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from tests.rules.witnesses.extracts import program_of, statements_of
from tests.rules.witnesses.place import Place, Settings
from tests.rules.witnesses.stand_ins import without_its_init


def verl(settings: Settings, place: Place) -> None:
    """``validate_config`` of the settings over the defaults that the wheel ships resolved."""
    from omegaconf import OmegaConf

    import_module("hydra.utils").instantiate = _instantiate
    config = OmegaConf.load(place.package / "verl/trainer/config/_generated_ppo_trainer.yaml")
    micro = "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu"
    given = OmegaConf.create(settings)
    for key in (micro, "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu"):
        if OmegaConf.select(given, "actor_rollout_ref.actor.ppo_micro_batch_size") is None or key != micro:
            OmegaConf.update(config, key, 1)
    import_module("verl.utils.config").validate_config(
        OmegaConf.merge(config, given), use_reference_policy=False, use_critic=False
    )


def _instantiate(config: Any, **_words: Any) -> Any:
    """``hydra.utils.instantiate``: the class that ``_target_`` names, of what stands beside it."""
    from omegaconf import OmegaConf

    table = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    if isinstance(table, list):
        return [_instantiate(item) for item in table]
    if not isinstance(table, dict):
        return table
    words = {key: _instantiate(value) for key, value in table.items() if key not in ("_target_", "_convert_")}
    if "_target_" not in table:
        return words
    module, name = table["_target_"].rsplit(".", 1)
    return getattr(import_module(module), name)(**words)


def openrlhf(settings: Settings, place: Place) -> None:
    """The program of PPO up to ``train``: its flags, and what it asserts of them."""
    without_its_init("openrlhf.utils", str(place.package / "openrlhf/utils"))
    sys.argv = ["train_ppo_ray", *_flags(settings)]
    names = {"argparse": argparse, "datetime": datetime.datetime, "train": lambda _args: None, "os": os}
    program_of(place.package / "openrlhf/cli/train_ppo_ray.py")(names)


def open_clip(settings: Settings, place: Place) -> None:
    """``parse_args`` of the flags, and the statements of ``main`` about distillation and the schedule."""
    args = import_module("open_clip_train.params").parse_args(_flags(settings))
    loader = SimpleNamespace(dataloader=SimpleNamespace(num_batches=10))
    names = {
        "args": args, "logging": logging, "data": {"train": loader}, "optimizer": object(), "start_epoch": 0,
        "device": "cpu", "create_model_and_transforms": lambda *_args, **_words: (None, None, None), "exit": sys.exit,
        "cosine_lr": _nothing, "const_lr": _nothing, "const_lr_cooldown": _nothing,
    }  # fmt: skip
    for mention in ("distill_pretrained", "'coca'", "const-cooldown"):
        statements_of(place.package / "open_clip_train/main.py", "main", mention)(names)


def _flags(settings: Settings) -> list[str]:
    """The words of a command line; a switch has the value ``""``."""
    return [word for key, value in settings.items() for word in (f"--{key}", str(value)) if word]


def _nothing(*_args: Any, **_words: Any) -> None: ...
