"""The fake world a step is traced in: tensors with shapes and no data, and CUDA's choices on a machine without a card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vramlint.trace.cuda_autocast import cuda_means_cpu, install_lists
from vramlint.trace.cuda_kernels import cuda_attention, install_dropout

TESTED_TORCH = ("2.13",)
"""Minor versions of torch the tracer is tested with; another version is said in the profile's assumptions."""

_INITIALISERS = (
    "uniform_ normal_ trunc_normal_ kaiming_uniform_ kaiming_normal_ xavier_uniform_ xavier_normal_ orthogonal_ "
    "constant_ ones_ zeros_"
).split()


@contextmanager
def fake_world() -> Iterator[None]:
    """While active, every new tensor is fake and lives on the CPU, and kernels and autocast are chosen as for CUDA.

    Registers operators that cannot be unregistered: use it in a process of its own (``vramlint.trace.runner``).
    """
    install_lists()
    install_dropout()
    with ExitStack() as stack:
        stack.enter_context(cuda_means_cpu())
        stack.enter_context(cuda_attention())
        stack.enter_context(_without_tracing_detection())
        stack.enter_context(_replaceable_parameters())
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield


@contextmanager
def skipped_initialisation() -> Iterator[None]:
    """While active, ``torch.nn.init`` does nothing: values do not matter and the time does."""

    def untouched(tensor: Any = None, *args: Any, **kwargs: Any) -> Any:
        del args
        return kwargs.get("tensor") if tensor is None else tensor

    saved = {name: getattr(nn.init, name) for name in _INITIALISERS}
    for name in saved:
        setattr(nn.init, name, untouched)
    try:
        yield
    finally:
        for name, function in saved.items():
            setattr(nn.init, name, function)


@contextmanager
def _replaceable_parameters() -> Iterator[None]:
    """``Module.to`` and its kin replace parameters one by one and keep tied ones tied.

    ``Module._apply`` insists on swapping tensors in place where they are of a subclass, which fakes do not allow.
    """
    original = nn.Module._apply
    replaced: dict[nn.Parameter, nn.Parameter] = {}
    depth = 0

    def apply(self: nn.Module, fn: Any, recurse: bool = True) -> nn.Module:  # noqa: FBT001, FBT002 - torch's signature
        nonlocal depth
        depth += 1
        try:
            if recurse:
                for child in self.children():
                    child._apply(fn)
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

    nn.Module._apply = apply  # type: ignore[method-assign, assignment]
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
    try:
        import transformers.masking_utils as masking
    except ImportError:
        yield
        return
    original = getattr(masking, "is_tracing", None)
    if original is None:
        yield
        return
    masking.is_tracing = lambda *_, **__: False
    try:
        yield
    finally:
        masking.is_tracing = original
