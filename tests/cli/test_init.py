"""``vramlint init``: what it proposes, what it writes, and what it leaves alone."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import yaml

from vramlint.cli.main import main
from vramlint.engine import survey as surveys

HOOKS = ".pre-commit-config.yaml"
CONFIG = "model_name_or_path: Qwen/Qwen2.5-0.5B\noutput_dir: out\nper_device_train_batch_size: 4\nnum_train_epochs: 1\n"
EXISTING = """\
# our hooks
repos:
- repo: https://github.com/pre-commit/pre-commit-hooks
  rev: v4.5.0
  hooks:
  - id: end-of-file-fixer
  - id: trailing-whitespace   # keep this one last

# nothing below
default_stages: [pre-commit]
"""


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "sft.yaml").write_text(CONFIG)
    (tmp_path / "train.sh").write_text("torchrun --nproc_per_node=4 train.py --config sft.yaml\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(surveys, "local_card", lambda: None)


def hooks() -> dict:
    return yaml.safe_load(Path(HOOKS).read_text())


def test_it_finds_what_trains_and_on_how_many_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--yes"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("1 training run in 2 files: hf_trainer 1\n")
    assert "GPUs per machine: 4 (1 of 1 launch lines)" in told
    assert tomllib.loads(Path("vramlint.toml").read_text()) == {"gpus": 4, "exclude": []}
    assert hooks()["repos"][0]["hooks"] == [{"id": "vramlint"}]


def test_a_named_card_is_written_and_the_settings_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--yes", "--gpu", "RTX 3060 12GB", "--gpus", "2"]) == 0
    assert tomllib.loads(Path("vramlint.toml").read_text()) == {"gpu": "rtx-3060-12gb", "gpus": 2, "exclude": []}
    capsys.readouterr()
    assert main(["estimate", "--output-format", "json", "sft.yaml"]) == 0
    assert [row["gpu"] for row in json.loads(capsys.readouterr().out)["estimates"]] == ["rtx-3060-12gb"]


def test_the_card_of_this_machine_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "local_card", lambda: "rtx-4090")
    main(["init", "--yes"])
    assert tomllib.loads(Path("vramlint.toml").read_text())["gpu"] == "rtx-4090"


def test_without_a_terminal_nothing_is_written_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert "nothing written: add --yes" in capsys.readouterr().out
    assert not Path("vramlint.toml").exists()
    assert not Path(HOOKS).exists()


@pytest.mark.parametrize(("answer", "written"), [("y\n", True), ("n\n", False)])
def test_it_asks(answer: str, written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: answer == "y\n")
    main(["init"])
    assert Path("vramlint.toml").exists() is written


def test_settings_that_exist_are_never_touched(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pyproject.toml").write_text("[tool.vramlint]\ngpus = 1\n")
    main(["init", "--yes"])
    assert "pyproject.toml: there already, left as it is" in capsys.readouterr().out
    assert not Path("vramlint.toml").exists()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("local", [False, True])
def test_the_hook_joins_others_and_every_byte_of_theirs_stays(newline: str, local: bool) -> None:
    before = EXISTING.replace("\n", newline).encode()
    Path(HOOKS).write_bytes(before)
    main(["init", "--yes", *(["--local-hook"] if local else [])])
    after = Path(HOOKS).read_bytes()
    head, tail = before.split(b"last one last" if b"last one last" in before else b"one last")
    assert after.startswith(head)
    assert after.endswith(tail)
    assert [repo["repo"] for repo in hooks()["repos"]][1] == (
        "local" if local else "https://github.com/vramlint/vramlint"
    )
    assert hooks()["default_stages"] == ["pre-commit"]
    if newline == "\r\n":
        assert after.count(b"\n") == after.count(b"\r\n")


def test_a_second_init_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "--yes"])
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    capsys.readouterr()
    assert main(["init", "--yes"]) == 0
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    told = capsys.readouterr().out
    assert "vramlint.toml: there already" in told
    assert "has vramlint already" in told


@pytest.mark.parametrize(
    "text", ["repos: []\n", "repos: [{repo: local, hooks: []}]\n", "- 1\n", "repos: {\n", "\ufeff\x00"]
)
def test_hooks_of_another_shape_are_left_with_the_entry_to_copy(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(HOOKS).write_text(text)
    assert main(["init", "--yes"]) == 0
    assert Path(HOOKS).read_text() == text
    told = capsys.readouterr().out
    assert "left as it is" in told
    assert "- id: vramlint" in told


def test_an_unknown_card_is_an_error() -> None:
    assert main(["init", "--yes", "--gpu", "rtx9999"]) == 2
    assert not Path("vramlint.toml").exists()


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("NVIDIA GeForce RTX 3060, 12288\n", "rtx-3060-12gb"),
        ("NVIDIA A100-SXM4-80GB, 81920\nNVIDIA A100-SXM4-80GB, 81920\n", "a100-80gb"),
        ("Tesla T4, 15360\n", "t4"),
        ("NVIDIA H100 80GB HBM3, 81559\n", "h100"),
        ("NVIDIA GeForce RTX 4090, 24564\n", "rtx-4090"),
        ("Some Other Card, 1\n", None),
        ("", None),
    ],
)
def test_the_names_of_nvidia_smi(told: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\nprintf '{told}'\n".replace("\n'", "\\n'") if told else "#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    assert surveys.local_card() == name
