"""The baseline: what it knows, what makes a finding new, and files that are none."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from vramlint.cli.main import main
from vramlint.engine import check
from vramlint.engine.baseline import Baseline, Entry, entries_of, pruned, read_baseline, render, without_known
from vramlint.engine.key_paths import key_path
from vramlint.errors import SettingsError
from vramlint.sources import read

YAML = """\
model_name_or_path: Qwen/Qwen2.5-0.5B
output_dir: out
per_device_train_batch_size: 4
num_train_epochs: 1
dataloader_num_workers: 0
dataloader_prefetch_factor: 2
"""
FILE = "base.json"


def accepted(text: str = YAML) -> Baseline:
    """The baseline of ``a.yaml`` with that text."""
    Path("a.yaml").write_text(text)
    Path(FILE).write_text(render(entries_of(check(["a.yaml"]), FILE)))
    return read_baseline(FILE)


def new_names(text: str, baseline: Baseline) -> list[str]:
    Path("a.yaml").write_text(text)
    return [found.name for found in without_known(check(["a.yaml"]), baseline).result.findings]


def test_what_is_accepted_is_not_told_again() -> None:
    baseline = accepted()
    compared = without_known(check(["a.yaml"]), baseline)
    assert compared.result.findings == ()
    assert [run.findings for run in compared.result.runs] == [()]
    assert (compared.known, compared.result.baselined) == (1, 1)
    assert not compared.gone


def test_lines_may_move_and_the_messages_numbers_do_not_count() -> None:
    baseline = accepted()
    assert new_names("# a comment\n\n" + YAML, baseline) == []


@pytest.mark.parametrize(
    "text",
    [
        YAML.replace("factor: 2", "factor: 4"),
        YAML.replace("dataloader_prefetch_factor: 2", "'dataloader_prefetch_factor': 3"),
    ],
)
def test_another_value_is_a_new_finding(text: str) -> None:
    assert new_names(text, accepted()) == ["prefetch-without-workers"]


def test_another_file_is_a_new_finding() -> None:
    baseline = accepted()
    Path("b.yaml").write_text(YAML)
    assert [found.location.path for found in without_known(check(["."]), baseline).result.findings] == ["b.yaml"]


def test_paths_are_relative_to_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("configs").mkdir()
    Path("configs/a.yaml").write_text(YAML)
    Path(FILE).write_text(render(entries_of(check(["."]), FILE)))
    assert json.loads(Path(FILE).read_text())["findings"][0]["path"] == "configs/a.yaml"
    monkeypatch.chdir("configs")
    assert without_known(check(["a.yaml"]), read_baseline(f"../{FILE}")).result.findings == ()


def test_a_fixed_finding_is_gone_and_pruning_drops_only_what_was_looked_at() -> None:
    baseline = accepted()
    Path("a.yaml").write_text(YAML.replace("dataloader_prefetch_factor: 2\n", ""))
    gone = without_known(check(["a.yaml"]), baseline).gone
    assert gone.total() == 1
    assert pruned(baseline, gone, ["other.yaml"]) == baseline.entries
    assert pruned(baseline, gone, ["a.yaml"]).total() == 0
    Path("a.yaml").unlink()
    assert pruned(baseline, gone, []).total() == 0, "of a file that is no more nothing can come back"


def test_counts_are_kept() -> None:
    entry = Entry("a.yaml", "rule", "key", "1")
    Path(FILE).write_text(render(Counter({entry: 3})))
    assert read_baseline(FILE).entries == Counter({entry: 3})


def test_the_text_is_sorted_and_the_same_every_time() -> None:
    entries = [Entry("b.yaml", "r", "k", "1"), Entry("a.yaml", "s", "k", "ü"), Entry("a.yaml", "r", "k", "1")]
    text = render(entries)
    assert text == render(reversed(entries))
    assert [row["path"] for row in json.loads(text)["findings"]] == ["a.yaml", "a.yaml", "b.yaml"]
    assert len(text.splitlines()) == 5 + len(entries)
    assert json.loads(render([]))["findings"] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "no baseline"),
        ('{"schema": "vramlint.baseline/9", "findings": []}', "vramlint.baseline/1"),
        ('{"schema": "vramlint.baseline/1", "findings": [{"path": "a"}]}', "findings[0]"),
        ('{"schema": "vramlint.baseline/1", "findings": [{"path": "a", "rule": 3}]}', "findings[0]"),
        ('{"schema": "vramlint.baseline/1", "findings": [3]}', "findings[0]"),
    ],
)
def test_a_file_that_is_no_baseline(text: str, message: str) -> None:
    Path(FILE).write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_baseline(FILE)
    assert message in caught.value.message
    assert caught.value.path == FILE
    assert caught.value.help


def test_a_missing_baseline_says_how_to_make_one() -> None:
    with pytest.raises(SettingsError, match="vramlint baseline"):
        read_baseline("none.json")


@pytest.mark.parametrize(
    ("name", "text", "needle", "path"),
    [
        ("a.yaml", "train:\n  batch: 4\nother: 5\n", "4", "train.batch"),
        ("a.yaml", "stages:\n  - lr: 1\n  - lr: 2\n", "2", "stages[].lr"),
        ("a.json", '{"a": {"b": [1, {"c": 7}]}}', "7", "a.b[].c"),
        ("a.toml", "[train]\nbatch = 4\n", "4", "train.batch"),
        ("a.py", "class Config:\n    queue: int = 9\n", "9", "Config.queue"),
        ("a.py", "batch = 9\n", "9", "batch"),
        ("a.sh", "torchrun --nproc_per_node=2 train.py --batch 9\n", "9", "train.py --batch"),
        ("a.sh", "torchrun --nproc_per_node=2 train.py --batch 9\n", "2", "train.py --nproc_per_node"),
        ("a.yaml", "# 3\nbatch: 4\n", "3", ""),
    ],
)
def test_key_paths(name: str, text: str, needle: str, path: str) -> None:
    assert key_path(read(name, text.encode()), text.index(needle)) == path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["a.yaml"], 0),
        (["--isolated", "a.yaml"], 1),
        (["--isolated", "--baseline", "ops/base.json", "a.yaml"], 0),
        (["--baseline", "none.json", "a.yaml"], 2),
        (["--statistics", "a.yaml"], 0),
        (["--diff", "a.yaml"], 0),
        (["exec", "--check-only", "--", "python", "train.py", "--config", "a.yaml"], 0),
        (["exec", "--check-only", "--isolated", "--", "python", "train.py", "--config", "a.yaml"], 1),
    ],
)
def test_the_commands_and_the_settings(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text(YAML)
    Path("ops").mkdir()
    Path("vramlint.toml").write_text('baseline = "ops/base.json"\n')
    assert main(["baseline"]) == 0
    assert capsys.readouterr().out == "ops/base.json: 1 finding in 1 file accepted\n"
    assert main(arguments) == code


def test_pruning_by_command(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text(YAML)
    Path("b.yaml").write_text(YAML)
    main(["baseline", "--pedantic"])
    before = read_baseline(".vramlint-baseline.json").entries.total()
    Path("a.yaml").write_text(YAML.replace("dataloader_prefetch_factor: 2\n", ""))
    Path("c.yaml").write_text(YAML)
    capsys.readouterr()
    assert main(["baseline", "--prune"]) == 0
    assert capsys.readouterr().out == f".vramlint-baseline.json: 1 finding no longer there, {before - 1} kept\n"
    assert all(entry.path != "c.yaml" for entry in read_baseline(".vramlint-baseline.json").entries)
    assert main(["baseline", "--prune", "--select", "VL3"]) == 2


def test_no_baseline_is_written_of_what_cannot_be_read() -> None:
    Path("a.yaml").write_text(YAML + "x: [1,\n")
    assert main(["baseline", "a.yaml"]) == 2
    assert not Path(".vramlint-baseline.json").exists()
