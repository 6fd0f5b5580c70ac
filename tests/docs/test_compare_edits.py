"""The measure behind docs/edits.md, and vramlint's row of it on a sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.compare_edits import Outcome, measure, task_of, with_pyyaml, with_ruamel, with_vramlint
from tools.roundtrip import files_under

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / ".." / "shared" / "corpus"


@pytest.mark.parametrize(
    ("expected", "found", "outcome"),
    [
        ("a: 1\n", "a: 1\n", Outcome(0, 0, 0)),
        ("a: 'x'\nb: 1\n", "a: x\nb: 1\n", Outcome(4, 1, 0)),
        ("a: 1  # c\nb: 2\n", "a: 1\nb: 2\n", Outcome(5, 1, 1)),
        ("a: 1\n\nb: é\n", "a: 1\nb: é\n", Outcome(1, 1, 0)),
        ("a:\n- é\n", "a:\n- ö\n", Outcome(4, 1, 0)),
    ],
)
def test_bytes_lines_and_comments_are_counted(expected: str, found: str, outcome: Outcome) -> None:
    assert measure(expected, found) == outcome


def test_three_programs_on_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# head\nlr: 'x'\ntrain:\n    batch_size: 8   # per GPU\n")
    task = task_of(path)
    assert task is not None
    assert measure(task.expected, with_vramlint(task)) == Outcome(0, 0, 0)
    assert measure(task.expected, with_ruamel(task)).changed_lines == 2
    assert measure(task.expected, with_pyyaml(task)).comments_lost == 2


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the checkout")
def test_vramlint_changes_nothing_else_in_real_files() -> None:
    tasks = [task for path in files_under([str(CORPUS)])[::20] if (task := task_of(path)) is not None]
    assert len(tasks) > 20
    assert all(measure(task.expected, with_vramlint(task)) == Outcome(0, 0, 0) for task in tasks)


def test_the_page_says_so() -> None:
    row = next(line for line in (ROOT / "docs" / "edits.md").read_text().splitlines() if line.startswith("| vramlint"))
    assert row == "| vramlint | 500 of 500 | 0 | 0 | 0 | 0 | 0 |"
