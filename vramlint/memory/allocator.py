"""torch's CUDA caching allocator: simulated on a list of events, or as a slack where no event list is known.

Rules of ``c10/cuda/CUDACachingAllocator.cpp`` (torch 2.13, native backend, default settings): sizes are rounded up to
512 bytes; requests up to 1 MiB come from 2 MiB segments, those under 10 MiB from 20 MiB segments, larger ones from a
segment of their own rounded to 2 MiB; the best fitting free block of the pool serves, is split when enough remains, and
freed neighbours merge. ``expandable_segments`` and ``max_split_size_mb`` are not simulated.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple

MIB = 2**20
ROUND_BYTES = 512
SMALL_BYTES = 1 * MIB
"""Largest request that the small pool serves (kSmallSize)."""
SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB
MIN_LARGE_BYTES = 10 * MIB
"""Requests from this size on get a segment of their own (kMinLargeAlloc)."""
SEGMENT_ROUND_BYTES = 2 * MIB


class Slack(NamedTuple):
    """Bytes beyond the allocated ones, as a share of them."""

    low: float
    value: float
    high: float


RESERVED_SLACK = Slack(0.01, 0.07, 0.20)
"""What the allocator holds beyond what is allocated at the peak (``max_memory_reserved``).

Simulated on whole training steps (resnet50, HRNet, ViT, Swin, ConvNeXt, GPT-2, Llama-1B and 8B LoRA): 2 to 20 % with a
median of 7 %, 40 % once (a 1B model with activation checkpointing).
"""

VARYING_SLACK = Slack(0.05, 0.12, 0.2)
"""The same where every batch has another length. Of the PEFT comparison's 61 runs, which empty the cache every ten
steps (huggingface/peft ``method_comparison/MetaMathQA/run.py``), full fine-tuning shows it best: its optimizer's step
alone allocates 29.9 GiB of the 34.8 reserved, 16 % more; the others lie within 6 % of the value."""

REQUIRED_SLACK = Slack(0.01, 0.045, 0.13)
"""What capacity must exceed the allocated peak by, or the allocator fails after releasing its cached segments.

The least capacity found by bisection on the same steps: 1.1 to 12.7 %, median 4.5 %; 21 % once, as above.
"""


class Event(NamedTuple):
    """An allocation of ``size`` bytes under the key ``tensor``, or, with size 0, its release."""

    tensor: int
    size: int


class Usage(NamedTuple):
    """What the allocator did. ``fits`` is False where the capacity did not suffice even after releasing the cache."""

    fits: bool
    max_allocated: int
    max_reserved: int
    retries: int


class _Block:
    """A piece of a segment, linked to its neighbours."""

    __slots__ = ("address", "following", "free", "previous", "size", "small")

    def __init__(self, size: int, address: int, small: bool) -> None:
        self.size = size
        self.address = address
        self.small = small
        self.free = False
        self.previous: _Block | None = None
        self.following: _Block | None = None

    def whole_segment(self) -> bool:
        return self.previous is None and self.following is None


_Entry = tuple[int, int, _Block]


class CachingAllocator:
    """The allocator's state; :func:`simulate` drives it over a list of events."""

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.allocated = self.reserved = 0
        self.max_allocated = self.max_reserved = 0
        self.retries = 0
        self._pools: dict[bool, list[_Entry]] = {True: [], False: []}
        self._live: dict[int, _Block] = {}
        self._next_address = 0

    def allocate(self, tensor: int, size: int) -> bool:
        """Serve a request; False where the card is full even after the cached segments were released."""
        rounded = max(ROUND_BYTES, -(-size // ROUND_BYTES) * ROUND_BYTES)
        small = rounded <= SMALL_BYTES
        block = self._best_fit(rounded, small) or self._new_segment(rounded, small)
        if block is None:
            return False
        self._split(block, rounded)
        block.free = False
        self._live[tensor] = block
        self.allocated += block.size
        self.max_allocated = max(self.max_allocated, self.allocated)
        return True

    def release(self, tensor: int) -> None:
        block = self._live.pop(tensor)
        self.allocated -= block.size
        block.free = True
        insort(self._pools[block.small], _entry(self._merge(block)))

    def _best_fit(self, size: int, small: bool) -> _Block | None:
        pool = self._pools[small]
        index = bisect_left(pool, (size, -1))
        return pool.pop(index)[2] if index < len(pool) else None

    def _new_segment(self, size: int, small: bool) -> _Block | None:
        segment = segment_bytes(size)
        if self.capacity_bytes is not None and self.reserved + segment > self.capacity_bytes:
            self._release_cached_segments()
            self.retries += 1
            if self.reserved + segment > self.capacity_bytes:
                return None
        self._next_address += 2**40
        self.reserved += segment
        self.max_reserved = max(self.max_reserved, self.reserved)
        return _Block(segment, self._next_address, small)

    def _release_cached_segments(self) -> None:
        for small, pool in self._pools.items():
            self.reserved -= sum(entry[0] for entry in pool if entry[2].whole_segment())
            self._pools[small] = [entry for entry in pool if not entry[2].whole_segment()]

    def _split(self, block: _Block, size: int) -> None:
        remaining = block.size - size
        if remaining < ROUND_BYTES if block.small else remaining <= SMALL_BYTES:
            return
        rest = _Block(remaining, block.address + size, block.small)
        rest.free = True
        rest.previous, rest.following = block, block.following
        if block.following is not None:
            block.following.previous = rest
        block.following, block.size = rest, size
        insort(self._pools[block.small], _entry(rest))

    def _merge(self, block: _Block) -> _Block:
        following = block.following
        if following is not None and following.free:
            self._take(following)
            block.size += following.size
            block.following = following.following
            if following.following is not None:
                following.following.previous = block
        previous = block.previous
        if previous is None or not previous.free:
            return block
        self._take(previous)
        previous.size += block.size
        previous.following = block.following
        if block.following is not None:
            block.following.previous = previous
        return previous

    def _take(self, block: _Block) -> None:
        pool = self._pools[block.small]
        pool.pop(bisect_left(pool, (block.size, block.address)))


def _entry(block: _Block) -> _Entry:
    return (block.size, block.address, block)


def segment_bytes(size: int) -> int:
    """Bytes of the segment that a request of ``size`` (rounded) bytes makes the allocator take from the driver."""
    if size <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if size < MIN_LARGE_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-size // SEGMENT_ROUND_BYTES) * SEGMENT_ROUND_BYTES


def simulate(events: Iterable[Event], capacity_bytes: int | None = None) -> Usage:
    """Run the events through an allocator that may take ``capacity_bytes`` from the driver, or any amount."""
    allocator = CachingAllocator(capacity_bytes)
    fits = True
    for event in events:
        if event.size == 0:
            allocator.release(event.tensor)
        elif not allocator.allocate(event.tensor, event.size):
            fits = False
            break
    return Usage(fits, allocator.max_allocated, allocator.max_reserved, allocator.retries)


def least_capacity(events: list[Event]) -> int:
    """The smallest capacity in bytes, to 2 MiB, in which the events run without failing."""
    unlimited = simulate(events)
    low, high = unlimited.max_allocated, unlimited.max_reserved
    while high - low > SEGMENT_ROUND_BYTES:
        middle = (low + high) // 2
        if simulate(events, middle).fits:
            high = middle
        else:
            low = middle
    return high
