"""detectron2's configs as the scorer ships them: the dialect reads them, and the files beside the checkout agree."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel
from vramlint.memory.layers.planned import model_of
from vramlint.memory.layers.stack import TRACED
from vramlint.plan import Precision

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus" / "detectron2" / "facebookresearch__detectron2"


DEEPLAB = "projects/DeepLab/configs/Cityscapes-SemanticSegmentation"
PANOPTIC = (
    "projects/Panoptic-DeepLab/configs/Cityscapes-PanopticSegmentation/panoptic_deeplab_R_52_os16_mg124_poly_90k_bs32"
)


@pytest.fixture(scope="module")
def configs() -> Any:
    """detectron2's configs by their path."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("scoring.wheel_plans").wheel("detectron2")
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.mark.parametrize(
    ("path", "parameters"),
    [  # counted in detectron2's own model, commit 02b5c4e
        ("configs/Detectron1-Comparisons/faster_rcnn_R_50_FPN_noaug_1x.yaml", 41_699_936),
        ("configs/COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml", 59_133_158),
        ("configs/COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml", 45_973_990),
        ("configs/COCO-Detection/retinanet_R_50_FPN_1x.yaml", 37_915_572),
        (f"{PANOPTIC}_crop_512_1024.yaml", 59_770_166),
        (f"{PANOPTIC}_crop_512_1024_dsconv.yaml", 30_271_350),
        (f"{DEEPLAB}/deeplab_v3_R_103_os16_mg124_poly_90k_bs16.yaml", 58_163_667),
        (f"{DEEPLAB}/deeplab_v3_plus_R_103_os16_mg124_poly_90k_bs16.yaml", 59_467_315),
    ],
)
def test_a_row_is_answered_from_its_file(configs: Any, path: str, parameters: int) -> None:
    plan = configs.plan(path, Target(None, 8, source="--gpus"))
    assert plan.micro_batch.value in (2, 4)
    assert model_of(plan).parameters == parameters


@pytest.mark.parametrize(
    "name",
    [
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
        "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x",
        "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x",
        "COCO-Detection/retinanet_R_50_FPN_1x",
    ],
)
def test_both_eras_of_one_model_are_one(configs: Any, name: str) -> None:
    lazy, keyed = (configs.plan(f"configs/{name}.{end}", Target(None, 8, source="--gpus")) for end in ("py", "yaml"))
    first, second = model_of(lazy), model_of(keyed)
    assert (first.parameters, first.trainable) == (second.parameters, second.trainable)
    assert lazy.image_size.value == keyed.image_size.value == (800, 1333)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("projects/TensorMask/configs/tensormask_R_50_FPN_1x.yaml", "TensorMask"),
        ("projects/PointRend/configs/InstanceSegmentation/pointrend_rcnn_R_50_FPN_1x_coco.yaml", "PointRendMaskHead"),
    ],
)
def test_what_is_not_known_is_named(configs: Any, path: str, reason: str) -> None:
    plan = configs.plan(path, Target(None, 8, source="--gpus"))
    found = estimate(plan, Target())
    assert found.allocated is None
    assert reason in f"{found.unknown_because} {plan.fact('architecture').note}"


def test_large_scale_jitter_is_a_fixed_crop(configs: Any) -> None:
    plan = configs.plan("configs/new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ.py", Target(None, 32, source="--gpus"))
    assert (plan.micro_batch.value, tuple(plan.image_size.value)) == (2, (1024, 1024))
    assert plan.fact("shapes_vary").value is False
    assert model_of(plan).parameters == 46_301_232


TRACED_MIB = [  # two images of 256 x 512, forward and backward with fp32 gradients, of detectron2's own modules
    (f"{PANOPTIC}_crop_512_1024.yaml", 935.9),
    (f"{PANOPTIC}_crop_512_1024_dsconv.yaml", 1048.0),
    (f"{DEEPLAB}/deeplab_v3_R_103_os16_mg124_poly_90k_bs16.yaml", 885.7),
    (f"{DEEPLAB}/deeplab_v3_plus_R_103_os16_mg124_poly_90k_bs16.yaml", 959.4),
]


@pytest.mark.parametrize(("path", "traced"), TRACED_MIB, ids=[path.rsplit("/", 1)[-1] for path, _ in TRACED_MIB])
def test_the_ledger_equals_the_trace(configs: Any, path: str, traced: float) -> None:
    tree = configs.plan(path, Target(None, 8, source="--gpus")).fact("architecture").value
    # A trace adds gradients into new tensors: a dispatch mode forbids the engine to add in place.
    model = LayerModel(tree, "detectron2", stack=TRACED._replace(adds_gradients_in_place=False))
    marks = model.step(Workload(2, Precision.FP32, False, 256, 512)).marks
    assert max(m.activation_bytes + 4 * m.gradient_elements for m in marks) / 2**20 == pytest.approx(traced, rel=0.005)


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus beside the checkout")
def test_what_is_shipped_is_the_corpus_word_for_word(configs: Any) -> None:
    paths = [path for path in CORPUS.rglob("*.yaml") if "/configs/" in path.as_posix()]
    assert len(paths) > 80
    for path in paths:
        assert configs.document(path.relative_to(CORPUS).as_posix()).text == path.read_text(), path


def test_a_slip_of_the_pen_finds_its_file(configs: Any) -> None:
    assert configs.near("configs/COCO-Keypoints/kkeypoint_rcnn_R_50_FPN_1x.yaml").endswith(
        "/keypoint_rcnn_R_50_FPN_1x.yaml"
    )
    assert configs.near("configs/COCO-Keypoints/other.yaml") == "configs/COCO-Keypoints/other.yaml"


def test_retinanet_s_focal_loss_is_a_chain(configs: Any) -> None:
    """fvcore's loss is no kernel: 392 MiB in a trace of two images of 320 x 416 with 30 objects."""
    tree = configs.plan("configs/COCO-Detection/retinanet_R_50_FPN_1x.yaml", Target(None, 8, source="x"))
    stack = TRACED._replace(adds_gradients_in_place=False)
    model = LayerModel(tree.fact("architecture").value, "detectron2", stack=stack, facts={"ground_truths": 30})
    marks = model.step(Workload(2, Precision.FP32, False, 320, 416)).marks
    assert max(m.activation_bytes + 4 * m.gradient_elements for m in marks) / 2**20 == pytest.approx(392.4, rel=0.03)
