"""The declared facts of frameworks: ``framework_rows/<dialect>.yaml``, read when a run of that dialect is checked.

YAML takes long to import and to read, so ``framework_rows_parsed`` holds the same tables as JSON, without the examples
that prove the rows. ``tools/make_docs.py`` writes them. Each names the checksum of its YAML: where that differs (a row
was edited since), the YAML is read.
"""

from __future__ import annotations

import json
import os
from binascii import crc32
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from vramlint.constraints import Row, RowFile, read_rows, read_table, rows_in_table, verdict_of
from vramlint.rule import Run, Verdict

FOLDER = os.path.join(os.path.dirname(__file__), "framework_rows")
PARSED_FOLDER = os.path.join(os.path.dirname(__file__), "framework_rows_parsed")


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
    found = _read(dialect)
    if found is None:
        return ()
    inherited = rows_of(found.extends) if found.extends else ()
    return (*found.rows, *(row for row in inherited if row.name not in found.without))


def parsed(text: str, path: str) -> str:
    """The file of ``framework_rows_parsed`` for ``text``, the contents of the YAML file ``path``."""
    table = read_table(text, path)
    rows = [{key: value for key, value in row.items() if key not in ("fails", "passes")} for row in table["rows"]]
    kept = {**table, "rows": rows}
    return json.dumps({"checksum": crc32(text.encode()), "table": kept}, ensure_ascii=False, indent=1) + "\n"


def _read(dialect: str) -> RowFile | None:
    path = os.path.join(FOLDER, f"{dialect}.yaml")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return None
    table = _parsed_table(dialect, crc32(content))
    return read_rows(content.decode(), path) if table is None else rows_in_table(table, path)


def _parsed_table(dialect: str, checksum: int) -> Mapping[str, Any] | None:
    """The table as JSON, None where it was made from another YAML than the one with this checksum."""
    try:
        with open(os.path.join(PARSED_FOLDER, f"{dialect}.json"), encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return None
    table: Mapping[str, Any] = found["table"]
    return table if found["checksum"] == checksum else None
