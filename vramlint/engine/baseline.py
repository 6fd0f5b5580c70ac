"""The baseline: findings that a team accepted when it began, so that only new ones are told.

An entry is a rule, a file, the path of keys in it and the value as spelled; never a line number. A finding comes back
when its value changes or its setting moves to another place. The same entry may stand several times, with a count.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from vramlint.engine.key_paths import key_path
from vramlint.errors import SettingsError
from vramlint.findings import Finding
from vramlint.results import CheckResult
from vramlint.sources.model import Document

SCHEMA = "vramlint.baseline/1"
DEFAULT_NAME = ".vramlint-baseline.json"


class Entry(NamedTuple):
    """What is accepted. ``path`` is relative to the baseline's folder, with ``/``."""

    path: str
    rule: str
    key: str
    value: str
    run: str = ""


class Baseline(NamedTuple):
    """The accepted findings and how often each occurs. ``path`` is the file they are in."""

    path: str
    entries: Counter[Entry]


class Compared(NamedTuple):
    """A check after a baseline: what is new, what was known, and entries that nothing matched any more."""

    result: CheckResult
    known: int
    gone: Counter[Entry]


def read_baseline(path: str) -> Baseline:
    """The baseline in the file ``path``. Raises SettingsError where it is missing or not one."""
    shown = os.path.relpath(path)
    help = "`vramlint baseline` writes one."
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except OSError as error:
        raise SettingsError(f"the baseline cannot be read: {error.strerror}", path=shown, help=help) from error
    except UnicodeDecodeError as error:
        raise SettingsError("the baseline is not UTF-8", path=shown, help=help) from error
    except json.JSONDecodeError as error:
        message = f"the baseline is not valid JSON: {error.msg}"
        raise SettingsError(message, path=shown, line=error.lineno, column=error.colno, help=help) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("findings"), list):
        raise SettingsError(f"this is no baseline: its schema is not {SCHEMA}", path=shown, help=help)
    entries: Counter[Entry] = Counter()
    for number, row in enumerate(data["findings"]):
        entry, count = _entry(row, number, shown)
        entries[entry] += count
    return Baseline(path, entries)


def _entry(row: Any, number: int, shown: str) -> tuple[Entry, int]:
    values: dict[str, Any] = row if isinstance(row, dict) else {}
    entry = Entry(*(values.get(name, "") for name in Entry._fields))
    count = values.get("count", 1)
    if (
        not all(isinstance(text, str) for text in entry)
        or not isinstance(count, int)
        or not (entry.path and entry.rule)
    ):
        raise SettingsError(f"findings[{number}] of the baseline is none", path=shown, help="Write the baseline anew.")
    return entry, count


def without_known(result: CheckResult, baseline: Baseline) -> Compared:
    """``result`` without the findings of ``baseline``, in its runs too."""
    left = Counter(baseline.entries)
    fresh: list[Finding] = []
    for finding, entry in zip(result.findings, entries_of(result, baseline.path), strict=True):
        if left[entry] > 0:
            left[entry] -= 1
        else:
            fresh.append(finding)
    kept = {_identity(finding) for finding in fresh}
    runs = tuple(
        run._replace(findings=tuple(found for found in run.findings if _identity(found) in kept)) for run in result.runs
    )
    known = len(result.findings) - len(fresh)
    shown = result._replace(findings=tuple(fresh), runs=runs, baselined=result.baselined + known)
    return Compared(shown, known, +left)


def _identity(finding: Finding) -> tuple[object, ...]:
    return finding.code, finding.location, finding.message


def entries_of(result: CheckResult, baseline_path: str) -> list[Entry]:
    """An entry for each finding of ``result``, in its order."""
    documents = {each.path: each for run in result.runs for each in run.reading.documents}
    folder = os.path.dirname(os.path.abspath(baseline_path))
    return [_entry_of(finding, documents.get(finding.location.path), folder) for finding in result.findings]


def _entry_of(finding: Finding, document: Document | None, folder: str) -> Entry:
    place = finding.location
    path = os.path.relpath(os.path.abspath(place.path), folder).replace(os.sep, "/")
    key, value = finding.fact, ""
    if document is not None:
        key = key_path(document, place.start) or finding.fact
        value = document.text[place.start : place.end]
    return Entry(path, finding.name, key, value, finding.run)


def render(entries: Iterable[Entry] | Counter[Entry]) -> str:
    """The text of a baseline: sorted, one finding a line, so that branches merge."""
    counted = Counter(entries) if not isinstance(entries, Counter) else entries
    rows = []
    for entry in sorted(counted):
        row: dict[str, object] = {name: text for name, text in entry._asdict().items() if text}
        if counted[entry] > 1:
            row["count"] = counted[entry]
        rows.append(f"    {json.dumps(row)}")
    body = "[\n" + ",\n".join(rows) + "\n  ]" if rows else "[]"
    return f'{{\n  "schema": "{SCHEMA}",\n  "findings": {body}\n}}\n'


def pruned(baseline: Baseline, gone: Counter[Entry], checked: Sequence[str]) -> Counter[Entry]:
    """``baseline`` without entries that no longer occur, as far as the files ``checked`` and vanished ones show it."""
    folder = os.path.dirname(os.path.abspath(baseline.path))
    looked_at = {os.path.relpath(os.path.abspath(path), folder).replace(os.sep, "/") for path in checked}
    stale = Counter(
        {
            entry: count
            for entry, count in gone.items()
            if entry.path in looked_at or not os.path.exists(os.path.join(folder, entry.path))
        }
    )
    return baseline.entries - stale
