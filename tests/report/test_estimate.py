"""Estimates as text: bars, meters, sweeps."""

from __future__ import annotations

import pytest

from tests.report.support import GPU, estimate, plan, unknown_estimate
from vramlint.memory.model import Verdict
from vramlint.report.estimate import render
from vramlint.report.rows import EstimateRow
from vramlint.report.text import View, bar

VIEW = View(width=100)


def sweep(verdict_of: list[Verdict], gpu: object = GPU) -> list[EstimateRow]:
    return [
        EstimateRow(plan(), estimate(verdict, 1.0 + number, gpu), number + 1)
        for number, verdict in enumerate(verdict_of)
    ]


def test_one_estimate() -> None:
    assert render([EstimateRow(plan(), estimate())], VIEW) == (
        """\
src/config.py Config  resnet50 on rtx-3070-8gb
  needs 6.9 GiB (6.4 to 7.4) of 7.8 usable, 88 %, peak in backward: fits
  allocated                  5.9 GiB  5.4 to 6.4         torch.cuda.max_memory_allocated
  reserved                   6.3 GiB  5.8 to 6.8         torch.cuda.max_memory_reserved
  device                     6.9 GiB  6.4 to 7.4         nvidia-smi
  activations                4.0 GiB  ████████████████████████████████████████
  parameters                0.20 GiB  ██
  CUDA context              0.40 GiB  ████
  - Adam states in fp32
  - no torch.compile
"""
    )


def test_unknown_says_why() -> None:
    assert render([EstimateRow(plan(), unknown_estimate())], VIEW) == (
        "src/config.py Config  unknown model on any GPU\n  unknown: no profile of model 'mynet'\n"
    )


def test_nothing_to_estimate() -> None:
    assert render([], VIEW) == "no training run to estimate\n"


def test_a_sweep_ends_with_the_largest_value_that_fits() -> None:
    shown = render(sweep([Verdict.FITS, Verdict.FITS, Verdict.TIGHT, Verdict.OVER]), VIEW, "batch")
    lines = shown.splitlines()
    assert lines[1].split()[:4] == ["batch", "1", "1.0", "GiB"]
    assert lines[1].endswith("fits")
    assert lines[4].endswith("over")
    assert lines[-1] == "  largest batch that fits 7.8 GiB usable: 2"


@pytest.mark.parametrize(
    ("verdicts", "gpu", "last"),
    [
        ([Verdict.OVER], GPU, "  none of 1 value fits 7.8 GiB usable"),
        (
            [Verdict.FITS, Verdict.FITS],
            GPU,
            "  every batch of the sweep fits 7.8 GiB usable, up to 2: sweep further",
        ),
        ([Verdict.UNKNOWN], None, "  name a card with --gpu for a verdict"),
    ],
)
def test_a_sweep_without_a_limit_inside(verdicts: list[Verdict], gpu: object, last: str) -> None:
    assert render(sweep(verdicts, gpu), VIEW, "batch").splitlines()[-1] == last


def test_a_long_sweep_shows_few_rows_and_every_change_of_verdict() -> None:
    shown = render(sweep([Verdict.FITS] * 37 + [Verdict.OVER] * 27), VIEW, "batch")
    rows = [line for line in shown.splitlines() if line.startswith("  batch")]
    assert len(rows) <= 20
    assert [row.split()[1] for row in rows if row.split()[1] in ("1", "37", "38", "64")] == ["1", "37", "38", "64"]


@pytest.mark.parametrize(("part", "expected"), [(0, ""), (1, "▏"), (50, "█████"), (55, "█████▌"), (100, "█" * 10)])
def test_bar(part: int, expected: str) -> None:
    assert bar(part, 100, 10) == expected


def test_a_sweep_marks_where_the_card_ends() -> None:
    rows = render(sweep([Verdict.FITS] * 3 + [Verdict.OVER] * 20), VIEW, "batch").splitlines()[1:-1]
    ends = {row.index("│") if "│" in row else row.index("┃") for row in rows}
    assert len(ends) == 1
    assert "▶" in rows[-1]
    assert "┃" not in rows[0]
