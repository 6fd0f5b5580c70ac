"""One training step of a model under fake tensors, recorded storage by storage."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from vramlint.errors import TraceError
from vramlint.trace.answers import Positives, answers, few_positives
from vramlint.trace.events import EVALUATION, FRESH, KEPT, STATIC, STEADY, Recording, Shape
from vramlint.trace.fake import fake_world, skipped_initialisation
from vramlint.trace.storages import StorageRecorder


class Job(NamedTuple):
    """What is traced at one shape: a model, its batch, and the loss of both as a scalar tensor.

    ``forward`` is what evaluation runs, None where it cannot be traced. ``optimizer`` makes the optimizer of the
    model's parameters; None leaves the optimizer to the estimator, as profiles do.
    """

    model: nn.Module
    batch: Callable[[], Any]
    loss: Callable[[nn.Module, Any], torch.Tensor]
    forward: Callable[[nn.Module, Any], Any] | None = None
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None


class Options(NamedTuple):
    """How to trace. ``dtype`` is autocast's type, None for fp32; ``positives`` see ``answers``.

    Without ``second_step``, the step on top of the first one's gradients is derived from the first.
    """

    dtype: torch.dtype | None = None
    second_step: bool = True
    evaluation: bool = True
    positives: Positives = few_positives


def record(build: Callable[[], Job], shape: Shape, options: Options = Options()) -> Recording:  # noqa: B008
    """The recording of one job: a first step, a second one, an evaluation pass.

    Without an optimizer the second step keeps the first one's gradients; with one it is the steady state. The marks are
    ``fresh:forward``, ``fresh:backward``, ``fresh:optimizer``, ``kept:…`` or ``steady:…`` and
    ``evaluation:evaluation``. Raises what the user's own code raises.
    """
    recording = Recording(shape)
    recorder = StorageRecorder(recording, answers(options.positives))
    with no_collection(), fake_world(), recorder:
        with skipped_initialisation():
            job = build()
        _Step(job, options, recorder, recording).run()
        del job
    return recording


@contextmanager
def no_collection() -> Iterator[None]:
    """Cyclic garbage must not be freed at moments that differ between traces.

    What was there before is set aside, so that collecting between the steps looks at the steps' own garbage only.
    Garbage of earlier traces is the caller's to collect: a full collection takes a tenth of a small trace.
    """
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


class _Step:
    """The parts of a recording, in order."""

    def __init__(self, job: Job, options: Options, recorder: StorageRecorder, recording: Recording) -> None:
        self._job = job
        self._options = options
        self._recorder = recorder
        self._recording = recording
        self._trainable = [p for p in job.model.parameters() if p.requires_grad]
        self._optimizer = None if job.optimizer is None else job.optimizer(self._trainable)
        self._hooks = [_hook(p, self._note_gradient) for p in self._trainable]

    def run(self) -> None:
        self._job.model.train()
        gc.collect()
        self._count_static()
        self._recorder.mark(STATIC)
        self._train(FRESH)
        if self._options.second_step or self._optimizer is not None:
            self._train(KEPT if self._optimizer is None else STEADY)
        else:
            self._recorder.repeat_on_gradients()
        for parameter in self._trainable:
            parameter.grad = None
        self._recorder.mark("between")
        if self._options.evaluation and self._job.forward is not None:
            self._evaluate()
        for hook in self._hooks:
            hook.remove()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._options.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast("cpu", dtype=self._options.dtype)

    def _train(self, part: str) -> None:
        batch = self._job.batch()
        with self._autocast():
            loss = self._job.loss(self._job.model, batch)
        if not isinstance(loss, torch.Tensor) or loss.dim() != 0:
            raise TraceError(
                "the loss is not a scalar tensor",
                help="Return one number, as loss.backward() needs.",
            )
        self._recorder.mark(f"{part}:forward")
        loss.backward()  # type: ignore[no-untyped-call]
        self._recorder.mark(f"{part}:backward")
        if self._optimizer is not None:
            self._optimizer.step()
        self._recorder.mark(f"{part}:optimizer")
        if self._optimizer is not None:
            self._optimizer.zero_grad()
        del loss, batch
        gc.collect()
        self._recorder.mark(f"{part}:end")

    def _evaluate(self) -> None:
        assert self._job.forward is not None
        self._job.model.eval()
        with torch.no_grad(), self._autocast():
            batch = self._job.batch()
            output = self._job.forward(self._job.model, batch)
            self._recorder.mark(f"{EVALUATION}:evaluation")
            del output, batch
        self._recorder.mark("end")

    def _note_gradient(self, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        number = self._recorder.number(parameter.grad)
        self._recording.gradients[number] = parameter.grad.numel()
        self._recording.accumulations.setdefault(number, len(self._recording.events))

    def _count_static(self) -> None:
        parameters = {id(p): p for p in self._job.model.parameters()}.values()
        self._recording.parameters = sum(p.numel() for p in parameters)
        self._recording.trainable = sum(p.numel() for p in self._trainable)
        self._recording.parameter_bytes = _storage_bytes(parameters)


def _storage_bytes(tensors: Any) -> int:
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _hook(parameter: nn.Parameter, function: Callable[[nn.Parameter], None]) -> Any:
    return parameter.register_post_accumulate_grad_hook(function)  # type: ignore[no-untyped-call]
