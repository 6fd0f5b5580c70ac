"""Scores corrected estimates: one row of a cluster is taken as observed and corrects the others.

Only rows whose plans share a fingerprint count, as for a user's own observations: what differs is the workload. Each
ordered pair of such rows is one case; the median inside a cluster, then over clusters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

from scoring.predictions import Prediction, Scored, metric_of, plan_of, target_of
from scoring.rows import fact, measured_bytes
from scoring.statistics import coverage, errors_of, spread
from vramlint.memory import estimate
from vramlint.memory.observations import Meter, Observed, observation_of, plan_fingerprint


class Case(NamedTuple):
    """A row as it is estimated, and with another row of its cluster observed."""

    plain: Scored
    corrected: Scored


def cases(scored: Sequence[Scored]) -> Iterator[Case]:
    """Every ordered pair of answered rows of one cluster, metric and fingerprint at different workloads."""
    alike: dict[tuple[str, str, str], list[Scored]] = defaultdict(list)
    for each in scored:
        plan = plan_of(each.row) if each.predicted else None
        if plan is not None and each.row["metric_group"] in set(Meter):
            alike[each.row["cluster"], each.row["metric_group"], plan_fingerprint(plan)].append(each)
    for members in alike.values():
        for observed, other in permutations(members, 2):
            found = _corrected(observed, other)
            if found is not None:
                yield Case(other, found)


def _corrected(observed: Scored, other: Scored) -> Scored | None:
    there, plan = plan_of(observed.row), plan_of(other.row)
    assert there is not None
    assert plan is not None
    if (there.micro_batch.value, there.seq_len.value, there.image_size.value) == (
        plan.micro_batch.value, plan.seq_len.value, plan.image_size.value,
    ):  # fmt: skip
        return None
    point = observation_of(there, round(measured_bytes(observed.row)), Meter(observed.row["metric_group"]))
    plan.extra["observations"] = fact(Observed((point,)))
    interval = metric_of(estimate(plan, target_of(other.row)), other.row)
    return None if interval is None else other._replace(predicted=Prediction(*interval))


def print_observed(scored: Sequence[Scored]) -> None:
    print("\none observation corrects the other workloads of its cluster: median |e|, p90 |e|, inside, width")
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases(scored):
        groups[case.plain.group].append(case)
    for group, members in sorted(groups.items()):
        for word, rows in (("plain", [m.plain for m in members]), ("observed", [m.corrected for m in members])):
            found, inside = spread(errors_of(rows)), coverage(rows)
            print(
                f"{group:<14} {word:<9} {len(rows):>4} pairs {found.clusters:>3} clusters {found.median:7.1%}"
                f" {found.p90:7.1%} {inside.inside:7.0%}  +-{inside.half_width:.0%}"
            )
