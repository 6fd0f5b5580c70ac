"""Lightning CLI and LitGPT: devices in the file, accumulation in the trainer, two floors."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.memory.resolve import resolve
from vramlint.plan import Precision

FIT = """\
trainer:
  accelerator: gpu
  devices: 2
  accumulate_grad_batches: 4
  precision: 16-mixed
model:
  class_path: torchgeo.trainers.SemanticSegmentationTask
data:
  class_path: torchgeo.datamodules.NAIPDataModule
  init_args:
    batch_size: 8
    num_workers: 4
"""


@pytest.mark.parametrize(
    ("devices", "gpus", "ranks"),
    [
        ("2", 8, 2), ("[0, 1, 2]", None, 3), ('"0,1"', None, 2), ('"4"', None, 4), ("auto", 8, 8), ("auto", None, None),
        ("-1", 2, 2), ("2\n  num_nodes: 3", None, 6),
    ],
)  # fmt: skip
def test_the_world(devices: str, gpus: int | None, ranks: int | None) -> None:
    found = reading("fit.yaml", FIT.replace("devices: 2", f"devices: {devices}"), Surroundings(gpus=gpus))
    assert found.plan.dialect == "lightning"
    assert found.plan.world_size.value == ranks
    assert found.plan.effective_batch.value == (ranks * 32 if ranks else None)


@pytest.mark.parametrize(
    ("word", "precision"),
    [
        ("16", Precision.FP16), ("16-mixed", Precision.FP16), ("bf16", Precision.BF16), ("bf16-mixed", Precision.BF16),
        ("bf16-true", Precision.PURE_BF16), ("32", Precision.FP32), ("'32-true'", Precision.FP32), ("64", None),
    ],
)  # fmt: skip
def test_precision_words(word: str, precision: Precision | None) -> None:
    found = reading("fit.yaml", FIT.replace("16-mixed", word))
    assert found.plan.precision.value is precision


def test_accumulation_and_precision_can_be_added_to_the_trainer() -> None:
    text = FIT.replace("  accumulate_grad_batches: 4\n  precision: 16-mixed\n", "")
    found = reading("fit.yaml", text)
    assert values(found, "accumulation", "precision", "effective_batch") == (1, Precision.FP32, 16)
    assert (found.slots["accumulation"].key, found.slots["precision"].key) == ("accumulate_grad_batches", "precision")
    assert found.slots["precision"].spell(Precision.BF16) == "bf16-mixed"
    assert told(found.plan.micro_batch) == (8, "file", 9)


@pytest.mark.parametrize(
    ("strategy", "sharding"),
    [
        ("fsdp", "fsdp"),
        ("deepspeed_stage_3_offload", "zero3"),
        ("ddp_find_unused_parameters_true", "ddp"),
        ("auto", "ddp"),
    ],
)
def test_strategies(strategy: str, sharding: str) -> None:
    assert (
        reading("fit.yaml", FIT.replace("  devices: 2", f"  devices: 2\n  strategy: {strategy}")).plan.sharding.value
        == sharding
    )


LITGPT = """\
checkpoint_dir: checkpoints/EleutherAI/pythia-1b
precision: bf16-true
devices: 3
train:
  global_batch_size: 8
  micro_batch_size: 2
  max_seq_length: 512
"""


@pytest.mark.parametrize(
    ("devices", "accumulation", "effective"), [(1, 4, 8), (2, 2, 8), (3, 1, 6), (4, 1, 8), (8, None, None)]
)
def test_litgpt_floors_twice(devices: int, accumulation: int | None, effective: int | None) -> None:
    found = reading("full.yaml", LITGPT.replace("devices: 3", f"devices: {devices}"))
    assert values(found, "accumulation", "effective_batch", "data_parallel") == (accumulation, effective, devices)


@pytest.mark.parametrize(("devices", "checkpointing"), [(1, False), (2, True)])
def test_litgpt_checkpoints_where_it_shards(devices: int, checkpointing: bool) -> None:
    found = reading("full.yaml", LITGPT.replace("devices: 3", f"devices: {devices}"))
    assert found.plan.grad_checkpointing.value is checkpointing


@pytest.mark.parametrize(
    "text",
    [
        "trainer: {accelerator: gpu, devices: 2}\nexp_manager: {}\nmodel: {}\n",
        "trainer: {n_gpus_per_node: 8}\nactor_rollout_ref: {}\n",
        "defaults: [x]\ntrainer: {devices: 2}\nmodel: {_target_: a.B}\n",
    ],
)
def test_other_trainers(text: str) -> None:
    assert [found.plan.dialect for found in readings("x.yaml", text) if found.plan.dialect == "lightning"] == []


TORCHGEO = """\
trainer:
  devices: 1
model:
  class_path: torchgeo.trainers.SemanticSegmentationTask
  init_args:
    model: deeplabv3+
    backbone: resnet50
    in_channels: 13
    num_classes: 8
data:
  class_path: torchgeo.datamodules.Sentinel2NCCMDataModule
  init_args:
    batch_size: 8
    patch_size: 256
"""


def test_torchgeo_names_its_network_by_arguments() -> None:
    found = reading("fit.yaml", TORCHGEO)
    assert values(found, "model", "task", "num_classes") == ("deeplabv3+_resnet50", "segment", 8)
    assert str(found.plan.image_size.value) == "256x256"
    assert found.plan.fact("in_channels").value == 13
    assert resolve(found.plan).knowledge is not None


@pytest.mark.parametrize(
    ("changed", "model", "because"),
    [
        (("deeplabv3+", "fcn"), None, "torchgeo's fcn is not known"),
        (("num_classes: 8", "num_classes: 8\n    freeze_backbone: true"), None, "frozen part"),
        (("num_classes: 8", "num_classes: 8\n    freeze_backbone: false"), "deeplabv3+_resnet50", ""),
        (("SemanticSegmentationTask", "ClassificationTask"), "deeplabv3+", ""),
        (("SemanticSegmentationTask", "MoCoTask"), None, "builds its model itself"),
        (("SemanticSegmentationTask", "OwnTask"), None, "builds its model itself"),
    ],
)
def test_what_torchgeo_s_tasks_say(changed: tuple[str, str], model: str | None, because: str) -> None:
    found = reading("fit.yaml", TORCHGEO.replace(*changed))
    assert found.plan.model.value == model
    assert because in (found.plan.model.note or "")


@pytest.mark.parametrize(
    ("patch", "size"), [("256", "256x256"), ("[128, 192]", "128x192"), ("[1, 2, 3]", "None"), ("big", "None")]
)
def test_the_patch_is_the_sample(patch: str, size: str) -> None:
    found = reading("fit.yaml", TORCHGEO.replace("patch_size: 256", f"patch_size: {patch}"))
    assert str(found.plan.image_size.value) == size
