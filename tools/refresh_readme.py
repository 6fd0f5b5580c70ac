"""Runs the README's ``console`` blocks again and writes their output: ``python tools/refresh_readme.py``."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```console\n\$ (?P<command>[^\n]*)\n.*?^```$", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Rewrite README.md in place."""
    readme = ROOT / "README.md"
    readme.write_text(_BLOCK.sub(_again, readme.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _again(block: re.Match[str]) -> str:
    program, *arguments = shlex.split(block["command"])
    command = [sys.executable, "-m", program, *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True)
    if done.returncode == 2:
        sys.exit(done.stderr)
    return f"```console\n$ {block['command']}\n{done.stdout.rstrip()}\n```"


if __name__ == "__main__":
    sys.exit(main())
