"""One JSON object a line, for logs and for tools that read as they go; described in ``docs/json.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from vramlint.report.fingerprint import fingerprints
from vramlint.report.frame import Texts
from vramlint.report.json import failures, finding_dict, summary
from vramlint.results import CheckResult

FINDING_SCHEMA = "vramlint.finding/1"
FAILURE_SCHEMA = "vramlint.failure/1"
SUMMARY_SCHEMA = "vramlint.summary/1"


def render(result: CheckResult, texts: Texts) -> str:
    """A line for each finding, then for each failure, then the summary, which shows that nothing was cut off."""
    return "".join(f"{json.dumps(row, default=str)}\n" for row in _rows(result, texts))


def _rows(result: CheckResult, texts: Texts) -> Iterator[dict[str, Any]]:
    for found, mark in zip(result.findings, fingerprints(result.findings, texts), strict=True):
        yield {"schema": FINDING_SCHEMA, **finding_dict(found, mark)}
    for failure in failures(result.failures):
        yield {"schema": FAILURE_SCHEMA, **failure}
    yield {"schema": SUMMARY_SCHEMA, **summary(result)}
