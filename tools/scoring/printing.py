"""The scores as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from scoring.baselines import nearest_baseline, parameters_baseline
from scoring.predictions import Scored
from scoring.rows import GIB, Row
from scoring.statistics import Spread, coverage, decisions, errors_of, grouped, leave_one_repository_out, spread

HEADER = (
    f"{'group':<14} {'metric':<10} {'':<10} rows answered clusters  med|e|  95 % of it   p90|e|  signed"
    "  under>5%  in10%  in20%  covered  width"
)


def print_groups(scored: Sequence[Scored]) -> None:
    print(HEADER)
    for (group, metric), members in sorted(grouped(scored).items()):
        _print_group(group, metric, members)


def _print_group(group: str, metric: str, members: list[Scored]) -> None:
    answered = [each for each in members if each.predicted]
    head = f"{group:<14} {metric:<10} {'vramlint':<10} {len(members):>4} {len(answered):>8}"
    if not answered:
        print(head)
        return
    inside, width = coverage(answered)
    print(f"{head} {_line(spread(errors_of(answered)))}  {inside:6.0%}  +-{width:.0%}")
    rows = [each.row for each in members]
    baselines: tuple[tuple[str, Callable[[Row], float | None]], ...] = (
        ("18B/param", parameters_baseline),
        ("nearest", lambda row: nearest_baseline(row, rows)),
    )
    for name, baseline in baselines:
        errors = [
            (each.row["cluster"], math.log(value / each.measured)) for each in answered if (value := baseline(each.row))
        ]
        if errors:
            print(f"{'':<25} {name:<10} {len(members):>4} {len(errors):>8} {_line(spread(errors))}")


def _line(found: Spread) -> str:
    return (
        f"{found.clusters:>8} {found.median:7.1%} {found.low:6.1%}-{found.high:<6.1%} {found.p90:7.1%} "
        f"{found.signed:+7.1%} {found.under:8.0%} {found.within_10:6.0%} {found.within_20:6.0%}"
    )


def print_repositories(scored: Sequence[Scored]) -> None:
    print("\nleave one repository out: median |e| as stated, and with the bias of all others taken off;")
    print("its rows inside the intervals as stated, and as wide as holds 95 % of the others' rows")
    for (group, metric), members in sorted(grouped(scored).items()):
        for left in leave_one_repository_out(members, scored):
            print(
                f"{group:<14} {metric:<10} {left.repository:<40} {left.clusters:>4} clusters"
                f" {left.as_stated:7.1%} {left.corrected:7.1%} {left.inside:7.0%} {left.inside_scaled:5.0%}"
            )


def print_decisions(scored: Sequence[Scored]) -> None:
    print("\ncard    false fits   false does-not-fit   beyond the interval   interval open   rows")
    for each in decisions(scored):
        print(
            f"{each.card_gb:>3} GB {each.false_fits:>9} {each.false_does_not_fit:>15} {each.surely_false:>21}"
            f" {each.left_open:>18} {each.rows:>9}"
        )


def print_rows(scored: Iterable[Scored]) -> None:
    for each in scored:
        if each.predicted is None:
            continue
        row = each.row
        print(
            f"{row['id']:<16} {each.group:<14} {row['model'][:34]:<34} b{row['batch_per_gpu']:<5} s{row['seq_len']:<7}"
            f" measured {each.measured / GIB:7.2f}  predicted {each.predicted.value / GIB:7.2f}"
            f"  [{each.predicted.low / GIB:.2f}, {each.predicted.high / GIB:.2f}]  {each.error:+.1%}"
        )
