"""What the estimator says about a plan: bytes with intervals, components, a phase and a verdict."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Interval(NamedTuple):
    """A byte count with its bounds; 95 % of measured runs are meant to fall inside ``[low, high]``."""

    low: int
    value: int
    high: int


class Verdict(StrEnum):
    """``fits``: the upper bound fits. ``tight``: the value fits, the upper bound does not. ``over``: neither does."""

    FITS = "fits"
    TIGHT = "tight"
    OVER = "over"
    UNKNOWN = "unknown"


class Component(NamedTuple):
    """One part of the peak; ``origin`` names the formula, profile or observation it comes from."""

    name: str
    bytes: int
    origin: str


class Estimate(NamedTuple):
    """Peak memory of one rank.

    ``allocated`` is torch's ``max_memory_allocated``, ``reserved`` its ``max_memory_reserved``, ``device`` what
    nvidia-smi shows for the process; ``required`` the least capacity in which the allocator would not fail, context
    included: the verdict compares it with ``usable_bytes``. All are None when the model is unknown:
    ``unknown_because`` says why, and ``components`` still holds what is known.
    """

    model: str | None
    gpu: str | None
    allocated: Interval | None
    reserved: Interval | None
    device: Interval | None
    required: Interval | None
    usable_bytes: int | None
    verdict: Verdict
    phase: str
    components: tuple[Component, ...]
    assumptions: tuple[str, ...]
    unknown_because: str = ""
    least_bytes: int | None = None
    """Where batch or sequence length are unknown: the lower bound of ``required`` for one sample of one token."""
    evaluation: Interval | None = None
    """What the card must hold while the run evaluates; the verdict is of training alone."""
    caveat: str = ""
    """What makes the figures doubtful and should be seen beside them: a stale profile."""
