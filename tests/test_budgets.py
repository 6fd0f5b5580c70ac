"""The budgets of processor time that are steady enough for every machine: what ``tools/bench.py`` measures in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import bench, bench_estimates

ROOT = Path(__file__).parents[1]
STEADY = ("no training config", "detector's Python config", "`vramlint estimate`")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[bench.Row]:
    folder = tmp_path_factory.mktemp("bench")
    wanted = bench.cases(folder, None, folder, rounds=3)
    return [bench.measure(case, folder) for case in wanted if any(word in case.name for word in STEADY)]


def test_whole_commands_cost_no_more_than_their_share_of_yamllint(rows: list[bench.Row]) -> None:
    assert len(rows) == 4
    assert not [f"{row.case.name}: {row.ratio:.2f}x" for row in rows if row.ratio > row.case.bar]


def test_one_estimate_after_start_up_takes_five_milliseconds_at_most(tmp_path: Path) -> None:
    detector = tmp_path / "mask_rcnn.py"
    detector.write_text(bench.DETECTOR.read_text(encoding="utf-8"), encoding="utf-8")
    timed = bench_estimates.measure(
        [str(detector), *(str(ROOT / "examples" / name) for name in ("vessels", "qwen-sft"))]
    )
    assert {each.kind for each in timed} > {"layer by layer, from the config", "decoder by name or shape"}
    assert not [
        f"{each.path}: {each.milliseconds:.1f} ms" for each in timed if each.milliseconds > bench_estimates.BAR_MS
    ]
