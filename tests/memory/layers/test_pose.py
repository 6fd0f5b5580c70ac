"""Top-down pose estimators and classifiers.

Parameters and peaks (MiB, four images of 256x192, gradients in fp32) are mmpose 1.3.2's own: its modules built by its
configs of these names and traced with vramlint.trace, the loss by its own loss module.
"""

from __future__ import annotations

from typing import Any

import pytest

from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel, UnknownType
from vramlint.memory.layers.stack import TRACED
from vramlint.plan import Precision

RESNET: dict[str, Any] = {"type": "ResNet", "depth": 50}
MOBILENET: dict[str, Any] = {"type": "MobileNetV2", "out_indices": [7]}
HEATMAPS: dict[str, Any] = {"type": "HeatmapHead", "in_channels": 2048, "out_channels": 17}
BINS: dict[str, Any] = {
    "type": "SimCCHead", "in_channels": 2048, "out_channels": 17, "input_size": [192, 256],
    "in_featuremap_size": [6, 8], "simcc_split_ratio": 2.0,
}  # fmt: skip
RTM: dict[str, Any] = {
    "type": "RTMCCHead", "in_channels": 768, "out_channels": 17, "input_size": [192, 256], "in_featuremap_size": [6, 8],
    "simcc_split_ratio": 2.0, "final_layer_kernel_size": 7,
    "gau_cfg": {"hidden_dims": 256, "s": 128, "expansion_factor": 2, "use_rel_bias": False},
}  # fmt: skip
CSPNEXT: dict[str, Any] = {
    "type": "CSPNeXt", "arch": "P5", "expand_ratio": 0.5, "deepen_factor": 0.67, "widen_factor": 0.75,
    "out_indices": [4], "channel_attention": True, "norm_cfg": {"type": "SyncBN"}, "act_cfg": {"type": "SiLU"},
}  # fmt: skip


def model(backbone: dict[str, Any], head: dict[str, Any]) -> LayerModel:
    return LayerModel({"type": "TopdownPoseEstimator", "backbone": backbone, "head": head}, "mmpose", stack=TRACED)


@pytest.mark.parametrize(
    ("backbone", "head", "parameters", "precision", "traced"),
    [
        (RESNET, HEATMAPS, 33_999_697, Precision.FP32, 408.5),
        (RESNET, HEATMAPS, 33_999_697, Precision.FP16, 277.8),
        (RESNET, BINS, 36_753_105, Precision.FP32, 419.0),
        (RESNET, BINS, 36_753_105, Precision.FP16, 288.3),
        (CSPNEXT, RTM, 13_587_611, Precision.FP32, 276.9),
        (CSPNEXT, RTM, 13_587_611, Precision.FP16, 170.8),
        (MOBILENET, {**HEATMAPS, "in_channels": 1280}, 9_569_809, Precision.FP32, 348.8),
    ],
)  # fmt: skip
def test_parameters_and_peaks(
    backbone: dict[str, Any], head: dict[str, Any], parameters: int, precision: Precision, traced: float
) -> None:
    made = model(backbone, head)
    step = made.step(Workload(4, precision, False, 256, 192))
    peak = max(mark.activation_bytes + 4 * mark.gradient_elements for mark in step.marks)
    assert peak / 2**20 == pytest.approx(traced, rel=0.005)
    assert step.parameters == parameters


HRNET: dict[str, Any] = {
    "type": "HRNet",
    "extra": {
        "stage1": {"num_modules": 1, "num_branches": 1, "block": "BOTTLENECK", "num_blocks": [4], "num_channels": [64]},
        "stage2": {"num_modules": 1, "num_branches": 2, "block": "BASIC", "num_blocks": [4] * 2,
                   "num_channels": [32, 64]},
        "stage3": {"num_modules": 4, "num_branches": 3, "block": "BASIC", "num_blocks": [4] * 3,
                   "num_channels": [32, 64, 128]},
        "stage4": {"num_modules": 3, "num_branches": 4, "block": "BASIC", "num_blocks": [4] * 4,
                   "num_channels": [32, 64, 128, 256]},
    },
}  # fmt: skip


