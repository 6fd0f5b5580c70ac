"""Profiles from small traces, against direct traces at other shapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.trace import nets  # noqa: E402
from vramlint.errors import TraceError  # noqa: E402
from vramlint.memory.knowledge import Workload  # noqa: E402
from vramlint.memory.profile import load_profile  # noqa: E402
from vramlint.memory.profile_catalogue import find_profile  # noqa: E402
from vramlint.plan import Precision  # noqa: E402
from vramlint.trace.events import Recording, Shape  # noqa: E402
from vramlint.trace.making import make_profile  # noqa: E402
from vramlint.trace.pairing import IMAGE_TERMS, TOKEN_TERMS, Point, TooFewShapes, fit, pair, reduce, residual  # noqa: E402
from vramlint.trace.targets import IMAGE_SHAPES, Target, find_target  # noqa: E402
from vramlint.trace.tracer import Job, Options, record  # noqa: E402

Apart = Callable[[Callable[[], Any]], Any]
TOKEN_SHAPES = (Shape(2, seq_len=64), Shape(3, seq_len=64), Shape(2, seq_len=96), Shape(4, seq_len=128))
FURTHER_IMAGES = (Shape(1, 64, 64), Shape(2, 512, 512), Shape(16, 96, 128), Shape(64, 32, 32), Shape(7, 224, 224))
FURTHER_TOKENS = (Shape(1, seq_len=512), Shape(8, seq_len=32), Shape(2, seq_len=200), Shape(64, seq_len=48),
                  Shape(5, seq_len=333))  # fmt: skip


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("name", ["cnn", "resnet18", "decoder"])
def test_profiles_equal_direct_traces(apart: Apart, name: str, dtype: str | None) -> None:
    """At five shapes each, from batch 1 to 64: within half a percent of activations and gradients."""
    build: Callable[[Shape], Job] = {
        "cnn": nets.cnn_job, "resnet18": nets.resnet18_job, "decoder": nets.decoder_job
    }[name]  # fmt: skip
    made, further = (TOKEN_SHAPES, FURTHER_TOKENS) if name == "decoder" else (IMAGE_SHAPES, FURTHER_IMAGES)
    terms = TOKEN_TERMS if name == "decoder" else IMAGE_TERMS
    options = Options(dtype=None if dtype is None else getattr(torch, dtype))

    def worst() -> float:
        found = fit([record(lambda s=s: build(s), s, options) for s in made], terms)
        return max(max(residual(found, record(lambda s=s: build(s), s, options))) for s in further)

    assert apart(worst) <= 0.005


def test_storages_with_quadratic_attention_need_their_term(apart: Apart) -> None:
    """Attention by matrix products holds its scores: without a term in S^2 the profile is off, and says so."""
    shapes = (*TOKEN_SHAPES, Shape(3, seq_len=160))
    far = Shape(2, seq_len=640)

    def residuals() -> tuple[float, float]:
        def job(shape: Shape) -> Recording:
            return record(lambda: nets.transformer_job(shape), shape, Options(evaluation=False))

        recordings = [job(shape) for shape in shapes]
        direct = job(far)
        without = residual(fit(recordings, TOKEN_TERMS), direct).training
        return without, residual(fit(recordings, (*TOKEN_TERMS, "BS^2")), direct).training

    without, with_square = apart(residuals)
    assert without > 0.05
    assert with_square <= 0.0005


def test_unequal_steps_are_refused() -> None:
    one = Recording(Shape(1), events=[1, "fresh:forward", -1], sizes=[0, 8], makers=["", "a"])
    two = Recording(Shape(2), events=[1, -1, "fresh:forward"], sizes=[0, 8], makers=["", "a"])
    with pytest.raises(TraceError, match="other things"):
        pair([one, two])


def test_two_shapes_do_where_each_storage_follows_one_term_and_else_more_are_asked_for() -> None:
    def recording(shape: Shape, size: int) -> Recording:
        return Recording(shape, events=["static", 1, -1, "fresh:forward"], sizes=[0, size], makers=["", "made"])

    def fitted(first: Shape, second: Shape, *sizes: int) -> tuple[float, ...]:
        made = [recording(shape, size) for shape, size in zip((first, second), sizes, strict=True)]
        return fit(made, IMAGE_TERMS).parts["fresh"][0].coefficients

    first, second = IMAGE_SHAPES[:2]
    pixels = [shape.height * shape.width for shape in (first, second)]
    assert fitted(first, second, 2 * 4 * pixels[0], 3 * 4 * pixels[1]) == (0, 0, 0, 4)
    assert fitted(first, second, 2 * 4000, 3 * 4000) == (0, 4000, 0, 0)
    with pytest.raises(TooFewShapes):
        fitted(first, second, 2 * 4000 + pixels[0], 3 * 4000 + pixels[1])
    with pytest.raises(TooFewShapes):  # batch and batch times pixels grow alike here
        fitted(first, first._replace(batch=3), 2 * 4000, 3 * 4000)


def test_shapes_that_cannot_tell_the_terms_apart_are_refused() -> None:
    one = Recording(Shape(2, 8, 8), events=[1, "fresh:forward"], sizes=[0, 10_000], makers=["", "a"])
    two = Recording(Shape(3, 8, 8), events=[1, "fresh:forward"], sizes=[0, 17_000], makers=["", "a"])
    with pytest.raises(TraceError):
        fit([one, two], ("1", "B", "HW"))


def test_a_small_storage_that_no_term_explains_counts_as_of_one_size() -> None:
    shapes = (Shape(2, 256, 320), Shape(3, 416, 256), Shape(4, 512, 416))
    rows = [Recording(shape, events=[1, "fresh:forward"], makers=["", "rows"]) for shape in shapes]
    for row, size in zip(rows, (560, 784, 1064), strict=True):  # a row of a map padded to windows of 7
        row.sizes = [0, size]
    assert fit(rows, IMAGE_TERMS).parts["fresh"][0].coefficients == (1536, 0, 0, 0)


def test_masks_of_every_truth_and_maps_padded_to_windows_follow_terms_of_their_own() -> None:
    terms = (*IMAGE_TERMS, "BT", "BTHW", "P7/4", "BP7/4", "BR7/4")
    shapes = (Shape(2, 256, 320, 0, 4), Shape(3, 416, 256, 0, 7), Shape(4, 512, 416, 0, 3))
    masks = [4 * s.batch * s.targets * s.height * s.width for s in shapes]
    padded = [4 * s.batch * places for s, places in zip(shapes, (70 * 84, 105 * 70, 133 * 105), strict=True)]
    right = [4 * s.batch * places for s, places in zip(shapes, (64 * 84, 104 * 70, 128 * 105), strict=True)]
    for sizes, term in ((masks, "BTHW"), (padded, "BP7/4"), (right, "BR7/4")):
        made = [
            Recording(shape, events=[1, "fresh:forward"], sizes=[0, size], makers=["", "a"])
            for shape, size in zip(shapes, sizes, strict=True)
        ]
        found = fit(made, terms).parts["fresh"][0].coefficients
        assert found == tuple(4.0 if each == term else 0.0 for each in terms), term


def test_constant_storages_count_in_blocks_and_growing_ones_exactly() -> None:
    recordings = [
        Recording(
            Shape(batch, 8, 8),
            events=["static", 1, 2, "fresh:forward"],
            sizes=[0, 10, batch * 4096],
            makers=["", "a", "b"],
        )
        for batch in (2, 3)
    ]
    (point,) = fit(recordings, ("1", "B")).parts["fresh"]
    assert point == Point("forward", (512.0, 4096.0), 0)


def test_reduction_keeps_what_can_be_the_maximum() -> None:
    points = [
        Point("forward", (0.0, 10.0), 0),
        Point("backward", (1000.0, 1.0), 0),
        Point("backward", (500.0, 0.5), 0),
        Point("backward", (0.0, 9.0), 1000),
        Point("optimizer", (0.0, 0.0), 10),
    ]
    assert reduce(points, ("1", "B")) == (points[0], points[1], points[3], points[4])


def test_the_json_form_reads_back(apart: Apart) -> None:
    """A whole profile, made, written, read and evaluated: equal to a direct trace at a shape it was not made from."""
    target = Target(
        "tiny",
        lambda shape, _: nets.cnn_job(shape),
        ("torch",),
        ("a test",),
        confirm=(Shape(6, 160, 160),),
    )
    data, direct = apart(
        lambda: (
            make_profile(target, "2026-01-01", lambda _: None),
            record(lambda: nets.cnn_job(Shape(9, 256, 192)), Shape(9, 256, 192)),
        )
    )
    profile = load_profile(json.loads(json.dumps(data)))
    assert set(profile.variants) == {"fp32", "amp"}
    moments = profile.moments(Workload(9, Precision.FP32, checkpointing=False, height=256, width=192))
    predicted = max(m.activation_bytes + 4 * m.gradient_elements for m in moments)
    fresh = [level for level in direct.levels() if level.phase.startswith("fresh")]
    assert predicted == pytest.approx(max(x.activation_bytes + 4 * x.gradient_elements for x in fresh), rel=0.0005)
    plain = max(m.activation_bytes for m in moments)
    with_amp = profile.moments(Workload(9, Precision.BF16, checkpointing=False, height=256, width=192))
    assert 0.4 * plain < max(m.activation_bytes for m in with_amp) < 0.7 * plain


@pytest.mark.parametrize("name", ["unet", "moco_v2_resnet50"])
def test_shipped_profiles_of_plain_models_equal_a_trace_made_now(apart: Apart, name: str) -> None:
    """No package but torch is needed for these; a difference means that the tracer or torch changed."""
    profile = find_profile(name)
    assert profile is not None
    shape = Shape(3, 160, 128)
    target = find_target(name)
    direct = apart(lambda: record(lambda: target.make(shape, False), shape, Options(evaluation=False)))
    moments = profile.moments(Workload(3, Precision.FP32, checkpointing=False, height=160, width=128))
    predicted = max(m.activation_bytes + 4 * m.gradient_elements for m in moments)
    fresh = [level for level in direct.levels() if level.phase.startswith("fresh")]
    assert predicted == pytest.approx(max(x.activation_bytes + 4 * x.gradient_elements for x in fresh), rel=0.005)
    assert (profile.parameters, profile.trainable) == (direct.parameters, direct.trainable)
