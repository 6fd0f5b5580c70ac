"""Detectors and segmenters of transformers by hub name: which profile, how it grows, what is said."""

from __future__ import annotations

import pytest

from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.memory.knowledge import Workload
from vramlint.memory.profile_catalogue import find_profile
from vramlint.plan import Fact, ImageSize, Origin, Precision, TrainingPlan

# Built for real (transformers 5.24 on the meta device, Ultralytics 8.4.190) with the profiles' numbers of classes.
PARAMETERS = {
    "facebook/mask2former-swin-tiny-coco-instance": 47_441_169,
    "facebook/mask2former-swin-tiny-ade-semantic": 47_441_169,
    "PekingU/rtdetr_r18vd": 20_174_608,
    "PekingU/rtdetr_r18vd_coco_o365": 20_174_608,
    "PekingU/rtdetr_r101vd": 76_556_268,
    "PekingU/rtdetr_v2_r18vd": 20_174_608,
    "PekingU/rtdetr_v2_r50vd": 42_891_372,
    "ustc-community/dfine-small-coco": 10_309_605,
    "ustc-community/dfine-medium-obj2coco": 19_563_368,
    "ustc-community/dfine-large-obj365": 31_244_152,
    "ustc-community/dfine-nano-coco": 3_770_421,
    "SenseTime/deformable-detr": 40_069_665,
    "facebook/mask2former-swin-large-ade-semantic": 215_491_851,
    "yolo11n-pose.pt": 2_874_462,
    "yolov8n-pose": 3_295_470,
    "yolo11n-obb": 2_664_432,
    "yolo11n-cls": 2_812_104,
    "yolov11n-classify": 2_812_104,
    "yolov8l-seg": 45_997_728,
    "rtdetr-l.pt": 32_970_476,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_hub_name_finds_its_architecture(name: str) -> None:
    found = find_profile(name)
    assert found is not None
    assert found.parameters == PARAMETERS[name]
    assert find_profile(name.upper()) == found


def peak(name: str, batch: int, side: int, targets: int | None = None) -> int:
    found = find_profile(name)
    assert found is not None
    found = found if targets is None else found._replace(targets=targets)
    moments = found.moments(Workload(batch, Precision.BF16, checkpointing=False, height=side, width=side))
    return max(moment.activation_bytes + 4 * moment.gradient_elements for moment in moments)


@pytest.mark.parametrize(
    ("name", "batch", "side", "targets", "traced"),
    [  # GiB of traces at shapes that the profiles were not made from
        ("mask2former-swin-tiny-coco-instance", 16, 640, 20, 33.28),
        ("mask2former-swin-tiny-coco-instance", 8, 512, 40, 11.88),
        ("mask2former-swin-tiny-coco-instance", 2, 1024, 10, 10.25),
        ("mask2former-swin-large-ade-semantic", 8, 384, 20, 10.19),
        ("mask2former-swin-large-ade-semantic", 4, 768, 20, 19.14),
        ("rtdetr-l", 16, 640, None, 10.80),
        ("deformable-detr", 8, 512, None, 10.60),
        ("rtdetr_r101vd", 16, 640, None, 18.06),
        ("rtdetr_r101vd", 2, 1024, None, 5.51),
        ("dfine-medium-coco", 16, 640, None, 9.16),
        ("dfine-large-coco", 16, 640, None, 12.57),
    ],
)
def test_a_profile_equals_a_trace_elsewhere(
    name: str, batch: int, side: int, targets: int | None, traced: float
) -> None:
    assert peak(name, batch, side, targets) == pytest.approx(traced * 2**30, rel=0.002)


def test_a_loss_that_compares_all_boxes_of_a_batch_grows_faster_than_the_batch() -> None:
    one, two, four = (peak("rtdetr_r18vd", batch, 640) for batch in (16, 32, 64))
    assert four - two > 2 * (two - one) * 1.02


def test_how_many_truths_have_masks_is_said_and_bounds_the_figure() -> None:
    few, usual, most = (peak("mask2former_swin_tiny", 8, 512, targets) for targets in (5, 20, 93))
    assert few < usual < most
    assert peak("mask2former_swin_tiny", 8, 512) == usual
    found = estimate(plan("facebook/mask2former-swin-tiny-coco-instance"), Target())
    assert found.allocated is not None
    assert found.allocated.high > 1.2 * found.allocated.value
    assert any("20 ground truths with masks" in text and "93" in text for text in found.assumptions)


def plan(name: str) -> TrainingPlan:
    made = TrainingPlan("hf_trainer", "x.sh")
    values = {
        "model": name, "micro_batch": 8, "accumulation": 1, "world_size": 1, "data_parallel": 1,
        "precision": Precision.BF16, "optimizer": "AdamW", "grad_checkpointing": False, "ema": False,
        "image_size": ImageSize(512, 512),
    }  # fmt: skip
    for key, value in values.items():
        setattr(made, key, Fact(value, Origin.FILE))
    return made
