"""Configs of the mmdet 3.3.0 and mmsegmentation 1.2.2 wheels, resolved as mmengine 0.10.7 itself resolves them.

``tests/data/mm_facts.jsonl`` is a sample of what ``tools/mm_facts.py`` printed where mmengine is installed (every 16th
file, and one of each optimizer, wrapper and transform); ``tools/mm_agree.py`` compares all 1,629 files.
"""

from __future__ import annotations

import collections
import json
from pathlib import Path

import pytest

from tools.mm_agree import Wheel, compare, compare_plan

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "tests" / "data" / "mm_facts.jsonl"
WHEELS = [
    *(ROOT / ".cache" / "wheels").glob("mmdet-3.3.0-*.whl"),
    *(ROOT / ".cache" / "wheels").glob("mmsegmentation-1.2.2-*.whl"),
]


@pytest.mark.corpus
@pytest.mark.skipif(len(WHEELS) != 2, reason="tools/fetch_wheels.sh has not been run")
def test_batch_size_optimizer_precision_model_and_image_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    wheel = Wheel([str(path) for path in WHEELS])
    tally: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    for line in FACTS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        resolved, plan = wheel.project.module(row["file"]), wheel.plan(row["file"])
        assert resolved is not None, row["file"]
        found = list(compare(resolved.mapping, row["facts"]))
        found += compare_plan(plan, row["facts"]) if plan is not None else []
        tally.update(verdict.group for verdict in found)
        wrong += [f"{row['file']}: {verdict}" for verdict in found if verdict.verdict != "agrees"]
    with capsys.disabled():
        print("\nmmengine: " + ", ".join(f"{count:,} {group}" for group, count in sorted(tally.items())), end=" ")
    assert min(tally[group] for group in ("batch size", "image size", "optimizer", "precision", "model type")) > 90
    assert not wrong, "\n".join(wrong[:20])
