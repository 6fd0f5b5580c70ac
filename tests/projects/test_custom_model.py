"""A model, a loss and an optimizer of one's own: trace, lint and fix, torch only for the first."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.projects.support import Project
from vramlint.cli.main import main

PROFILE = Path(".vramlint/profiles/lanenet.json")
WITHOUT_TORCH = """
import sys
from vramlint.cli.main import main
status = main(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(status)
"""


def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True)


@pytest.fixture
def custom(example: Callable[[str], Project]) -> Project:
    return example("custom_model")


def estimated() -> dict[str, object]:
    (row,) = json.loads(lint("estimate", "config.yml", "--output-format", "json").stdout)["estimates"]
    found: dict[str, object] = row
    return found


def test_the_profile_is_used_without_torch_and_the_fix_fits(custom: Project) -> None:
    before = lint("check", "config.yml")
    assert before.returncode == 1
    assert "VL401" in before.stdout, before.stdout + before.stderr
    assert "stale" not in before.stdout
    row = estimated()
    assert row["model"] == "lanenet"
    assert row["verdict"] == "over"
    states = {part["name"]: part["bytes"] for part in row["components"]}  # type: ignore[attr-defined]
    parameters = json.loads(PROFILE.read_text(encoding="utf-8"))["parameters"]
    assert states["SignMomentum states"] == pytest.approx(8 * parameters, rel=0.01)  # momentum and average, fp32
    assert lint("--fix", "config.yml").returncode == 0
    assert estimated()["verdict"] != "over"
    assert "accumulation" in Path("config.yml").read_text(encoding="utf-8")


def test_the_shipped_profile_is_what_a_trace_makes_now(custom: Project, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    shipped = json.loads(PROFILE.read_text(encoding="utf-8"))
    arguments = ["trace", "model:build", "--name", "lanenet", "--optimizer", "model:SignMomentum", "--quiet"]
    assert main(arguments) == 0, capsys.readouterr().err
    made = json.loads(PROFILE.read_text(encoding="utf-8"))
    if made["built_by"] != shipped["built_by"]:
        pytest.skip(f"made with {shipped['built_by']}")
    assert {**made, "date": ""} == {**shipped, "date": ""}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data["code"]["sources"].update({"model.py": "0" * 64}), "model.py changed since it was traced"),
        (lambda data: data["code"]["sources"].update({"layers.py": "0" * 64}), "layers.py is gone"),
        (lambda data: data["built_by"].update({"click": "0.1"}), "traced with click 0.1"),
        (lambda data: data.update({"schema": 0}), "it has schema 0, this vramlint reads 1"),
    ],
)
def test_a_stale_profile_is_said_to_be_stale(
    custom: Project, change: Callable[[dict[str, object]], None], said: str
) -> None:
    data = json.loads(PROFILE.read_text(encoding="utf-8"))
    change(data)
    PROFILE.write_text(json.dumps(data), encoding="utf-8")
    shown = " ".join(lint("check", "config.yml").stdout.split())
    assert f"lanenet.json is stale: {said}" in shown
    assert f"is stale: {said}" in str(estimated()["caveat"])


def test_line_ends_do_not_make_a_profile_stale(custom: Project) -> None:
    source = Path("model.py").read_bytes()
    Path("model.py").write_bytes(source.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert estimated()["caveat"] == ""


def test_a_broken_profile_is_told_with_its_path(custom: Project) -> None:
    PROFILE.write_text("{", encoding="utf-8")
    done = lint("check", "config.yml")
    assert done.returncode == 2
    assert "lanenet.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_plan_names_the_profile(custom: Project) -> None:
    (plan,) = json.loads(lint("plan", "config.yml", "--output-format", "json").stdout)["plans"]
    assert "lanenet.json" in plan["own_profile"]["value"]
