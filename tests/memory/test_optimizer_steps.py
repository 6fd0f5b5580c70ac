"""Optimizer states against real CPU steps, stored by ``tools/measure_optimizers.py --write``.

timm 1.0.31, pytorch_optimizer 4.1.0, galore_torch 1.0, apollo_torch 1.0.3, prodigyopt 1.1.2, torch-optimi 0.3.3,
came-pytorch 0.1.3, torch 2.13: three steps on four matrices and a vector.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vramlint.memory.matrix_states import Matrix
from vramlint.memory.optimizer_names import STATES
from vramlint.memory.optimizers import find_optimizer

STORED: dict[str, dict[str, list[int]]] = json.loads(Path(__file__).with_name("optimizer_steps.json").read_text())
SHAPES = ((64, 192), (128, 128), (256, 64), (160, 96), (512,))
RANK = 16

ELSEWHERE = {
    # Other defaults than timm's, which the table follows, or another optimizer of the same name.
    "adafactor", "apollo", "galore", "fira", "sgd", "sgdw", "asgd", "rmsprop", "pid", "flashadamw", "magma", "emofact",
    # Preconditioners of every size, which the table leaves unknown.
    "kron", "kronc", "kronw",
    # States by the shape of the weight, or fewer for vectors.
    "soap", "splus", "sm3", "came", "muon", "muonclip", "normuon", "adago", "adammini", "nero", "spam", "racs",
}  # fmt: skip


def per_element(name: str, bytes_each: int) -> float:
    optimizer = find_optimizer(name)
    assert optimizer is not None, name
    return optimizer.state_bytes(1_000_000, bytes_each) / 1_000_000


def measured_names(library: str) -> list[str]:
    names = sorted(STORED[library])
    timm = {"sgd", "sgdw", "muon"}
    return [name for name in names if name not in ELSEWHERE or (library == "timm" and name in timm)]


def test_rmsprop_with_momentum_keeps_two_states() -> None:
    optimizer = find_optimizer("rmsprop", momentum=0.9)
    assert optimizer is not None
    assert optimizer.state_bytes(64 * 192, 4) == pytest.approx(STORED["timm"]["rmsprop"][0], rel=0.01)


@pytest.mark.parametrize(
    ("library", "name"), [(lib, n) for lib in ("timm", "pytorch_optimizer") for n in measured_names(lib)]
)
def test_states_known_by_name_are_those_of_a_real_step(library: str, name: str) -> None:
    """Row and column statistics are at most 1/32 of an element in these small weights."""
    for shape, measured in list(zip(SHAPES, STORED[library][name], strict=True))[:4]:
        elements = shape[0] * shape[1]
        assert per_element(name, 4) == pytest.approx(measured / elements, abs=0.35), (shape, name)


@pytest.mark.parametrize(
    ("library", "bytes_each"), [("prodigy", 4), ("optimi", 4), ("optimi+bf16", 2), ("came", 4), ("came+bf16", 2)]
)
def test_states_of_further_libraries_are_those_of_a_real_step(library: str, bytes_each: int) -> None:
    for name, measured in STORED[library].items():
        assert per_element(name, bytes_each) == pytest.approx(measured[1] / 128**2, abs=0.15), name


@pytest.mark.parametrize(
    ("library", "bytes_each"), [("galore", 4), ("galore+bf16", 2), ("apollo", 4), ("apollo+bf16", 2)]
)
def test_projected_states_are_those_of_a_real_step(library: str, bytes_each: int) -> None:
    for name, measured in STORED[library].items():
        optimizer = find_optimizer(name)
        assert optimizer is not None
        assert optimizer.matrices is not None
        kept = optimizer.matrices._replace(rank=RANK)
        for shape, found in list(zip(SHAPES, measured, strict=True))[:4]:
            said = kept.bytes_of(Matrix("q_proj", shape[0], shape[1], 1), bytes_each)
            assert said == pytest.approx(found, rel=0.06), (name, shape)


def test_soap_keeps_two_squares_of_each_side() -> None:
    optimizer = find_optimizer("soap")
    assert optimizer is not None
    assert optimizer.matrices is not None
    for shape, measured in list(zip(SHAPES, STORED["pytorch_optimizer"]["soap"], strict=True))[:4]:
        assert optimizer.matrices.bytes_of(Matrix("q_proj", shape[0], shape[1], 1), 4) == measured


def test_every_name_of_the_table_was_measured() -> None:
    assert set(STATES) <= set(STORED["timm"]) | set(STORED["pytorch_optimizer"])