def test_hrnet_ends_in_its_finest_branch() -> None:
    head = {**HEATMAPS, "in_channels": 32, "deconv_out_channels": None}
    assert model(HRNET, head).parameters == 28_536_113


def test_vitpose() -> None:
    backbone = {
        "type": "mmpretrain.VisionTransformer", "arch": "base", "img_size": [256, 192], "with_cls_token": False,
        "out_type": "featmap", "patch_cfg": {"padding": 2},
    }  # fmt: skip
    head = {**HEATMAPS, "in_channels": 768, "deconv_out_channels": [256, 256], "deconv_kernel_sizes": [4, 4]}
    vit = 12 * (4 * 768**2 + 4 * 768 + 2 * 4 * 768**2 + 5 * 768 + 4 * 768) + 3 * 768 * 256 + 768 + 192 * 768 + 2 * 768
    up = 16 * 768 * 256 + 16 * 256 * 256 + 4 * 256 + 257 * 17
    assert model(backbone, head).parameters == vit + up


@pytest.mark.parametrize(("classes", "more"), [(10, 0), (1000, 990 * 2049)])
def test_a_classifier_ends_in_one_linear_layer(classes: int, more: int) -> None:
    tree = {
        "type": "ImageClassifier", "backbone": RESNET, "neck": {"type": "GlobalAveragePooling"},
        "head": {"type": "LinearClsHead", "in_channels": 2048, "num_classes": classes},
    }  # fmt: skip
    assert LayerModel(tree, "mmpretrain").parameters == 23_508_032 + 10 * 2049 + more


@pytest.mark.parametrize(
    ("backbone", "channels", "millions"),
    [
        ({"type": "SwinTransformer", "arch": "tiny"}, 768, 28.29),
        ({"type": "SwinTransformer", "arch": "small"}, 768, 49.61),
        ({"type": "SwinTransformer", "arch": "base"}, 1024, 87.77),
        ({"type": "SwinTransformer", "arch": "b", "stage_cfgs": {"block_cfgs": {"window_size": 12}}}, 1024, 87.90),
        ({"type": "SwinTransformer", "arch": "large"}, 1536, 196.53),
        ({"type": "ResNeXt", "depth": 101, "groups": 32, "width_per_group": 8, "out_indices": (3,)}, 2048, 88.79),
    ],
    ids=str,
)
def test_classifiers_have_the_parameters_that_mmpretrain_publishes(
    backbone: dict[str, Any], channels: int, millions: float
) -> None:
    """``Metadata.Parameters`` of mmpretrain 1.2.0's ``configs/*/metafile.yml``, in millions."""
    head = {"type": "LinearClsHead", "num_classes": 1000, "in_channels": channels}
    neck = {"type": "GlobalAveragePooling"}
    made = LayerModel({"type": "ImageClassifier", "backbone": backbone, "neck": neck, "head": head}, "mmpretrain")
    assert made.parameters / 1e6 == pytest.approx(millions, rel=0.001)


def test_a_classifier_without_a_scope_is_mmpretrains() -> None:
    head = {"type": "VisionTransformerClsHead", "num_classes": 1000, "in_channels": 1024}
    tree = {"type": "ImageClassifier", "backbone": {"type": "VisionTransformer", "arch": "l"}, "head": head}
    assert LayerModel(tree, "").parameters == LayerModel(tree, "mmpretrain").parameters == 304_326_632


@pytest.mark.parametrize(
    "backbone",
    [
        {"type": "PCPVT", "arch": "base"},
        {"type": "ResNet", "depth": 50, "base_channels": 128, "expansion": 2},
        {"type": "SwinTransformer", "stage_cfgs": [{}] * 4},
    ],
    ids=str,
)
def test_what_mmpretrain_alone_spells_is_not_taken_for_the_defaults(backbone: dict[str, Any]) -> None:
    head = {"type": "LinearClsHead", "num_classes": 1000, "in_channels": 1024}
    with pytest.raises(UnknownType):
        LayerModel({"type": "ImageClassifier", "backbone": backbone, "head": head}, "mmpretrain")
