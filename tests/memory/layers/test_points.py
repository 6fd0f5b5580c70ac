"""Pillar detectors and boxes in space from one image, by mmdetection3d 1.4.0's own options.

Parameters by hand (``models/voxel_encoders``, ``backbones/second.py``, ``necks/second_fpn.py``): the encoder 10 x 64
and its norm 128; SECOND 64 to 64, 128 and 256 channels, 4, 6 and 6 convolutions; three transposed ones; 1x1 heads.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vramlint.errors import VramlintError
from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel
from vramlint.plan import Precision

KITTI: dict[str, Any] = {
    "type": "VoxelNet",
    "data_preprocessor": {"voxel_layer": {"max_num_points": 32, "max_voxels": [16000, 40000]}},
    "voxel_encoder": {"type": "PillarFeatureNet", "in_channels": 4, "feat_channels": [64]},
    "middle_encoder": {"type": "PointPillarsScatter", "in_channels": 64, "output_shape": [496, 432]},
    "backbone": {"type": "SECOND", "in_channels": 64, "out_channels": [64, 128, 256]},
    "neck": {
        "type": "SECONDFPN", "in_channels": [64, 128, 256], "upsample_strides": [1, 2, 4],
        "out_channels": [128, 128, 128],
    },
    "bbox_head": {
        "type": "Anchor3DHead", "num_classes": 3, "in_channels": 384, "feat_channels": 384,
        "anchor_generator": {"sizes": [[0.8, 0.6, 1.73], [1.76, 0.6, 1.73], [3.9, 1.6, 1.56]], "rotations": [0, 1.57]},
        "loss_cls": {"type": "mmdet.FocalLoss", "use_sigmoid": True},
    },
    "train_cfg": {"assigner": [{"type": "Max3DIoUAssigner"}] * 3},
}  # fmt: skip
SIZE = Workload(2, Precision.FP32, False, 496, 432)


def stage(inside: int, channels: int, more: int) -> int:
    """Weights of one stage of SECOND with its norms."""
    return 9 * inside * channels + more * 9 * channels * channels + (more + 1) * 2 * channels


ENCODER = 10 * 64 + 128
SECOND = stage(64, 64, 3) + stage(64, 128, 5) + stage(128, 256, 5)
PYRAMID = 64 * 128 + 4 * 128 * 128 + 16 * 256 * 128 + 3 * 256
HEAD = (384 + 1) * 6 * (3 + 7 + 2)


def peak(tree: dict[str, Any]) -> int:
    return max(moment.activation_bytes for moment in LayerModel(tree, "mmdet3d").moments(SIZE))


def changed(**parts: dict[str, Any]) -> dict[str, Any]:
    tree = copy.deepcopy(KITTI)
    for name, part in parts.items():
        tree[name] = {**tree[name], **part}
    return tree


def test_parameters_of_pointpillars() -> None:
    assert LayerModel(KITTI, "mmdet3d").parameters == ENCODER + SECOND + PYRAMID + HEAD == 4_834_888


def test_pillars_are_at_their_limit_and_it_is_said() -> None:
    layer = {"max_num_points": 32, "max_voxels": [32000, 40000]}
    assert peak(changed(data_preprocessor={"voxel_layer": layer})) > peak(KITTI) + 2 * 2 * 16000 * 32 * 64 * 4
    assert "max_voxels" in LayerModel(KITTI, "mmdet3d").assumptions[0]


def test_one_assigner_compares_all_anchors_at_once() -> None:
    assert peak(changed(train_cfg={"assigner": {"type": "Max3DIoUAssigner"}})) > peak(KITTI)


def test_centres_in_the_place_of_anchors() -> None:
    heads = {"reg": [2, 2], "height": [1, 2], "dim": [3, 2], "rot": [2, 2], "vel": [2, 2]}
    centers = {
        "type": "CenterHead", "in_channels": 384, "tasks": [{"class_names": ["car"]}, {"class_names": ["bus", "tram"]}],
        "common_heads": heads, "separate_head": {"type": "SeparateHead", "final_kernel": 3},
        "loss_cls": {"type": "mmdet.GaussianFocalLoss"},
    }  # fmt: skip
    tree = {**KITTI, "type": "CenterPoint", "bbox_head": centers}
    stacks = 2 * 6 * (9 * 64 * 64 + 128) + 9 * 64 * (2 * 10 + 3) + 2 * 10 + 3
    shared = 9 * 384 * 64 + 128
    assert LayerModel(tree, "mmdet3d").parameters == ENCODER + SECOND + PYRAMID + shared + stacks
    assert peak(tree) > 2**29


def test_sparse_convolutions_stay_unknown() -> None:
    with pytest.raises(VramlintError, match="SparseEncoder"):
        LayerModel(changed(middle_encoder={"type": "SparseEncoder"}), "mmdet3d")


MONO: dict[str, Any] = {
    "type": "FCOSMono3D",
    "backbone": {"type": "mmdet.ResNet", "depth": 18, "norm_cfg": {"type": "BN"}},
    "neck": {
        "type": "mmdet.FPN", "in_channels": [64, 128, 256, 512], "out_channels": 256, "start_level": 1, "num_outs": 5,
        "add_extra_convs": "on_output",
    },
    "bbox_head": {
        "type": "FCOSMono3DHead", "num_classes": 10, "in_channels": 256, "stacked_convs": 2, "pred_attrs": True,
        "cls_branch": [256], "reg_branch": [[256], [256], [256], [256], []], "dir_branch": [256], "attr_branch": [256],
        "strides": [8, 16, 32, 64, 128], "conv_bias": True,
        "loss_cls": {"type": "mmdet.FocalLoss", "use_sigmoid": True},
    },
}  # fmt: skip


def test_a_branch_of_fcos3d_by_hand() -> None:
    without = copy.deepcopy(MONO)
    without["bbox_head"]["pred_attrs"] = False
    branch = 9 * 256 * 256 + 256 + 512 + 256 * 9 + 9
    assert LayerModel(MONO, "mmdet3d").parameters - LayerModel(without, "mmdet3d").parameters == branch


def test_pgd_adds_depths() -> None:
    depths = copy.deepcopy(MONO)
    depths["bbox_head"] |= {"type": "PGDHead", "depth_branch": [256], "depth_range": [0, 50], "depth_unit": 10}
    branch = 9 * 256 * 256 + 256 + 512 + 256 * 6 + 6
    more = LayerModel(depths, "mmdet3d").parameters - LayerModel(MONO, "mmdet3d").parameters
    assert more == branch + 1 + 5, "the branch, its mixing number and a scale a level for boxes in the image"
