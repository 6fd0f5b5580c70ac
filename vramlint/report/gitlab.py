"""GitLab's code quality report: findings beside the lines of a merge request.

Source: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from vramlint.findings import Finding
from vramlint.report.fingerprint import fingerprints
from vramlint.report.frame import Texts
from vramlint.results import CheckResult, Failure
from vramlint.rule import Severity

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "minor", Severity.INFO: "info"}


def render(result: CheckResult, texts: Texts) -> str:
    """A JSON array: an issue a finding, and a blocker for each file that could not be checked."""
    marks = fingerprints(result.findings, texts)
    issues = [_issue(found, mark) for found, mark in zip(result.findings, marks, strict=True)]
    issues.extend(_failure(failure) for failure in result.failures)
    return json.dumps(issues, indent=2) + "\n"


def _issue(finding: Finding, mark: str) -> dict[str, Any]:
    place = finding.location
    text = f"{finding.message}. {finding.help}" if finding.help else finding.message
    return {
        "description": text,
        "check_name": finding.name,
        "fingerprint": mark,
        "severity": _SEVERITIES[finding.severity],
        "location": {"path": place.path, "lines": {"begin": place.line, "end": place.end_line}},
    }


def _failure(failure: Failure) -> dict[str, Any]:
    mark = hashlib.sha256(f"{failure.path}\0{failure.message}".encode("utf-8", "surrogatepass")).hexdigest()
    line = failure.line or 1
    return {
        "description": f"could not check: {failure.message}",
        "check_name": "could-not-check",
        "fingerprint": mark[:32],
        "severity": "blocker",
        "location": {"path": failure.path, "lines": {"begin": line, "end": line}},
    }
