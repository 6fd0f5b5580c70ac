"""Whole steps: what each thing beside the model takes, by arithmetic and against real steps."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.trace import nets  # noqa: E402
from tools import reality  # noqa: E402
from vramlint.errors import TraceError  # noqa: E402
from vramlint.trace.choices import Choices, from_json, parse_options, parse_point  # noqa: E402
from vramlint.trace.events import Shape  # noqa: E402
from vramlint.trace.targets import Target  # noqa: E402

Apart = Callable[[Callable[[], Any]], Any]

IMAGES, TOKENS = Shape(2, 64, 64), Shape(4, seq_len=128)


def memory(choices: Choices, *, decoder: bool = False, checkpointing: bool = False) -> Any:
    from vramlint.trace.variations import varied
    from vramlint.trace.whole_step import trace_step

    job = nets.decoder_job if decoder else nets.resnet18_job
    target = Target("net", lambda shape, flag: job(shape, checkpointing=flag), ("torch",), (), has_checkpointing=True)
    shape = TOKENS if decoder else IMAGES
    return trace_step(varied(target, choices), shape, choices, dtype=None, checkpointing=checkpointing)


ADAMW = Choices(optimizer="adamw")
SGD = Choices(optimizer="SGD", optimizer_options=(("momentum", 0.9),))


@pytest.fixture(scope="module")
def weights() -> int:
    """Bytes of the ResNet's parameters, each in blocks of the allocator."""
    from vramlint.trace.events import block_bytes

    model = nets.resnet18_job(IMAGES).model
    return sum(block_bytes(parameter.numel() * 4) for parameter in model.parameters())


def test_an_update_of_all_parameters_at_once_takes_a_copy_of_them(apart: Apart, weights: int) -> None:
    """AdamW's denominators: one list for all under foreach, one tensor at a time in a loop, none when fused."""
    foreach, fused, loop = (
        apart(lambda update=update: memory(ADAMW._replace(update=update)))  # type: ignore[misc]
        for update in ("", "fused", "for-loop")
    )
    assert foreach.parts["weights"] == fused.parts["weights"] == weights
    assert foreach.phase == "optimizer"
    assert foreach.parts["activations"] >= weights
    assert fused.phase == "backward"
    largest = 512 * 512 * 9 * 4
    assert loop.parts["activations"] <= 3 * largest < weights


def test_optimizers_keep_what_their_papers_say(apart: Apart, weights: int) -> None:
    adamw, momentum = apart(lambda: memory(ADAMW)), apart(lambda: memory(SGD))
    # Two moments and one for the momentum; AdamW's step counts lie on the CPU and take a block each here.
    assert adamw.parts["optimizer"] == pytest.approx(2 * weights, rel=0.002)
    assert momentum.parts["optimizer"] == weights
    assert (adamw.optimizer, momentum.optimizer) == ("AdamW", "SGD")


def test_an_averaged_copy_takes_parameters_and_buffers_again(apart: Apart) -> None:
    found = apart(lambda: memory(SGD._replace(ema=True)))
    assert found.parts["ema"] == pytest.approx(found.parts["weights"] + found.parts["buffers"], rel=1e-3)


def test_accumulated_gradients_are_there_while_activations_are(apart: Apart) -> None:
    once, often = (
        apart(lambda: memory(ADAMW, decoder=True)),
        apart(lambda: memory(ADAMW._replace(accumulate=8), decoder=True)),
    )
    assert once.phase == often.phase == "backward"
    assert often.peak_bytes - once.peak_bytes == once.parts["weights"]


def test_a_scaled_loss_does_not_skip_the_step(apart: Apart) -> None:
    plain, scaled = apart(lambda: memory(ADAMW)), apart(lambda: memory(ADAMW._replace(scaler=True)))
    assert scaled.parts["optimizer"] == plain.parts["optimizer"]
    assert 0 <= scaled.peak_bytes - plain.peak_bytes < 10 * 512


@pytest.mark.parametrize(("parallel", "gradients"), [("ddp", 1), ("ddp-views", 0)])
def test_buckets_are_as_large_as_the_gradients(apart: Apart, parallel: str, gradients: int, weights: int) -> None:
    found = apart(lambda: memory(SGD._replace(parallel=parallel, update="for-loop")))
    assert found.parts["buckets"] == pytest.approx(weights, rel=0.002)
    assert found.parts["gradients"] == pytest.approx(gradients * weights, rel=0.05)


def test_shards_take_their_share_and_one_block_is_whole(apart: Apart) -> None:
    one, four = (
        apart(lambda ranks=ranks: memory(ADAMW._replace(parallel="fsdp2", ranks=ranks)))  # type: ignore[misc]
        for ranks in (2, 8)
    )
    assert one.parts["weights"] == pytest.approx(4 * four.parts["weights"], rel=0.01)
    assert one.parts["optimizer"] == pytest.approx(4 * four.parts["optimizer"], rel=0.02)
    assert four.peak_bytes < one.peak_bytes


def test_chosen_modules_are_recomputed(apart: Apart) -> None:
    """The same as the network's own checkpointing of its blocks."""
    own = apart(lambda: memory(ADAMW, decoder=True, checkpointing=True))
    chosen = apart(lambda: memory(ADAMW._replace(checkpoint=("blocks.*",)), decoder=True, checkpointing=True))
    assert chosen.peak_bytes == own.peak_bytes < apart(lambda: memory(ADAMW, decoder=True)).peak_bytes


