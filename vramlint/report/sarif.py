"""SARIF 2.1.0, for code scanning services.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from vramlint import __version__
from vramlint.findings import FileEdit, Finding, Fix
from vramlint.plan import Location
from vramlint.report.fingerprint import fingerprints
from vramlint.report.frame import Texts
from vramlint.report.json import dump
from vramlint.results import CheckResult, Failure
from vramlint.rule import RuleInfo, Severity

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_ROOT = "SRCROOT"


def render(result: CheckResult, texts: Texts, rules: Sequence[RuleInfo] = ()) -> str:
    """The findings as one SARIF run; ``rules`` describes the rules that were on."""
    described = _rules(result.findings, rules)
    index = {rule["id"]: number for number, rule in enumerate(described)}
    marks = fingerprints(result.findings, texts)
    return dump(
        {
            "$schema": _SCHEMA,
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {"driver": {"name": "vramlint", "version": __version__, "rules": described}},
                    "columnKind": "unicodeCodePoints",
                    "originalUriBaseIds": {_ROOT: {"description": {"text": "The folder that vramlint ran in."}}},
                    "invocations": [_invocation(result.failures)],
                    "results": [
                        _result(found, mark, index[found.code])
                        for found, mark in zip(result.findings, marks, strict=True)
                    ],
                }
            ],
        }
    )


def _rules(findings: Iterable[Finding], rules: Iterable[RuleInfo]) -> list[dict[str, Any]]:
    """Every known rule, and a short entry for findings of reading that no rule module stands for."""
    described = {
        rule.code: {
            "id": rule.code,
            "name": rule.name,
            "shortDescription": {"text": rule.summary},
            "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            "properties": {"confidence": rule.confidence.value},
        }
        for rule in rules
    }
    for found in findings:
        described.setdefault(
            found.code,
            {"id": found.code, "name": found.name, "defaultConfiguration": {"level": _LEVELS[found.severity]}},
        )
    return [described[code] for code in sorted(described)]


def _invocation(failures: Sequence[Failure]) -> dict[str, Any]:
    if not failures:
        return {"executionSuccessful": True}
    return {"executionSuccessful": False, "toolExecutionNotifications": [_notification(item) for item in failures]}


def _notification(failure: Failure) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": _artifact(failure.path)}
    if failure.line is not None:
        place["region"] = {"startLine": failure.line, "startColumn": failure.column or 1}
    return {"level": "error", "message": {"text": failure.message}, "locations": [{"physicalLocation": place}]}


def _result(finding: Finding, mark: str, rule_index: int) -> dict[str, Any]:
    text = f"{finding.message}. {finding.help}" if finding.help else finding.message
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule_index,
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [
            {"physicalLocation": {"artifactLocation": _artifact(finding.location.path), "region": _region(finding)}}
        ],
        "partialFingerprints": {"vramlint/v1": mark},
    }
    fixes = [_fix(fix) for fix in finding.fixes if fix.edits]
    if fixes:
        result["fixes"] = fixes
    return result


def _region(finding: Finding) -> dict[str, int]:
    return _span(finding.location)


def _span(place: Location) -> dict[str, int]:
    return {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    by_path: dict[str, list[FileEdit]] = {}
    for edit in fix.edits:
        by_path.setdefault(edit.location.path, []).append(edit)
    changes = [
        {
            "artifactLocation": _artifact(path),
            "replacements": [
                {"deletedRegion": _span(edit.location), "insertedContent": {"text": edit.text}} for edit in edits
            ],
        }
        for path, edits in by_path.items()
    ]
    return {"description": {"text": f"{fix.title} ({fix.safety.value} fix)"}, "artifactChanges": changes}


def _artifact(path: str) -> dict[str, str]:
    pure = PurePath(path)
    if pure.is_absolute():
        return {"uri": pure.as_uri()}
    return {"uri": quote(pure.as_posix(), errors="surrogateescape"), "uriBaseId": _ROOT}
