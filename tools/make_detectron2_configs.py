"""Writes detectron2's own configs, for ``tools/score_memory.py``: the project publishes no wheel that has them.

Usage: python tools/make_detectron2_configs.py CHECKOUT

CHECKOUT is a clone of facebookresearch/detectron2 (Apache License 2.0). Every YAML and LazyConfig file below a folder
``configs`` is kept as it is, with its path: the scorer reads them through the dialect, as it reads a wheel's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

OUT = Path(__file__).parent / "scoring" / "detectron2_configs.json"


def main(argv: list[str]) -> int:
    (checkout,) = argv
    commit = _git(checkout, "rev-parse", "HEAD").strip()
    paths = [path for path in _git(checkout, "ls-tree", "-r", "--name-only", "HEAD").splitlines() if _is_config(path)]
    lines = ",\n".join(f"  {json.dumps(path)}: {json.dumps(_git(checkout, 'show', f'HEAD:{path}'))}" for path in paths)
    source = f"facebookresearch/detectron2 {commit}, Apache License 2.0"
    OUT.write_text(f'{{\n "source": {json.dumps(source)},\n "configs": {{\n{lines}\n }}\n}}\n')
    print(f"{len(paths)} configs, {OUT.stat().st_size / 1024:.0f} KiB")
    return 0


def _is_config(path: str) -> bool:
    return "configs/" in path and path.endswith((".yaml", ".py")) and not path.startswith("tests/")


def _git(checkout: str, *words: str) -> str:
    return subprocess.run(["git", "-C", checkout, *words], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
