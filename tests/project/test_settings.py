"""Settings: which file wins, what is refused and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from vramlint.errors import SettingsError
from vramlint.project.setting_values import SETTING_NAMES, size_bytes
from vramlint.project.settings import Settings, SettingsFinder

GIB = 2**30


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def settings(path: str = "train.yml", **how: bool) -> Settings:
    return SettingsFinder(**how).for_file(path)


def test_no_file_means_defaults() -> None:
    found = settings()
    assert found.path is None
    assert found.target.gpu is None
    assert found.limits is None


def test_every_key_is_read() -> None:
    write(
        "vramlint.toml",
        """
        gpu = "rtx3060-12gb"
        gpus = 2
        nodes = 3
        cores = 16
        ram = "64GiB"
        shm = "500 MB"
        disk = "2TiB"
        headroom = 0.1
        wasted-below = 0.5
        fill-to = 0.9
        select = ["VL2"]
        ignore = ["vram-wasted"]
        exclude = ["legacy/"]
        plugins = ["mine"]
        rules = ["ops/rules.yaml"]
        baseline = "ops/base.json"
        per-file-ignores = { "old/**" = ["VL1"] }
        [[targets]]
        path = "cluster/**"
        gpus = 8
        [[models]]
        match = "ours"
        parameters = "31M"
        """,
    )
    found = settings()
    assert found.target[1:4] == ("rtx3060-12gb", 2, 3)
    assert found.target.host == (16, 64 * GIB, 500_000_000, 2048 * GIB)
    assert found.limits == (0.1, 0.5, 0.9)
    assert (found.select, found.ignore, found.exclude, found.plugins) == (
        ("VL2",),
        ("vram-wasted",),
        ("legacy/",),
        ("mine",),
    )
    assert found.per_file_ignores == (("old/**", ("VL1",)),)
    assert found.rules == ("ops/rules.yaml",)
    assert found.baseline == "ops/base.json"
    assert [(model.match, model.counted.parameters) for model in found.models if model.counted] == [
        ("ours", 31_000_000)
    ]
    assert [(table.path, table.gpus) for table in found.targets] == [("cluster/**", 8)]
    given = {"gpu", "gpus", "nodes", "cores", "ram", "shm", "disk", "headroom", "wasted-below", "fill-to"}
    assert set(SETTING_NAMES) == given | {
        "select",
        "ignore",
        "exclude",
        "plugins",
        "rules",
        "baseline",
        "extend",
        "per-file-ignores",
        "models",
        "targets",
    }


def test_the_closest_file_wins_whole() -> None:
    write("vramlint.toml", 'gpu = "a100-80gb"\nignore = ["VL2"]\n')
    write("inner/pyproject.toml", '[tool.vramlint]\ngpu = "rtx3090"\n')
    assert settings("train.yml").target.gpu == "a100-80gb"
    inner = settings("inner/deep/train.yml")
    assert (inner.target.gpu, inner.ignore) == ("rtx3090", ())


def test_a_pyproject_without_the_table_does_not_count() -> None:
    write("vramlint.toml", "gpus = 4\n")
    write("inner/pyproject.toml", '[project]\nname = "vramlint-user"\n')
    assert settings("inner/train.yml").target.gpus == 4


def test_vramlint_toml_wins_over_pyproject_beside_it() -> None:
    write("vramlint.toml", "gpus = 4\n")
    write("pyproject.toml", "[tool.vramlint]\ngpus = 2\n")
    assert settings().target.gpus == 4


def test_settings_above_the_repository_do_not_count(tmp_path: Path) -> None:
    write("vramlint.toml", "gpus = 4\n")
    (tmp_path / "inner" / ".git").mkdir(parents=True)
    assert settings("inner/train.yml").target.gpus is None


def test_isolated_reads_nothing() -> None:
    write("vramlint.toml", "this is no toml")
    assert settings(isolated=True).path is None


def test_an_explicit_file_holds_everywhere() -> None:
    write("vramlint.toml", "gpus = 4\n")
    write("ci/strict.toml", "gpus = 1\n")
    assert SettingsFinder("ci/strict.toml").for_file("train.yml").target.gpus == 1
    with pytest.raises(SettingsError, match="no such settings file"):
        SettingsFinder("ci/none.toml")


@pytest.mark.parametrize(
    ("text", "line", "message", "help"),
    [
        ("gpus = 2\ngpuss = 2\n", 2, "unknown setting 'gpuss'", "Did you mean 'gpus'?"),
        ("\n\ngpus = '2'\n", 3, "gpus = '2': expected a whole number of at least 1", ""),
        ("gpus = true\n", 1, "gpus = True: expected a whole number", ""),
        ("gpus = 0\n", 1, "gpus = 0: expected a whole number", ""),
        ("gpu = ['a']\n", 1, "expected a text", ""),
        ("headroom = 5\n", 1, "headroom = 5: expected a share between 0 and 1", ""),
        ("ram = 64\n", 1, 'expected a size with its unit, as "64GiB"', ""),
        ("select = 'VL2'\n", 1, "expected a list of texts", ""),
        ("[[targets]]\ngpus = 1\n", 1, "a [[targets]] table has no path", 'Add path = "folder/**".'),
        ("[[targets]]\npath = 'a'\nfoo = 1\n", 3, "unknown setting 'foo'", "Known settings"),
        ("targets = ['a']\n", 1, "targets is not an array of tables", "Write [[targets]]"),
        ("gpus = \n", 1, "not valid TOML", ""),
        ("[per-file-ignores]\na = 'VL1'\n", 1, "expected a list of texts", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, message: str, help: str) -> None:
    write("vramlint.toml", text)
    with pytest.raises(SettingsError) as raised:
        settings()
    assert message in raised.value.message
    assert (raised.value.path, raised.value.line) == ("vramlint.toml", line)
    assert help in raised.value.help


def test_the_line_is_that_of_vramlints_own_table() -> None:
    write("pyproject.toml", "[tool.other]\nfoo = 1\n\n[tool.vramlint]\nfoo = 1\n")
    with pytest.raises(SettingsError) as raised:
        settings()
    assert raised.value.line == 5


@pytest.mark.parametrize(
    ("text", "size"),
    [("64GiB", 64 * GIB), ("1.5 GiB", int(1.5 * GIB)), ("64mb", 64_000_000), ("2 TiB", 2 * 2**40), ("512KiB", 2**19)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["64", "GiB", "-1GiB", "0GiB", "1.2.3GiB", "64 bananas", 64, None, ""])
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        size_bytes(text)


def test_patterns_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    write("inner/vramlint.toml", '[per-file-ignores]\n"old/**" = ["VL1"]\n"*.sh" = ["VL2"]\n')
    found = settings("inner/train.yml")
    assert found.ignored_for(str(tmp_path / "inner/old/a.yml")) == ("VL1",)
    assert found.ignored_for(str(tmp_path / "inner/deep/a.sh")) == ("VL2",)
    assert found.ignored_for(str(tmp_path / "old/a.yml")) == ()


def test_the_last_matching_target_speaks_first(tmp_path: Path) -> None:
    write(
        "vramlint.toml",
        'gpus = 1\n[[targets]]\npath = "c/**"\ngpus = 8\n[[targets]]\npath = "c/small/**"\ngpus = 2\n',
    )
    found = settings()
    assert [table.gpus for table in found.targets_for(str(tmp_path / "c/small/x.yml"))] == [2, 8, 1]
    assert [table.gpus for table in found.targets_for(str(tmp_path / "x.yml"))] == [1]
