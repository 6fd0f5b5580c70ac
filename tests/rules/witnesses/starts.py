"""The frameworks that are started on the examples of their rows, and what each needs for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.rules.witnesses.place import Place, Settings
from tests.rules.witnesses.starts_hugging_face import (
    accelerate,
    axolotl,
    deepspeed,
    llamafactory,
    training_arguments,
    trl,
)
from tests.rules.witnesses.starts_programs import open_clip, openrlhf, verl
from tests.rules.witnesses.starts_trainers import (
    lightning,
    litgpt,
    llm_foundry,
    mmengine,
    rfdetr,
    torchtitan,
    torchtune,
    ultralytics,
)


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
        stray=frozenset({"lora-with-galore", "generation-and-accuracy"}),  # and so have galore_torch and jieba
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
        stray=frozenset({"padded-on-the-left"}),  # what follows reads the data
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
    "openrlhf": Start(openrlhf, ("openrlhf-*.whl",)),
    "open_clip": Start(open_clip, ("open_clip_torch-*.whl",)),
    "mmengine": Start(
        mmengine,
        ("mmengine-0.10.7*.whl", "addict-*.whl"),
        ("yapf", "termcolor", "matplotlib", "cv2", "mmcv"),
    ),
    "torchtitan": Start(
        torchtitan, ("torchtitan-*.whl",), ("datasets", "torchdata", "tyro", "tensorboard", "spmd_types")
    ),
}  # fmt: skip
