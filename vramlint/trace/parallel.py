"""DistributedDataParallel and FSDP2 in a process that stands for one rank of many, with torch's own classes.

The process group is torch's fake one: collectives return at once and move nothing, so that what is allocated for them
is seen. Needs a process of its own, like all of tracing: the default group is there once a process.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from vramlint.errors import TraceError
from vramlint.trace.choices import Choices
from vramlint.trace.events import Recording
from vramlint.trace.storages import storage_number
from vramlint.trace.variations import matching


def distributed(model: nn.Module, choices: Choices) -> nn.Module:
    """The model as one of ``choices.ranks`` ranks trains it."""
    if not choices.parallel:
        return model
    if not dist.is_available():
        raise TraceError("this torch has no distributed package", help="Trace without --parallel.")
    if not dist.is_initialized():
        fake: Any = importlib.import_module("torch.testing._internal.distributed.fake_pg")
        dist.init_process_group("fake", rank=0, world_size=choices.ranks, store=fake.FakeStore())
    return _fully_sharded(model, choices) if choices.parallel == "fsdp2" else _replicated(model, choices)


def without_sync(model: nn.Module) -> AbstractContextManager[Any]:
    """Around all micro steps of a step but the last: DDP does not reduce then."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        context: AbstractContextManager[Any] = model.no_sync()
        return context
    return nullcontext()


def _replicated(model: nn.Module, choices: Choices) -> nn.Module:
    """DDP with what reads data left out: comparing shapes among ranks, and sorting the buckets after the first step.

    Sorting makes new buckets of the same sizes in all.
    """
    module: Any = importlib.import_module("torch.nn.parallel.distributed")
    verify = module._verify_param_shape_across_processes
    module._verify_param_shape_across_processes = lambda *_, **__: None
    try:
        wrapped = nn.parallel.DistributedDataParallel(
            model, init_sync=False, gradient_as_bucket_view=choices.parallel == "ddp-views"
        )
    finally:
        module._verify_param_shape_across_processes = verify
    wrapped.register_comm_hook(None, _reduced)
    wrapped.reducer = _Unsorted(wrapped.reducer)  # type: ignore[assignment]
    return wrapped


def _reduced(state: object, bucket: Any) -> torch.futures.Future[torch.Tensor]:
    """Stands for the all-reduce, which works in the bucket itself."""
    del state
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


_reduced.__annotations__.clear()  # DDP compares them with classes, and they are strings here


class _Unsorted:
    """A reducer that keeps the buckets it began with."""

    def __init__(self, reducer: Any) -> None:
        self._reducer = reducer

    def _rebuild_buckets(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reducer, name)


def _fully_sharded(model: nn.Module, choices: Choices) -> nn.Module:
    """``fully_shard`` on the chosen modules, the elements of every outermost list by default, then on the whole."""
    fsdp: Any = importlib.import_module("torch.distributed.fsdp")
    mesh = importlib.import_module("torch.distributed.device_mesh").init_device_mesh("cpu", (choices.ranks,))
    for module in matching(model, choices.shard) if choices.shard else _blocks(model):
        fsdp.fully_shard(module, mesh=mesh)
    sharded: nn.Module = fsdp.fully_shard(model, mesh=mesh)
    return sharded


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The elements of module lists, as transformer blocks usually are; lists inside them apart."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


@contextmanager
def resizes_recorded(recording: Recording) -> Iterator[None]:
    """Storages that are emptied and filled again are freed and allocated: FSDP keeps whole parameters so."""
    original = torch.UntypedStorage.resize_

    def resize(storage: Any, size: int) -> Any:
        before = storage.nbytes()
        result = original(storage, size)
        number = storage_number(storage)
        if number is not None and (before == 0) != (size == 0):
            recording.events.append(number if size else -number)
        return result

    torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.UntypedStorage.resize_ = original  # type: ignore[method-assign]
