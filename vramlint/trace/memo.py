"""Outcomes of operations on fake tensors, remembered by the shapes that went in.

A network repeats few operations many times, and a catalogue repeats networks. ``FakeTensorMode`` has a cache of its
own, whose keys take longer to make than the whole of this.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager


class _Made(NamedTuple):
    """A new dense tensor among the outputs."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


_Outcome = _Made | tuple[_Made | None, ...]

_CPU = torch.device("cpu")
_PLAIN = (int, float, bool, str, type(None), torch.dtype, torch.layout, torch.device, torch.memory_format)

_aten = torch.ops.aten
_LIKE_FIRST = frozenset(
    {
        _aten.native_batch_norm.default,
        _aten.native_batch_norm_backward.default,
        _aten.silu_backward.default,
        _aten.gelu_backward.default,
        _aten.sigmoid_backward.default,
        _aten.threshold_backward.default,
        _aten.hardswish_backward.default,
        _aten.hardsigmoid_backward.default,
        _aten.silu.default,
        _aten.gelu.default,
        _aten.sigmoid.default,
        _aten.relu.default,
    }
)
"""Operations whose first output has the shape of their first argument, and whose other outputs depend on its channels
alone: what they make is remembered whatever batch and image size they are met with."""


class Memo:
    """Remembers operations that only make new tensors."""

    def __init__(self) -> None:
        self._outcomes: dict[Any, _Outcome] = {}
        self._pure: dict[Any, bool] = {}

    def key(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the outcome depends on; None where the operation is not one to remember."""
        pure = self._pure.get(func)
        if pure is None:
            pure = self._pure[func] = _is_pure(func)
        if not pure:
            return None
        try:
            if func in _LIKE_FIRST and not kwargs:
                like = _like_first(args)
                if like is not None:
                    return func, like
            return func, _part(args), _part(tuple(kwargs.items())) if kwargs else ()
        except _NotPlainError:
            return None

    def recall(self, key: Any, args: tuple[Any, ...]) -> Any:
        """New outputs as this operation made before; None where it is met for the first time."""
        outcome = self._outcomes.get(key)
        if outcome is None:
            return None
        mode = _mode(args)
        if key[0] in _LIKE_FIRST and len(key) == 2:
            outcome = _sized_as(outcome, args[0])
        if isinstance(outcome, _Made):
            return _make(mode, outcome)
        return tuple([None if each is None else _make(mode, each) for each in outcome])

    def learn(self, key: Any, output: Any, marked: str) -> None:
        """Remembers the output, where all of it is new and dense. ``marked`` storages were there before."""
        if isinstance(output, torch.Tensor):
            made = _made(output, marked)
            if made is not None:
                self._outcomes[key] = made
        elif isinstance(output, tuple):
            parts = [None if item is None else _made(item, marked) for item in output]
            if all(part is not None or item is None for part, item in zip(parts, output, strict=True)):
                self._outcomes[key] = tuple(parts)


class _NotPlainError(Exception):
    """An argument that no key can be made of."""


def _is_pure(func: Any) -> bool:
    schema = func._schema
    if schema.is_mutable or any(item.alias_info is not None for item in schema.returns):
        return False
    return any("Tensor" in str(item.type) for item in schema.arguments)


def _part(value: Any) -> Any:
    if isinstance(value, FakeTensor):
        if value.constant is not None or value.layout is not torch.strided:
            raise _NotPlainError
        return value.shape, value.stride(), value.dtype, value.storage_offset()
    if isinstance(value, (tuple, list)):
        return tuple([_part(item) for item in value])
    if isinstance(value, _PLAIN):
        return type(value), value
    raise _NotPlainError


def _like_first(args: tuple[Any, ...]) -> Any:
    """A key without batch and size, where every argument is contiguous and as large as the first, or has few axes."""
    first = args[0]
    if not isinstance(first, FakeTensor) or first.dim() < 3 or not first.is_contiguous() or first.storage_offset():
        return None
    parts: list[Any] = [first.dim(), first.shape[1], first.dtype]
    for item in args[1:]:
        if isinstance(item, FakeTensor) and item.dim() > 1:
            if item.shape != first.shape or not item.is_contiguous() or item.constant is not None:
                return None
            parts.append(item.dtype)
        else:
            parts.append(_part(item))
    return tuple(parts)


def _sized_as(outcome: _Outcome, first: FakeTensor) -> _Outcome:
    """The outcome with its first tensor of this shape, contiguous."""
    shape, stride = tuple(first.shape), first.stride()
    if isinstance(outcome, _Made):
        return _Made(shape, stride, outcome.dtype)
    head = outcome[0]
    return (None if head is None else _Made(shape, stride, head.dtype), *outcome[1:])


def _mode(values: Any) -> FakeTensorMode | None:
    for value in values:
        if isinstance(value, FakeTensor):
            return value.fake_mode
        if isinstance(value, (tuple, list)):
            found = _mode(value)
            if found is not None:
                return found
    return None


def _make(mode: FakeTensorMode | None, made: _Made) -> FakeTensor:
    assert mode is not None
    with in_kernel_invocation_manager(mode):
        empty = torch.empty_strided(made.shape, made.stride, dtype=made.dtype, device="meta")
    return FakeTensor(mode, empty, _CPU)


def _made(item: Any, marked: str) -> _Made | None:
    if not isinstance(item, FakeTensor) or item.constant is not None or item.device != _CPU:
        return None
    if item.layout is not torch.strided or item.is_complex() or item.storage_offset():
        return None
    storage = item.untyped_storage()
    shape, stride = tuple(item.shape), tuple(item.stride())
    extent = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) if item.numel() else 0
    if hasattr(storage, marked) or storage.nbytes() != extent * item.element_size():
        return None
    return _Made(shape, stride, item.dtype)
