"""Framework rows against the frameworks themselves, where they are installed: the failing examples raise, the passing
ones do not. Without a framework its rows are proved by reading alone (their ``source``), and these tests skip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from vramlint.constraints import Row, read_rows
from vramlint_rules._rows import FOLDER

Settings = dict[str, Any]


def nested(settings: Mapping[str, Any], base: Mapping[str, Any]) -> Settings:
    """``settings`` with dotted keys laid over ``base``."""
    import json

    table: Settings = json.loads(json.dumps(base))
    for key, value in settings.items():
        *outer, last = key.split(".")
        at = table
        for part in outer:
            at = at.setdefault(part, {})
        at[last] = value
    return table


def training_arguments(settings: Settings, folder: Path) -> None:
    """``TrainingArguments(...)`` on a CPU, where bf16 is allowed when ``use_cpu`` says so."""
    kind = import_module("transformers").TrainingArguments
    settings = {key: value for key, value in settings.items() if key not in ("model_name_or_path", "num_train_epochs")}
    kind(**{"use_cpu": True, "report_to": [], **settings, "output_dir": str(folder)})


def grpo(settings: Settings, folder: Path) -> None:
    """``GRPOConfig(...)``."""
    kind = import_module("trl").GRPOConfig
    kind(**{"use_cpu": True, "report_to": [], **settings, "output_dir": str(folder)})


def deepspeed(settings: Settings, _folder: Path) -> None:
    """``DeepSpeedConfig`` of a run on as many ranks as the batches ask for; four for the row that counts ranks."""
    if "auto" in repr(settings):
        return  # the Trainer that is handed the file fills these in
    kind = import_module("deepspeed.runtime.config").DeepSpeedConfig
    config = kind.__new__(kind)
    config._param_dict = settings
    total, micro = settings.get("train_batch_size"), settings.get("train_micro_batch_size_per_gpu")
    steps = settings.get("gradient_accumulation_steps", 1)
    config.world_size = 4 if total == 32 else max(total // (micro * steps), 1) if total else 1
    config.dynamo_backend = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "__init__", lambda self, *_: None)
        config.elasticity_enabled = False
        config._initialize_params(settings)
        config._configure_train_batch_size()
        config._do_sanity_check()


def lightning(settings: Settings, folder: Path) -> None:
    """``Trainer(...)`` on a CPU."""
    trainer = {**settings["trainer"], "max_epochs": 1, "default_root_dir": str(folder), "logger": False}
    if trainer.get("accelerator") == "gpu":
        trainer |= {"accelerator": "cpu", "devices": 1 if trainer.get("devices") else 0}
    import_module("lightning").Trainer(**trainer, enable_checkpointing=False, enable_progress_bar=False)


def litgpt(settings: Settings, _folder: Path) -> None:
    """``TrainArgs(...)`` and the batch arithmetic that every recipe does with it."""
    args = import_module("litgpt.args").TrainArgs(**settings["train"])
    args.gradient_accumulation_iters(settings["devices"])


def ultralytics(settings: Settings, _folder: Path) -> None:
    """``get_cfg(overrides=...)``."""
    import_module("ultralytics.cfg").get_cfg(overrides=settings)


def rfdetr(settings: Settings, _folder: Path) -> None:
    """``TrainConfig(...)``."""
    import_module("rfdetr.config").TrainConfig(**settings)


def axolotl(settings: Settings, _folder: Path) -> None:
    """The schema that ``axolotl train`` validates its file with."""
    words = import_module("axolotl.utils.dict").DictDefault(settings)
    import_module("axolotl.utils.schemas.config").AxolotlInputConfig(**words)


def llamafactory(settings: Settings, folder: Path) -> None:
    """``get_train_args``; the versions beside it are not its own here, and its checks are what is asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISABLE_VERSION_CHECK", "1")
        parse = import_module("llamafactory.hparams.parser").get_train_args
        parse({**settings, "output_dir": str(folder), "use_cpu": True, "report_to": "none"})


