"""Detectors from their ``type`` tree: parameters as mmdet 3.3.0 itself counts them, and what moves memory.

Counts were taken by building each model of the wheel's configuration with mmdet 3.3.0 and summing its parameters.
"""

from __future__ import annotations

from typing import Any

import pytest

from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel
from vramlint.memory.layers.stack import MODERN, TORCH_1, TORCH_1_3, Stack
from vramlint.plan import Precision

BACKBONE: dict[str, Any] = {
    "type": "ResNet", "depth": 50, "num_stages": 4, "out_indices": (0, 1, 2, 3), "frozen_stages": 1,
    "norm_cfg": {"type": "BN", "requires_grad": True}, "norm_eval": True, "style": "pytorch",
}  # fmt: skip
ANCHORS = {"type": "AnchorGenerator", "scales": [8], "ratios": [0.5, 1.0, 2.0], "strides": [4, 8, 16, 32, 64]}
EXTRACTOR: dict[str, Any] = {
    "type": "SingleRoIExtractor", "roi_layer": {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0},
    "out_channels": 256, "featmap_strides": [4, 8, 16, 32],
}  # fmt: skip
FASTER: dict[str, Any] = {
    "type": "FasterRCNN",
    "backbone": BACKBONE,
    "neck": {"type": "FPN", "in_channels": [256, 512, 1024, 2048], "out_channels": 256, "num_outs": 5},
    "rpn_head": {"type": "RPNHead", "in_channels": 256, "feat_channels": 256, "anchor_generator": ANCHORS},
    "roi_head": {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": EXTRACTOR,
        "bbox_head": {
            "type": "Shared2FCBBoxHead", "in_channels": 256, "fc_out_channels": 1024, "roi_feat_size": 7,
            "num_classes": 80, "reg_class_agnostic": False,
        },
    },
    "train_cfg": {"rcnn": {"sampler": {"type": "RandomSampler", "num": 512, "pos_fraction": 0.25}}},
}  # fmt: skip
LEVELS = {"type": "FPN", "in_channels": [256, 512, 1024, 2048], "out_channels": 256, "num_outs": 5, "start_level": 1}
RETINA: dict[str, Any] = {
    "type": "RetinaNet",
    "backbone": BACKBONE,
    "neck": {**LEVELS, "add_extra_convs": "on_input"},
    "bbox_head": {
        "type": "RetinaHead", "num_classes": 80, "in_channels": 256, "stacked_convs": 4, "feat_channels": 256,
        "anchor_generator": {"type": "AnchorGenerator", "octave_base_scale": 4, "scales_per_octave": 3,
                             "ratios": [0.5, 1.0, 2.0], "strides": [8, 16, 32, 64, 128]},
        "loss_cls": {"type": "FocalLoss", "use_sigmoid": True},
    },
}  # fmt: skip
MASK: dict[str, Any] = {
    **FASTER,
    "type": "MaskRCNN",
    "roi_head": {
        **FASTER["roi_head"],
        "mask_roi_extractor": {**EXTRACTOR, "roi_layer": {"type": "RoIAlign", "output_size": 14}},
        "mask_head": {"type": "FCNMaskHead", "num_convs": 4, "in_channels": 256, "num_classes": 80},
    },
}


def peak(tree: dict[str, Any], precision: Precision = Precision.FP32, stack: Stack = MODERN, images: int = 2) -> int:
    model = LayerModel(tree, "mmdet", stack=stack)
    moments = model.moments(Workload(images, precision, False, 800, 1344))
    return max(moment.activation_bytes + 4 * moment.gradient_elements for moment in moments)


@pytest.mark.parametrize(("tree", "parameters"), [(FASTER, 41_753_056), (MASK, 44_396_336), (RETINA, 37_968_692)])
def test_parameters(tree: dict[str, Any], parameters: int) -> None:
    assert LayerModel(tree, "mmdet").parameters == parameters


def test_what_costs_and_what_saves() -> None:
    plain = peak(FASTER)
    thawed = {**FASTER, "backbone": {**BACKBONE, "frozen_stages": -1}}
    assert peak(FASTER, images=4) > 1.6 * plain  # what the fullest image takes is there once
    assert peak(thawed) > plain + 2**29, "the stem's and the first stage's maps are kept"
    assert peak(MASK) > plain + 2**28
    assert peak(FASTER, Precision.FP16) < 0.8 * plain
    assert peak({**FASTER, "backbone": {**BACKBONE, "with_cp": True}}) < plain - 2**28


def test_old_stacks_take_more() -> None:
    grouped = {**RETINA, "bbox_head": {**RETINA["bbox_head"], "norm_cfg": {"type": "GN", "num_groups": 32}}}
    assert peak(FASTER, stack=TORCH_1) >= peak(FASTER) + 4 * LayerModel(FASTER, "mmdet").trainable
    assert peak(grouped, stack=TORCH_1_3) > peak(grouped, stack=TORCH_1) + 2**28, "the normalised maps are kept too"


def test_more_objects_cost_more_where_anchors_are_compared_with_them() -> None:
    few, many = (LayerModel(RETINA, "mmdet", facts={"ground_truths": count}) for count in (10, 500))
    work = Workload(2, Precision.FP32, False, 800, 1344)
    highest = [max(moment.activation_bytes for moment in each.moments(work)) for each in (few, many)]
    assert highest[1] > highest[0] + 2**30


def test_what_depends_on_the_data_is_said() -> None:
    assert LayerModel(FASTER, "mmdet", facts={"ground_truths": 252}).assumptions == (
        "252 objects in an image, samplers at their limits, the largest batch that the pipeline allows",
    )
    assert LayerModel(FASTER, "mmdet").spread == pytest.approx(0.13)
