"""Every top-level setting of the frameworks whose files can be checked for misspelled ones: one list a dialect.

A line is a setting; one that begins with ``~`` is accepted and never suggested.
"""

from __future__ import annotations

import os

SOURCES = {
    "accelerate": "accelerate 1.15.0",
    "hf_trainer": "transformers 5.23.0",
    "ultralytics": "ultralytics 8.4.190",
}
"""Framework and version of each list."""
DIALECTS = frozenset(SOURCES)


def load(dialect: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The settings of ``dialect`` and the other names that its files may hold."""
    with open(os.path.join(os.path.dirname(__file__), f"{dialect}.txt"), encoding="utf-8") as file:
        names = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    settings = tuple(name for name in names if not name.startswith("~"))
    return settings, tuple(name[1:] for name in names if name.startswith("~"))
