"""Writes the settings of Megatron-LM's functional tests that decide memory, for ``tools/score_memory.py``.

Usage: python tools/make_megatron_configs.py CHECKOUT

CHECKOUT is a clone of NVIDIA/Megatron-LM (its license allows redistribution). Only flags that the dialect reads are
kept, by the test's path; the golden values beside them are not opened.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from vramlint.dialects.further_facts import groups_of
from vramlint.dialects.megatron import Config
from vramlint.dialects.megatron_model import ModelFlags

OUT = Path(__file__).parent / "scoring" / "megatron_configs.json"
_FOLDER = "tests/functional_tests/test_cases"


def main(argv: list[str]) -> int:
    (checkout,) = argv
    commit = _git(checkout, "rev-parse", "HEAD").strip()
    paths = [
        path
        for path in _git(checkout, "ls-tree", "-r", "--name-only", "HEAD", _FOLDER).splitlines()
        if path.endswith("/model_config.yaml")
    ]
    flags = _flags()
    found = {path: kept for path in paths if (kept := _kept(_git(checkout, "show", f"HEAD:{path}"), flags))}
    lines = ",\n".join(f"  {json.dumps(path)}: {json.dumps(kept)}" for path, kept in sorted(found.items()))
    source = f"NVIDIA/Megatron-LM {commit}, {_FOLDER}"
    OUT.write_text(f'{{\n "source": {json.dumps(source)},\n "configs": {{\n{lines}\n }}\n}}\n')
    print(f"{len(found)} configs, {OUT.stat().st_size / 1024:.0f} KiB")
    return 0


def _flags() -> set[str]:
    """Every flag that the dialect's schemas and its further facts know, with dashes."""
    names: set[str] = set()
    for schema in (Config, ModelFlags):
        for setting in schema.model_fields.values():
            names |= {f"--{key.replace('_', '-')}" for key in setting.keys}
    further = {key for group in groups_of("megatron") for row in group.rows for key in row.keys}
    return names | {f"--{key.replace('_', '-')}" for key in further}


def _kept(text: str, flags: set[str]) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    arguments = data.get("MODEL_ARGS") if isinstance(data, dict) else None
    return {key: value for key, value in (arguments or {}).items() if key in flags}


def _git(checkout: str, *words: str) -> str:
    return subprocess.run(["git", "-C", checkout, *words], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
