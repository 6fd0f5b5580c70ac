"""How each framework is started on the settings of an example, as far as its own checks.

A function takes settings as their file spells them (dotted keys nested), the folder of the unpacked archive and an
empty folder; what it raises is the framework's answer. Where a check reads the number of ranks, it is told.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import yaml

from tests.rules.witnesses.stand_ins import without_its_init

Settings = dict[str, Any]


class Place(NamedTuple):
    """Where a framework was unpacked, a folder to write in, and the number of GPUs the example is for."""

    package: Path
    scratch: Path
    gpus: int


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
    kind = import_module("deepspeed.runtime.config").DeepSpeedConfig
    config = kind.__new__(kind)
    config._param_dict = settings
    total, micro = settings.get("train_batch_size"), settings.get("train_micro_batch_size_per_gpu")
    steps = settings.get("gradient_accumulation_steps", 1)
    fitting = max(total // (micro * steps), 1) if total and micro else 1
    config.world_size = place.gpus if place.gpus > 1 else fitting
    config.dynamo_backend = None
    config.elasticity_enabled = False
    config._initialize_params(settings)
    config._configure_train_batch_size()
    config._do_sanity_check()


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


def lightning(settings: Settings, place: Place) -> None:
    """``Trainer(...)`` on a CPU (FSDP asks for its card), and its first question after a batch."""
    trainer = {**settings["trainer"], "max_epochs": 1, "default_root_dir": str(place.scratch), "logger": False}
    if trainer.get("accelerator") == "gpu" and "strategy" not in trainer:
        trainer |= {"accelerator": "cpu", "devices": 1 if trainer.get("devices") else 0}
    made = import_module("lightning").Trainer(**trainer, enable_checkpointing=False, enable_progress_bar=False)
    made.fit_loop.epoch_loop._accumulated_batches_reached()


def litgpt(settings: Settings, place: Place) -> None:
    """``TrainArgs(...)``, the batch arithmetic of every recipe, and ``setup`` of LoRA without a checkpoint."""
    args = import_module("litgpt.args").TrainArgs(**settings.pop("train"))
    args.gradient_accumulation_iters(settings["devices"])
    recipe = import_module("litgpt.finetune.lora")
    recipe.auto_download_checkpoint = lambda **_words: place.scratch
    recipe.check_valid_checkpoint_dir = lambda _folder: None
    recipe.Config.from_file = lambda _path, **_words: SimpleNamespace(name="net")
    recipe.choose_logger = lambda *_args, **_words: None
    recipe.BitsandbytesPrecision = lambda *_args: None
    recipe.setup(**{"out_dir": place.scratch, **settings}, train=args, data=SimpleNamespace())


def ultralytics(settings: Settings, _place: Place) -> None:
    """``get_cfg(overrides=...)``, and the trainer's start where several devices are named."""
    config = import_module("ultralytics.cfg").get_cfg(overrides=settings)
    devices = str(config.device or "").split(",")
    if len(devices) < 2 or config.batch >= 1:
        return
    kind = import_module("ultralytics.engine.trainer").BaseTrainer
    trainer = kind.__new__(kind)
    trainer.args, trainer.ddp, trainer.world_size = config, True, len(devices)
    trainer.train()


def rfdetr(settings: Settings, place: Place) -> None:
    """``TrainConfig(...)``."""
    without_its_init("rfdetr", str(place.package / "rfdetr"))
    settings.pop("@call")
    import_module("rfdetr.config").TrainConfig(**settings)


def torchtune(settings: Settings, place: Place) -> None:
    """The recipe of full fine-tuning over several devices, and the dataset that it builds."""
    from omegaconf import OmegaConf

    sys.path.insert(0, str(place.package / "recipes"))
    recipe = import_module("full_finetune_distributed")
    recipe.init_process_group = lambda *_args: None
    recipe.utils.get_world_size_and_rank = lambda: (8, 0)
    recipe.utils.get_device = lambda device: device
    told = {
        "device": "cuda", "output_dir": str(place.scratch), "resume_from_checkpoint": False, "seed": 1,
        "max_steps_per_epoch": None, "checkpointer": {"model_type": "LLAMA3"},
    }  # fmt: skip
    import_module("torchtune.training.precision").verify_bf16_support = lambda: True
    recipe.CheckpointClient = lambda _config: None
    recipe.config.instantiate = lambda plan: plan
    recipe.FullFinetuneRecipeDistributed(OmegaConf.create({**told, **settings}))
    _torchtune_dataset(settings)


