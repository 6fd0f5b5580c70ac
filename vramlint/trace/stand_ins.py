"""Stand-ins that let packages import beside a CPU build of torch."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import torch
from torch.library import Library

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
    "_roi_align_backward(Tensor grad, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
    "SymInt batch_size, SymInt channels, SymInt height, SymInt width, int sampling_ratio, bool aligned) -> Tensor",
    "roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width) "
    "-> (Tensor, Tensor)",
    "_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width) -> Tensor",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, "
    "SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, "
    "SymInt offset_groups, bool use_mask) -> Tensor",
    "_cuda_version() -> int",
)
"""Operators of torchvision 0.28 that its import expects its compiled library to have defined."""

_libraries: list[Library] = []


def torchvision_schemas() -> None:
    """Defines torchvision's operator schemas where a CUDA build of it meets a CPU build of torch.

    Its compiled library cannot load there and ``import torchvision``, timm and transformers would fail with
    "operator torchvision::nms does not exist". Nothing calls the operators; only their names are needed.
    """
    if _libraries or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except (RuntimeError, AttributeError):
        _forget("torchvision")
    else:
        return
    library = Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    _libraries.append(library)
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)  # type: ignore[no-untyped-call]


def _forget(package: str) -> None:
    """Drops what a failed import left behind, so that the next one starts anew."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
