"""Answers for operations whose result depends on data that a fake step does not have.

A detector's loss asks "which anchors are positive?"; the tracer answers with a number of positives that the target
states (:class:`Positives`), so that the sizes that follow from it are those of a typical batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._mode_utils import no_dispatch

aten = torch.ops.aten

Answer = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

Positives = Callable[[tuple[int, ...]], int]
"""How many elements of a boolean mask of a shape are true."""


def few_positives(shape: tuple[int, ...]) -> int:
    """A tenth of the mask: what a target gets that says nothing better."""
    total = 1
    for side in shape:
        total *= side
    return max(1, total // 10)


def answers(positives: Positives) -> dict[Any, Answer]:
    """Replacements for data-dependent operations."""

    def count(mask: torch.Tensor) -> int:
        return min(mask.numel(), positives(tuple(mask.shape)))

    def nonzero(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
        del func, kwargs
        mask = args[0]
        return torch.empty((count(mask), mask.dim()), dtype=torch.int64, device=mask.device)

    def masked_select(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
        del func, kwargs
        values, mask = args
        return torch.empty((count(mask),), dtype=values.dtype, device=values.device)

    def index(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        values, indices = args
        return func(values, _numbered(indices, count), **kwargs)

    def index_put(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return func(args[0], _numbered(args[1], count), *args[2:], **kwargs)

    return {
        aten._local_scalar_dense.default: scalar,
        aten.nonzero.default: nonzero,
        aten.masked_select.default: masked_select,
        aten.index.Tensor: index,
        aten.index_put.default: index_put,
        aten.index_put_.default: index_put,
        aten.equal.default: lambda *_: True,
        aten._unique2.default: unique,
    }


def scalar(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool | int | float:
    """``tensor.item()``: the value where torch kept it (small constants), else True, 1 or 1.0.

    An optimizer's step count and a gradient norm are asked for like this; GradScaler's ``found_inf`` is not answered
    here, since 1.0 would mean "skip this step" (the scaler is left out of traces).
    """
    tensor = args[0]
    if getattr(tensor, "constant", None) is not None:
        value: bool | int | float = func(*args, **kwargs)
        return value
    if tensor.dtype == torch.bool:
        return True
    return 1.0 if tensor.is_floating_point() else 1


def unique(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """``torch.unique``: of the values where torch kept them (RegNet's widths), else as if no two were equal."""
    value = _value(args[0])
    if value is None:
        sizes = (args[0].numel(), args[0].shape, args[0].numel())
        types = (args[0].dtype, torch.int64, torch.int64)
        return tuple(torch.empty(size, dtype=dtype) for size, dtype in zip(sizes, types, strict=True))
    with no_dispatch():
        found = func(value, *args[1:], **kwargs)
        shapes = [(tuple(item.shape), item.dtype) for item in found]
    made = [torch.empty(shape, dtype=dtype) for shape, dtype in shapes]
    for output, values in zip(made, found, strict=True):
        _keep(output, values)
    return tuple(made)


_MAKERS = (aten.linspace.default, aten.arange.default, aten.arange.start, aten.arange.start_step)
"""Operators that make a sequence of numbers from numbers."""

_FEW = 1024
"""Longest sequence that keeps its values."""


def keep_values(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
    """Short sequences of numbers, and what is computed from them alone, keep their values beside the fake tensor.

    Constructors read them. timm takes each block's drop path rate from ``linspace(0, rate, depth)``: answered with 1.0,
    as any other number, every block would drop its path, and keep for backward what that saves.
    """
    if not isinstance(output, FakeTensor) or output.constant is not None or output.numel() > _FEW:
        return
    tensors = [item for item in args if isinstance(item, torch.Tensor)]
    if func not in _MAKERS and not (tensors and all(_value(item) is not None for item in tensors)):
        return
    if func._schema.is_mutable or kwargs.keys() - {"dtype", "layout", "device", "pin_memory"}:
        return
    with no_dispatch():
        values = [_value(item) if isinstance(item, torch.Tensor) else item for item in args]
        result = func(*values, **({**kwargs, "device": "cpu"} if "device" in kwargs else kwargs))
        kept = result.clone()
    _keep(output, kept)


def _keep(output: Any, values: torch.Tensor) -> None:
    output.constant = values
    output.fake_mode.fake_tensor_converter.add_constant_storage_mapping(output)


def _value(tensor: torch.Tensor) -> torch.Tensor | None:
    """The values of a fake tensor where they were kept; a real one, as ``torch.tensor`` first makes, has its own."""
    if not isinstance(tensor, FakeTensor):
        return tensor
    value: torch.Tensor | None = getattr(tensor, "constant", None)
    return value


def _numbered(indices: list[torch.Tensor | None], count: Callable[[torch.Tensor], int]) -> list[torch.Tensor | None]:
    """Boolean masks among the indices replaced by as many index tensors as the mask has dimensions."""
    result: list[torch.Tensor | None] = []
    for item in indices:
        if item is None or item.dtype not in (torch.bool, torch.uint8):
            result.append(item)
            continue
        number = count(item)
        result.extend(torch.empty((number,), dtype=torch.int64, device=item.device) for _ in range(item.dim()))
    return result
