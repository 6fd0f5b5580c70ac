"""The arrows of ``docs/architecture.md`` and the layout of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TOP_LEVEL = {
    ".ci": "continuous integration",
    ".gitignore": "",
    ".github": "",
    ".pre-commit-hooks.yaml": "the hooks",
    "CHANGELOG.md": "",
    "CONTRIBUTING.md": "",
    "LICENSE": "",
    "README.md": "",
    "action.yml": "the GitHub Action",
    "docs": "",
    "examples": "",
    "pyproject.toml": "",
    "rules": "the rule plugins",
    "tests": "",
    "tools": "scripts for maintainers",
    "vramlint": "the package",
}
ROOMS = {
    "cli",
    "sources",
    "dialects",
    "constraints",
    "project",
    "plan",
    "hardware",
    "memory",
    "trace",
    "probe",
    "engine",
    "fix",
    "report",
}


def test_arrows_point_one_way() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_top_level_holds_what_the_design_names() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    assert {name.split("/")[0] for name in tracked.stdout.splitlines()} <= set(TOP_LEVEL)


def test_the_package_has_the_rooms_of_the_design_and_no_other() -> None:
    rooms = {path.parent.name for path in (ROOT / "vramlint").glob("*/__init__.py")}
    assert rooms == ROOMS


@pytest.mark.parametrize(
    "path", sorted((ROOT / "vramlint").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_modules_stay_small(path: Path) -> None:
    """Most stay under 300 lines; one that outgrows this limit is two modules."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
