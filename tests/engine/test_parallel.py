"""Many files on several cores: the same answer as from one process, whatever happens to the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from vramlint.engine import CheckOptions, check, parallel
from vramlint.errors import SettingsError, UsageError
from vramlint.report.json import render
from vramlint.results import CheckResult

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
OPTIONS = CheckOptions(gpu=("h100-80gb",), gpus=2, pedantic=True, isolated=True)


@pytest.fixture(autouse=True)
def _two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(parallel, "_processes", lambda _files: 3)
    for number in range(12):
        Path(f"c{number:02}.yaml").write_text(
            "model_name_or_path: Qwen/Qwen2.5-0.5B\noutput_dir: o\nper_device_train_batch_size: 2\n"
            f"learning_rate: 1e-{number}\ndataloader_prefetch_factor: 2\n",
            encoding="utf-8",
        )
    Path("run.sh").write_text("torchrun --nproc_per_node 4 train.py c11.yaml\n", encoding="utf-8")
    Path("broken.yaml").write_text("batch_size: [\n", encoding="utf-8")


def _no_text(_path: str) -> str | None:
    return None


def many(paths: Sequence[str] = (".",), options: CheckOptions = OPTIONS) -> CheckResult:
    return parallel.check_many(paths, options, needs_trees=lambda: False)


def test_the_answer_is_that_of_one_process() -> None:
    alone, shared = check(["."], OPTIONS), many()
    assert render(shared, _no_text) == render(alone, _no_text)
    assert shared._replace(runs=()) == alone._replace(runs=())
    assert [run.reading.plan for run in shared.runs] == [run.reading.plan for run in alone.runs]
    assert [run.estimate for run in shared.runs] == [run.estimate for run in alone.runs]


def test_a_script_and_the_config_it_names_in_two_shares_are_one_run() -> None:
    named = ["run.sh", "c00.yaml", "c01.yaml", "c11.yaml", "c02.yaml"]
    alone, shared = check(named, OPTIONS), many(named)
    assert sorted(run.reading.plan.path for run in shared.runs) == sorted(run.reading.plan.path for run in alone.runs)
    assert shared.findings == alone.findings
    assert shared.files_checked == alone.files_checked


def test_texts_of_findings_come_along_and_trees_do_not() -> None:
    found = next(run for run in many().runs if run.reading.plan.path == "c01.yaml")
    assert found.findings
    assert "per_device_train_batch_size" in found.reading.document.text
    assert found.reading.slots == {}


def test_trees_are_kept_for_who_needs_them() -> None:
    result = parallel.check_many(["."], OPTIONS, needs_trees=lambda: True)
    assert any(run.reading.slots for run in result.runs)


@pytest.mark.parametrize("end", ["dies", "cannot tell"])
def test_a_process_that_does_not_answer_costs_nothing_but_time(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*_: object) -> bytes:
        if end == "dies":
            os._exit(3)
        raise TypeError("cannot pickle a function")

    alone = check(["."], OPTIONS)
    monkeypatch.setattr(parallel, "_told", told)
    assert render(many(), _no_text) == render(alone, _no_text)


def test_errors_of_the_settings_are_raised() -> None:
    Path("sub").mkdir()
    Path("sub/vramlint.toml").write_text("nonsense = 1\n", encoding="utf-8")
    Path("sub/d.yaml").write_text(Path("c01.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    options = CheckOptions(gpu=("h100-80gb",))
    with pytest.raises(SettingsError) as alone:
        check(["."], options)
    with pytest.raises(SettingsError) as shared:
        many(options=options)
    assert (shared.value.message, shared.value.path) == (alone.value.message, alone.value.path)
    with pytest.raises(UsageError):
        many(["missing.yaml"])


def test_few_files_stay_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert parallel._processes(20) == 1
    assert parallel._processes(10_000) <= 8
