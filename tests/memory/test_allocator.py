"""The rules of the caching allocator, one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlint.memory.allocator import MIB, CachingAllocator, Event, least_capacity, segment_bytes, simulate


def free(tensor: int) -> Event:
    return Event(tensor, 0)


@pytest.mark.parametrize(
    ("request_bytes", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB, 12 * MIB),
        (100 * MIB + 1, 100 * MIB + 512, 102 * MIB),
    ],
)
def test_one_request(request_bytes: int, allocated: int, reserved: int) -> None:
    usage = simulate([Event(1, request_bytes)])
    assert (usage.max_allocated, usage.max_reserved) == (allocated, reserved)


def test_the_rest_of_a_small_segment_serves_the_next_request() -> None:
    assert simulate([Event(1, 512), Event(2, 512)]).max_reserved == 2 * MIB


def test_a_large_block_with_at_most_1_mib_left_is_not_split() -> None:
    events = [Event(1, 12 * MIB), free(1), Event(2, 11 * MIB), Event(3, 2 * MIB)]
    usage = simulate(events)
    assert usage.max_allocated == 14 * MIB, "11 MiB took the whole 12 MiB block"
    assert usage.max_reserved == 32 * MIB


def test_the_best_fit_serves() -> None:
    allocator = CachingAllocator()
    for tensor, size in ((1, 30 * MIB), (2, 20 * MIB), (3, 40 * MIB)):
        allocator.allocate(tensor, size)
    for tensor in (1, 2, 3):
        allocator.release(tensor)
    allocator.allocate(4, 19 * MIB)
    assert allocator.reserved == 90 * MIB
    assert allocator.allocated == 20 * MIB, "the 20 MiB block, unsplit"


def test_freed_neighbours_merge() -> None:
    events = [Event(1, 5 * MIB), Event(2, 5 * MIB), Event(3, 5 * MIB), free(1), free(2), Event(4, 10 * MIB - 512)]
    assert simulate(events).max_reserved == 20 * MIB


def test_small_and_large_requests_do_not_share_segments() -> None:
    assert simulate([Event(1, 2 * MIB), Event(2, 512)]).max_reserved == 22 * MIB


def test_a_full_card_releases_whole_cached_segments_and_tries_again() -> None:
    events = [Event(1, 30 * MIB), free(1), Event(2, 32 * MIB)]
    usage = simulate(events, capacity_bytes=40 * MIB)
    assert usage.fits
    assert usage.retries == 1
    assert simulate(events).max_reserved == 62 * MIB


def test_a_segment_in_use_cannot_be_released() -> None:
    events = [Event(1, 5 * MIB), Event(2, 6 * MIB), free(1), Event(3, 14 * MIB)]
    assert not simulate(events, capacity_bytes=30 * MIB).fits
    assert simulate(events, capacity_bytes=34 * MIB).fits


def test_least_capacity_lies_between_allocated_and_reserved() -> None:
    events = [Event(1, 30 * MIB), free(1), Event(2, 32 * MIB)]
    assert least_capacity(events) == pytest.approx(32 * MIB, abs=2 * MIB)


@given(st.lists(st.tuples(st.integers(1, 64 * MIB), st.booleans()), min_size=1, max_size=40))
def test_reserved_covers_allocated_and_everything_is_given_back(requests: list[tuple[int, bool]]) -> None:
    allocator = CachingAllocator()
    live = []
    for tensor, (size, keep) in enumerate(requests):
        allocator.allocate(tensor, size)
        assert allocator.allocated <= allocator.reserved
        if keep:
            live.append(tensor)
        else:
            allocator.release(tensor)
    for tensor in live:
        allocator.release(tensor)
    assert allocator.allocated == 0
    allocator._release_cached_segments()
    assert allocator.reserved == 0, "freed neighbours have merged back into whole segments"


@given(st.integers(1, 2**36))
def test_a_segment_holds_its_request(size: int) -> None:
    rounded = -(-size // 512) * 512
    assert segment_bytes(rounded) >= rounded
