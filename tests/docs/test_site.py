"""The docs as a site: built strictly, so that a dead link or a page outside fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytest.importorskip("material", reason="pip install 'vramlint[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", "tools/mkdocs.yml", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_it_builds_strictly_and_has_every_page(site: Path) -> None:
    for page in ("index.html", "rules/index.html", "dialects/index.html", "ci/index.html", "images/report.png"):
        assert (site / page).stat().st_size > 1000
    rules = {path.stem for path in (ROOT / "docs/rules").glob("*.md")} - {"README"}
    assert {path.parent.name for path in (site / "rules").glob("*/index.html")} == rules


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="http' not in text
    assert '<link rel="stylesheet" href="http' not in text
