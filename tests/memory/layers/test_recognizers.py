"""Video recognizers: parameters as mmaction2 counts them, frames and segments in memory."""

from __future__ import annotations

from typing import Any

import pytest

from vramlint.errors import VramlintError
from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel
from vramlint.plan import Precision

I3D: dict[str, Any] = {
    "type": "Recognizer3D",
    "backbone": {
        "type": "ResNet3d", "depth": 50, "conv1_kernel": (5, 7, 7), "conv1_stride_t": 2, "pool1_stride_t": 2,
        "inflate": ((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)),
    },
    "cls_head": {"type": "I3DHead", "num_classes": 400, "in_channels": 2048},
}  # fmt: skip
TSM: dict[str, Any] = {
    "type": "Recognizer2D",
    "backbone": {"type": "ResNetTSM", "depth": 50, "shift_div": 8},
    "cls_head": {"type": "TSMHead", "num_classes": 400, "in_channels": 2048},
}
TSN: dict[str, Any] = {**TSM, "backbone": {"type": "ResNet", "depth": 50}}
SLOWFAST: dict[str, Any] = {
    "type": "Recognizer3D",
    "backbone": {
        "type": "ResNet3dSlowFast", "resample_rate": 8, "speed_ratio": 8, "channel_ratio": 8,
        "slow_pathway": {"type": "resnet3d", "depth": 50, "lateral": True, "conv1_kernel": (1, 7, 7),
                         "inflate": (0, 0, 1, 1)},
        "fast_pathway": {"type": "resnet3d", "depth": 50, "lateral": False, "base_channels": 8,
                         "conv1_kernel": (5, 7, 7)},
    },
    "cls_head": {"type": "SlowFastHead", "num_classes": 400, "in_channels": 2304},
}  # fmt: skip


def peak(tree: dict[str, Any], **facts: int) -> int:
    model = LayerModel(tree, "mmaction", facts=facts)
    return max(moment.activation_bytes for moment in model.moments(Workload(8, Precision.FP32, False, 224, 224)))


@pytest.mark.parametrize(
    ("tree", "parameters"), [(I3D, 28_043_472), (TSM, 24_327_632), (TSN, 24_327_632), (SLOWFAST, 34_479_288)]
)
def test_parameters(tree: dict[str, Any], parameters: int) -> None:
    assert LayerModel(tree, "mmaction").parameters == parameters


def test_frames_and_segments_decide() -> None:
    assert 1.9 < peak(I3D, clip_len=32, num_clips=1) / peak(I3D, clip_len=16, num_clips=1) < 2.0
    assert peak(TSM, clip_len=1, num_clips=16) == pytest.approx(2 * peak(TSM, clip_len=1, num_clips=8), rel=0.05)
    assert peak(TSM, clip_len=1, num_clips=8) > 1.1 * peak(TSN, clip_len=1, num_clips=8), "shifted copies are kept"
    assert peak(SLOWFAST, clip_len=32, num_clips=1) > 4 * 2**30


def test_a_pipeline_without_clips_leaves_it_open() -> None:
    with pytest.raises(VramlintError, match="clip length"):
        peak(I3D)


@pytest.mark.parametrize(
    ("kind", "inside", "parameters"),
    [
        ("torchvision.densenet161", 2208, 26_472_000),
        ("timm.swin_base_patch4_window7_224", 1024, 86_743_224),
    ],
)
def test_backbones_named_by_their_library(kind: str, inside: int, parameters: int) -> None:
    """Parameters as torchvision 0.28 and timm 1.0.31 count them without a classifier."""
    head = {"type": "TSNHead", "num_classes": 400, "in_channels": inside}
    model = LayerModel({"type": "Recognizer2D", "backbone": {"type": kind}, "cls_head": head}, "mmaction")
    assert model.parameters == parameters + 400 * (inside + 1)


def test_temporal_pooling_halves_the_frames_after_the_first_stage() -> None:
    tree = {
        "type": "Recognizer2D", "backbone": {"type": "ResNetTSM", "depth": 50},
        "cls_head": {"type": "TSMHead", "num_classes": 400, "in_channels": 2048},
    }  # fmt: skip
    pooled = {**tree, "backbone": {**tree["backbone"], "temporal_pool": True}}
    facts = {"clip_len": 1, "num_clips": 8}
    size = Workload(2, Precision.FP32, False, 224, 224)
    whole, half = (
        max(each.activation_bytes for each in LayerModel(each_tree, "mmaction", facts=facts).moments(size))
        for each_tree in (tree, pooled)
    )
    assert 0.55 < half / whole < 0.8
