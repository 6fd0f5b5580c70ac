"""The path of ``tools/new_user.sh``: four commands to a repaired config with a hook that holds."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 120


def test_a_new_user_needs_four_commands_and_two_minutes() -> None:
    done = subprocess.run(["bash", "tools/new_user.sh"], cwd=ROOT, capture_output=True, text=True)
    if "pip install" in done.stdout and "vramlint init" not in done.stdout:
        pytest.skip(f"pip reaches no package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^\$ ", done.stdout, re.MULTILINE)) == 4
    seconds = re.search(r"four commands: (\d+) s", done.stdout)
    assert seconds is not None
    assert int(seconds[1]) < MOST_SECONDS
    assert "the hook refuses the broken one" in done.stdout
