"""Which files a walk finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vramlint.errors import UsageError
from vramlint.project.discovery import Candidate, discover, display_path
from vramlint.project.settings import SettingsFinder


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "repo"
    (root / ".git" / "info").mkdir(parents=True)
    monkeypatch.chdir(root)


def touch(*paths: str, text: str = "x") -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")


def found(*paths: str, force_exclude: bool = False) -> list[str]:
    return [item.path for item in discover(paths or (".",), SettingsFinder(), force_exclude=force_exclude)]


def test_only_what_can_be_a_config_in_a_stable_order() -> None:
    touch("b.yml", "a.yaml", "c.txt", "d/z.json", "d/a.toml", "e.py", "f.sh", "g.sbatch", "h.slurm", "i.bash", "k.png")
    expected = ["a.yaml", "b.yml", "d/a.toml", "d/z.json", "e.py", "f.sh", "g.sbatch", "h.slurm", "i.bash"]
    assert found() == expected
    assert found("d", ".") == ["d/a.toml", "d/z.json", "a.yaml", "b.yml", *expected[4:]]


def test_a_shell_shebang_makes_a_script() -> None:
    touch("launch", text="#!/usr/bin/env bash\npython train.py\n")
    touch("README", text="hello")
    touch("run.me", text="#!/bin/sh\n")
    assert found() == ["launch"]


def test_default_excludes_hold_in_walks_only() -> None:
    folders = [".git", ".venv", "node_modules", "__pycache__", "lib/site-packages", "build", "dist"]
    touch(*(f"{folder}/a.yml" for folder in folders), "ok/a.yml")
    assert found() == ["ok/a.yml"]
    assert found("build") == ["build/a.yml"]
    assert found("dist/a.yml") == ["dist/a.yml"]
    assert found("dist/a.yml", "ok/a.yml", force_exclude=True) == ["ok/a.yml"]


def test_settings_exclude() -> None:
    touch("vramlint.toml", text='exclude = ["legacy/", "*.gen.yml"]')
    touch("legacy/a.yml", "a.gen.yml", "a.yml", "deep/legacy/b.yml")
    assert found() == ["a.yml", "vramlint.toml"]
    assert found("legacy/a.yml") == ["legacy/a.yml"]
    assert found("legacy/a.yml", "a.gen.yml", "a.yml", force_exclude=True) == ["a.yml"]


def test_gitignore_nested_and_taken_back() -> None:
    touch(".gitignore", text="out/\n*.tmp.yml\n/only-root.yml\n")
    touch("inner/.gitignore", text="!keep.tmp.yml\nsecret.yml\n")
    touch("out/a.yml", "x.tmp.yml", "only-root.yml", "inner/only-root.yml", "inner/keep.tmp.yml", "inner/secret.yml")
    touch("secret.yml")
    assert found() == ["inner/keep.tmp.yml", "inner/only-root.yml", "secret.yml"]


def test_an_ignored_folder_cannot_be_taken_back_from_inside() -> None:
    touch(".gitignore", text="out/\n")
    touch("out/.gitignore", text="!a.yml\n")
    touch("out/a.yml")
    assert found() == []


def test_gitignore_of_the_folders_above_the_walked_one() -> None:
    touch(".gitignore", text="*.tmp.yml\ninner/deep/no.yml\n")
    touch("inner/deep/no.yml", "inner/deep/yes.yml", "inner/deep/x.tmp.yml")
    assert found("inner/deep") == ["inner/deep/yes.yml"]


def test_naming_an_ignored_folder_walks_it() -> None:
    touch(".gitignore", text="out/\n")
    touch("out/a.yml", "out/sub/b.yml")
    assert found("out") == ["out/a.yml", "out/sub/b.yml"]
    assert found("out/sub") == ["out/sub/b.yml"]


def test_git_info_exclude() -> None:
    touch(".git/info/exclude", text="mine.yml\n")
    touch("mine.yml", "yours.yml")
    assert found() == ["yours.yml"]


def test_gitignore_does_not_hide_a_named_file() -> None:
    touch(".gitignore", text="*.yml\n")
    touch("a.yml")
    assert found("a.yml") == ["a.yml"]
    assert found() == []


def test_no_walk_through_symlinks(tmp_path: Path) -> None:
    touch("../outside/a.yml", "inside/b.yml")
    os.symlink(tmp_path / "outside", "link-out")
    os.symlink("inside", "link-in")
    os.symlink(tmp_path / "outside" / "a.yml", "file-out.yml")
    os.symlink("..", "inside/loop")
    assert found() == ["inside/b.yml"]


def test_named_files_come_once_and_as_explicit() -> None:
    touch("a.yml", "b.yml")
    assert discover(["./a.yml", ".", "a.yml"], SettingsFinder()) == (
        Candidate("a.yml", explicit=True),
        Candidate("b.yml", explicit=False),
    )


def test_a_path_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        found("nothing.yml")


def test_paths_are_shown_from_the_current_folder(tmp_path: Path) -> None:
    assert display_path(str(tmp_path / "repo" / "a" / "b.yml")) == "a/b.yml"
    assert display_path("./a/../b.yml") == "b.yml"
    assert display_path(str(tmp_path / "else" / "c.yml")) == str(tmp_path / "else" / "c.yml")
    assert display_path("../else/c.yml") == "../else/c.yml"
