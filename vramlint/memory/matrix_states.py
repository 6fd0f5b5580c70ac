"""Optimizer states that follow the shape of a weight: low-rank projections, preconditioners, momentum of matrices.

For a weight of m x n and rank r, GaLore and APOLLO keep both moments of a projected gradient, r x max(m, n), and the
projection, r x min(m, n): galore_torch 1.0 ``galore_projector.py`` and apollo_torch 1.0.3 ``random_projector.py``,
whose ``std`` projects the shorter side. GaLore's projection is a view of a whole square factor where it was decomposed
in fp32 and not cast back: m squared. The tests hold this to real steps of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

FP32_BYTES = 4

DEFAULT_RANK = 128
"""transformers 5.24 ``trainer_optimizer.py#_get_galore_optimizer`` and ``#_get_apollo_optimizer``: ``rank`` in
``optim_args``; LLaMA-Factory's default of 16 is told by its dialect."""


class Matrix(NamedTuple):
    """Weights of one shape: a linear layer's name, its sides, and how many there are."""

    name: str
    rows: int
    columns: int
    copies: int

    @property
    def elements(self) -> int:
        return self.rows * self.columns * self.copies


class Matrices(NamedTuple):
    """What an optimizer keeps of a linear layer's weight.

    ``states`` of the weight's dtype and ``fixed_bytes`` per element; ``per_square``: bytes per squared side, of sides
    up to ``largest_side`` (0: any); ``projects``: both are of the projected weight, beside the projection itself.
    """

    name: str
    states: float = 0
    fixed_bytes: float = 0
    per_square: float = 0
    largest_side: int = 0
    projects: bool = False
    keeps_square: bool = False
    """Whether a projection is a view of the square factor it was cut from, where weights are in fp32."""
    in_fp32: bool = False
    """Whether it works in fp32 whatever the weights' dtype."""
    rank: int = DEFAULT_RANK
    targets: tuple[str, ...] = ()
    """Names of the linear layers it is for; empty: those of all blocks."""

    def meant(self, matrix: Matrix) -> bool:
        """Whether it keeps its own states of this layer: names match in part, as trainers match them."""
        groups = {"attn": "q_proj k_proj v_proj o_proj", "mlp": "gate_proj up_proj down_proj"}
        words = [word for target in self.targets for word in (target, *groups.get(target.strip(".*"), "").split())]
        return not words or any(word.strip(".*") in matrix.name for word in words)

    def bytes_of(self, matrix: Matrix, bytes_each: float) -> int:
        """Bytes of the states of all weights of one shape."""
        short, long = sorted((matrix.rows, matrix.columns))
        rank = min(self.rank, short)
        elements = rank * long if self.projects else short * long
        projection = self._projection_bytes(rank, short, bytes_each) if self.projects else 0
        squares = sum(side**2 for side in (short, long) if not self.largest_side or side <= self.largest_side)
        each = elements * (self.states * bytes_each + self.fixed_bytes) + projection + self.per_square * squares
        return round(matrix.copies * each)

    def _projection_bytes(self, rank: int, short: int, bytes_each: float) -> float:
        if self.keeps_square and (self.in_fp32 or bytes_each == FP32_BYTES):
            return FP32_BYTES * short**2
        return bytes_each * rank * short


def split(matrices: Iterable[Matrix], kept: Matrices, bytes_each: float) -> tuple[int, int]:
    """Elements of the weights that ``kept`` is for, and the bytes of their states."""
    meant = [matrix for matrix in matrices if kept.meant(matrix)]
    return sum(matrix.elements for matrix in meant), sum(kept.bytes_of(matrix, bytes_each) for matrix in meant)
