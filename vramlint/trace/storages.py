"""The dispatch mode that sees every storage come and go."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass_type

from vramlint.trace.accumulation import adds_in_place
from vramlint.trace.answers import keep_values
from vramlint.trace.events import Recording
from vramlint.trace.memo import Memo

aten = torch.ops.aten

_MARK = "_vramlint_storage"
"""Attribute on a storage object that holds its number in the recording (storages keep their Python object)."""

_DEVICE = torch.ops.prim.device.default

_MEMO = Memo()


class StorageRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records each new storage of an operation's outputs, and its end by a finalizer on the storage object.

    Placed outside FakeTensorMode it sees one call per kernel: composite operations are already taken apart, and what
    fake tensors compute inside a kernel stays inside. ``answers`` replace operations whose result depends on data.
    """

    def __init__(self, recording: Recording, answers: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recording = recording
        self._answers = answers
        self._next = 1
        self._mode: Any = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # asked three times as often as anything is computed
        if any(kind is not FakeTensor and is_traceable_wrapper_subclass_type(kind) for kind in types):
            return NotImplemented  # a DTensor: it takes its operation apart, and its shards come here again
        self.recording.operations += 1
        if adds_in_place(func, args):
            func = aten.add_.Tensor
        output = self._output(func, args, kwargs or {})
        keep_values(func, args, kwargs or {}, output)
        self._track(output, func)
        return output

    def _output(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        answer = self._answers.get(func)
        if answer is not None:
            return answer(func, args, kwargs)
        key = _MEMO.key(func, args, kwargs)
        if key is None:
            return func(*args, **kwargs)
        output = _MEMO.recall(key, args)
        if output is None:
            output = func(*args, **kwargs)
            _MEMO.learn(key, output, _MARK)
        return output

    def _track(self, output: Any, func: Any) -> None:
        if isinstance(output, torch.Tensor):
            if self._is_ours(output):
                self.number(output, func)
        elif isinstance(output, (tuple, list)):
            for item in output:
                self._track(item, func)

    def _is_ours(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is of the step: DTensor works out shapes with fakes of a mode of its own."""
        if not isinstance(tensor, FakeTensor):
            return True
        self._mode = self._mode or tensor.fake_mode
        return tensor.fake_mode is self._mode

    def number(self, tensor: torch.Tensor, func: Any = "") -> int:
        """The number of the tensor's storage, recorded as allocated now where it is new; 0 for an empty one.

        ``func`` is the operator that made it.
        """
        storage = tensor.untyped_storage()
        known = storage_number(storage)
        if known is not None:
            return known
        size = storage.nbytes()
        if size == 0:
            return 0
        number = self._next
        self._next += 1
        setattr(storage, _MARK, number)
        self.recording.sizes.append(size)
        self.recording.makers.append(str(func))
        self.recording.events.append(number)
        weakref.finalize(storage, self.recording.events.append, -number).atexit = False
        return number

    def repeat_on_gradients(self) -> None:
        """See :meth:`Recording.repeat_on_gradients`."""
        self.recording.repeat_on_gradients()
        self._next = len(self.recording.sizes)

    def mark(self, name: str) -> None:
        """Ends the phase called ``name``."""
        self.recording.events.append(name)


def storage_number(storage: torch.UntypedStorage) -> int | None:
    """The number a storage was recorded under, None where it was not."""
    number: int | None = getattr(storage, _MARK, None)
    return number
