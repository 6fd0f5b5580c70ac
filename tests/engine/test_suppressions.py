"""Suppression comments: what they cover in each syntax, and the unused ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vramlint.engine import CheckOptions, check, check_source
from vramlint.engine.suppressions import suppressions
from vramlint.sources import read

Fake = Callable[..., None]


def judged(text: str, **options: object) -> tuple[list[tuple[str, int]], int]:
    Path("a.yml").write_bytes(text.encode())
    result = check(["a.yml"], CheckOptions(**options))  # type: ignore[arg-type]
    return [(finding.code, finding.location.line) for finding in result.findings], result.suppressed


@pytest.mark.parametrize(
    "text",
    [
        "batch: 8  # vramlint: ignore[batch-large] the A100 run\n",
        "batch: 8  # vramlint: ignore[VL101]\n",
        "batch: 8  # vramlint: ignore[vl1]\n",
        "batch: 8  # see below; vramlint:ignore[ batch-large , ]\n",
        "# vramlint: ignore[batch-large]\nbatch: 8\n",
        "# vramlint: ignore[batch-large]\n# another comment\n\nbatch: 8\n",
        "batch: 8\nlr: 1\n# vramlint: ignore-file[batch-large] generated\n",
        "batch: 8  # vramlint: ignore[batch-large]\r\nlr: 1\r\n",
    ],
)
def test_suppressed(fake: Fake, text: str) -> None:
    fake()
    assert judged(text) == ([], 1)


def test_the_runs_own_findings_are_without_the_suppressed_ones(fake: Fake) -> None:
    fake()
    (run,) = check_source("a.yml", b"batch: 8 # vramlint: ignore[VL101]\n").runs
    assert run.findings == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # another rule, another line, a comment that ends a line and so does not cover the next
        ("batch: 8  # vramlint: ignore[queue-odd]\n", [("VL101", 1), ("VL901", 1)]),
        ("# vramlint: ignore[batch-large]\nlr: 1\nbatch: 8\n", [("VL901", 1), ("VL101", 3)]),
        ("lr: 1  # vramlint: ignore[batch-large]\nbatch: 8\n", [("VL901", 1), ("VL101", 2)]),
        # one of two rules is not needed
        ("batch: 8  # vramlint: ignore[batch-large, queue-odd]\n", [("VL901", 1)]),
        ("batch: 2  # vramlint: ignore-file[VL2]\n", [("VL901", 1)]),
        # names no rule
        ("batch: 8  # vramlint: ignore\n", [("VL101", 1), ("VL901", 1)]),
        ("batch: 8  # vramlint: ignore[]\n", [("VL101", 1), ("VL901", 1)]),
        # a rule of nobody's: it did not run, and there is none
        ("batch: 2  # vramlint: ignore[nobody]\n", [("VL902", 1)]),
        # an unused suppression can be suppressed
        ("batch: 2  # vramlint: ignore[batch-large, unused-suppression]\n", []),
        # in a string it is no comment
        ("batch: 8\nx: '# vramlint: ignore-file[VL1]'\n", [("VL101", 1)]),
    ],
)
def test_unused(fake: Fake, text: str, expected: list[tuple[str, int]]) -> None:
    fake()
    found, _ = judged(text)
    assert sorted(found) == sorted(expected)


def test_only_rules_that_ran_make_a_comment_unused(fake: Fake) -> None:
    fake()
    text = "batch: 2  # vramlint: ignore[batch-large]\n"
    assert judged(text)[0] == [("VL901", 1)]
    assert judged(text, select=("VL2", "VL9"))[0] == []
    assert judged(text, ignore=("VL9",))[0] == []
    assert judged(text, with_rules=False)[0] == []
    assert judged("batch: 2  # vramlint: ignore[effective]\n")[0] == [], "a pedantic rule did not run"


def test_a_file_without_a_run_has_no_unused_suppressions(fake: Fake) -> None:
    fake()
    assert judged("other: batch  # vramlint: ignore[batch-large]\n") == ([], 0)


@pytest.mark.parametrize(
    ("path", "text", "lines"),
    [
        ("a.sh", "# vramlint: ignore[x]\npython t.py \\\n  --batch 8 \\\n  --accum 1\n", (2, 4)),
        ("a.sh", "python t.py \\\n  --batch 8  # vramlint: ignore[x]\n", (1, 2)),
        ("a.sh", "python a.py --b 1\n# vramlint: ignore[x]\npython t.py --batch 8\n", (3, 3)),
        ("a.py", "class C:\n    batch = 8  # vramlint: ignore[x]\n", (2, 2)),
        ("a.py", "class C:\n    # vramlint: ignore[x]\n    batch = 8\n", (3, 3)),
        ("a.toml", "[t]\nbatch = 8 # vramlint: ignore[x]\n", (2, 2)),
        ("a.json", '{\n  // vramlint: ignore[x]\n  "batch": 8\n}\n', (3, 3)),
        ("a.json", '{\n  "batch": 8 // vramlint: ignore[x]\n}\n', (2, 2)),
        ("a.yml", "batch: 8 # vramlint: ignore-file[x]\n", None),
        ("a.yml", "batch: 8\n# vramlint: ignore[x]", (3, 3)),
    ],
)
def test_what_a_comment_covers(path: str, text: str, lines: tuple[int, int] | None) -> None:
    (found,) = suppressions(read(path, text.encode()))
    assert (found.rules, found.lines) == (("x",), lines)
