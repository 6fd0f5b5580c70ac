"""CUDA's autocast policy for tensors that live on the CPU.

CPU autocast keeps other lists than CUDA's: layer_norm, softmax or interpolation run in fp32 under CUDA's and in half
precision under the CPU's. Which copies a step makes, and which of them it saves for backward, follows from these lists,
so they are registered over the CPU's own, operation by operation, on the dispatch key ``AutocastCPU``.
The lists are those of torch 2.13.0, ``ATen/autocast_mode.h`` (AT_FORALL_*); a test compares them with the header of the
installed torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.amp import autocast_mode
from torch.library import Library, fallthrough_kernel

LOWER_PRECISION = (
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d.input",
    "conv_transpose3d.input",
    "convolution",
    "prelu",
    "addmm",
    "addmv",
    "addr",
    "matmul",
    "einsum",
    "mm",
    "mv",
    "linalg_vecdot",
    "linear",
    "addbmm",
    "baddbmm",
    "bmm",
    "chain_matmul",
    "linalg_multi_dot",
    "scaled_dot_product_attention",
)
"""Run in the autocast type. Cells of recurrent networks are left out: CUDA runs those as one cuDNN kernel."""

FP32 = (
    "acos",
    "asin",
    "cosh",
    "erfinv",
    "exp",
    "expm1",
    "log",
    "log10",
    "log2",
    "log1p",
    "reciprocal",
    "rsqrt",
    "sinh",
    "tan",
    "pow.Tensor_Scalar",
    "pow.Tensor_Tensor",
    "pow.Scalar",
    "softplus",
    "layer_norm",
    "native_layer_norm",
    "rms_norm",
    "group_norm",
    "frobenius_norm.dim",
    "nuclear_norm",
    "nuclear_norm.dim",
    "cosine_similarity",
    "poisson_nll_loss",
    "cosine_embedding_loss",
    "nll_loss",
    "nll_loss2d",
    "hinge_embedding_loss",
    "kl_div",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "mse_loss",
    "margin_ranking_loss",
    "multilabel_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "multi_margin_loss",
    "binary_cross_entropy_with_logits",
    "dist",
    "pdist",
    "cdist",
    "renorm",
    "logsumexp",
    "upsample_nearest1d",
    "_upsample_nearest_exact1d",
    "upsample_nearest2d",
    "_upsample_nearest_exact2d",
    "upsample_nearest3d",
    "_upsample_nearest_exact3d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "_upsample_bilinear2d_aa",
    "upsample_trilinear3d",
    "upsample_bicubic2d",
    "_upsample_bicubic2d_aa",
)
"""Run in fp32: every floating-point argument is converted first."""

FP32_RESULT = (
    "prod",
    "prod.dim_int",
    "softmax.int",
    "log_softmax.int",
    "cumprod",
    "cumsum",
    "linalg_vector_norm",
    "linalg_matrix_norm",
    "linalg_matrix_norm.str_ord",
    "sum",
    "sum.dim_IntList",
)
"""Take a ``dtype``, set to fp32 where the caller gives none."""

PROMOTE = (
    "addcdiv",
    "addcmul",
    "atan2",
    "bilinear",
    "cross",
    "dot",
    "vdot",
    "grid_sampler",
    "index_put",
    "tensordot",
    "scatter_add",
)
"""Run in the widest type among the arguments."""

ONLY_ON_CPU = (
    "avg_pool3d",
    "binary_cross_entropy",
    "polar",
    "quantile",
    "nanquantile",
    "stft",
    "trace",
    "view_as_complex",
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "inverse",
    "lu_solve",
    "orgqr",
    "ormqr",
    "pinverse",
    "max_pool3d",
    "max_unpool2d",
    "max_unpool3d",
    "adaptive_avg_pool3d",
    "reflection_pad1d",
    "reflection_pad2d",
    "replication_pad1d",
    "replication_pad2d",
    "replication_pad3d",
    "ctc_loss.IntList",
    "ctc_loss.Tensor",
    "multilabel_margin_loss",
    "fft_fft",
    "fft_ifft",
    "fft_fft2",
    "fft_ifft2",
    "fft_fftn",
    "fft_ifftn",
    "fft_rfft",
    "fft_irfft",
    "linalg_cond",
    "linalg_det",
    "linalg_inv",
    "linalg_qr",
    "linalg_solve",
    "linalg_svd",
    "adaptive_max_pool3d",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
)
"""Run in fp32 by the CPU's list but untouched by CUDA's: passed through where not named above."""

_KEY = "AutocastCPU"
_BELOW = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)


def _overload(name: str) -> Any:
    base, _, overload = name.partition(".")
    packet = getattr(torch.ops.aten, base, None)
    return None if packet is None else getattr(packet, overload or "default", None)


def _castable(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64


def _convert(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_convert(item, dtype) for item in value)
    if _castable(value) and value.dtype != dtype:
        return value.to(dtype)
    return value


def _fp32(op: Any) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_BELOW):
            return op(*_convert(args, torch.float32), **{key: _convert(v, torch.float32) for key, v in kwargs.items()})

    return kernel


def _fp32_result(op: Any) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_BELOW):
            if not _castable(args[0]) or kwargs.get("dtype") is not None:
                return op(*args, **kwargs)
            if op._schema.name in ("aten::softmax", "aten::log_softmax"):
                return op(args[0], args[1], torch.float32 if len(args) < 3 or args[2] is None else args[2])
            return op(*args, **{**kwargs, "dtype": torch.float32})

    return kernel


def _promote(op: Any) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_BELOW):
            floats = [item for item in args if _castable(item)]
            wide = any(item.dtype == torch.float32 for item in floats)
            return op(*(_convert(args, torch.float32) if wide else args), **kwargs)

    return kernel


def _register(library: Library, names: Iterable[str], make: Callable[[Any], Callable[..., Any]]) -> None:
    for name in names:
        op = _overload(name)
        if op is not None:
            library.impl(op, make(op), _KEY)  # type: ignore[no-untyped-call]


_libraries: list[Library] = []


def install_lists() -> None:
    """Registers CUDA's lists over the CPU's, once a process; there is no way back, so only a tracing process may."""
    if _libraries:
        return
    library = Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    _libraries.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Overriding a previously registered kernel": that is the purpose
        _register(library, FP32, _fp32)
        _register(library, FP32_RESULT, _fp32_result)
        _register(library, PROMOTE, _promote)
        named = {*LOWER_PRECISION, *FP32, *FP32_RESULT, *PROMOTE}
        _register(library, [name for name in ONLY_ON_CPU if name not in named], lambda _: fallthrough_kernel)


@contextmanager
def cuda_means_cpu() -> Iterator[None]:
    """While active, ``torch.autocast('cuda')`` and its queries act on CPU tensors.

    Without this, autocast for CUDA switches itself off on a machine without a card, in the user's code as well as in
    the recomputation of activation checkpoints.
    """
    cls = autocast_mode.autocast
    original_init = cls.__init__
    original_enabled, original_dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
    cuda_default = torch.float16

    def init(
        self: Any,
        device_type: str,
        dtype: torch.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if device_type == "cuda":
            device_type, dtype = "cpu", dtype or cuda_default
        original_init(self, device_type, dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)

    def enabled(device_type: str = "cpu") -> bool:
        return original_enabled("cpu" if device_type == "cuda" else device_type)

    def autocast_dtype(device_type: str) -> torch.dtype:
        return original_dtype("cpu" if device_type == "cuda" else device_type)

    cls.__init__ = init  # type: ignore[method-assign]
    torch.is_autocast_enabled = enabled
    torch.get_autocast_dtype = autocast_dtype
    try:
        yield
    finally:
        cls.__init__ = original_init  # type: ignore[method-assign]
        torch.is_autocast_enabled, torch.get_autocast_dtype = original_enabled, original_dtype
