"""Hugging Face and its kin, and DeepSpeed, started on the settings of an example.

A function takes settings as their file spells them (dotted keys nested, a command's flags flat) and a place; what it
raises is the framework's answer.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import SimpleNamespace

import yaml

from tests.rules.witnesses.place import Place, Settings
from tests.rules.witnesses.stand_ins import without_its_init


def training_arguments(settings: Settings, place: Place) -> None:
    """``TrainingArguments(...)`` on a CPU, where bf16 is allowed when ``use_cpu`` says so."""
    settings = {key: value for key, value in settings.items() if key not in ("model_name_or_path", "num_train_epochs")}
    _arguments("transformers", "TrainingArguments", settings, place)


def trl(settings: Settings, place: Place) -> None:
    """The config class that the example calls."""
    _arguments("trl", settings.pop("@call", "GRPOConfig"), settings, place)


def _arguments(module: str, kind: str, settings: Settings, place: Place) -> None:
    words = {"use_cpu": True, "report_to": [], **settings, "output_dir": str(place.scratch)}
    getattr(import_module(module), kind)(**words)


def deepspeed(settings: Settings, place: Place) -> None:
    """``DeepSpeedConfig`` of a run on as many ranks as the batches ask for; ``gpus`` where the example counts them."""
    if "auto" in repr(settings):
        return  # the Trainer that is handed the file fills these in
    without_its_init("deepspeed", str(place.package / "deepspeed"))
    sys.modules["deepspeed"].HAS_TRITON = False  # type: ignore[attr-defined]
    config = import_module("deepspeed.runtime.config")
    total, micro = settings.get("train_batch_size"), settings.get("train_micro_batch_size_per_gpu")
    fitting = max(total // (micro * settings.get("gradient_accumulation_steps", 1)), 1) if total and micro else 1
    ranks = place.gpus if place.gpus > 1 else fitting
    config.dist = SimpleNamespace(get_rank=lambda: 0, get_world_size=lambda: ranks)
    config.DeepSpeedConfig(settings)


def accelerate(settings: Settings, place: Place) -> None:
    """``accelerate launch`` of the file, up to the plugins that it fills from it."""
    launch = import_module("accelerate.commands.launch")
    path = place.scratch / "accelerate.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    args = launch.launch_command_parser().parse_args(["--config_file", str(path), "train.py"])
    args, _defaults, precision_told = launch._validate_launch_command(args)
    if args.use_deepspeed:
        _deepspeed_plugin(settings, precision_told=precision_told)
    if args.use_fsdp and "fsdp_config" in settings:
        words = {key.removeprefix("fsdp_"): value for key, value in settings["fsdp_config"].items()}
        version = {"fsdp_version": words.pop("version")} if "version" in words else {}
        import_module("accelerate").FullyShardedDataParallelPlugin(**words, **version)
    if "parallelism_config" in settings:
        _parallelism(settings)
    import_module("accelerate.utils").PrecisionType(str(args.mixed_precision).lower())


def _deepspeed_plugin(settings: Settings, *, precision_told: bool) -> None:
    fields = [*settings.get("deepspeed_config", {}), *(["mixed_precision"] if precision_told else [])]
    if "deepspeed_config_file" not in fields:
        return
    os.environ["ACCELERATE_CONFIG_DS_FIELDS"] = ",".join(fields)
    import_module("accelerate").DeepSpeedPlugin._deepspeed_config_checks(SimpleNamespace())


def _parallelism(settings: Settings) -> None:
    kind = import_module("accelerate.parallelism_config").ParallelismConfig
    config = kind(
        **{key.removeprefix("parallelism_config_"): value for key, value in settings["parallelism_config"].items()}
    )
    world = SimpleNamespace(num_processes=settings["num_processes"], multi_device=True, is_fsdp2=True)
    config._validate_accelerator(world)


def axolotl(settings: Settings, _place: Place) -> None:
    """The schema that ``axolotl train`` validates its file with."""
    words = import_module("axolotl.utils.dict").DictDefault(settings)
    import_module("axolotl.utils.schemas.config").AxolotlInputConfig(**words)


def llamafactory(settings: Settings, place: Place) -> None:
    """``get_train_args``; the versions beside it are not its own here, and its checks are what is asked."""
    os.environ["DISABLE_VERSION_CHECK"] = "1"
    parse = import_module("llamafactory.hparams.parser").get_train_args
    parse({**settings, "output_dir": str(place.scratch / "out"), "use_cpu": True, "report_to": "none"})
