"""What differs between versions of torch and cuDNN."""

from __future__ import annotations

from typing import NamedTuple


class Stack(NamedTuple):
    """What differs between versions of torch and cuDNN. ``name`` is said in reports."""

    name: str
    fused_attention: bool = True
    """Memory-efficient kernels behind ``nn.MultiheadAttention`` and scaled_dot_product_attention (torch 2.0)."""
    clones_inplace_relu6: bool = True
    """In-place ``hardtanh_`` keeps a copy of its input since torch 1.10 (pytorch/pytorch#95432); before that it kept
    its result, which costs nothing more."""
    resize_in_fp32: bool = True
    """Autocast runs interpolation in fp32 (in CUDA's fp32 list since torch 2.1)."""
    softmax_product: bool = True
    """CUDA's softmax backward first multiplies gradient and result into a tensor of its own
    (``aten/src/ATen/native/cuda/SoftMax.cu``, ``softmax_backward_cuda_out``); log_softmax does not."""
    softmax_keeps_input: bool = False
    """Until torch 1.10 softmax and log_softmax kept their input beside their result, for its type alone (removed in
    pytorch/pytorch#65242): the logits of every head stayed alive at full size."""
    relu_keeps_input: bool = False
    """Until torch 1.10 a ReLU that is not in place kept its input (pytorch/pytorch#63027), not its result."""
    keeps_gradients: bool = False
    """``optimizer.zero_grad()`` fills gradients with zeros instead of freeing them (``set_to_none=False``, the default
    before torch 2.0): from the second step on they are alive in the forward pass too."""
    adds_gradients_in_place: bool = True
    """Where gradients of one tensor meet, the engine adds into the older one since torch 2.0 (pytorch/pytorch#88339,
    November 2022); before that into a new tensor, both others alive."""
    winograd_workspace: bool = False
    """cuDNN 7 and 8 on cards without TF32 run fp32 3x3 convolutions as non-fused Winograd, whose transforms lie in a
    workspace (:meth:`vramlint.memory.layers.nn.Conv.workspace_bytes`)."""
    composed_group_norm: bool = False
    """Group norm was batch norm, a product and a sum (before torch 1.6): the normalised map is kept too."""
    norms_in_fp32: bool = False
    """Half precision was not autocast but OpenMMLab's own, and before torch 1.3 batch norms got and kept fp32 copies
    (mmdet 1.x ``core/fp16/hooks.py``, ``patch_norm_fp32``)."""


MODERN = Stack("torch 2.13")
TRACED = MODERN._replace(name="a trace without a card", softmax_product=False)
"""What ``vramlint.trace`` sees: nothing of what kernels allocate inside themselves. For comparisons with traces."""
TORCH_1 = Stack(
    "torch 1.x before 1.10",
    fused_attention=False,
    clones_inplace_relu6=False,
    resize_in_fp32=False,
    softmax_keeps_input=True,
    relu_keeps_input=True,
    keeps_gradients=True,
    adds_gradients_in_place=False,
    winograd_workspace=True,
)
TORCH_1_3 = TORCH_1._replace(name="torch 1.3 to 1.5", composed_group_norm=True)
TORCH_1_2 = TORCH_1_3._replace(name="torch 1.1 and 1.2", norms_in_fp32=True)
TORCH_1_11 = TORCH_1._replace(
    name="torch 1.11 to 1.13", softmax_keeps_input=False, relu_keeps_input=False, clones_inplace_relu6=True
)

STACKS = {
    "torch-1.2": TORCH_1_2,
    "torch-1.3": TORCH_1_3,
    "torch-1": TORCH_1,
    "torch-1.11": TORCH_1_11,
    "modern": MODERN,
}
"""Stacks by the name that the plan's fact ``stack`` has."""


def stack_of(year: int, month: int = 6) -> str:
    """The name of the stack that people trained with at that time.

    Clusters follow releases about a year later: torch 1.6 came in July 2020, 1.11 in March 2022, 2.0 in March 2023. A
    setting for published figures of known date; a plan of today is for the modern stack.
    """
    if (year, month) < (2020, 3):
        return "torch-1.2"
    if (year, month) < (2021, 7):
        return "torch-1.3"
    if (year, month) < (2023, 3):
        return "torch-1"
    return "torch-1.11" if (year, month) < (2024, 3) else "modern"
