"""Where autograd adds gradients in place.

When two gradients meet, the engine adds the new one to the old one in place if nobody else holds the old one
(torch 2.13, ``torch/csrc/autograd/input_buffer.cpp``, ``can_accumulate_inplace``). It never does so for subclasses of
Tensor, so a fake step would show one activation too many at every residual connection: the tracer decides in its place.
"""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten

_HOLDERS_OF_TENSOR = 4
"""References to the old gradient while the engine adds, as ``Tensor._use_count`` counts them inside a dispatch mode:
the engine's buffer, the boxed arguments and the Python object with its wrapper. One more means that another node still
waits for the same gradient. Measured on torch 2.13; tests/trace/test_reality.py compares with real steps."""

_HOLDERS_OF_STORAGE = 2
"""The tensor itself and the Python object of the storage."""


def adds_in_place(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether this call is the engine's own addition of two gradients, of which it owns the first alone."""
    if func is not aten.add.Tensor or torch.is_grad_enabled() or torch._C._current_autograd_node() is None:
        return False
    if len(args) != 2 or not all(isinstance(item, torch.Tensor) for item in args):
        return False
    old, new = args
    if old.shape != new.shape or old.dtype != new.dtype or not _dense(old):
        return False
    storage = old.untyped_storage()
    return old._use_count() <= _HOLDERS_OF_TENSOR and torch._C._storage_Use_Count(storage._cdata) <= _HOLDERS_OF_STORAGE


def _dense(tensor: torch.Tensor) -> bool:
    """Whether each element has its own place in memory and there are no gaps."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True
