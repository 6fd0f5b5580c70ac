"""MONAI's networks and losses against traces of MONAI 1.6.1's own: parameters exact, peaks of forward and backward."""

from __future__ import annotations

from typing import Any

import pytest

from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel, UnknownType
from vramlint.memory.layers.stack import TRACED
from vramlint.plan import Precision

UNET = {"type": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "norm": "batch", "num_res_units": 2}
UNET |= {"channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2]}
PLAIN = {"type": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [16, 32, 64]}
PLAIN |= {"strides": [2, 2]}
FLAT = {"type": "UNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 4, "channels": [16, 32, 64, 128]}
FLAT |= {"strides": [2, 2, 2], "num_res_units": 1}
BASIC = {"type": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2}
SEGRES = {"type": "SegResNet", "spatial_dims": 3, "in_channels": 4, "out_channels": 3, "init_filters": 16}
DYN = {"type": "DynUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "norm_name": "instance"}
DYN |= {"kernel_size": [3] * 4, "strides": [1, 2, 2, [2, 2, 1]], "upsample_kernel_size": [2, 2, [2, 2, 1]]}
DEEP = {"type": "DynUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "kernel_size": [3] * 5}
DEEP |= {"strides": [1, 2, 2, 2, 2], "upsample_kernel_size": [2] * 4, "res_block": True}
DEEP |= {"deep_supervision": True, "deep_supr_num": 2}

JOINT = {"type": "DiceCELoss", "to_onehot_y": True, "softmax": True}
DICE = {"type": "DiceLoss", "to_onehot_y": True, "softmax": True, "include_background": False}
SIGMOID = {"type": "DiceLoss", "sigmoid": True, "squared_pred": True}


@pytest.mark.parametrize(
    ("network", "loss", "batch", "sides", "parameters", "traced_mib", "tolerance"),
    [
        (UNET, JOINT, 2, (64, 64, 64), 4_808_917, 105.5, 0.005),
        (PLAIN, JOINT, 2, (48, 64, 56), 113_751, 47.3, 0.03),
        (FLAT, DICE, 4, (96, 128), 206_785, 19.0, 0.01),
        (BASIC, JOINT, 1, (64, 64, 48), 5_749_410, 415.5, 0.005),
        (SEGRES, SIGMOID, 1, (64, 64, 48), 4_702_227, 217.0, 0.005),
        (DYN, JOINT, 2, (32, 64, 48), 5_467_075, 415.5, 0.005),
        (DEEP, JOINT, 1, (64, 64, 48), 16_670_825, 449.1, 0.005),
    ],
)
def test_the_ledger_equals_the_trace(
    network: dict[str, Any],
    loss: dict[str, Any],
    batch: int,
    sides: tuple[int, ...],
    parameters: int,
    traced_mib: float,
    tolerance: float,
) -> None:
    tree = {"type": "SupervisedTrainer", "backbone": network, "loss": loss}
    # A trace adds gradients into new tensors: a dispatch mode forbids the engine to add in place.
    stack = TRACED._replace(adds_gradients_in_place=False)
    model = LayerModel(tree, "monai", stack=stack, facts={"depth": sides[0], "in_channels": 1})
    step = model.step(Workload(batch, Precision.FP32, False, *sides[-2:]))
    assert step.parameters == parameters
    peak = max(mark.activation_bytes + 4 * mark.gradient_elements for mark in step.marks)
    assert peak / 2**20 == pytest.approx(traced_mib, rel=tolerance)


@pytest.mark.parametrize(
    ("network", "loss"), [({**BASIC, "upsample": "pixelshuffle"}, JOINT), (UNET, {"type": "TverskyLoss"})]
)
def test_what_is_not_known_is_named(network: dict[str, Any], loss: dict[str, Any]) -> None:
    with pytest.raises(UnknownType):
        LayerModel({"type": "SupervisedTrainer", "backbone": network, "loss": loss}, "monai")


def test_patches_of_one_volume_are_a_batch() -> None:
    tree = {"type": "SupervisedTrainer", "backbone": UNET, "loss": JOINT}
    size = Workload(1, Precision.FP32, False, 64, 64)
    one, four = (LayerModel(tree, "monai", facts={"depth": 64, "patches": n}).step(size) for n in (1, 4))
    assert max(m.activation_bytes for m in four.marks) > 3.5 * max(m.activation_bytes for m in one.marks)
