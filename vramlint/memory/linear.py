"""A linear layer of a decoder's block."""

from __future__ import annotations

from typing import NamedTuple


class Linear(NamedTuple):
    """Its name in Hugging Face models, widths, and which input tensor it shares with others."""

    name: str
    inputs: int
    outputs: int
    reads: str
