"""Tracing registers operators for the whole process, so each test that traces does it in a forked child."""

from __future__ import annotations

import gc
import os
import pickle
import traceback
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


@pytest.fixture(scope="session")
def warm() -> None:
    """Loads in the parent what the first fake operation imports, since every child would load it again."""
    torch = pytest.importorskip("torch")
    from torch._subclasses.fake_tensor import FakeTensorMode

    torch.set_num_threads(1)
    with FakeTensorMode():
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())
        loss = torch.nn.functional.cross_entropy(model(torch.ones(2, 3, 8, 8)), torch.zeros(2, dtype=torch.int64))
        loss.backward()
        torch.optim.AdamW(model.parameters(), foreach=True)


@pytest.fixture
def apart(warm: None) -> Callable[[Callable[[], T]], T]:
    """Runs a function in a forked child and returns what it returns."""
    return run_apart


def run_apart(function: Callable[[], T]) -> T:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        gc.freeze()  # collecting would copy the parent's whole heap
        try:
            answer: tuple[bool, object] = (True, function())
        except BaseException:  # noqa: BLE001 - whatever a child raises is told to the parent
            answer = (False, traceback.format_exc())
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        done, result = pickle.load(pipe)
    os.waitpid(child, 0)
    assert done, result
    return result
