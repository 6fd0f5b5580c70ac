"""The budgets of processor time that are steady enough for every machine: what ``tools/bench.py`` measures in full."""

from __future__ import annotations

from pathlib import Path

from tools import bench, bench_estimates

ROOT = Path(__file__).parents[1]
STEADY = ("no training config", "detector's Python config", "`vramlint estimate`")


def test_whole_commands_cost_no_more_than_their_share_of_yamllint(tmp_path: Path) -> None:
    wanted = [case for case in bench.cases(tmp_path, None, tmp_path, rounds=3) if any(w in case.name for w in STEADY)]
    assert len(wanted) == 4
    slow = [case for case in wanted if bench.measure(case, tmp_path).ratio > case.bar]
    again = [bench.measure(case._replace(rounds=7), tmp_path) for case in slow]  # what else runs here disturbs a few
    assert not [f"{row.case.name}: {row.ratio:.2f}x" for row in again if row.ratio > row.case.bar]


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
