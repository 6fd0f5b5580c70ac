"""One whole training step, traced with everything that belongs to it: optimizer, scaler, EMA, buckets, shards.

A profile leaves those to the estimator, which knows them of any model. This is the trace itself, to see what a step of
one's own takes, and what the estimator is tested with.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from vramlint.errors import TraceError
from vramlint.trace.answers import answers
from vramlint.trace.choices import Choices
from vramlint.trace.events import Recording, Shape, block_bytes, phase_of_each
from vramlint.trace.fake import fake_world, skipped_initialisation
from vramlint.trace.parallel import distributed, resizes_recorded, without_sync
from vramlint.trace.storages import StorageRecorder
from vramlint.trace.targets import Target
from vramlint.trace.tracer import no_collection

_FIRST, _STEADY = "first", "steady"
_MICRO_STEPS = 2
"""Micro steps that are traced of however many: the first makes the gradients, all others add to them."""

KINDS = ("weights", "buffers", "gradients", "optimizer", "ema", "buckets")
"""What is told apart at the peak; the rest are activations and what a step takes for a moment."""


class StepMemory(NamedTuple):
    """The peak of a steady step in bytes, and what it is made of: ``parts`` has ``KINDS`` and ``activations``."""

    shape: Shape
    variant: str
    optimizer: str
    phase: str
    peak_bytes: int
    parts: dict[str, int]


def trace_step(
    target: Target, shape: Shape, choices: Choices, *, dtype: torch.dtype | None, checkpointing: bool
) -> StepMemory:
    """Traces two steps of the target at ``shape``; ``dtype`` is autocast's, None for fp32.

    Raises what the user's own code raises, and TraceError where no optimizer was chosen.
    """
    if target.optimizer is None:
        raise TraceError("a whole step needs its optimizer", help="Give --optimizer AdamW, or your own.")
    recording = Recording(shape)
    recorder = StorageRecorder(recording, answers(target.positives))
    with no_collection(), fake_world(), resizes_recorded(recording), recorder:
        step = _Step(target, shape, choices, recorder, dtype=dtype, checkpointing=checkpointing)
        step.run(_FIRST)
        step.run(_STEADY)
        kinds, name = step.kinds, step.optimizer_name
        del step
    return _memory(recording, kinds, name, f"{'amp' if dtype else 'fp32'}{'+checkpointing' if checkpointing else ''}")


class _Scaler(torch.amp.GradScaler):
    """Takes every step: whether a gradient is infinite is asked of numbers that a trace does not have."""

    def _maybe_opt_step(self, optimizer: Any, optimizer_state: Any, *args: Any, **kwargs: Any) -> Any:
        del optimizer_state
        return optimizer.step(*args, **kwargs)


class _Step:
    """Everything that a step needs, and which storage holds what."""

    def __init__(
        self,
        target: Target,
        shape: Shape,
        choices: Choices,
        recorder: StorageRecorder,
        *,
        dtype: torch.dtype | None,
        checkpointing: bool,
    ) -> None:
        assert target.optimizer is not None
        with skipped_initialisation():
            self._job = target.make(shape, checkpointing)
        self._recorder, self._dtype, self._choices = recorder, dtype, choices
        self.kinds: dict[int, str] = {}
        self._job.model.train()
        self._ema = _averaged(self._job.model) if choices.ema else None
        self._name(self._job.model.buffers(), "buffers")
        if self._ema is not None:
            self._name([*self._ema.parameters(), *self._ema.buffers()], "ema")
        gc.collect()
        before = len(recorder.recording.sizes)
        self._model = distributed(self._job.model, choices)
        gc.collect()
        self._name(self._model.parameters(), "weights")
        self._buckets(before)
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        self._optimizer = target.optimizer(trained)
        self.optimizer_name = type(self._optimizer).__name__
        self._scaler = _Scaler("cpu", enabled=choices.scaler)
        recorder.mark("built")

    def run(self, part: str) -> None:
        """One step; ``part`` begins its marks."""
        micro_steps = min(self._choices.accumulate, _MICRO_STEPS)
        for number in range(micro_steps):
            last = number == micro_steps - 1
            with contextlib.nullcontext() if last else without_sync(self._model):
                self._micro_step(part)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        states = [value for state in self._optimizer.state.values() for value in state.values()]
        self._name([value for value in states if isinstance(value, torch.Tensor)], "optimizer")
        self._recorder.mark(f"{part}:optimizer")
        self._optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update_parameters(self._job.model)
            self._recorder.mark(f"{part}:ema")
        gc.collect()
        self._recorder.mark(f"{part}:end")

    def _micro_step(self, part: str) -> None:
        batch = self._job.batch()
        with contextlib.nullcontext() if self._dtype is None else torch.autocast("cpu", dtype=self._dtype):
            loss = self._job.loss(self._model, batch)
        self._recorder.mark(f"{part}:forward")
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._recorder.mark(f"{part}:backward")
        self._name([p.grad for p in self._model.parameters() if p.grad is not None], "gradients")
        del loss, batch
        gc.collect()
        self._recorder.mark(f"{part}:after")

    def _name(self, tensors: Iterable[torch.Tensor], kind: str) -> None:
        """Notes what the storages of tensors hold; the first kind that a storage was given stays."""
        for tensor in tensors:
            for part in _plain(tensor):
                self.kinds.setdefault(self._recorder.number(part), kind)

    def _buckets(self, before: int) -> None:
        """What wrapping the model left behind, its parameters apart."""
        if self._choices.parallel.startswith("ddp"):
            for number in range(before, len(self._recorder.recording.sizes)):
                self.kinds.setdefault(number, "buckets")


def _averaged(model: torch.nn.Module) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn())  # type: ignore[no-untyped-call]


def _plain(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The tensors with memory of their own inside a DTensor or another wrapper."""
    if not is_traceable_wrapper_subclass(tensor):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    inner = [getattr(tensor, name) for name in names]
    return [part for each in inner if isinstance(each, torch.Tensor) for part in _plain(each)]


def _memory(recording: Recording, kinds: dict[int, str], optimizer: str, variant: str) -> StepMemory:
    """The peak of the steady step. A storage that was emptied is filled again under its number, so live ones count."""
    live: dict[int, int] = {}
    at_peak: dict[int, int] = {}
    total = peak = 0
    where = ""
    for event, mark in zip(recording.events, phase_of_each(recording.events), strict=True):
        if isinstance(event, str):
            continue
        if event < 0:
            total -= live.pop(-event, 0)
        elif event not in live:
            live[event] = block_bytes(recording.sizes[event])
            total += live[event]
        if total > peak and mark.startswith(_STEADY):
            peak, at_peak, where = total, dict(live), mark.partition(":")[2]
    parts = dict.fromkeys((*KINDS, "activations"), 0)
    for storage, size in at_peak.items():
        parts[kinds.get(storage, "activations")] += size
    return StepMemory(recording.shape, variant, optimizer, where, peak, parts)
