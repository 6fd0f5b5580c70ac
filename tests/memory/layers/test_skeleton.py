"""Graph networks over joints, actions of people whose boxes are given, UniFormerV2.

Parameters and peaks (MiB, two clips of 64 frames and two people, gradients in fp32): mmaction2 1.2.0's own modules by
its configs ``stgcn``, ``stgcnpp`` (3-D joints) and ``2s-agcn`` of NTU-60, traced with vramlint.trace.
"""

from __future__ import annotations

from typing import Any

import pytest

from vramlint.errors import VramlintError
from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import Build, LayerModel, Tape
from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.stack import TRACED
from vramlint.plan import Precision

STGCN = {"type": "STGCN", "graph_cfg": {"layout": "coco", "mode": "stgcn_spatial"}}
STGCNPP = {
    "type": "STGCN", "graph_cfg": {"layout": "nturgb+d", "mode": "spatial"}, "gcn_adaptive": "init",
    "gcn_with_res": True, "tcn_type": "mstcn",
}  # fmt: skip
AGCN = {"type": "AAGCN", "graph_cfg": {"layout": "coco", "mode": "spatial"}, "gcn_attention": False}


@pytest.mark.parametrize(
    ("backbone", "joints", "parameters", "precision", "traced"),
    [
        (STGCN, 17, 3_088_704, Precision.FP32, 90.7),
        (STGCN, 17, 3_088_704, Precision.FP16, 51.9),
        (STGCNPP, 25, 1_403_144, Precision.FP32, 207.2),
        (STGCNPP, 25, 1_403_144, Precision.FP16, 108.9),
        (AGCN, 17, 3_459_344, Precision.FP32, 106.0),
        (AGCN, 17, 3_459_344, Precision.FP16, 60.4),
    ],
)
def test_graphs_against_traces(
    backbone: dict[str, Any], joints: int, parameters: int, precision: Precision, traced: float
) -> None:
    head = {"type": "GCNHead", "num_classes": 60, "in_channels": 256}
    tree = {"type": "RecognizerGCN", "backbone": backbone, "cls_head": head}
    step = LayerModel(tree, "mmaction", stack=TRACED).step(Workload(2, precision, False, 64, joints))
    peak = max(mark.activation_bytes + 4 * mark.gradient_elements for mark in step.marks)
    assert (step.parameters, peak / 2**20) == (parameters, pytest.approx(traced, rel=0.005))


AVA: dict[str, Any] = {
    "type": "FastRCNN",
    "backbone": {
        "type": "ResNet3dSlowOnly", "depth": 50, "pretrained2d": False, "lateral": False, "num_stages": 4,
        "conv1_kernel": [1, 7, 7], "conv1_stride_t": 1, "pool1_stride_t": 1, "spatial_strides": [1, 2, 2, 1],
    },
    "roi_head": {
        "type": "AVARoIHead",
        "bbox_roi_extractor": {"type": "SingleRoIExtractor3D", "output_size": 8, "with_temporal_pool": True},
        "bbox_head": {"type": "BBoxHeadAVA", "in_channels": 2048, "num_classes": 81, "dropout_ratio": 0.5},
    },
    "train_cfg": {"rcnn": {"sampler": {"num": 32}}},
}  # fmt: skip
CLIPS = {"clip_len": 4, "num_clips": 1}
SIZE = Workload(2, Precision.FP32, False, 256, 256)


def ava(tree: dict[str, Any]) -> LayerModel:
    return LayerModel(tree, "mmaction", facts=CLIPS)


def test_people_cost_as_many_regions_as_are_sampled() -> None:
    more = {**AVA, "train_cfg": {"rcnn": {"sampler": {"num": 320}}}}
    few, many = (max(each.activation_bytes for each in ava(tree).moments(SIZE)) for tree in (AVA, more))
    assert many - few > 2 * 288 * 2048 * 64 * 4
    assert "boxes" in ava(AVA).assumptions[0]


def test_maps_of_every_person_stay_unknown() -> None:
    relations = {**AVA, "roi_head": {**AVA["roi_head"], "shared_head": {"type": "ACRNHead"}}}
    with pytest.raises(VramlintError, match="ACRNHead"):
        ava(relations)


UNIFORMER: dict[str, Any] = {
    "type": "UniFormerV2", "input_resolution": 64, "width": 96, "layers": 6, "heads": 6, "t_size": 4,
    "double_lmhra": True, "return_list": [2, 3, 4, 5], "n_dim": 96, "n_head": 6,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "half", "parameters", "traced"),
    [
        ({"no_lmhra": False}, False, 1_360_704, 79.5),
        ({"no_lmhra": False}, True, 1_360_704, 52.2),
        ({"no_lmhra": True}, False, 1_205_952, 64.5),
    ],
)
def test_uniformer_v2_against_traces(changes: dict[str, Any], half: bool, parameters: int, traced: float) -> None:
    """Sixteen clips of four frames of 64 pixels, the mean of the output as loss."""
    tape = Tape(stack=TRACED, half=half)
    backbone = Build(tape, "mmaction").backbone({**UNIFORMER, **changes})
    (found,) = backbone(tape.new(16, 3, 4, 64, 64))
    loss = ops.mean(found, ())
    del found
    tape.backward(loss)
    peak = max(mark.activation_bytes + 4 * mark.gradient_elements for mark in tape.marks())
    assert (tape.parameter_count, peak / 2**20) == (parameters, pytest.approx(traced, rel=0.015))


@pytest.mark.parametrize(("half", "traced"), [(False, 312.0), (True, 289.0)])
def test_video_swin_against_traces(half: bool, traced: float) -> None:
    """Two clips of eight frames of 112 pixels through Swin-T."""
    tape = Tape(stack=TRACED, half=half)
    backbone = Build(tape, "mmaction").backbone({"type": "SwinTransformer3D", "arch": "tiny"})
    (found,) = backbone(tape.new(2, 3, 8, 112, 112))
    loss = ops.mean(found, ())
    del found
    tape.backward(loss)
    peak = max(mark.activation_bytes + 4 * mark.gradient_elements for mark in tape.marks())
    assert (tape.parameter_count, peak / 2**20) == (27_850_470, pytest.approx(traced, rel=0.015))
