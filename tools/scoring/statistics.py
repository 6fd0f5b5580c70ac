"""Errors to statistics: the median inside a cluster, then over clusters; intervals; leave one repository out."""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from scoring.predictions import Scored
from scoring.rows import GIB

CARDS_GB = (8, 11, 12, 16, 24, 32, 40, 48, 80)

Errors = Sequence[tuple[str, float]]
"""A cluster and e = ln(predicted / measured) for each answered row."""


class Spread(NamedTuple):
    """The statistics of a set of errors, over clusters. ``low`` and ``high``: 95 % interval of the median |e|."""

    clusters: int
    median: float
    low: float
    high: float
    p90: float
    signed: float
    under: float
    """Share of clusters whose prediction lies more than 5 % below the measurement: the harmful side."""
    within_10: float
    within_20: float


class Coverage(NamedTuple):
    """How the stated intervals did: the share of rows inside, and the mean half-width as a share of the value."""

    inside: float
    half_width: float


class Decisions(NamedTuple):
    """Rows wrongly said to fit a card, and wrongly said not to fit it, by the value."""

    card_gb: int
    false_fits: int
    false_does_not_fit: int
    surely_false: int
    """Of both, those whose whole interval lies on the wrong side: the verdict says it without a doubt."""
    left_open: int
    """Rows whose interval the card lies in: the verdict says neither."""
    rows: int


def errors_of(members: Sequence[Scored]) -> list[tuple[str, float]]:
    return [(each.row["cluster"], each.error) for each in members if each.predicted]


def grouped(scored: Sequence[Scored]) -> dict[tuple[str, str], list[Scored]]:
    """Rows by group and metric; groups are never pooled."""
    groups: dict[tuple[str, str], list[Scored]] = defaultdict(list)
    for each in scored:
        groups[each.group, each.row["metric_group"]].append(each)
    return groups


def spread(errors: Errors) -> Spread:
    """Raises ValueError where there are no errors."""
    if not errors:
        raise ValueError("no answered row")
    medians = cluster_medians(errors)
    sizes = sorted(abs(each) for each in medians)
    low, high = _bootstrap(medians)
    return Spread(
        clusters=len(medians),
        median=statistics.median(sizes),
        low=low,
        high=high,
        p90=sizes[math.ceil(0.9 * len(sizes)) - 1],
        signed=statistics.median(medians),
        under=_share(medians, lambda error: error < -0.05),
        within_10=_share(medians, lambda error: abs(error) < math.log(1.1)),
        within_20=_share(medians, lambda error: abs(error) < math.log(1.2)),
    )


def cluster_medians(errors: Errors) -> list[float]:
    by_cluster: dict[str, list[float]] = defaultdict(list)
    for cluster, error in errors:
        by_cluster[cluster].append(error)
    return [statistics.median(each) for each in by_cluster.values()]


def _share(values: Sequence[float], test: Callable[[float], bool]) -> float:
    return sum(map(test, values)) / len(values)


def _bootstrap(medians: Sequence[float], rounds: int = 1000) -> tuple[float, float]:
    """95 % interval of the median |e| by resampling clusters."""
    generator = random.Random(0)
    drawn = sorted(
        statistics.median(abs(each) for each in generator.choices(medians, k=len(medians))) for _ in range(rounds)
    )
    return drawn[round(0.025 * rounds)], drawn[round(0.975 * rounds) - 1]


def coverage(members: Sequence[Scored]) -> Coverage:
    """Raises ValueError where no row is answered."""
    answered = [(each.measured, each.predicted) for each in members if each.predicted]
    if not answered:
        raise ValueError("no answered row")
    inside = sum(predicted.low <= measured <= predicted.high for measured, predicted in answered)
    widths = [(predicted.high - predicted.low) / 2 / predicted.value for _, predicted in answered]
    return Coverage(inside / len(answered), statistics.mean(widths))


class LeftOut(NamedTuple):
    """One repository's rows against a correction fitted on all other repositories of its group.

    ``as_stated``: median |e| of the estimator as it is. ``corrected``: after multiplying by the factor that centres
    the other repositories' rows. Where correcting does not help, the constants hold nothing of the one repository.
    """

    repository: str
    clusters: int
    as_stated: float
    corrected: float
    inside: float
    """Share of its rows inside the stated intervals."""
    inside_scaled: float
    """The same with intervals scaled by the factor that holds 95 % of the other repositories' rows in all groups."""


def leave_one_repository_out(members: Sequence[Scored], pool: Sequence[Scored] = ()) -> list[LeftOut]:
    """A repository at a time; none where the group has only one."""
    by_repository: dict[str, list[Scored]] = defaultdict(list)
    for each in members:
        if each.predicted:
            by_repository[each.row["source_repo"]].append(each)
    if len(by_repository) < 2:
        return []
    found = []
    for repository, held_out in sorted(by_repository.items()):
        others = [each for name, rest in by_repository.items() if name != repository for each in rest]
        bias = statistics.median(cluster_medians(errors_of(others)))
        medians = cluster_medians(errors_of(held_out))
        stated, corrected = (statistics.median(abs(each - shift) for each in medians) for shift in (0.0, bias))
        elsewhere = [each for each in pool or members if each.predicted and each.row["source_repo"] != repository]
        factor = widening(elsewhere, 0.95)
        inside = [sum(_needed(each) <= scale for each in held_out) / len(held_out) for scale in (1.0, factor)]
        found.append(LeftOut(repository, len(medians), stated, corrected, *inside))
    return found


def widening(members: Sequence[Scored], share: float) -> float:
    """The least factor on the intervals' half-widths that holds this share of the answered rows."""
    needed = sorted(_needed(each) for each in members)
    return needed[math.ceil(share * len(needed)) - 1]


def _needed(each: Scored) -> float:
    """By what the row's interval must be scaled to reach the measurement; 1 is its edge."""
    assert each.predicted is not None
    predicted = each.predicted
    side = predicted.high - predicted.value if each.measured > predicted.value else predicted.value - predicted.low
    return abs(each.measured - predicted.value) / max(side, 1.0)


def decisions(scored: Sequence[Scored]) -> list[Decisions]:
    """For each card, rows it would wrongly be said to hold, and not to hold."""
    answered = [(each.measured, each.predicted) for each in scored if each.predicted]
    found = []
    for size in CARDS_GB:
        card = size * GIB
        fits = sum(each.value <= card < measured for measured, each in answered)
        over = sum(measured <= card < each.value for measured, each in answered)
        surely = sum(each.high <= card < measured or measured <= card < each.low for measured, each in answered)
        left_open = sum(each.low <= card < each.high for _, each in answered)
        found.append(Decisions(size, fits, over, surely, left_open, len(answered)))
    return found