def accelerate(settings: Settings, _folder: Path) -> None:
    """The parallelism and FSDP plugins that ``accelerate launch`` fills from the file."""
    if "parallelism_config" in settings:
        kind = import_module("accelerate.parallelism_config").ParallelismConfig
        prefix = "parallelism_config_"
        kind(**{key.removeprefix(prefix): value for key, value in settings["parallelism_config"].items()})
    if "fsdp_config" in settings:
        words = {key.removeprefix("fsdp_"): value for key, value in settings["fsdp_config"].items()}
        version = {"fsdp_version": words.pop("version")} if "version" in words else {}
        import_module("accelerate").FullyShardedDataParallelPlugin(**words, **version)
    word = settings["mixed_precision"]
    import_module("accelerate.utils").PrecisionType(word.lower())


class Executed(NamedTuple):
    """How to start a framework on an example, and the rows that this does not reach."""

    module: str
    start: Callable[[Settings, Path], None]
    unreached: tuple[str, ...] = ()


FRAMEWORKS = {
    "hf_trainer": Executed("transformers", training_arguments, ("unknown-wrap-policy",)),
    "trl": Executed("trl", grpo),
    "deepspeed": Executed("deepspeed", deepspeed, ("parameter-offload-below-stage-3", "nvme-without-path")),
    "axolotl": Executed("axolotl", axolotl),
    "llamafactory": Executed(
        "llamafactory", llamafactory, ("galore-with-deepspeed", "apollo-with-deepspeed", "lora-with-galore")
    ),
    "lightning": Executed("lightning", lightning, ("fsdp-on-cpu", "no-accumulation")),
    "litgpt": Executed(
        "litgpt",
        litgpt,
        ("quantized-mixed-precision", "quantized-without-precision", "quantized-on-several-devices"),
    ),
    "ultralytics": Executed("ultralytics", ultralytics, ("batch-search-on-several-gpus",)),
    "rfdetr": Executed("rfdetr", rfdetr),
    "accelerate": Executed(
        "accelerate",
        accelerate,
        (
            "deepspeed-file-and-zero-stage",
            "deepspeed-file-and-accumulation",
            "deepspeed-file-and-clipping",
            "deepspeed-file-and-offload",
            "multi-gpu-on-one-card",
            "processes-not-divisible-by-machines",
            "mesh-does-not-match-processes",
        ),
    ),
}


def reached(framework: str) -> list[Row]:
    path = f"{FOLDER}/{framework}.yaml"
    rows = read_rows(Path(path).read_text(encoding="utf-8"), path).rows
    return [row for row in rows if row.name not in FRAMEWORKS[framework].unreached]


def started(framework: str, row: Row, settings: Mapping[str, Any], folder: Path) -> Exception | SystemExit | None:
    """What the framework raises for one example."""
    found = FRAMEWORKS[framework]
    try:
        found.start(nested(settings, row.example.get("base") or {}), folder)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever stops the framework is the answer
        return error
    return None


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_framework_stops_where_the_row_says(framework: str, tmp_path: Path) -> None:
    """One test a framework: importing some of them takes longer than all of their examples."""
    pytest.importorskip(FRAMEWORKS[framework].module)
    wrong = []
    for row in reached(framework):
        for settings in row.fails:
            if started(framework, row, settings, tmp_path) is None:
                wrong.append(f"{row.name} does not stop it: {dict(settings)}")
        for settings in row.passes:
            error = started(framework, row, settings, tmp_path)
            if error is not None:
                wrong.append(f"{row.name} passes and stops it: {dict(settings)}: {type(error).__name__}: {error}")
    assert wrong == []


def test_the_unreached_rows_exist() -> None:
    for framework, found in FRAMEWORKS.items():
        path = f"{FOLDER}/{framework}.yaml"
        names = {row.name for row in read_rows(Path(path).read_text(encoding="utf-8"), path).rows}
        assert names >= set(found.unreached)