def _torchtune_dataset(settings: Settings) -> None:
    module = import_module("torchtune.datasets._alpaca")
    module.SFTDataset = module.PackedDataset = lambda *_args, **_words: None
    tokenizer = SimpleNamespace(max_seq_len=settings["tokenizer"].get("max_seq_len"))
    module.alpaca_dataset(tokenizer, packed=settings["dataset"]["packed"])


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


def llm_foundry(settings: Settings, place: Place) -> None:
    """The config as ``train`` takes it apart, and how the model's device is chosen."""
    from omegaconf import OmegaConf

    for package in ("llmfoundry", "llmfoundry.utils"):
        without_its_init(package, str(place.package / package.replace(".", "/")))
    module = import_module("llmfoundry.utils.config_utils")
    told = {"tokenizer": {"name": "acme/net"}, "optimizer": {"name": "decoupled_adamw"}, "scheduler": {"name": "x"},
            "max_seq_len": 2048, "eval_interval": 1}  # fmt: skip
    with_defaults = OmegaConf.create({**told, **settings})
    module.dist = SimpleNamespace(get_world_size=lambda: place.gpus)
    _logged, config = module.make_dataclass_and_log_config(
        with_defaults, module.TrainConfig, module.TRAIN_CONFIG_KEYS, transforms=[module.update_batch_size_info]
    )
    module.ffns_with_megablocks = set()
    module.process_init_device(dict(config.model), config.fsdp_config, config.tp_config)


class Start(NamedTuple):
    """How to start a framework: the archives it is imported from, what stands in for the rest, and the rows whose
    errors this does not reach (they need a card, a checkpoint or several ranks).
    """

    run: Callable[[Settings, Place], None]
    archives: tuple[str, ...]
    stand_ins: tuple[str, ...] = ()
    unreached: frozenset[str] = frozenset()
    stray: frozenset[str] = frozenset()
    """Rows whose passing examples go on to something else that this machine lacks."""


TRANSFORMERS = ("transformers-*.whl", "tokenizers-*.whl", "accelerate-*.whl")

STARTS: Mapping[str, Start] = {
    "hf_trainer": Start(training_arguments, TRANSFORMERS),
    "trl": Start(trl, ("trl-*.whl", *TRANSFORMERS), ("datasets",)),
    "accelerate": Start(
        accelerate,
        ("accelerate-*.whl", *TRANSFORMERS),
        unreached=frozenset({"processes-not-divisible-by-machines"}),  # it starts, and waits
    ),
    "axolotl": Start(
        axolotl,
        ("axolotl-*.whl", "addict-*.whl", *TRANSFORMERS),
        ("datasets", "peft", "trl", "colorama"),
    ),
    "llamafactory": Start(
        llamafactory,
        ("llamafactory-*.whl", "trl-*.whl", *TRANSFORMERS),
        ("datasets", "peft", "av", "librosa"),
        unreached=frozenset({"galore-with-deepspeed", "apollo-with-deepspeed"}),  # DeepSpeed has to be installed
        stray=frozenset({"lora-with-galore"}),  # and so has galore_torch
    ),
    "deepspeed": Start(
        deepspeed,
        ("deepspeed-0.19.8*",),
        ("ninja", "cpuinfo", "msgpack", "deepspeed.comm", "deepspeed.moe", "deepspeed.model_implementations",
         "deepspeed.module_inject"),
        unreached=frozenset({"parameter-offload-below-stage-3", "nvme-without-path"}),
    ),
    "lightning": Start(
        lightning,
        ("lightning-*.whl", "lightning_utilities-*.whl"),
        ("torchmetrics",),
        stray=frozenset({"fsdp-on-cpu"}),
    ),
    "litgpt": Start(litgpt, ("litgpt-*.whl",), ("lightning", "lightning_utilities", "litdata", "torchmetrics")),
    "ultralytics": Start(ultralytics, ("ultralytics-*.whl",), ("cv2", "matplotlib")),
    "rfdetr": Start(rfdetr, ("rfdetr-*.whl",)),
    "torchtune": Start(
        torchtune,
        ("torchtune-*.whl",),
        ("torchao", "datasets", "sentencepiece", "tiktoken", "blobfile", "torchdata", "kagglehub", "tokenizers"),
    ),
    "verl": Start(
        verl,
        ("verl-*.whl", *TRANSFORMERS),
        ("ray", "tensordict", "hydra", "datasets", "codetiming", "peft", "orjson"),
    ),
    "llm_foundry": Start(
        llm_foundry,
        ("llm_foundry-*.whl",),
        ("composer", "streaming", "mlflow", "transformers", "llmfoundry.layers_registry", "llmfoundry.models",
         "llmfoundry.registry"),
    ),
}  # fmt: skip
