"""What is repaired is the user's choice: dry runs, questions, and how sure a finding has to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vramlint.cli.main import cli

LINE = (
    "torchrun --nproc_per_node=1 train.py --model resnet50 --image_size 224 224 --batch_size {} "
    "--gradient_accumulation_steps {} --mixed_precision --epochs 5\n"
)
BROKEN = LINE.format(512, 1)
TARGET = ("--gpu", "rtx3060-12gb", "--isolated", "train.sh")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "train.sh").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def vramlint(*arguments: str, answers: str = "") -> Result:
    return CliRunner().invoke(cli, ["check", *arguments, *TARGET], input=answers, standalone_mode=False)


def test_a_dry_run_says_what_fix_would_do_and_writes_nothing(project: Path) -> None:
    done = vramlint("--fix", "--dry-run")
    assert done.return_value == 1
    assert "would fix train.sh: set --batch_size to 128 and --gradient_accumulation_steps to 4" in done.output
    assert (project / "train.sh").read_text() == BROKEN
    vramlint("--fix")
    assert (project / "train.sh").read_text() == LINE.format(128, 4)


def test_a_dry_run_as_a_diff(project: Path) -> None:
    done = vramlint("--fix", "--dry-run", "--diff")
    assert "+torchrun" in done.output
    assert (project / "train.sh").read_text() == BROKEN


@pytest.mark.parametrize("arguments", [("--dry-run",), ("--dry-run", "--diff"), ("--ask", "--add-ignore")])
def test_options_that_do_nothing_together_are_refused(arguments: tuple[str, ...]) -> None:
    done = vramlint(*arguments)
    assert done.exception is not None


def test_the_chosen_repair_is_made(project: Path) -> None:
    done = vramlint("--ask", answers="1\n")
    assert "1  safe: set --batch_size to 128" in done.output
    assert (project / "train.sh").read_text() == LINE.format(128, 4)
    assert done.return_value == 0


def test_an_unsafe_repair_can_be_chosen(project: Path) -> None:
    done = vramlint("--ask", answers="2\n")
    assert "2  unsafe: set --batch_size to 200 (effective batch 512 -> 200" in done.output
    assert (project / "train.sh").read_text() == LINE.format(200, 1)


@pytest.mark.parametrize("answers", ["s\n", "\n", "q\n", "7\ns\n"])
def test_skipping_leaves_the_file_alone(project: Path, answers: str) -> None:
    done = vramlint("--ask", answers=answers)
    assert done.return_value == 1
    assert (project / "train.sh").read_text() == BROKEN


def test_a_question_is_asked_once_and_quitting_ends_them_all(project: Path) -> None:
    (project / "train.sh").write_text(BROKEN.replace("--epochs", "--num_workers 0 --prefetch_factor 4 --epochs"))
    assert vramlint("--ask", answers="s\ns\ns\n").output.count("Which?") > 1
    assert vramlint("--ask", answers="q\n").output.count("Which?") == 1


@pytest.mark.parametrize(("least", "count"), [("low", 2), ("medium", 2), ("high", 1)])
def test_only_findings_that_are_sure_enough(project: Path, least: str, count: int) -> None:
    """Prefetching without workers is certain; that a run with an unknown sharding is over is not as certain."""
    text = LINE.format(160, 2).replace("--epochs", "--num_workers 0 --prefetch_factor 4 --epochs")
    (project / "train.sh").write_text(text)
    done = vramlint("--min-confidence", least, "--select", "VL301,VL310", "--output-format", "concise")
    assert done.output.count("train.sh:1:") == count
