"""The terms of a ledger: tensors kept for backward, and how wide their elements are."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.plan import Precision


class Saved(NamedTuple):
    """A tensor kept for backward: bytes per token of one block."""

    name: str
    bytes_per_token: int


class Arithmetic(NamedTuple):
    """Bytes per element: of weights and residual stream, and of what matrix products work on."""

    weight: int
    compute: int

    @property
    def casts_weights(self) -> bool:
        """Whether autocast makes low-precision copies of the weights."""
        return self.weight > self.compute


def arithmetic(precision: Precision) -> Arithmetic:
    """Autocast holds fp32 weights and multiplies in half precision; ``pure-*`` does both in half precision."""
    match precision:
        case Precision.FP32:
            return Arithmetic(4, 4)
        case Precision.FP16 | Precision.BF16 | Precision.FP8:
            return Arithmetic(4, 2)
        case Precision.PURE_BF16 | Precision.PURE_FP16:
            return Arithmetic(2, 2)
