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
    keeps_gradients: bool = False
    """``optimizer.zero_grad()`` fills gradients with zeros instead of freeing them (``set_to_none=False``, the default
    before torch 2.0): from the second step on they are alive in the forward pass too."""
    winograd_workspace: bool = False
    """cuDNN 7 and 8 on cards without TF32 run fp32 3x3 convolutions as non-fused Winograd, whose transforms lie in a
    workspace (:meth:`vramlint.memory.layers.nn.Conv.workspace_bytes`)."""
    composed_group_norm: bool = False
    """Group norm was batch norm, a product and a sum (before torch 1.6): the normalised map is kept too."""
    relu_keeps_input: bool = False
    """``relu`` kept its input, not its result (torch 1.x ``derivatives.yaml``: ``threshold_backward(grad, self, 0)``):
    where the input is a convolution's output, both stay."""


MODERN = Stack("torch 2.13")
TORCH_1 = Stack(
    "torch 1.x",
    fused_attention=False,
    clones_inplace_relu6=False,
    resize_in_fp32=False,
    keeps_gradients=True,
    winograd_workspace=True,
    relu_keeps_input=True,
)
TORCH_1_3 = TORCH_1._replace(name="torch 1.3 to 1.5", composed_group_norm=True)