def test_a_pattern_that_nothing_matches_is_said(apart: Apart) -> None:
    def message() -> str:
        try:
            memory(ADAMW._replace(checkpoint=("layers.*",)), checkpointing=True)
        except TraceError as error:
            return f"{error.message} {error.help}"
        return ""

    said = apart(message)
    assert "no module is called layers.*" in said
    assert "blocks.0" in said


def test_adapters_are_all_that_is_trained(apart: Apart) -> None:
    if importlib.util.find_spec("peft") is None:
        pytest.skip("adapters are peft's own")
    choices = ADAMW._replace(lora_rank=4, lora_targets=("qkv", "*.mlp.0"))
    found = apart(lambda: memory(choices, decoder=True))
    whole = apart(lambda: memory(ADAMW, decoder=True))
    adapters = 2 * (4 * (64 + 3 * 64) + 4 * (64 + 4 * 64)) * 4
    assert found.parts["optimizer"] == pytest.approx(2 * adapters, rel=0.5)  # blocks and step counts of small tensors
    assert found.parts["weights"] > whole.parts["weights"]
    assert found.peak_bytes < whole.peak_bytes


def _real_with_ddp(choices: Choices) -> int:
    """The same step on the CPU, one process alone, as the allocator saw it; the buckets came before it looked."""
    import torch.distributed as dist

    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", store=dist.FileStore(str(Path(folder, "store")), 1), rank=0, world_size=1)
        views = choices.parallel == "ddp-views"
        buckets: list[int] = []

        def build() -> Any:
            job = nets.decoder_job(TOKENS)
            wrapped = torch.nn.parallel.DistributedDataParallel(job.model, gradient_as_bucket_view=views)
            buckets.append(sum(parameter.numel() * 4 for parameter in job.model.parameters()))
            return job._replace(model=wrapped)

        # The second step sorts the buckets anew: the third is the steady state.
        peak = reality.real_peak_bytes(build, nets.adamw, steps_before=2)
        dist.destroy_process_group()
        return peak + buckets[0]


@pytest.mark.parametrize("parallel", ["ddp", "ddp-views"])
def test_buckets_against_a_real_step(apart: Apart, parallel: str) -> None:
    if not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    choices = ADAMW._replace(parallel=parallel)
    real = apart(lambda: _real_with_ddp(choices))
    traced = apart(lambda: memory(choices, decoder=True)).peak_bytes
    assert traced / real - 1 == pytest.approx(0, abs=0.005)


def _real_with_shards(folder: str, rank: int) -> int:
    """One rank of two of the same step, sharded for real over gloo, as its allocator saw it."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    store = dist.FileStore(str(Path(folder, "store")), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=90))

    def build() -> Any:
        job = nets.decoder_job(TOKENS)
        mesh = init_device_mesh("cpu", (2,))
        for block in job.model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(job.model, mesh=mesh)
        return job

    peak = reality.real_peak_bytes(build, nets.adamw, steps_before=2)
    dist.barrier()
    dist.destroy_process_group()
    return peak


def _real_pair(apart: Apart, folder: Path) -> int:
    """The step of two processes, as the first of them saw it."""
    folder.mkdir()
    other = os.fork()
    if other == 0:
        try:
            _real_with_shards(str(folder), 1)
        finally:
            os._exit(0)  # whatever came of it: the rest of the tests is the parent's
    real = apart(lambda: _real_with_shards(str(folder), 0))
    os.waitpid(other, 0)
    return real


def test_shards_against_a_real_step_of_two_processes(apart: Apart, tmp_path: Path) -> None:
    """The least of three runs: on a busy machine a gather that ends late holds its buffer longer."""
    if not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    real = min(_real_pair(apart, tmp_path / str(number)) for number in range(3))
    traced = apart(lambda: memory(ADAMW._replace(parallel="fsdp2", ranks=2), decoder=True)).peak_bytes
    assert traced / real - 1 == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("text", "expected"), [("4x512x640", (4, 512, 640)), ("4x2048", (4, 2048)), ("1X64X64", (1, 64, 64))]
)
def test_points_are_read(text: str, expected: tuple[int, ...]) -> None:
    assert parse_point(text) == expected


@pytest.mark.parametrize("text", ["", "4", "0x512x512", "4x512x512x3", "axb", "4x-1x2"])
def test_other_points_are_refused(text: str) -> None:
    with pytest.raises(TraceError, match="no batch and size"):
        parse_point(text)


def test_options_are_values_of_python() -> None:
    texts = ["momentum=0.9", "betas=(0.9, 0.95)", "nesterov=True"]
    assert parse_options(texts) == (("momentum", 0.9), ("betas", (0.9, 0.95)), ("nesterov", True))
    for wrong in ("momentum", "a b=1", "x=__import__('os')"):
        with pytest.raises(TraceError, match="no option"):
            parse_options([wrong])


def test_choices_survive_json() -> None:
    import json

    choices = ADAMW._replace(points=((2, 64, 64), (3, 96, 64)), checkpoint=("a", "b"), optimizer_options=(("lr", 1),))
    assert from_json(json.loads(json.dumps(choices._asdict()))) == choices
