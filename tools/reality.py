"""A real step on the CPU, as the allocator's own events saw it, against a trace of the same step.

Allocation events come from torch.profiler (``[memory]`` records of the Kineto trace) and need no numpy.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.distributed.tensor import DTensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from vramlint.trace.events import Shape
from vramlint.trace.tracer import Job, Options, record

Optimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

aten = torch.ops.aten


def real_peak_bytes(build: Callable[[], Job], optimizer: Optimizer, *, steps_before: int = 1) -> int:
    """Peak of the step after ``steps_before``: what is there before it, plus the highest sum of its own events."""
    gc.collect()
    job = build()
    job.model.train()
    parameters = [p for p in job.model.parameters() if p.requires_grad]
    chosen = optimizer(parameters)
    for _ in range(steps_before):
        _step(job, chosen)
    gc.collect()
    gc.disable()
    try:
        before = _held_bytes(job, chosen)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as events:
            _step(job, chosen)
    finally:
        gc.enable()
    level = highest = before
    for record_ in sorted(_memory_events(events), key=lambda each: each[0]):
        level += record_[1]
        highest = max(highest, level)
    return highest


def traced_peak_bytes(build: Callable[[], Job], optimizer: Optimizer, shape: Shape) -> int:
    """The same from a trace: the bytes themselves, not the CUDA allocator's blocks, kernels as the CPU chooses them."""
    recording = record(lambda: build()._replace(optimizer=optimizer), shape, Options(evaluation=False))
    level = highest = 0
    inside = False
    for event in recording.normalised():
        if isinstance(event, str):
            inside = event == "fresh:end" or (inside and event != "steady:end")
            continue
        level += recording.sizes[event] if event > 0 else -recording.sizes[-event]
        highest = max(highest, level) if inside else highest
    return highest


class HollowConvolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, convolutions allocate what they return and nothing else; their results are not computed.

    The step around them is real: what its peak then loses is what convolutions allocate inside themselves.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Torch's hook: one call an operator."""
        del types
        if func is aten.convolution.default:
            with torch.no_grad():
                like = func(*(_on_meta(arg) for arg in args))
            return torch.zeros(like.shape, dtype=like.dtype)
        if func is aten.convolution_backward.default:
            gradient, source, weight, bias_sizes = args[:4]
            wanted = args[-1]
            sizes = (source.shape, weight.shape, bias_sizes)
            return tuple(
                torch.zeros(size, dtype=gradient.dtype) if want else None
                for size, want in zip(sizes, wanted, strict=True)
            )
        return func(*args, **(kwargs or {}))


def _on_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, torch.Tensor) else value


def _step(job: Job, optimizer: torch.optim.Optimizer) -> None:
    batch = job.batch()
    loss = job.loss(job.model, batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _held_bytes(job: Job, optimizer: torch.optim.Optimizer) -> int:
    tensors = [*job.model.parameters(), *job.model.buffers()]
    for state in optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    tensors = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def _memory_events(events: profile) -> list[tuple[int, int]]:
    assert events.profiler is not None
    found = events.profiler.kineto_results.events()
    return [
        (each.start_ns(), each.nbytes())
        for each in found
        if each.name() == "[memory]" and each.device_type() == DeviceType.CPU
    ]
