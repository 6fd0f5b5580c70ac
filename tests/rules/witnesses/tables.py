"""The files of framework rows, by framework."""

from __future__ import annotations

import os
from pathlib import Path

from vramlint.constraints import Row, read_rows
from vramlint_rules._rows import FOLDER

FRAMEWORKS = sorted(name.removesuffix(".yaml") for name in os.listdir(FOLDER))


def own_rows(framework: str) -> tuple[Row, ...]:
    """The rows that stand in the framework's own file."""
    path = f"{FOLDER}/{framework}.yaml"
    return read_rows(Path(path).read_text(encoding="utf-8"), path).rows
