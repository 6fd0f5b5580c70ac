"""The GitHub Action: its metadata, and its own shell script run with a stand-in for the installed program."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ACTION: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}

TEXT = {"type": "string", "minLength": 1}
SCHEMA = {
    "$comment": "The parts of https://www.schemastore.org/github-action.json that a composite action has",
    "type": "object",
    "required": ["name", "description", "runs"],
    "additionalProperties": False,
    "properties": {
        "name": TEXT,
        "description": TEXT,
        "author": TEXT,
        "branding": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "icon": TEXT,
                "color": {
                    "enum": ["white", "black", "yellow", "blue", "green", "orange", "red", "purple", "gray-dark"]
                },
            },
        },
        "inputs": {
            "type": "object",
            "propertyNames": {"pattern": "^[_a-zA-Z][a-zA-Z0-9_-]*$"},
            "additionalProperties": {
                "type": "object",
                "required": ["description"],
                "additionalProperties": False,
                "properties": {"description": TEXT, "default": {"type": "string"}, "required": {"type": "boolean"}},
            },
        },
        "outputs": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["description", "value"],
                "additionalProperties": False,
                "properties": {"description": TEXT, "value": TEXT},
            },
        },
        "runs": {
            "type": "object",
            "required": ["using", "steps"],
            "additionalProperties": False,
            "properties": {
                "using": {"const": "composite"},
                "steps": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["run", "shell"],
                        "additionalProperties": False,
                        "properties": {
                            "name": TEXT,
                            "id": TEXT,
                            "run": TEXT,
                            "shell": {"enum": ["bash", "sh", "pwsh", "python"]},
                            "env": {"type": "object", "additionalProperties": {"type": "string"}},
                        },
                    },
                },
            },
        },
    },
}

STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$RUNNER_TEMP/arguments"
echo "::error::found"
exit "${STATUS:-0}"
"""


def test_metadata_is_valid() -> None:
    jsonschema.validate(ACTION, SCHEMA)


def test_every_input_is_used_and_none_is_pasted_into_a_script() -> None:
    used = set()
    for step in STEPS.values():
        assert "${{" not in step["run"], "a pull request could inject code"
        used |= {name for value in step["env"].values() for name in re.findall(r"inputs\.([a-z-]+)", value)}
    assert used == set(ACTION["inputs"])


class Runner:
    """A runner's environment with a stand-in for the installed vramlint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "vramlint/bin/vramlint"
        program.parent.mkdir(parents=True)
        program.write_text(STAND_IN, encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IEXEC)

    def check(self, status: int = 0, **inputs: str) -> subprocess.CompletedProcess[str]:
        """Run the step as GitHub does: `bash --noprofile --norc -eo pipefail FILE`, inputs by their defaults."""
        step = STEPS["Check"]
        values = {name: item["default"] for name, item in ACTION["inputs"].items()} | inputs
        given = {key: values[re.findall(r"inputs\.([a-z-]+)", value)[0]] for key, value in step["env"].items()}
        script = self.folder / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            env={
                "PATH": os.environ["PATH"],
                "RUNNER_TEMP": str(self.folder),
                "GITHUB_OUTPUT": str(self.folder / "output"),
                "STATUS": str(status),
                **given,
            },
            capture_output=True,
            text=True,
        )

    @property
    def arguments(self) -> list[str]:
        return (self.folder / "arguments").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_defaults(runner: Runner) -> None:
    done = runner.check()
    assert done.returncode == 0, done.stderr
    assert runner.arguments == ["check", "--output-format", "github", "--fail-on", "warning", "--", "."]
    assert done.stdout == "::error::found\n"


def test_inputs_become_arguments(runner: Runner) -> None:
    runner.check(paths="configs\ntrain.sh  a/b", gpu="a100-80gb; rm -rf $HOME", gpus="8", **{"fail-on": "error"})
    assert runner.arguments == [
        "check", "--output-format", "github", "--gpu", "a100-80gb; rm -rf $HOME", "--gpus", "8", "--fail-on", "error",
        "--", "configs", "train.sh", "a/b",
    ]  # fmt: skip


def test_never_fails_on_findings(runner: Runner) -> None:
    runner.check(**{"fail-on": "never"})
    assert "--exit-zero" in runner.arguments
    assert "--fail-on" not in runner.arguments


@pytest.mark.parametrize("status", [0, 1, 2])
@pytest.mark.parametrize("output_format", ["github", "sarif"])
def test_the_status_is_that_of_the_check(runner: Runner, status: int, output_format: str) -> None:
    done = runner.check(status, **{"output-format": output_format})
    assert done.returncode == status, done.stderr


def test_sarif_goes_into_a_file_that_the_output_names(runner: Runner) -> None:
    done = runner.check(1, **{"output-format": "sarif"})
    written = runner.folder / "vramlint.sarif"
    assert written.read_text(encoding="utf-8") == "::error::found\n"
    assert (runner.folder / "output").read_text(encoding="utf-8") == f"sarif-file={written}\n"
    assert done.stdout == ""
