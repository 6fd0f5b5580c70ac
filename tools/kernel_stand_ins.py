"""Stand-ins for the kernels of hybrids, which allocate and keep what the kernels do, so that a trace sees it.

What each keeps was read in its autograd function: fla-core 0.6.0 ``ops/gated_delta_rule/chunk.py``, causal-conv1d
``causal_conv1d_interface.py``, mamba-ssm ``ops/triton/ssd_combined.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

CHUNK = 64


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight, bias)
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[Any, ...]:
        x, weight, bias = ctx.saved_tensors
        return torch.empty_like(x), torch.empty_like(weight), None if bias is None else torch.empty_like(bias)


class _Delta(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, g: Any, beta: Any) -> torch.Tensor:
        batch, length, keys, width = k.shape
        heads, values = v.shape[-2:]
        q, k, v = torch.empty_like(q).contiguous(), torch.empty_like(k).contiguous(), v.contiguous()
        rstd = [torch.empty(batch, length, keys, dtype=torch.float32) for _ in range(2)]
        g = torch.empty(batch, length, heads, dtype=torch.float32)
        system = torch.empty(batch, length, heads, CHUNK, dtype=k.dtype)
        inside = [torch.empty(batch, length, heads, each, dtype=k.dtype) for each in (width, values, values)]
        states = torch.empty(batch, length // CHUNK, heads, width, values, dtype=k.dtype)
        out = torch.empty_like(v)
        ctx.save_for_backward(q, k, v, *rstd, g, beta, system)
        del inside, states
        return out

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[Any, ...]:
        _, k, v, _, _, g, beta, _ = ctx.saved_tensors
        batch, length, keys, width = k.shape
        heads, values = v.shape[-2:]

        def made(*sizes: int) -> torch.Tensor:
            return torch.empty(batch, length, *sizes, dtype=k.dtype)

        w, u = made(heads, width), made(heads, values)
        states = [torch.empty(batch, length // CHUNK, heads, width, values, dtype=k.dtype) for _ in range(2)]
        new, dv = made(heads, values), made(heads, values)
        dq, dk, dw = made(keys, width), made(keys, width), made(heads, width)
        dk2, dv2 = made(keys, width), made(heads, values)
        dg, db = torch.empty_like(g), torch.empty_like(beta)
        del w, u, states, new, dv, dw, dk2
        return dq, dk, dv2, dg, db


def _conv(hidden_states: Any, weight: Any, bias: Any = None, **_: Any) -> Any:
    return _Conv.apply(hidden_states, weight, bias)


def _delta(query: Any, key: Any, value: Any, g: Any, beta: Any, **_: Any) -> Any:
    return _Delta.apply(query, key, value, g, beta), None


class _Attention(torch.autograd.Function):
    """Flash attention that knows sinks: its output lies token by token."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, sinks: Any) -> torch.Tensor:
        batch, heads, length, _ = query.shape
        out = query.new_empty(batch, length, heads, value.shape[-1])
        ctx.save_for_backward(query, key, value, out, query.new_empty(batch, heads, length, dtype=torch.float32), sinks)
        return out

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[Any, ...]:
        query, key, value, _, _, sinks = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), torch.empty_like(sinks)


def _attention(module: Any, query: Any, key: Any, value: Any, *others: Any, **options: Any) -> Any:
    low = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    if low == torch.float32:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, *others, **options)
    cast = [each.to(low) for each in (query, key, value)]
    return _Attention.apply(*cast, module.sinks), None


def _grouped_product(mat_a: Any, mat_b: Any, offs: Any = None, out_dtype: Any = None, **_: Any) -> Any:
    """An empty tensor of the product's shape: rows in groups, or a matrix a group where both are two-dimensional."""
    rows, columns = mat_a.shape[-2], mat_b.shape[-1]
    groups = (offs.shape[0],) if mat_a.dim() == mat_b.dim() == 2 else ()
    return mat_a.new_empty((*groups, rows, columns), dtype=out_dtype or mat_a.dtype)


class _Scan(torch.autograd.Function):
    """Mamba 2's fused convolution, scan, gated norm and output projection."""

    @staticmethod
    def forward(ctx: Any, x: Any, conv: Any, bias: Any, dt: Any, a: Any, d: Any, norm: Any, out: Any, size: int) -> Any:
        batch, length, _ = x.shape
        inner = dt.shape[0] * size
        scanned = x.new_empty(batch, length, inner)
        rstd = x.new_empty(batch, length, dtype=torch.float32)
        ctx.save_for_backward(x, conv, bias, dt, a, d, norm, out, scanned, rstd)
        normed = torch.empty_like(scanned)
        return torch.nn.functional.linear(normed, out)

    @staticmethod
    def backward(ctx: Any, _grad: torch.Tensor) -> tuple[Any, ...]:
        x, conv, bias, dt, a, d, norm, out, scanned, _ = ctx.saved_tensors
        convolved = x.new_empty(*x.shape[:2], conv.shape[0])
        dx, dconvolved = torch.empty_like(x), torch.empty_like(convolved)
        dout, again = torch.empty_like(scanned), torch.empty_like(scanned)
        made = [torch.empty_like(each) for each in (conv, bias, dt, a, d, norm, out)]
        del convolved, dconvolved, dout, again
        return dx, *made, None


def _scan(x: Any, conv: Any, bias: Any, dt: Any, a: Any, **options: Any) -> Any:
    low = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    weights = options["rmsnorm_weight"], options["outproj_weight"].to(low)
    return _Scan.apply(x, conv, bias, dt, a, options["D"], *weights, options["headdim"])


REPLACED = {
    "mamba2_split_conv1d_scan_combined": _scan,
    "causal_conv1d_fn": _conv,
    "torch_chunk_gated_delta_rule": _delta,
}


@contextmanager
def kernels(kind: str) -> Iterator[None]:
    """transformers' module of this ``model_type`` with its plain functions replaced, and grouped products in fp32 too.

    torch's shape function for them takes bf16 alone, where ``_grouped_mm_cuda`` falls back to one product each.
    """
    import torch._meta_registrations as meta

    common = meta._meta_grouped_mm_common
    module = __import__(f"transformers.models.{kind}.modeling_{kind}", fromlist=["_"])
    before = {name: getattr(module, name) for name in REPLACED if hasattr(module, name)}
    for name in before:
        setattr(module, name, REPLACED[name])
    meta._meta_grouped_mm_common = _grouped_product
    functions, fused = module.ALL_ATTENTION_FUNCTIONS, None
    if kind == "gpt_oss":
        module.GptOssPreTrainedModel._supports_sdpa = True
        fused = functions["sdpa"]
        functions["sdpa"] = _attention
    try:
        yield
    finally:
        if fused is not None:
            functions["sdpa"] = fused
        meta._meta_grouped_mm_common = common
        for name, function in before.items():
            setattr(module, name, function)
