"""A profile made of a few blocks against traces of the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("torch", reason="tracing needs torch")

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tools.layered import layered
from vramlint.trace.events import Recording, Shape
from vramlint.trace.tracer import Job, Options, record

WIDTH = 256
TERMS = ("1", "B")
SHAPES = (Shape(64, seq_len=1), Shape(96, seq_len=1))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        return x + self.down(nn.functional.gelu(self.up(x)))


class Stack(nn.Module):
    """Two stacks after each other; the first and the last layer are no part of them."""

    def __init__(self, first: int, second: int, checkpointing: bool) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 8)
        self.blocks = nn.ModuleList(Block() for _ in range(first + second))
        self.checkpointing = checkpointing

    def forward(self, x: Any) -> Any:
        x = self.before(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing else block(x)
        return self.after(x)


def trace(shape: Shape, counts: Mapping[str, int], *, checkpointing: bool, autocast: bool, frozen: bool) -> Recording:
    def make() -> Job:
        model = Stack(counts["first"], counts["second"], checkpointing)
        model.before.requires_grad_(requires_grad=not frozen)  # the first block then has no gradient to pass on
        return Job(model, lambda: torch.zeros(shape.batch, WIDTH), lambda model, batch: model(batch).float().mean())

    return record(make, shape, Options(dtype=torch.bfloat16 if autocast else None, second_step=False))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("autocast", "frozen"), [(False, False), (True, False), (True, True)])
def test_further_blocks(checkpointing: bool, autocast: bool, frozen: bool) -> None:
    def few(counts: Mapping[str, int]) -> list[Recording]:
        return [trace(shape, counts, checkpointing=checkpointing, autocast=autocast, frozen=frozen) for shape in SHAPES]

    found = layered(few, ("first", "second"), [(1, shape.batch) for shape in SHAPES])
    points = found.at((5, 4))
    for batch in (16, 4096):
        whole = trace(
            Shape(batch, seq_len=1), {"first": 5, "second": 4}, checkpointing=checkpointing, autocast=autocast,
            frozen=frozen,
        )  # fmt: skip
        for part in ("fresh", "kept"):
            direct = max(
                level.activation_bytes + 4 * level.gradient_elements
                for level in whole.levels()
                if level.phase.startswith(f"{part}:")
            )
            ours = max(
                point.coefficients[0] + batch * point.coefficients[1] + 4 * point.gradient_elements
                for point in points[part]
            )
            assert ours == pytest.approx(direct, rel=1e-5)
