"""Scores the estimator on published measurements (a CSV with the columns of ``truth/dev.csv``), per group.

Usage: python tools/score_memory.py TRUTH.csv [--rows] [--observed] [--worst N] [--tiers A,B-seq] [--group NAME]

e = ln(predicted / measured), the median inside a cluster, then over clusters. Rows the estimator does not answer are
counted as not answered, never as errors. Beside it, two baselines on the same rows: 18 bytes a parameter plus
activations linear in the batch, and the nearest other row scaled by batch x sequence. The parts are in ``scoring/``.
A CSV with the columns of ``truth/fit_bounds_dev.csv`` is scored by the share of largest batches inside their bounds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scoring.fit_bounds import is_bounds, print_bounds, read_bounds
from scoring.observed import print_observed
from scoring.predictions import scored
from scoring.printing import print_decisions, print_groups, print_repositories, print_rows
from scoring.rows import SCORED_TIERS, group_of, read_rows


def main(argv: list[str] | None = None) -> int:
    arguments = _arguments(argv)
    if is_bounds(arguments.truth):
        print_bounds(read_bounds(arguments.truth), all_rows=arguments.rows)
        return 0
    rows = read_rows(arguments.truth, tuple(arguments.tiers.split(",")))
    found = [scored(row) for row in rows if arguments.group in (None, group_of(row))]
    print_groups(found)
    print_repositories(found)
    print_decisions(found)
    if arguments.observed:
        print_observed(found)
    if arguments.rows:
        print_rows(found)
    if arguments.worst:
        answered = sorted((each for each in found if each.predicted), key=lambda each: -abs(each.error))
        print_rows(answered[: arguments.worst])
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--rows", action="store_true", help="print every answered row")
    parser.add_argument(
        "--observed", action="store_true", help="also correct rows by one observed row of their cluster"
    )
    parser.add_argument("--worst", type=int, default=0, help="print the N answered rows that are furthest off")
    parser.add_argument("--tiers", default=",".join(SCORED_TIERS), help="tiers to score (default: %(default)s)")
    parser.add_argument("--group", help="score this group alone: 'LLM LoRA', detection, diffusion, …")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
