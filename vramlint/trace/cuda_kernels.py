"""CUDA's choice of kernels for tensors that live on the CPU: attention and dropout.

Attention (torch 2.13, aten/src/ATen/native/transformers/cuda/sdp_utils.cpp): flash where the type is half, there is no
mask and the head has at most 256 channels; else memory-efficient. Both are called by their own operators, whose shapes
and derivatives torch knows without a card. The function itself is replaced: a function mode would be popped inside
backward, and the recomputation of a checkpoint would then take another kernel than the forward pass did.
Dropout: CUDA runs one fused kernel that keeps a boolean mask (aten/src/ATen/native/Dropout.cpp); the CPU path keeps a
mask of the input's type.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as functional
from torch.library import Library

aten = torch.ops.aten

FLASH_HEAD_LIMIT = 256
"""Largest head size of the flash kernel."""

_HALF = (torch.float16, torch.bfloat16)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """``scaled_dot_product_attention`` as a card of compute capability 8.0 or later runs it."""
    query, key, value, attn_mask = _autocast(query, key, value, attn_mask)
    head = query.shape[-1]
    scale = head**-0.5 if scale is None else scale
    if query.dim() != 4:
        return _math(query, key, value, attn_mask, is_causal=is_causal, scale=scale)
    if query.dtype in _HALF and attn_mask is None and head <= FLASH_HEAD_LIMIT:
        return _flash(query, key, value, dropout_p, is_causal=is_causal, scale=scale)
    if enable_gqa and key.shape[1] != query.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    return _efficient(query, key, value, attn_mask, dropout_p, is_causal=is_causal, scale=scale)


def _autocast(*tensors: torch.Tensor | None) -> Any:
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    dtype = torch.get_autocast_dtype("cpu")
    return tuple(t.to(dtype) if t is not None and t.dtype == torch.float32 else t for t in tensors)


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout_p: float, *, is_causal: bool, scale: float
) -> torch.Tensor:
    head = query.shape[-1]
    padding = -head % 8  # the kernel takes heads in steps of 8 channels; torch pads and slices
    if padding:
        query, key, value = (functional.pad(item, (0, padding)) for item in (query, key, value))
    output = aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, False, scale=scale)[0]  # noqa: FBT003
    result: torch.Tensor = output[..., :head] if padding else output
    return result


def _efficient(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout_p: float,
    *,
    is_causal: bool,
    scale: float,
) -> torch.Tensor:
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))
        mask = mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    needs_logsumexp = torch.is_grad_enabled() and any(item.requires_grad for item in (query, key, value))
    output: torch.Tensor = aten._scaled_dot_product_efficient_attention(
        query, key, value, mask, needs_logsumexp, dropout_p, is_causal, scale=scale
    )[0]
    return output


def _math(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    is_causal: bool,
    scale: float,
) -> torch.Tensor:
    """The fallback for tensors that are not (batch, head, token, channel): plain matrix products."""
    scores = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, -1) @ value


def _dropout(tensor: torch.Tensor, p: float, train: bool) -> torch.Tensor:
    if not train or p <= 0 or p >= 1:
        return tensor if not train or p <= 0 else tensor * 0
    result: torch.Tensor = aten.native_dropout(tensor, p, True)[0]  # noqa: FBT003
    return result


_libraries: list[Library] = []


def install_dropout() -> None:
    """Makes dropout the fused kernel, once a process; there is no way back, so only a tracing process may."""
    if _libraries:
        return
    library = Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    _libraries.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Overriding a previously registered kernel": that is the purpose
        library.impl("dropout", _dropout, "AutogradCPU")  # type: ignore[no-untyped-call]


@contextmanager
def cuda_attention() -> Iterator[None]:
    """While active, ``scaled_dot_product_attention`` is :func:`attention`."""
    original = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original
