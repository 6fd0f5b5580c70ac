"""detectron2's models from the keys of its configs, and what moves their memory.

41,699,936 parameters: Faster R-CNN R50-FPN of 80 classes, its frozen norms being buffers, by hand: backbone
23,454,912, pyramid 3,344,384, proposals 593,935, box head 13,895,680, predictor 411,025.
"""

from __future__ import annotations

from typing import Any

import pytest

from vramlint.errors import VramlintError
from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel, Tape
from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.detectron2_further import bottom_of, further_backbone
from vramlint.memory.layers.stack import TORCH_1, TRACED
from vramlint.plan import Precision

LEVELS = ["res2", "res3", "res4", "res5"]
BASE: dict[str, Any] = {
    "type": "GeneralizedRCNN",
    "BACKBONE": {"NAME": "build_resnet_fpn_backbone"},
    "RESNETS": {"DEPTH": 50, "OUT_FEATURES": LEVELS},
    "FPN": {"IN_FEATURES": LEVELS},
    "ANCHOR_GENERATOR": {"SIZES": [[32], [64], [128], [256], [512]]},
    "RPN": {"IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"]},
    "ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": ["p2", "p3", "p4", "p5"]},
    "ROI_BOX_HEAD": {"NUM_FC": 2, "POOLER_RESOLUTION": 7},
    "ROI_MASK_HEAD": {"NUM_CONV": 4},
}
SIZE = Workload(2, Precision.FP32, False, 800, 1344)


def peak(tree: dict[str, Any]) -> int:
    moments = LayerModel(tree, "detectron2").moments(SIZE)
    return max(moment.activation_bytes + 4 * moment.gradient_elements for moment in moments)


def test_parameters_and_frozen_norms() -> None:
    model = LayerModel(BASE, "detectron2")
    assert model.parameters == 41_699_936
    assert model.parameters - model.trainable == 9_408 + 212_992, "the stem and res2"


def test_frozen_norms_keep_nothing() -> None:
    trained = {**BASE, "RESNETS": {**BASE["RESNETS"], "NORM": "SyncBN"}, "BACKBONE": {**BASE["BACKBONE"]}}
    assert peak(trained) > peak(BASE) + 2**29


@pytest.mark.parametrize(
    ("change", "least"),
    [
        ({"MASK_ON": True}, 2**27),
        ({"KEYPOINT_ON": True}, 2**28),
        ({"BACKBONE": {"NAME": "build_resnet_fpn_backbone", "FREEZE_AT": 0}}, 2**29),
        ({"RESNETS": {"DEPTH": 101, "OUT_FEATURES": LEVELS}}, 2**29),
        ({"type": "PanopticFPN"}, 2**29),
    ],
)
def test_what_costs_more(change: dict[str, Any], least: int) -> None:
    assert peak({**BASE, **change}) > peak(BASE) + least


def test_old_relus_keep_their_input() -> None:
    keypoints = {**BASE, "KEYPOINT_ON": True}
    plain, old = LayerModel(keypoints, "detectron2"), LayerModel(keypoints, "detectron2", stack=TORCH_1)
    grown = max(each.activation_bytes for each in old.moments(SIZE)) - max(
        each.activation_bytes for each in plain.moments(SIZE)
    )
    assert grown > 8 * 256 * 512 * 14 * 14 * 4 / 2


@pytest.mark.parametrize(
    "change", [{"BACKBONE": {"NAME": "build_custom"}}, {"ROI_HEADS": {"NAME": "MyHeads"}}, {"type": "MyArch"}]
)
def test_unknown_parts_are_named(change: dict[str, Any]) -> None:
    with pytest.raises(VramlintError, match=r"build_custom|MyHeads|MyArch"):
        LayerModel({**BASE, **change}, "detectron2")


VIT = {
    "_target_": "ViT", "img_size": 512, "embed_dim": 192, "depth": 4, "num_heads": 3, "drop_path_rate": 0.1,
    "window_size": 14, "window_block_indexes": [0, 2], "residual_block_indexes": [3], "use_rel_pos": True,
}  # fmt: skip
MVIT = {"_target_": "MViT", "embed_dim": 48, "depth": 8, "last_block_indexes": [0, 2, 5, 7], "drop_path_rate": 0.1}
SWIN = {"_target_": "SwinTransformer", "depths": [2, 2, 4, 2], "num_heads": [3, 6, 12, 24]}
REGNET = {
    "_target_": "RegNet", "stem_class": "SimpleStem", "stem_width": 32, "block_class": "ResBottleneckBlock",
    "depth": 22, "w_a": 31.41, "w_0": 96, "w_m": 2.24, "group_width": 64, "se_ratio": 0.25, "norm": "BN",
    "out_features": ["s1", "s2", "s3", "s4"],
}  # fmt: skip
PYRAMID = {"OUT_CHANNELS": 64, "NORM": "LN"}


@pytest.mark.parametrize(
    ("name", "bottom", "half", "width", "traced"),
    [
        ("SimpleFeaturePyramid", VIT, False, 512, 321.6),
        ("SimpleFeaturePyramid", VIT, True, 512, 282.1),
        ("FPN", REGNET, False, 480, 1120.0),
        ("FPN", REGNET, True, 480, 647.2),
    ],
)
def test_pyramids_against_traces(name: str, bottom: dict[str, Any], half: bool, width: int, traced: float) -> None:
    """MiB at the peak of detectron2's own modules (2026-06) on two images, the sum of the outputs' means as loss."""
    tape = Tape(stack=TRACED, half=half)
    model, _ = further_backbone(tape, {"BOTTOM_UP": bottom, "FPN": PYRAMID}, name)
    assert _peak_mib(tape, model, width) == pytest.approx(traced, rel=0.025)


@pytest.mark.parametrize(
    ("bottom", "half", "width", "traced"),
    [(MVIT, False, 512, 798.6), (MVIT, True, 512, 702.4), (SWIN, False, 480, 1013.2), (SWIN, True, 480, 732.6)],
)
def test_bottoms_against_traces(bottom: dict[str, Any], half: bool, width: int, traced: float) -> None:
    tape = Tape(stack=TRACED, half=half)
    model = bottom_of(tape, bottom)
    assert _peak_mib(tape, model, width) == pytest.approx(traced, rel=0.01)


def _peak_mib(tape: Tape, model: Any, width: int) -> float:
    losses = [ops.mean(each, ()) for each in model(tape.new(2, 3, 512, width)).values()]
    loss = ops.total_loss(losses)
    del losses
    tape.backward(loss)
    return max(mark.activation_bytes + 4 * mark.gradient_elements for mark in tape.marks()) / 2**20
