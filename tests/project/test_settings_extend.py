"""``extend``: what a shared file gives, what the own file changes, and chains that lead nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from vramlint.errors import SettingsError
from vramlint.project.setting_values import SETTING_NAMES
from vramlint.project.settings import Settings, SettingsFinder
from vramlint.project.settings_schema import settings_schema

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def settings(path: str = "train.yml") -> Settings:
    return SettingsFinder().for_file(path)


def test_own_keys_win_and_the_rest_is_inherited() -> None:
    write("../shared.toml", 'gpu = "t4"\ngpus = 8\nignore = ["VL1"]\nheadroom = 0.2\n')
    write("vramlint.toml", 'extend = "../shared.toml"\ngpus = 2\nignore = ["VL2"]\n')
    found = settings()
    assert (found.target.gpu, found.target.gpus) == ("t4", 2)
    assert found.ignore == ("VL2",)
    assert found.limits is not None
    assert found.limits.headroom == 0.2
    assert found.path == "vramlint.toml"


def test_targets_and_per_file_ignores_are_joined_and_the_own_ones_win() -> None:
    write("../shared.toml", '[per-file-ignores]\n"a/**" = ["VL1"]\n[[targets]]\npath = "**"\ngpu = "t4"\ngpus = 4\n')
    write(
        "vramlint.toml",
        'extend = "../shared.toml"\n[per-file-ignores]\n"a/**" = ["VL2"]\n'
        '[[targets]]\npath = "a/**"\ngpu = "a100-80gb"\n',
    )
    found = settings("a/x.yml")
    here = str(Path("a/x.yml").resolve())
    assert found.ignored_for(here) == ("VL1", "VL2")
    assert [(table.gpu, table.gpus) for table in found.targets_for(here)][:2] == [("a100-80gb", None), ("t4", 4)]


def test_files_are_relative_to_who_names_them_and_patterns_to_who_is_found() -> None:
    write("../ops/shared.toml", 'rules = ["rules.yaml"]\nbaseline = "base.json"\nexclude = ["legacy/"]\n')
    write("vramlint.toml", 'extend = "../ops/shared.toml"\n')
    found = settings()
    ops = Path("../ops").resolve()
    assert found.rules == (str(ops / "rules.yaml"),)
    assert found.baseline == str(ops / "base.json")
    assert found.root == str(Path.cwd())
    assert found.exclude == ("legacy/",)


def test_chains_and_lists_later_files_win() -> None:
    write("../a.toml", 'gpu = "t4"\ngpus = 1\nnodes = 7\n')
    write("../b.toml", 'extend = "a.toml"\ngpus = 2\n')
    write("../c.toml", "gpus = 3\n")
    write("pyproject.toml", '[tool.vramlint]\nextend = ["../b.toml", "../c.toml"]\n')
    found = settings()
    assert (found.target.gpu, found.target.gpus, found.target.nodes) == ("t4", 3, 7)


def test_a_pyproject_can_be_extended() -> None:
    write("../pyproject.toml", '[tool.vramlint]\ngpu = "t4"\n')
    write("vramlint.toml", 'extend = "../pyproject.toml"\n')
    assert settings().target.gpu == "t4"


@pytest.mark.parametrize(
    ("files", "message", "path", "line"),
    [
        ({"vramlint.toml": 'gpus = 1\nextend = "none.toml"\n'}, "none.toml, which cannot be read", "vramlint.toml", 2),
        ({"vramlint.toml": 'extend = "vramlint.toml"\n'}, "circle: vramlint.toml -> vramlint.toml", "vramlint.toml", 1),
        (
            {"vramlint.toml": 'extend="a.toml"\n', "a.toml": 'extend="b.toml"\n', "b.toml": '\nextend="a.toml"\n'},
            "circle: a.toml -> b.toml -> a.toml",
            "b.toml",
            2,
        ),
        ({"vramlint.toml": 'extend = "a.toml"\n', "a.toml": "\ngpus = 0\n"}, "gpus = 0", "a.toml", 2),
        ({"vramlint.toml": 'extend = "a.toml"\n', "a.toml": "gpus = \n"}, "not valid TOML", "a.toml", 1),
        ({"vramlint.toml": "extend = 3\n"}, "expected a text or a list of texts", "vramlint.toml", 1),
        (
            {"vramlint.toml": 'extend = "pyproject.toml"\n', "pyproject.toml": "[tool.x]\n"},
            "no [tool.vramlint]",
            "vramlint.toml",
            1,
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_extended_says_where(files: dict[str, str], message: str, path: str, line: int) -> None:
    for name, text in files.items():
        write(name, text)
    with pytest.raises(SettingsError) as caught:
        settings()
    assert message in caught.value.message
    assert (caught.value.path, caught.value.line) == (path, line)


def test_the_schema_knows_every_setting_and_says_what_it_is() -> None:
    schema = settings_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    assert set(schema["properties"]) == set(SETTING_NAMES)
    assert all(form.get("description") for form in schema["properties"].values())


def test_the_schema_in_the_docs_is_fresh() -> None:
    assert json.loads((ROOT / "docs/settings.schema.json").read_text(encoding="utf-8")) == settings_schema()


ACCEPTED = (
    {"gpu": "t4", "gpus": 2, "ram": "64GiB", "shm": "500 MB", "headroom": 0.1, "extend": ["a", "b"]},
    {"targets": [{"path": "a/**", "gpus": 8}], "per-file-ignores": {"a": ["VL1"]}, "select": []},
    {"extend": "a.toml", "fill-to": 1, "ram": "1.5TiB"},
)
REFUSED = (
    {"gpus": 0}, {"gpus": True}, {"gpu": ""}, {"gpu": 3}, {"headroom": 2}, {"ram": "64"}, {"ram": 64},
    {"select": "VL1"}, {"targets": [{"gpus": 8}]}, {"targets": [{"path": "a", "gpuss": 1}]}, {"unknown": 1},
    {"extend": 3}, {"per-file-ignores": {"a": "VL1"}},
)  # fmt: skip


@pytest.mark.parametrize("data", [*ACCEPTED, *REFUSED], ids=str)
def test_the_schema_and_the_reader_agree(data: dict[str, object]) -> None:
    from vramlint.project.settings_reader import _values, _Where

    accepted = {**data}
    accepted.pop("extend", None) if data in ACCEPTED else None
    try:
        _values(_Where("x.toml", "", ""), accepted, ("x.toml",))
        read = True
    except SettingsError:
        read = False
    assert jsonschema.Draft7Validator(settings_schema()).is_valid(data) is read is (data in ACCEPTED)
