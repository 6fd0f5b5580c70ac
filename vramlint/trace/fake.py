"""The world a step is traced in: tensors with shapes and no data, and CUDA's choices on a machine without a card."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from vramlint.trace.cuda_autocast import cuda_means_cpu, install_lists
from vramlint.trace.cuda_kernels import cuda_attention, install_dropout
from vramlint.trace.stand_ins import torchvision_schemas

TESTED = {
    "torch": ("2.13",),
    "torchvision": ("0.28",),
    "timm": ("1.0",),
    "transformers": ("5.23", "5.24"),
    "peft": ("0.21",),
    "diffusers": ("0.42",),
    "segmentation-models-pytorch": ("0.6",),
    "ultralytics": ("8.4",),
    "bitsandbytes": ("0.50",),
    "rfdetr": ("1.11",),
}
"""Versions that the tracer was used with, by package; another one is said in the profile's assumptions."""

_INITIALISERS = (
    "uniform_",
    "normal_",
    "trunc_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "xavier_uniform_",
    "xavier_normal_",
    "orthogonal_",
    "constant_",
    "ones_",
    "zeros_",
)


@contextmanager
def fake_world() -> Iterator[None]:
    """While active, every new tensor is fake and lives on the CPU, and kernels and autocast are chosen as for CUDA.

    Registers operators that cannot be unregistered: use it in a process of its own (``vramlint.trace.runner``).
    """
    install_lists()
    install_dropout()
    torchvision_schemas()
    with ExitStack() as stack:
        stack.enter_context(cuda_means_cpu())
        stack.enter_context(cuda_attention())
        stack.enter_context(_without_tracing_detection())
        stack.enter_context(_replaceable_parameters())
        stack.enter_context(_shapes_as_constants())
        stack.enter_context(_foreach_as_on_cuda())
        stack.enter_context(_copied_deeply())
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield


@contextmanager
def skipped_initialisation() -> Iterator[None]:
    """While active, ``torch.nn.init`` does nothing: values do not matter and the time does.

    Initialisers that draw again until all values fit would never end: no comparison of fakes is ever false.
    """

    def untouched(tensor: Any = None, *args: Any, **kwargs: Any) -> Any:
        del args
        return kwargs.get("tensor") if tensor is None else tensor

    with _transformers_uninitialised():  # puts functions in torch's place that return nothing, so it goes first
        saved = {name: getattr(nn.init, name) for name in _INITIALISERS}
        for name in saved:
            setattr(nn.init, name, untouched)
        try:
            yield
        finally:
            for name, function in saved.items():
                setattr(nn.init, name, function)


def _transformers_uninitialised() -> AbstractContextManager[Any]:
    """transformers keeps its own references to the initialisers, and its own way to skip them (5.0 and later)."""
    if importlib.util.find_spec("transformers") is None:
        return nullcontext()
    initialization = importlib.import_module("transformers.initialization")
    context: AbstractContextManager[Any] = initialization.no_init_weights()
    return context


@contextmanager
def _replaceable_parameters() -> Iterator[None]:
    """``Module.to`` and its kin replace parameters one by one and keep tied ones tied.

    ``Module._apply`` insists on swapping tensors in place where they are of a subclass, which fakes do not allow.
    """
    original = nn.Module._apply
    replaced: dict[nn.Parameter, nn.Parameter] = {}
    depth = 0

    def apply(self: nn.Module, fn: Any, recurse: bool = True) -> nn.Module:
        nonlocal depth
        depth += 1
        try:
            if recurse:
                for child in self.children():
                    child._apply(fn)  # type: ignore[no-untyped-call]
            for name, parameter in self._parameters.items():
                if parameter is not None:
                    self._parameters[name] = _replacement(parameter, fn, replaced)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        finally:
            depth -= 1
            if depth == 0:
                replaced.clear()
        return self

    nn.Module._apply = apply  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module._apply = original  # type: ignore[method-assign]


def _replacement(parameter: nn.Parameter, fn: Any, replaced: dict[nn.Parameter, nn.Parameter]) -> nn.Parameter:
    if parameter not in replaced:
        with torch.no_grad():
            changed = fn(parameter)
        replaced[parameter] = (
            parameter if changed is parameter else nn.Parameter(changed, requires_grad=parameter.requires_grad)
        )
    return replaced[parameter]


@contextmanager
def _without_tracing_detection() -> Iterator[None]:
    """transformers takes fake tensors for a compiler's trace and then builds full attention masks; tell it otherwise.

    Seen with transformers 5.23: Llama-1B at 2 x 2048 tokens traced 3 % too high with the mask.
    """
    if importlib.util.find_spec("transformers") is None:
        yield
        return
    masking: Any = importlib.import_module("transformers.masking_utils")
    original = getattr(masking, "is_tracing", None)
    if original is None:
        yield
        return
    masking.is_tracing = lambda *_, **__: False
    try:
        yield
    finally:
        masking.is_tracing = original


@contextmanager
def _shapes_as_constants() -> Iterator[None]:
    """``torch._shape_as_tensor`` writes into memory that fakes do not have; a constant holds the same numbers."""
    original = torch._shape_as_tensor
    torch._shape_as_tensor = lambda input: torch.tensor(tuple(input.shape))
    try:
        yield
    finally:
        torch._shape_as_tensor = original


@contextmanager
def _foreach_as_on_cuda() -> Iterator[None]:
    """Optimizers that were told nothing update all parameters at once, as they do on CUDA.

    torch 2.13, ``optim/optimizer.py``, ``_default_to_fused_or_foreach``: it asks for plain tensors on such a device.
    """
    module: Any = importlib.import_module("torch.optim.optimizer")
    original, types = module._get_foreach_kernels_supported_devices, module._foreach_supported_types
    module._get_foreach_kernels_supported_devices = lambda: [*original(), "cpu"]
    module._foreach_supported_types = [*types, FakeTensor]
    try:
        yield
    finally:
        module._get_foreach_kernels_supported_devices, module._foreach_supported_types = original, types


@contextmanager
def _copied_deeply() -> Iterator[None]:
    """``copy.deepcopy`` of a model, as EMA and teacher models are made, copies its fakes.

    ``Tensor.__deepcopy__`` copies the storage's bytes, of which a fake has none.
    """

    def copied(self: FakeTensor, memo: dict[int, Any]) -> torch.Tensor:
        if id(self) not in memo:
            with torch.no_grad():
                made = self.detach().clone(memory_format=torch.preserve_format)
            if isinstance(self, nn.Parameter):
                made = nn.Parameter(made, requires_grad=self.requires_grad)
            memo[id(self)] = made
        result: torch.Tensor = memo[id(self)]
        return result

    FakeTensor.__deepcopy__ = copied  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del FakeTensor.__deepcopy__  # Tensor's is there again
