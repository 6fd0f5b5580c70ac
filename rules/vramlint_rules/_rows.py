"""The declared facts of frameworks: ``framework_rows/<dialect>.yaml``, read when a run of that dialect is checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

from vramlint.constraints import Row, read_rows, verdict_of
from vramlint.rule import Run, Verdict

FOLDER = os.path.join(os.path.dirname(__file__), "framework_rows")


def verdicts(run: Run, *templates: str) -> Iterator[Verdict]:
    """What the rows of the run's framework that use one of ``templates`` say of it."""
    for row in _rows_with(run.plan.dialect, templates):
        verdict = verdict_of(row, run)
        if verdict is not None:
            yield verdict


@lru_cache(maxsize=256)
def _rows_with(dialect: str, templates: tuple[str, ...]) -> tuple[Row, ...]:
    return tuple(row for row in rows_of(dialect) if row.template in templates)


@lru_cache(maxsize=64)
def rows_of(dialect: str) -> tuple[Row, ...]:
    """The rows of a dialect and of the framework it extends; none where there is no file."""
    path = os.path.join(FOLDER, f"{dialect}.yaml")
    if not os.path.isfile(path):
        return ()
    with open(path, encoding="utf-8") as file:
        found = read_rows(file.read(), path)
    inherited = rows_of(found.extends) if found.extends else ()
    return (*found.rows, *(row for row in inherited if row.name not in found.without))
