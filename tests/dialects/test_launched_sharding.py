"""An accelerate YAML that a launch line names says how the run is sharded."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, told

RUN = "model_name_or_path: Qwen/Qwen2.5-0.5B\noutput_dir: out\nper_device_train_batch_size: 4\nbf16: true\n"
LINE = "accelerate launch --config_file acc.yaml sft.py --config sft.yaml"
HEAD = "compute_environment: LOCAL_MACHINE\nnum_processes: 8\nnum_machines: 1\n"


@pytest.mark.parametrize(
    ("says", "sharding", "low", "on_host"),
    [
        ("distributed_type: DEEPSPEED\ndeepspeed_config:\n  zero_stage: 3\n", ("zero3", "launch", 6), True, None),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config:\n  zero_stage: 2\n  offload_optimizer_device: cpu\n",
            ("zero2", "launch", 6),
            True,
            "offload_optimizer",
        ),
        (
            "distributed_type: FSDP\nfsdp_config:\n  fsdp_offload_params: true\n",
            ("fsdp", "launch", 4),
            True,
            "cpu_offload",
        ),
        ("distributed_type: MULTI_GPU\n", ("ddp", "launch", 4), None, None),
        ("distributed_type: DEEPSPEED\ndeepspeed_config:\n  deepspeed_config_file: ds.json\n", None, None, None),
        ("distributed_type: MEGATRON_LM\n", None, None, None),
    ],
)
def test_the_launchers_file_says_the_sharding(
    says: str, sharding: tuple[str, str, int] | None, low: bool | None, on_host: str | None
) -> None:
    around = Surroundings({"acc.yaml": HEAD + says}, launched_by=LINE)
    plan = reading("sft.yaml", RUN, around).plan
    assert (told(plan.sharding) if plan.sharding.known else None) == sharding
    assert plan.fact("low_precision_weights").value is low
    assert on_host is None or plan.fact(on_host).value is True
    assert plan.effective_batch.value == 32


def test_the_runs_own_word_stands() -> None:
    around = Surroundings({"acc.yaml": HEAD + "distributed_type: MULTI_GPU\n"}, launched_by=LINE)
    plan = reading("sft.yaml", RUN + "fsdp: full_shard\n", around).plan
    assert plan.sharding.value == "fsdp"


@pytest.mark.parametrize(("word", "checkpointing"), [("true", True), ("false", False)])
def test_the_launchers_file_checkpoints(word: str, checkpointing: bool) -> None:
    says = f"distributed_type: FSDP\nfsdp_config:\n  fsdp_activation_checkpointing: {word}\n"
    plan = reading("sft.yaml", RUN, Surroundings({"acc.yaml": HEAD + says}, launched_by=LINE)).plan
    assert plan.grad_checkpointing.value is checkpointing
