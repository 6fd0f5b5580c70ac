"""Run units: which launch lines use a config, which configs a script chooses, what a dialect may read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vramlint.hardware.model import Target
from vramlint.project.units import FileContext, Project


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "repo"
    (root / ".git").mkdir(parents=True)
    monkeypatch.chdir(root)


def write(path: str, text: str = "") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def launches(path: str, **project: object) -> list[tuple[str, str]]:
    return [(doc.path, command.program) for doc, command in Project(**project).launches(path)]  # type: ignore[arg-type]


def config(path: str = "configs/a.yml") -> str:
    write(path, "batch_size: 1\n")
    return path


@pytest.mark.parametrize(
    "line",
    [
        "accelerate launch train.py --config configs/a.yml",
        "accelerate launch train.py --config=configs/a.yml",
        "torchrun --nproc_per_node=2 train.py configs/a.yml",
        "accelerate launch --config_file configs/a.yml train.py",
        "python train.py config=configs/a.yml",
        "python train.py --config-path configs --config-name a",
        "CFG=configs/a.yml\npython train.py --config $CFG",
        "python train.py \\\n  --config ./configs/a.yml",
    ],
)
def test_a_launch_line_names_the_config(line: str) -> None:
    write("train.sh", f"#!/bin/sh\n{line}\n")
    assert launches(config()) == [("train.sh", "train.py")]


@pytest.mark.parametrize(
    "line",
    [
        "python train.py --config configs/b.yml",
        "# python train.py --config configs/a.yml",
        "python train.py --config other/a.yml",
        "echo a",
        "python train.py --config configs/aa.yml",
    ],
)
def test_a_line_that_names_another_file(line: str) -> None:
    write("other/a.yml")
    write("configs/aa.yml")
    write("train.sh", f"#!/bin/sh\n{line}\n")
    assert launches(config()) == []


@pytest.mark.parametrize("script", ["configs/run.sh", "run.sh", "scripts/run.sh", "configs/scripts/run.sh"])
def test_where_scripts_are_looked_for(script: str) -> None:
    write(script, "python train.py --config configs/a.yml\n")
    assert launches(config()) == [(script, "train.py")]


def test_other_folders_only_when_they_are_checked_too() -> None:
    write("jobs/night/run.sh", "python train.py --config configs/a.yml\n")
    assert launches(config()) == []
    assert launches("configs/a.yml", checked=["jobs/night/run.sh"]) == [("jobs/night/run.sh", "train.py")]


def test_nothing_above_the_repository() -> None:
    write("../run.sh", "python train.py --config repo/configs/a.yml\n")
    assert launches(config()) == []


def test_all_lines_of_a_script_stay_visible() -> None:
    write("train.sh", "torchrun --nproc_per_node=2 a.py a.yml\ntorchrun --nproc_per_node=4 b.py a.yml\n")
    assert launches(config("a.yml")) == [("train.sh", "a.py"), ("train.sh", "b.py")]


def test_a_python_config_through_the_script_that_imports_it() -> None:
    write("src/config_low.py", "class Config:\n    batch_size: int = 64\n")
    write("src/config_high.py", "class Config:\n    batch_size: int = 128\n")
    write("train.py", "from src.config_low import Config\n")
    write("train.sh", "torchrun --nproc_per_node=2 train.py\n")
    assert launches("src/config_low.py") == [("train.sh", "train.py")]
    assert launches("src/config_high.py") == []


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("train.py", "from src.config_low import Config"),
        ("train.py", "import src.config_low"),
        ("train.py", "from src.config_low import (Config, other)  # why"),
        ("src/train.py", "from .config_low import Config"),
        ("src/sub/train.py", "from ..config_low import Config"),
        ("src/train.py", "from config_low import Config"),
        ("train.py", "if True:\n    from src.config_low import Config"),
    ],
)
def test_a_script_chooses_a_config_by_its_import(script: str, line: str) -> None:
    write("src/config_low.py", "class Config: ...\n")
    write(script, f"{line}\nimport torch\nfrom src.models import resnet\n")
    write("src/models.py")
    assert Project().linked(script) == ("src/config_low.py",)


def test_imports_of_installed_packages_and_strings_link_nothing() -> None:
    write("train.py", "from transformers import AutoConfig\nfrom yacs.config import CfgNode\nx = 'import config'\n")
    assert Project().linked("train.py") == ()


def test_a_launch_line_links_script_and_config() -> None:
    config()
    write("train.py")
    write("run.sh", "cd /somewhere\npython train.py --config configs/a.yml --data missing.yml\n")
    assert Project().linked("run.sh") == ("train.py", "configs/a.yml")


def test_files_through_symlinks_that_leave_the_root_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.yml").write_text("batch_size: 1\n", encoding="utf-8")
    os.symlink(tmp_path / "secret.yml", "link.yml")
    assert Project().files.find("link.yml", "train.yml") is None
    assert Project().files.find("../secret.yml", "train.yml") is None


def test_a_file_outside_every_repository_finds_its_base_files(tmp_path: Path) -> None:
    write(str(tmp_path / "elsewhere" / "configs" / "a.yml"))
    write(str(tmp_path / "elsewhere" / "_base_" / "b.yml"))
    beside = str(tmp_path / "elsewhere" / "configs" / "a.yml")
    found = Project().files.find("../_base_/b.yml", beside)
    assert found is not None
    assert Path(found).resolve() == (tmp_path / "elsewhere" / "_base_" / "b.yml").resolve()


def test_a_context_reads_from_the_root_and_from_the_folder() -> None:
    write("configs/ds/zero2.json", "{}")
    config()
    context = FileContext(Project(), "configs/a.yml", Target())
    for name in ("configs/ds/zero2.json", "ds/zero2.json", "./ds/zero2.json"):
        found = context.document(name)
        assert found is not None
        assert found.path == "configs/ds/zero2.json"
    assert context.document("ds/zero3.json") is None


def test_an_unreadable_neighbour_is_none() -> None:
    write("broken.json", "{")
    assert FileContext(Project(), "a.yml", Target()).document("broken.json") is None


def test_the_overlay_stands_for_the_disk() -> None:
    write("a.yml", "x: 1\n")
    project = Project({"a.yml": b"x: 2\n", "new.yml": b"y: 1\n"})
    assert project.files.data("a.yml") == b"x: 2\n"
    assert project.files.find("new.yml", "a.yml") == "new.yml"


def test_each_file_is_read_once() -> None:
    write("a.yml", "x: 1\n")
    project = Project()
    first = project.files.document("a.yml")
    write("a.yml", "x: 2\n")
    assert project.files.document("a.yml") is first


def test_the_work_is_bounded() -> None:
    """Two hundred scripts beside a config are looked at; each is parsed only when it holds the config's name."""
    config("many/settings_a.yml")
    for number in range(300):
        write(f"many/run{number:03}.sh", "python train.py --config b.yml\n")
    project = Project()
    assert project.launches("many/settings_a.yml") == ()
    assert len(project.files._data) <= 201  # the scripts, and the YAML files beside them: the config itself
    assert project.files._documents == {}


def test_a_file_whose_name_is_no_text() -> None:
    name = os.fsdecode(b"caf\xe9.yml")
    write("train.sh", "python train.py --config other.yml\n")
    assert launches(config(name)) == []
