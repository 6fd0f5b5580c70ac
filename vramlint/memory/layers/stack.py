"""What differs between versions of torch and cuDNN."""

from __future__ import annotations

from typing import NamedTuple


class Stack(NamedTuple):
    """What differs between versions of torch and cuDNN. ``name`` is said in reports."""

    name: str
    fused_attention: bool = True
    """Memory-efficient kernels behind ``nn.MultiheadAttention`` and scaled_dot_product_attention (torch 2.0)."""
    clones_inplace_relu6: bool = True
    """In-place ``hardtanh_`` keeps a copy of its input; torch 1.x kept its result, so nothing more."""
    resize_in_fp32: bool = True
    """Autocast runs interpolation in fp32 (in CUDA's fp32 list since torch 2.1)."""
    benchmark: bool = False
    """``cudnn.benchmark``: convolutions try every algorithm once, with the workspace of the greediest."""


MODERN = Stack("torch 2.13")
TORCH_1 = Stack("torch 1.x", fused_attention=False, clones_inplace_relu6=False, resize_in_fp32=False)
