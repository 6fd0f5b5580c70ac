"""Trainers and recipes, started on the settings of an example.

A function takes settings as their file spells them (dotted keys nested, a command's flags flat) and a place; what it
raises is the framework's answer.
"""

from __future__ import annotations

import logging
import math
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from tests.rules.witnesses.extracts import function_of
from tests.rules.witnesses.place import Place, Settings
from tests.rules.witnesses.stand_ins import without_its_init


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
    recipe.config.instantiate = lambda plan, *_args: plan
    recipe.FullFinetuneRecipeDistributed(OmegaConf.create({**told, **settings}))
    _torchtune_dataset(settings)
    if "collate_fn" in settings:
        here = SimpleNamespace(_tokenizer=None, dp_size=1, dp_rank=0)
        recipe.FullFinetuneRecipeDistributed._setup_data(here, {}, False, 2, settings["collate_fn"])


def _torchtune_dataset(settings: Settings) -> None:
    module = import_module("torchtune.datasets._alpaca")
    module.SFTDataset = module.PackedDataset = lambda *_args, **_words: None
    tokenizer = SimpleNamespace(max_seq_len=settings["tokenizer"].get("max_seq_len"))
    module.alpaca_dataset(tokenizer, packed=settings["dataset"]["packed"])


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


def mmengine(settings: Settings, _place: Place) -> None:
    """The optimizer wrapper, the loop and ``scale_lr`` as the runner makes them, on a machine that has a card."""
    import torch

    wrappers = import_module("mmengine.optim")
    import_module("mmengine.optim.optimizer.amp_optimizer_wrapper").is_cuda_available = lambda: True
    words = dict(settings["optim_wrapper"])
    kind, spec = getattr(wrappers, words.pop("type")), words.pop("optimizer")
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    wrapper = kind(optimizer=torch.optim.SGD(parameters, lr=spec["lr"]), **words)
    loop = import_module("mmengine.runner.loops").EpochBasedTrainLoop
    loop(SimpleNamespace(), _batches(), settings["train_cfg"]["max_epochs"])
    if "auto_scale_lr" in settings:
        runner = import_module("mmengine.runner.runner").Runner
        here = SimpleNamespace(
            _train_dataloader=settings["train_dataloader"],
            world_size=1,
            logger=logging.getLogger("x"),
            param_schedulers=None,
        )
        runner.scale_lr(here, wrapper, settings["auto_scale_lr"])


def _batches() -> Any:
    import torch

    return torch.utils.data.DataLoader([0, 1])


def torchtitan(settings: Settings, place: Place) -> None:
    """``Trainer.Config`` of the settings, and the mesh of their degrees over the ranks they need."""
    parallel = settings["parallelism"]
    degrees = {
        name: parallel.get(f"{key}_degree", 1)
        for name, key in (("dp_replicate", "data_parallel_replicate"), ("dp_shard", "data_parallel_shard"),
                          ("cp", "context_parallel"), ("tp", "tensor_parallel"), ("pp", "pipeline_parallel"),
                          ("ep", "expert_parallel"))
    }  # fmt: skip
    kinds = {"SelectiveAC": _Kinds, "MemoryBudgetAC": _Kinds, "FlexAttention": _Kinds}
    check = function_of(place.package / "torchtitan/trainer.py", "Trainer.Config.__post_init__", **kinds)
    told = {"pipeline_parallel_microbatch_size": 1, "pipeline_parallel_degree": 1, "spmd_backend": "partial_dtensor"}
    check(
        SimpleNamespace(
            debug=SimpleNamespace(batch_invariant=False, spmd_typechecking=False),
            parallelism=SimpleNamespace(**{**told, **parallel}),
            training=SimpleNamespace(**settings["training"]),
            activation_checkpoint=None,
            _validate_cuda_graphs=lambda: None,
        )
    )
    ranks = math.prod(degree for name, degree in degrees.items() if degree > 0 and name != "ep")
    import_module("torchtitan.distributed.parallel_dims").ParallelDims(**degrees, world_size=max(ranks, 1))


class _Kinds:
    class Config: ...
