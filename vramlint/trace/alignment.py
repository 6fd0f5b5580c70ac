"""Brings recordings together whose steps do a little more for a larger batch.

A detector's loss loops over the images of a batch: each further image adds a few small storages, and storage n of one
recording is then no longer storage n of another. The storages are aligned by the operators that made them (the shortest
edit script, E. Myers, "An O(ND) difference algorithm and its variations", 1986); what has no partner, or is freed at
another point than its partner, is left out and counted in bytes beside the events that remain.
"""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.errors import TraceError
from vramlint.trace.events import Recording, block_bytes

MOST_EDITS = 4000
"""Storages without partner beyond which two steps are taken to be different programs."""


def aligned(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings reduced to the storages that all of them have, numbered alike.

    Raises TraceError where two steps have too little in common.
    """
    if all(recording.makers == recordings[0].makers for recording in recordings):
        return list(recordings)
    first = recordings[0]
    partners = [_partners(first.makers[1:], other.makers[1:]) for other in recordings]
    common = sorted(set.intersection(*(set(mapping) for mapping in partners)))
    together = [
        _reduced(recording, [mapping[position] + 1 for position in common])
        for recording, mapping in zip(recordings, partners, strict=True)
    ]
    ends = [_ends(recording) for recording in together]
    same = [n for n in range(1, len(common) + 1) if all(each.get(n) == ends[0].get(n) for each in ends)]
    return [_reduced(recording, same) for recording in together]


def _ends(recording: Recording) -> dict[int, int]:
    """For each storage that is freed, how many allocations and marks came before that."""
    result: dict[int, int] = {}
    before = 0
    for event in recording.events:
        if isinstance(event, int) and event < 0:
            result[-event] = before
        else:
            before += 1
    return result


def _reduced(recording: Recording, kept: list[int]) -> Recording:
    """The recording with only the storages ``kept``, renumbered from 1 in that order."""
    number = {old: new for new, old in enumerate(kept, start=1)}
    events: list[int | str] = []
    left_out: list[int] = []
    level = highest = 0
    before = recording.left_out or [0] * len(recording.events)
    static = recording.static()
    for event, earlier in zip(recording.events, before, strict=True):
        highest = max(highest, level + earlier)
        if isinstance(event, int) and abs(event) not in number:
            size = 0 if abs(event) in static else block_bytes(recording.sizes[abs(event)])
            level += size if event > 0 else -size
            highest = max(highest, level + earlier)
            continue
        events.append(event if isinstance(event, str) else number[event] if event > 0 else -number[-event])
        left_out.append(highest)
        highest = level + earlier
    return Recording(
        shape=recording.shape,
        parameters=recording.parameters,
        trainable=recording.trainable,
        parameter_bytes=recording.parameter_bytes,
        events=events,
        sizes=[0, *(recording.sizes[old] for old in kept)],
        makers=["", *(recording.makers[old] for old in kept)],
        gradients={number[old]: elements for old, elements in recording.gradients.items() if old in number},
        left_out=left_out,
        operations=recording.operations,
    )


def _partners(first: Sequence[str], second: Sequence[str]) -> dict[int, int]:
    """Positions in ``first`` mapped to positions in ``second``: a longest common subsequence."""
    trace: list[dict[int, int]] = []
    furthest = {1: 0}
    for edits in range(MOST_EDITS + 1):
        trace.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
            )
            x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            y = x - diagonal
            while x < len(first) and y < len(second) and first[x] == second[y]:
                x, y = x + 1, y + 1
            furthest[diagonal] = x
            if x >= len(first) and y >= len(second):
                return _backtrack(trace, len(first), len(second))
    raise TraceError(
        "two traces of the model do different things",
        help="Trace at shapes that take the same path through the model.",
    )


def _backtrack(trace: list[dict[int, int]], x: int, y: int) -> dict[int, int]:
    """The matches on the way back from the end; ``trace[d]`` is how far each diagonal had come before edit d."""
    partners: dict[int, int] = {}
    for edits in range(len(trace) - 1, -1, -1):
        furthest, diagonal = trace[edits], x - y
        down = diagonal == -edits or (
            diagonal != edits and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
        )
        previous = diagonal + 1 if down else diagonal - 1
        start_x = furthest[previous] if edits else 0
        start_y = start_x - previous if edits else 0
        while x > start_x and y > start_y:
            x, y = x - 1, y - 1
            partners[x] = y
        x, y = start_x, start_y
    return partners
