"""A scratch project and the command line run on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.cli.main import main


class Project:
    """A scratch copy of a project, and vramlint run on it."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capsys = capsys

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    def read(self, name: str) -> str:
        return (self.root / name).read_bytes().decode()

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and standard output of ``vramlint ARGUMENTS``."""
        self._capsys.readouterr()
        code = main(list(arguments))
        captured = self._capsys.readouterr()
        assert code != 2, captured.err
        return code, captured.out

    def json(self, command: str, *arguments: str) -> dict[str, Any]:
        _, out = self.run(command, *arguments, "--output-format", "json")
        data: dict[str, Any] = json.loads(out)
        return data

    def plan(self, name: str, *arguments: str) -> dict[str, Any]:
        """The one plan of the file ``name``, fact name to value."""
        (plan,) = self.json("plan", *arguments, name)["plans"]
        return {key: fact["value"] if isinstance(fact, dict) else fact for key, fact in plan.items()}

    def findings(self, name: str, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("check", *arguments, name)["findings"]
        return found

    def names(self, name: str, *arguments: str) -> set[str]:
        return {finding["name"] for finding in self.findings(name, *arguments)}

    def estimate(self, name: str, *arguments: str) -> dict[str, Any]:
        (estimate,) = self.json("estimate", *arguments, name)["estimates"]
        assert isinstance(estimate, dict)
        return estimate

    def fix(self, name: str, *arguments: str) -> str:
        """The file's text after ``--fix``; a second run must leave it alone."""
        self.run("check", "--fix", *arguments, name)
        fixed = self.read(name)
        self.run("check", "--fix", *arguments, name)
        assert self.read(name) == fixed, "a second --fix changed the file again"
        return fixed
