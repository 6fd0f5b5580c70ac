"""Every declared fact of a framework proves itself: its failing examples make its finding, its passing ones none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.rules.witnesses.tables import FRAMEWORKS, own_rows
from vramlint.constraints import Row
from vramlint.constraints.examples import example_path, example_text
from vramlint.engine import CheckOptions, check_source
from vramlint.findings import Finding
from vramlint_rules import _rows
from vramlint_rules._rows import rows_of


class Example(NamedTuple):
    """A row's example under the framework whose file holds the row."""

    framework: str
    row: Row
    settings: Mapping[str, Any]


def examples(kind: str) -> list[object]:
    return [
        pytest.param(Example(framework, row, settings), id=f"{framework}-{row.name}-{number}")
        for framework in FRAMEWORKS
        for row in own_rows(framework)
        for number, settings in enumerate(getattr(row, kind), 1)
    ]


@pytest.fixture(autouse=True)
def _empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)


def found(example: Example) -> tuple[str, list[Finding]]:
    path, text = example_path(example.row), example_text(example.row, example.settings)
    gpus = example.row.example.get("gpus")
    result = check_source(path, text.encode(), CheckOptions(select=("VL7",), isolated=True, pedantic=True, gpus=gpus))
    assert not result.failures
    assert {run.reading.plan.dialect for run in result.runs} == {example.framework}, "the example is not recognised"
    return text, [finding for finding in result.findings if example.row.source in finding.help]


@pytest.mark.parametrize("example", examples("fails"))
def test_a_failing_example_is_found(example: Example) -> None:
    text, findings = found(example)
    mine = [finding for finding in findings if _is_of(finding, example.row)]
    assert len(mine) == 1, [finding.message for finding in findings]
    place = mine[0].location
    assert text[place.start : place.end]
    assert "{" not in mine[0].message.replace("{'", "")


@pytest.mark.parametrize("example", examples("passes"))
def test_a_passing_example_is_silent(example: Example) -> None:
    _, findings = found(example)
    assert [finding.message for finding in findings if _is_of(finding, example.row)] == []


def _is_of(finding: Finding, row: Row) -> bool:
    """Rows of one source are told apart by their words before the first value."""
    return finding.message.startswith(row.message.split("{")[0]) and finding.severity is row.severity


def test_settings_are_found_inside_a_job() -> None:
    """A job file of MosaicML keeps the config under ``parameters``."""
    text = (
        "name: job\ncommand: composer train.py /mnt/config/parameters.yaml\ncompute: {gpus: 8}\nparameters:\n"
        "  model: {name: mpt_causal_lm, d_model: 768, n_heads: 12, n_layers: 12}\n  train_loader: {name: text}\n"
        "  max_duration: 10ba\n  global_train_batch_size: 64\n  device_train_microbatch_size: 4\n"
        "  tp_config: {strategy: ffn}\n"
    )
    result = check_source("mcli.yaml", text.encode(), CheckOptions(select=("VL7",), isolated=True))
    assert [finding.code for finding in result.findings] == ["VL702"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_file_of_rows_is_complete(framework: str) -> None:
    rows = rows_of(framework)
    assert len({row.name for row in rows}) == len(rows)
    for row in own_rows(framework):
        assert row.fails, row.name
        assert row.passes, row.name
        assert row.source, row.name
        assert ": " in row.message or "," in row.message, f"{row.name}: the message says no consequence"
        assert not row.message.endswith("."), row.name
        assert row.help.endswith("."), row.name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_json_says_what_the_yaml_says(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.delattr(_rows, "read_rows")  # else an outdated file would go unnoticed here
        quick = _rows._read(framework)
    assert quick is not None
    assert quick.rows == tuple(row._replace(fails=(), passes=()) for row in own_rows(framework))


@pytest.mark.parametrize("edit", [b"# edited\n", None])
def test_yaml_edited_since_is_read_itself(edit: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, made = Path(_rows.FOLDER, "mmengine.yaml").read_bytes(), Path(_rows.PARSED_FOLDER, "mmengine.json")
    (tmp_path / "mmengine.yaml").write_bytes(source + (edit or b""))
    if edit:
        (tmp_path / "mmengine.json").write_bytes(made.read_bytes())
    monkeypatch.setattr(_rows, "FOLDER", str(tmp_path))
    monkeypatch.setattr(_rows, "PARSED_FOLDER", str(tmp_path))
    found = _rows._read("mmengine")
    assert found is not None
    assert found.rows == own_rows("mmengine")
