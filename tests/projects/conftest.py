"""Scratch projects for the acceptance tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.projects.support import Project

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project in a directory of its own, which is the current directory."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


@pytest.fixture
def example(project: Project) -> Callable[[str], Project]:
    """A scratch copy of one of the ``examples/``."""

    def copy(name: str) -> Project:
        for source in sorted((EXAMPLES / name).rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                project.write(str(source.relative_to(EXAMPLES / name)), source.read_text(encoding="utf-8"))
        return project

    return copy
