"""What the tracer records: the bytes of known steps, CUDA's choices, gradients, accumulation, checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.trace import nets  # noqa: E402
from vramlint.trace.events import Recording, Shape  # noqa: E402
from vramlint.trace.tracer import Job, Options, record  # noqa: E402

Apart = Callable[[Callable[[], Any]], Any]


def peak(recording: Recording, mark: str, gradient_bytes: int = 4) -> int:
    return max(
        level.activation_bytes + gradient_bytes * level.gradient_elements
        for level in recording.levels()
        if level.phase == mark
    )


def test_a_convolution_with_relu_takes_what_pencil_and_paper_say(apart: Apart) -> None:
    """Conv 3->8 and ReLU, fp32: while ReLU runs, the input of 12 B/px and both outputs of 32 B/px are alive.

    The convolution's output then goes (ReLU saves its own). In backward the gradients of the mean and of ReLU join the
    input and the saved output, and two scalars of one block each, the loss and its gradient, are there too.
    """

    def job() -> Job:
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU())
        return Job(model, lambda: torch.empty(2, 3, 64, 64), lambda m, b: m(b).mean())

    recording = apart(lambda: record(job, Shape(2, 64, 64)))
    assert recording.parameters == 3 * 8 * 9 + 8
    assert peak(recording, "fresh:forward") == 76 * 2 * 64 * 64
    assert peak(recording, "fresh:backward", gradient_bytes=0) == 108 * 2 * 64 * 64 + 2 * 512


def test_gradients_are_told_from_activations(apart: Apart) -> None:
    recording = apart(lambda: record(lambda: nets.cnn_job(Shape(2, 32, 32)), Shape(2, 32, 32)))
    ends = {level.phase: level for level in recording.levels()}
    assert ends["fresh:backward"].gradient_elements == recording.trainable
    assert ends["kept:forward"].gradient_elements == recording.trainable
    assert ends["evaluation:evaluation"].gradient_elements == 0


def test_kept_gradients_cost_a_transient_more(apart: Apart) -> None:
    recording = apart(lambda: record(lambda: nets.cnn_job(Shape(2, 32, 32)), Shape(2, 32, 32)))
    assert peak(recording, "kept:backward") > peak(recording, "fresh:backward")


def test_frozen_parameters_have_no_gradients(apart: Apart) -> None:
    def job() -> Job:
        made = nets.cnn_job(Shape(2, 32, 32))
        made.model.body.requires_grad_(False)
        return made

    recording = apart(lambda: record(job, Shape(2, 32, 32)))
    assert recording.trainable == 32 * 10 + 10
    assert max(level.gradient_elements for level in recording.levels()) == recording.trainable


def test_tied_weights_count_once(apart: Apart) -> None:
    recording = apart(lambda: record(lambda: nets.transformer_job(Shape(2, seq_len=16)), Shape(2, seq_len=16)))
    model = nets.TinyTransformer()
    assert recording.parameters == sum(p.numel() for p in model.parameters())
    assert recording.parameter_bytes == 4 * recording.parameters


def test_checkpointing_lowers_the_forward_end(apart: Apart) -> None:
    shape = Shape(4, 64, 64)
    plain = apart(lambda: record(lambda: nets.resnet18_job(shape), shape))
    less = apart(lambda: record(lambda: nets.resnet18_job(shape, checkpointing=True), shape))
    assert peak(less, "fresh:forward") < 0.75 * peak(plain, "fresh:forward")
    assert less.operations > plain.operations


def test_checkpointing_under_autocast_recomputes_the_same(apart: Apart) -> None:
    shape = Shape(2, seq_len=64)
    options = Options(dtype=torch.bfloat16)
    recording = apart(lambda: record(lambda: nets.decoder_job(shape, checkpointing=True), shape, options))
    assert recording.trainable == recording.parameters


def test_an_optimizer_has_its_states_in_the_second_step(apart: Apart) -> None:
    shape = Shape(2, 32, 32)

    def job() -> Job:
        return nets.cnn_job(shape)._replace(optimizer=nets.adamw)

    recording = apart(lambda: record(job, shape))
    more = peak(recording, "steady:forward") - peak(recording, "fresh:forward")
    assert more >= 2 * recording.parameter_bytes


def test_user_code_may_ask_for_cuda_autocast(apart: Apart) -> None:
    def types() -> list[Any]:
        found: list[Any] = []

        def loss(model: Any, batch: Any) -> Any:
            with torch.autocast("cuda", dtype=torch.float16):
                output = model(batch)
                found.append((output.dtype, torch.is_autocast_enabled("cuda")))
            return output.float().mean()

        record(lambda: Job(torch.nn.Linear(4, 4), lambda: torch.empty(2, 4), loss), Shape(2))
        return found

    assert apart(types)[0] == (torch.float16, True)


@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        (lambda x: torch.nn.functional.layer_norm(x, (8,)), "float32"),
        (lambda x: torch.softmax(x, -1), "float32"),
        (lambda x: x.sum(), "float32"),
        (lambda x: x.exp(), "float32"),
        (lambda x: torch.nn.functional.interpolate(x[None], scale_factor=2), "float32"),
        (lambda x: torch.nn.functional.mse_loss(x, x), "float32"),
        (lambda x: torch.nn.functional.gelu(x), "bfloat16"),
        (lambda x: x @ x.transpose(-1, -2), "bfloat16"),
        (lambda x: torch.nn.functional.avg_pool1d(x, 2), "bfloat16"),
        (lambda x: torch.nn.functional.pad(x, (1, 1), mode="reflect"), "bfloat16"),
    ],
)
def test_autocast_follows_cuda_lists(apart: Apart, call: Callable[[Any], Any], dtype: str) -> None:
    """The types that CUDA's lists give for a bf16 input; under the CPU's lists several of these differ."""

    def result() -> str:
        from vramlint.trace.fake import fake_world

        with fake_world(), torch.autocast("cuda", dtype=torch.bfloat16):
            return str(call(torch.empty(3, 4, 8, dtype=torch.bfloat16)).dtype)

    assert apart(result) == f"torch.{dtype}"


@pytest.mark.parametrize(
    ("dtype", "mask", "kernel"),
    [
        ("bfloat16", False, "flash"),
        ("float16", False, "flash"),
        ("float32", False, "efficient"),
        ("bfloat16", True, "efficient"),
    ],
)
def test_attention_takes_the_kernel_a_card_would(apart: Apart, dtype: str, mask: bool, kernel: str) -> None:
    def makers() -> list[str]:
        def loss(model: Any, batch: Any) -> Any:
            q = model(batch).view(2, 16, 4, 8).transpose(1, 2).to(getattr(torch, dtype))
            bias = torch.zeros(2, 4, 16, 16, dtype=q.dtype) if mask else None
            return torch.nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=bias).float().mean()

        job = Job(torch.nn.Linear(32, 32), lambda: torch.empty(2, 16, 32), loss)
        return record(lambda: job, Shape(2)).makers

    assert any(f"_scaled_dot_product_{kernel}_attention" in maker for maker in apart(makers))


def test_dropout_keeps_a_mask_of_one_byte_an_element(apart: Apart) -> None:
    def job() -> Job:
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Dropout(0.5))
        return Job(model, lambda: torch.empty(256, 64), lambda m, b: m(b).mean())

    recording = apart(lambda: record(job, Shape(256)))
    # Input, linear's output (freed: dropout saves only its mask), dropout's output, mask, scalar.
    sizes = [size for size, maker in zip(recording.sizes, recording.makers, strict=True) if "native_dropout" in maker]
    assert sizes[:2] == [256 * 64 * 4, 256 * 64]


def test_traces_repeat_exactly(apart: Apart) -> None:
    shape = Shape(2, 64, 64)
    first = apart(lambda: record(lambda: nets.unet_job(shape), shape))
    again = apart(lambda: record(lambda: nets.unet_job(shape), shape))
    assert first.normalised() == again.normalised()
    assert first.sizes == again.sizes


def test_a_loss_that_is_no_scalar_is_said(apart: Apart) -> None:
    def message() -> str:
        from vramlint.errors import TraceError

        try:
            record(lambda: Job(torch.nn.Linear(2, 2), lambda: torch.empty(2, 2), lambda m, b: m(b)), Shape(2))
        except TraceError as error:
            return error.message
        return ""

    assert "scalar" in apart(message)


def test_autocast_lists_are_those_of_the_installed_header() -> None:
    """ATen/autocast_mode.h of the torch that is installed, read as text."""
    import re
    from pathlib import Path

    from vramlint.trace import cuda_autocast as ours

    if not torch.__version__.startswith("2.13."):
        pytest.skip("the lists are those of torch 2.13")
    text = Path(torch.__file__).parent.joinpath("include/ATen/autocast_mode.h").read_text(encoding="utf-8")

    def listed(macro: str) -> set[str]:
        body = text.split(f"#define {macro}(_)", 1)[1].split("\n\n", 1)[0]
        pairs = re.findall(r"_\((\w+)(?:, (\w+))?\)", body)
        return {name + (f".{overload}" if overload else "") for name, overload in pairs}

    assert set(ours.FP32) == listed("AT_FORALL_FP32")
    assert set(ours.FP32_RESULT) == listed("AT_FORALL_FP32_SET_OPT_DTYPE")
    assert set(ours.PROMOTE) == listed("AT_FORALL_PROMOTE")
    left_out = {name for name in listed("AT_FORALL_LOWER_PRECISION_FP") if "cell" in name or name.startswith("_")}
    assert set(ours.LOWER_PRECISION) == listed("AT_FORALL_LOWER_PRECISION_FP") - left_out


def test_gradients_that_meet_are_added_in_place(apart: Apart) -> None:
    """A residual connection: the engine adds the branch's gradient to the stream's and allocates nothing for it."""

    def job() -> Job:
        layer = torch.nn.Linear(64, 64, bias=False)
        return Job(layer, lambda: torch.empty(8, 64), lambda m, b: _residual(m, m(b)).mean())

    def _residual(layer: Any, x: Any) -> Any:
        return x + layer(torch.relu(x))

    recording = apart(lambda: record(job, Shape(8), Options(second_step=False, evaluation=False)))
    start, end = (recording.events.index(f"fresh:{name}") for name in ("forward", "backward"))
    made = [recording.makers[e] for e in recording.events[start:end] if isinstance(e, int) and e > 0]
    assert made.count("aten.add.Tensor") == 1  # the weight's gradients of its two uses, which are views, not this one


def test_constructors_read_the_values_of_short_sequences(apart: Apart) -> None:
    """timm takes drop path rates from linspace: with any other answer every block would drop its path."""

    def values() -> list[Any]:
        found: list[Any] = []

        def job() -> Job:
            rates = torch.linspace(0, 0.5, 3)
            found.extend([rate.item() for rate in rates])
            found.append((torch.arange(3) * 2 + 1).tolist())
            return Job(torch.nn.Linear(2, 2), lambda: torch.empty(2, 2), lambda m, b: m(b).mean())

        record(job, Shape(2))
        return found

    assert apart(values) == [0.0, 0.25, 0.5, [1, 3, 5]]


def test_constructors_read_what_they_work_out_with_unique(apart: Apart) -> None:
    """timm's RegNets find the widths and depths of their stages so; read as ones, every stage came out empty."""

    def job() -> Job:
        widths, depths = torch.unique(torch.tensor([8, 8, 24, 24, 24]), return_counts=True)
        layers = [torch.nn.Linear(width, depth) for width, depth in zip(widths.tolist(), depths.tolist(), strict=True)]
        made = nets.cnn_job(Shape(2, 32, 32))
        made.model.extra = torch.nn.ModuleList(layers)
        return made

    base = apart(lambda: record(lambda: nets.cnn_job(Shape(2, 32, 32)), Shape(2, 32, 32)).parameters)
    with_extra = apart(lambda: record(job, Shape(2, 32, 32)).parameters)
    assert with_extra - base == (8 * 2 + 2) + (24 * 3 + 3)
