"""Findings about the card more than about a file: of many files of a folder, one is told for all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vramlint.cli.main import main

CONFIG = """\
{comment}model: {{name: resnet50, num_classes: {classes}}}
trainer: {{epochs: 3, lr: 1.0e-4, optimizer: adamw}}
dataset:
  root: /data
  image_size: 224
  batch_size: 8
"""
LIKEWISE = "likewise in {} more configs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, *names: str, comment: str = "") -> None:
    for number, name in enumerate(names, 1):
        (folder / name).write_text(CONFIG.format(comment=comment, classes=number), encoding="utf-8")


def wasted(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """The message of each finding of VL402 by its path."""
    main(["check", "--isolated", "--output-format", "json", *arguments])
    found = json.loads(capsys.readouterr().out)["findings"]
    return {each["path"]: each["message"] for each in found if each["code"] == "VL402"}


def test_of_many_files_one_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, *(f"{name}.yaml" for name in "abcde"))
    told = wasted(capsys, "--gpu", "a100-80gb", ".")
    assert list(told) == ["a.yaml"]
    assert LIKEWISE.format(4) in told["a.yaml"]


def test_a_handful_is_told_one_by_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "a.yaml", "b.yaml", "c.yaml")
    told = wasted(capsys, "--gpu", "a100-80gb", ".")
    assert list(told) == ["a.yaml", "b.yaml", "c.yaml"]
    assert "likewise" not in "".join(told.values())


def test_a_file_that_is_named_is_told_whatever_else_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, *(f"{name}.yaml" for name in "abcde"))
    told = wasted(capsys, "--gpu", "a100-80gb", "c.yaml", ".")
    assert list(told) == ["a.yaml", "c.yaml"]
    assert LIKEWISE.format(3) in told["a.yaml"]
    assert "likewise" not in told["c.yaml"]
    assert len(wasted(capsys, "--gpu", "a100-80gb", *(f"{name}.yaml" for name in "abcde"))) == 5


def test_a_file_that_names_its_card_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, *(f"{name}.yaml" for name in "abcde"))
    write(folder, *(f"own{name}.yaml" for name in "abcd"), comment="# vramlint: gpu=a100-80gb\n")
    told = wasted(capsys, "--gpu", "a100-80gb", ".")
    assert list(told) == ["a.yaml", "owna.yaml", "ownb.yaml", "ownc.yaml", "ownd.yaml"]
    assert LIKEWISE.format(4) in told["a.yaml"]


def test_statistics_count_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, *(f"{name}.yaml" for name in "abcde"))
    main(["check", "--isolated", "--gpu", "a100-80gb", "--statistics", "."])
    assert "5" in next(line for line in capsys.readouterr().out.splitlines() if "vram-wasted" in line)
