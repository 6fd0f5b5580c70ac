"""The tape: lifetimes, gradients that meet, frozen parts, checkpoints, autocast."""

from __future__ import annotations

import time

import pytest

from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel, Tape, UnknownType
from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.nn import Conv, Linear
from vramlint.memory.layers.stack import MODERN, TORCH_1, Stack
from vramlint.plan import Precision

KIB = 1024


def test_an_operation_keeps_what_backward_needs_and_frees_the_rest() -> None:
    tape = Tape()
    conv = Conv(tape, 4, 4, 3, padding=1, bias=False)
    x = tape.new(1, 4, 16, 16)
    assert tape.live == 4 * KIB
    y = conv(x)
    y = conv(ops.relu(y, inplace=True))
    assert tape.live == 12 * KIB, "the input, the first result (changed in place) and the second"
    del x
    assert tape.live == 12 * KIB, "backward needs the input"
    with tape.no_grad():
        y = conv(y.detach())
    assert tape.live == 4 * KIB, "nothing holds the graph any more"


def test_a_residual_sum_in_place_adds_nothing_and_gradients_meet_in_place() -> None:
    tape = Tape()
    block = ConvModule(tape, 4, 4, 3, padding=1, norm_cfg={"type": "BN"}, act_cfg=None)
    x = Conv(tape, 4, 4, 1)(tape.new(1, 4, 16, 16))
    before = tape.live
    y = ops.relu(ops.add(block(x), x, inplace=True), inplace=True)
    assert tape.live - before == 8 * KIB + KIB, "convolution, norm, two statistics"
    loss = ops.mean(y, ())
    del x, y
    tape.backward(loss)
    del loss
    assert tape.gradients == tape.trainable_count
    assert tape.live == 0


def test_before_torch_2_gradients_meet_in_a_third_tensor() -> None:
    def highest(stack: Stack) -> int:
        tape = Tape(stack=stack)
        x = Conv(tape, 4, 4, 1)(tape.new(1, 4, 16, 16))
        branches = [ops.total(ops.scaled(x)) for _ in range(3)]
        del x
        loss = ops.total_loss(branches)
        del branches
        tape.backward(loss)
        return max(mark.activation_bytes for mark in tape.marks() if mark.phase == "backward")

    assert highest(MODERN._replace(adds_gradients_in_place=False)) - highest(MODERN) == 4 * KIB
    assert MODERN.adds_gradients_in_place
    assert not TORCH_1.adds_gradients_in_place


def test_frozen_layers_keep_nothing() -> None:
    tape = Tape()
    with tape.frozen():
        stem = ConvModule(tape, 3, 8, 3, padding=1, norm_cfg={"type": "BN"}, act_cfg=RELU)
    images = tape.new(1, 3, 16, 16)
    y = stem(images)
    assert y.node is None
    assert tape.live == images.bytes + y.bytes
    assert (tape.parameter_count, tape.trainable_count) == (216 + 16, 0)


def test_a_checkpoint_keeps_its_input_and_works_the_rest_out_again() -> None:
    def peak(*, checkpointing: bool) -> tuple[int, int]:
        tape = Tape()
        first = Conv(tape, 3, 8, 3, padding=1)
        block = ConvModule(tape, 8, 8, 3, padding=1, norm_cfg={"type": "BN"}, act_cfg=RELU)
        x = first(tape.new(2, 3, 32, 32))
        for _ in range(4):
            x = tape.checkpoint(block, x) if checkpointing else block(x)
        forward = tape.live
        tape.backward(ops.mean(x, ()))
        return forward, tape.gradients

    plain, checkpointed = peak(checkpointing=False), peak(checkpointing=True)
    assert checkpointed[0] < plain[0] * 0.65
    assert checkpointed[1] == plain[1], "every weight got its gradient"


def test_autocast_casts_inputs_and_caches_the_casts_of_weights() -> None:
    tape = Tape(half=True)
    conv = Conv(tape, 16, 16, 3, padding=1, bias=False)
    x = tape.new(1, 16, 16, 16)
    y = conv(x)
    assert y.itemsize == 2
    weight = -(-2 * 16 * 16 * 9 // 512) * 512
    assert tape.live == 16 * KIB + 8 * KIB + 8 * KIB + weight
    conv(y)
    assert tape.live == 16 * KIB + 8 * KIB + 8 * KIB + weight, "the second call takes the cached weight and no cast"


def test_odd_sizes() -> None:
    tape = Tape()
    assert Conv(tape, 1, 1, 3, 2, 1)(tape.new(1, 1, 769, 513)).size == (385, 257)
    assert ops.max_pool(tape.new(1, 1, 385, 257), 3, 2, 1).size == (193, 129)
    assert ops.avg_pool(tape.new(1, 1, 193, 129), 2, 2, ceil=True).size == (97, 65)
    assert Conv(tape, 1, 1, 2, 2, transposed=True)(tape.new(1, 1, 17, 9)).size == (34, 18)


@pytest.mark.parametrize(
    "change",
    [
        {"num_layers": 10**6},
        {"embed_dims": 10**9},
        {"num_heads": "many"},
        {"norm_cfg": {"type": "SomethingNew"}},
        {"out_indices": [99]},
        {"patch_size": 0},
    ],
    ids=str,
)
def test_what_is_no_model_is_unknown_and_costs_no_time(change: dict[str, object]) -> None:
    tree = {
        "type": "EncoderDecoder",
        "backbone": {"type": "VisionTransformer", "img_size": 224, "out_indices": [5, 11], **change},
        "decode_head": {
            "type": "FCNHead",
            "in_channels": 768,
            "channels": 64,
            "num_classes": 2,
            "norm_cfg": {"type": "BN"},
        },
    }
    began = time.perf_counter()
    with pytest.raises(UnknownType):
        LayerModel(tree, "mmseg").step(Workload(2, Precision.FP32, checkpointing=False, height=224, width=224))
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize("how", ["checkpoint", "recompute"])
def test_a_weight_used_before_a_checkpoint_and_twice_inside_leaves_no_gradient_behind(how: str) -> None:
    tape = Tape()
    shared, first = Linear(tape, 64, 64), Linear(tape, 64, 64)
    loss = ops.total(getattr(tape, how)(lambda x: shared(shared(x)), shared(first(tape.new(32, 64)))))
    tape.backward(loss)
    del loss
    assert (tape.live, tape.gradients) == (0, tape.trainable_count)
