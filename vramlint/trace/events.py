"""What a trace records, free of torch: storages allocated and freed, in order, with marks between the phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

CUDA_BLOCK_BYTES = 512
"""The CUDA caching allocator rounds every request up to this (c10/cuda/CUDACachingAllocator.cpp, kMinBlockSize)."""

STATIC = "static"
"""The mark before the first step."""

FRESH, KEPT, STEADY, EVALUATION = "fresh", "kept", "steady", "evaluation"
"""The parts of a recording: the first step, a step on top of its gradients (or, with an optimizer, one with its states
and without gradients), and a forward pass without graph."""

_COPIES = ("aten.clone", "aten.new_empty_strided")
"""Operators with which autograd copies a gradient."""


class Shape(NamedTuple):
    """The shape variables of one trace: images of ``height`` x ``width`` pixels, or sequences of ``seq_len`` tokens.

    ``targets``: ground truths an image, 0 where they are not told apart.
    """

    batch: int
    height: int = 0
    width: int = 0
    seq_len: int = 0
    targets: int = 0

    def __str__(self) -> str:
        if self.seq_len:
            return f"{self.batch}x{self.seq_len} tokens"
        return f"{self.batch}x{self.height}x{self.width}"


@dataclass(slots=True)
class Recording:
    """The events of one traced step.

    ``events``: ``n`` allocates storage n, ``-n`` frees it, a string marks the end of a phase. ``sizes[n]`` are the
    bytes of storage n (index 0 is unused) and ``makers[n]`` the operator it came from. ``gradients`` holds the
    storages that became some parameter's ``.grad``, with their number of elements, and ``accumulations`` the index of
    the event that follows. ``left_out`` gives, for each event,
    the bytes of storages that alignment took out of the recording; empty where it took none.
    """

    shape: Shape
    parameters: int = 0
    trainable: int = 0
    parameter_bytes: int = 0
    events: list[int | str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=lambda: [0])
    makers: list[str] = field(default_factory=lambda: [""])
    gradients: dict[int, int] = field(default_factory=dict)
    accumulations: dict[int, int] = field(default_factory=dict)
    left_out: list[int] = field(default_factory=list)
    operations: int = 0

    def normalised(self) -> list[int | str]:
        """The events with adjacent frees sorted: Python may free neighbours in any order."""
        result: list[int | str] = []
        frees: list[int] = []
        for event in self.events:
            if isinstance(event, int) and event < 0:
                frees.append(event)
                continue
            result.extend(sorted(frees, reverse=True))
            frees.clear()
            result.append(event)
        result.extend(sorted(frees, reverse=True))
        return result

    def static(self) -> frozenset[int]:
        """The storages that are there before the first step: parameters, buffers and other tensors of the model."""
        live: set[int] = set()
        for event in self.events:
            if event == STATIC:
                return frozenset(live)
            if isinstance(event, int):
                (live.add if event > 0 else live.discard)(abs(event))
        return frozenset()

    def repeat_on_gradients(self) -> None:
        """Adds a second step on top of the first one's gradients, as it follows from the first step's events.

        Each new gradient is then a transient that is added to the old one and freed, and what the first step left
        behind is there already. That real second steps do the same is checked with every profile: those that confirm
        it take both steps.
        """
        start = self.events.index(STATIC) + 1
        first = self.events[start:]
        freed_at: dict[int, list[int]] = {}
        for storage, index in self.accumulations.items():
            freed_at.setdefault(index - start, []).append(storage)
        stays = {e for e in first if isinstance(e, int) and e > 0} - {-e for e in first if isinstance(e, int) and e < 0}
        stays -= self.gradients.keys()
        copies: dict[int, int] = {}
        for index, event in enumerate(first):
            self.events.extend(-copies.pop(storage) for storage in freed_at.get(index, ()) if storage in copies)
            if isinstance(event, str):
                self.events.append(event.replace(FRESH, KEPT, 1))
            elif event > 0 and event not in stays and not self._is_kept_copy(event, start + index):
                copies[event] = len(self.sizes)
                self.sizes.append(self.sizes[event])
                self.makers.append(self.makers[event])
                self.events.append(copies[event])
            elif -event in copies:
                self.events.append(-copies.pop(-event))

    def _is_kept_copy(self, storage: int, index: int) -> bool:
        """Whether event ``index`` makes the copy of a gradient that autograd cannot keep as it came.

        It copies a gradient whose strides differ from the parameter's (torch 2.13, ``accumulate_grad.h``,
        ``clone_obey_contract``), which it does not do where it only adds to an old one.
        """
        until = self.accumulations.get(storage)
        if until is None or not self.makers[storage].startswith(_COPIES):
            return False
        return all(isinstance(event, int) and event < 0 for event in self.events[index + 1 : until])

    def extra_bytes(self) -> int:
        """Bytes that stay beside the parameters' own: buffers, and what rounding to allocator blocks adds."""
        return sum(block_bytes(self.sizes[storage]) for storage in self.static()) - self.parameter_bytes

    def live_bytes_at(self, mark: str) -> int:
        """Bytes alive where ``mark`` stands, static storages and gradients apart."""
        static = self.static()
        live: dict[int, int] = {}
        for event in self.events[: self.events.index(mark)]:
            if not isinstance(event, int):
                continue
            if event < 0:
                live.pop(-event, None)
            elif event not in static and event not in self.gradients:
                live[event] = block_bytes(self.sizes[event])
        return sum(live.values())

    def levels(self) -> Iterator[Level]:
        """Every local maximum of the memory beyond what is static, in order."""
        static = self.static()

        def weigh(storage: int) -> tuple[float, ...]:
            if storage in static:
                return (0, 0)
            if storage in self.gradients:
                return (0, self.gradients[storage])
            return (block_bytes(self.sizes[storage]), 0)

        for _, phase, (activation, elements) in running_maxima(self.normalised(), weigh, 2):
            yield Level(phase, int(activation), int(elements))


class Level(NamedTuple):
    """Memory at one moment: bytes beyond static storages and gradients, and gradient elements."""

    phase: str
    activation_bytes: int
    gradient_elements: int


def block_bytes(size: int) -> int:
    """``size`` rounded up to the allocator's block."""
    return -(-size // CUDA_BLOCK_BYTES) * CUDA_BLOCK_BYTES


def running_maxima(
    events: list[int | str], weigh: Callable[[int], tuple[float, ...]], width: int
) -> Iterator[tuple[int, str, tuple[float, ...]]]:
    """Sums over the live storages, of what ``weigh`` says of each, where allocation turns into freeing.

    Yields (index of the event that ends the rise, phase, sums). A mark closes a phase: what is alive at the mark is
    reported for that phase too.
    """
    totals = [0.0] * width
    rising = False
    for index, (event, phase) in enumerate(zip(events, phase_of_each(events), strict=True)):
        if isinstance(event, str):
            yield index, event, tuple(totals)
            rising = False
        elif event > 0:
            totals = [total + part for total, part in zip(totals, weigh(event), strict=True)]
            rising = True
        else:
            if rising:
                yield index, phase, tuple(totals)
            rising = False
            totals = [total - part for total, part in zip(totals, weigh(-event), strict=True)]


def phase_of_each(events: list[int | str]) -> list[str]:
    """For each event the next mark, which names the phase it belongs to."""
    result: list[str] = []
    current = "end"
    for event in reversed(events):
        if isinstance(event, str):
            current = event
        result.append(current)
    result.reverse()
    return result
