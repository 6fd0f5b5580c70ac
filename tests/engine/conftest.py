"""Every test in a repository of its own, which is the current folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.support import fake

__all__ = ["fake"]


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repo")
