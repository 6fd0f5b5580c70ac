"""A launch line and the config it names are one run, reported at the config with the line's words laid over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vramlint.engine import CheckOptions, check

NANO = "batch_size = 16\nblock_size = 256\ngradient_accumulation_steps = 3\nn_layer = 6\nmax_iters = 5000\n"


def runs(folder: Path, *names: str) -> list[tuple[str, str, int | None]]:
    result = check([str(folder / name) for name in names] or [str(folder)], CheckOptions(isolated=True))
    assert not result.failures
    return sorted(
        (Path(run.reading.plan.path).name, run.reading.plan.dialect, run.reading.plan.micro_batch.value)
        for run in result.runs
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def test_the_config_is_the_run(project: Path) -> None:
    write(project, nano__py=NANO, train__sh="python train.py nano.py --batch_size=8 --learning_rate=1e-3\n")
    expected = [("nano.py", "nanogpt", 8)]
    assert runs(project) == expected
    assert runs(project, "train.sh") == expected
    assert runs(project, "train.sh", "nano.py") == expected


def test_a_line_without_a_config_is_a_run(project: Path) -> None:
    write(project, nano__py=NANO, train__sh="python other.py --batch_size=8 --learning_rate=1e-3\n")
    assert ("train.sh", "argparse_trainer", 8) in runs(project)


def test_a_file_beside_the_config_is_no_run_of_the_line(project: Path) -> None:
    write(
        project,
        ds__json='{"train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": 2}}\n',
        train__sh="deepspeed train.py --deepspeed_config ds.json --batch_size 8 --learning_rate 1e-3\n",
    )
    assert ("train.sh", "argparse_trainer", 8) in runs(project)


def test_two_lines_of_one_script_stay_apart(project: Path) -> None:
    lines = "python train.py nano.py --batch_size=8 --lr=1e-3\npython other.py --batch_size=4 --lr=1e-3\n"
    write(project, nano__py=NANO, train__sh=lines)
    assert runs(project) == [("nano.py", "nanogpt", 8), ("train.sh", "argparse_trainer", 4)]
