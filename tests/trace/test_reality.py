"""Traces against the CPU allocator's own events, on real steps."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

from tests.trace import nets  # noqa: E402
from tools import reality  # noqa: E402
from vramlint.trace.events import Shape  # noqa: E402

Apart = Callable[[Callable[[], Any]], Any]

CASES = {
    "cnn-sgd": (nets.cnn_job, nets.sgd, Shape(8, 64, 64)),
    "transformer-adamw": (nets.transformer_job, nets.adamw, Shape(8, seq_len=64)),
    "decoder-adamw": (nets.decoder_job, nets.adamw, Shape(4, seq_len=128)),
    "resnet18-sgd": (nets.resnet18_job, nets.sgd, Shape(4, 64, 64)),
    "unet-sgd": (nets.unet_job, nets.sgd, Shape(2, 64, 64)),
}
OF_TIMM = {
    "vit_tiny_patch16_224": Shape(2, 224, 224),
    "convnext_atto": Shape(2, 96, 96),
    "mobilenetv3_small_100": Shape(2, 96, 96),
    "efficientnet_b0": Shape(2, 64, 64),
    "mixer_s32_224": Shape(2, 224, 224),
}


class Peaks(NamedTuple):
    """Bytes of a real step, of one whose convolutions allocate nothing inside themselves, and of the trace."""

    real: int
    hollow: int
    traced: int


def peaks(build: Callable[[], Any], optimizer: reality.Optimizer, shape: Shape) -> Peaks:
    real = reality.real_peak_bytes(build, optimizer)
    with reality.HollowConvolutions():
        hollow = reality.real_peak_bytes(build, optimizer)
    return Peaks(real, hollow, reality.traced_peak_bytes(build, optimizer, shape))


def within_the_bar(found: Peaks) -> None:
    """The bar is 0.5 %. Where the real step takes more, all of it must be inside the convolutions."""
    assert found.traced / found.real - 1 <= 0.0005, found
    if found.traced / found.real - 1 < -0.005:
        assert found.traced / found.hollow - 1 == pytest.approx(0, abs=0.005), found


@pytest.mark.parametrize("name", CASES)
def test_trace_equals_the_allocators_own_events(apart: Apart, name: str) -> None:
    build, optimizer, shape = CASES[name]
    within_the_bar(apart(lambda: peaks(lambda: build(shape), optimizer, shape)))


@pytest.mark.parametrize("name", OF_TIMM)
def test_traces_of_timm_equal_the_allocators_own_events(apart: Apart, name: str) -> None:
    """The same as ``python -m tools.compare_reality``, which has more and larger models."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("the models are timm's")
    from vramlint.trace.targets import find_target

    shape = OF_TIMM[name]

    def found() -> Peaks:
        target = find_target(f"timm/{name}")
        return peaks(lambda: target.make(shape, False), nets.sgd, shape)

    within_the_bar(apart(found))


def test_what_the_trace_misses_is_inside_the_kernels(apart: Apart) -> None:
    """With oneDNN off, convolutions allocate other buffers: the real peak moves by a tenth, the trace not at all."""
    build, optimizer, shape = CASES["cnn-sgd"]

    def real() -> int:
        with torch.backends.mkldnn.flags(enabled=False):
            return reality.real_peak_bytes(lambda: build(shape), optimizer)

    with_one_dnn = apart(lambda: reality.real_peak_bytes(lambda: build(shape), optimizer))
    assert apart(real) > 1.1 * with_one_dnn
