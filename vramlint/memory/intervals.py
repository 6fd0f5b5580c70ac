"""Arithmetic of intervals: independent uncertainties add in quadrature."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

from vramlint.memory.allocator import Slack
from vramlint.memory.model import Interval


def with_slack(allocated: Interval, slack: Slack) -> Interval:
    """The interval with the allocator's slack on top, its uncertainty added in quadrature."""
    value = round(allocated.value * (1 + slack.value))
    below = hypot(allocated.value - allocated.low, allocated.value * (slack.value - slack.low))
    above = hypot(allocated.high - allocated.value, allocated.value * (slack.high - slack.value))
    return Interval(max(allocated.low, round(value - below)), value, round(value + above))


def added(first: Interval, second: Interval) -> Interval:
    """Two independent parts together: values add, bounds in quadrature."""
    value = first.value + second.value
    below = hypot(first.value - first.low, second.value - second.low)
    above = hypot(first.high - first.value, second.high - second.value)
    return Interval(round(value - below), value, round(value + above))


def shifted(interval: Interval, by: int) -> Interval:
    """The interval moved by ``by`` bytes."""
    return Interval(interval.low + by, interval.value + by, interval.high + by)


def spanning(intervals: Sequence[Interval]) -> Interval:
    """The first interval's value, and bounds that cover them all."""
    low, high = min(each.low for each in intervals), max(each.high for each in intervals)
    return Interval(low, intervals[0].value, high)


def varied(interval: Interval, values: Sequence[int]) -> Interval:
    """The interval where something continuous may also lead to any of ``values``: the farthest on each side counts."""
    least, most = min((interval.value, *values)), max((interval.value, *values))
    below = hypot(interval.value - interval.low, interval.value - least)
    above = hypot(interval.high - interval.value, most - interval.value)
    return Interval(max(0, round(interval.value - below)), interval.value, round(interval.value + above))
