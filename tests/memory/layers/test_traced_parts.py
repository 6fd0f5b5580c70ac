"""Backbones and necks against traces of mmdet 3.3.0's own modules, with the sum of the outputs' means as loss.

Peaks of forward and backward of two images, gradients in fp32, traced with vramlint.trace. Deformable kernels cannot be
traced without mmcv's compiled operators: ``use_deform`` of switchable convolutions is off on both sides.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.memory.layers.test_parameters import WHEELS
from tools.mm_agree import Wheel
from vramlint.memory.layers import Build, Tape
from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.stack import TRACED

MIB = 2**20
TRACES = [
    ("fpg/retinanet_r50_fpg-chn128_crop640_50e_coco.py", 640, 640, 1150.998),
    ("cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py", 512, 512, 1993.996),
    ("empirical_attention/faster-rcnn_r50-attn1111_fpn_1x_coco.py", 512, 640, 1047.403),
    ("empirical_attention/faster-rcnn_r50-attn0010_fpn_1x_coco.py", 512, 640, 775.145),
    ("tridentnet/tridentnet_r50-caffe_1x_coco.py", 512, 640, 917.501),
    ("detectors/cascade-rcnn_r50-rfp_1x_coco.py", 256, 320, 745.482),
    ("detectors/cascade-rcnn_r50-sac_1x_coco.py", 256, 320, 494.406),
    ("detectors/detectors_cascade-rcnn_r50_1x_coco.py", 256, 320, 977.443),
]


def without_deformable(value: Any) -> Any:
    """The configuration with ``use_deform`` off."""
    if isinstance(value, dict):
        return {k: False if k == "use_deform" else without_deformable(v) for k, v in value.items()}
    return [without_deformable(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.skipif(not WHEELS, reason="the mmdet 3.3.0 wheel is not at hand (tools/fetch_wheels.sh)")
@pytest.mark.parametrize(("name", "height", "width", "traced"), TRACES, ids=[row[0] for row in TRACES])
def test_the_ledger_equals_the_trace(name: str, height: int, width: int, traced: float) -> None:
    plan = Wheel(WHEELS).plan(f"mmdet/.mim/configs/{name}")
    assert plan is not None
    architecture = plan.fact("architecture").value
    assert architecture is not None
    tree = without_deformable(copy.deepcopy(architecture))
    tape = Tape(stack=TRACED)
    build = Build(tape, "mmdet")
    backbone, neck = build.backbone(tree["backbone"]), build.neck(tree.get("neck"))
    losses = [ops.mean(each, ()) for each in neck(backbone(tape.new(2, 3, height, width)))]
    loss = ops.total_loss(losses)
    del losses
    tape.backward(loss)
    assert tape.peak_bytes / MIB == pytest.approx(traced, rel=0.02)
