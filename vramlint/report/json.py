"""The JSON contract, described in ``docs/json.md``. Within a schema fields are added, never changed or removed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from vramlint.engine import FixOutcome
from vramlint.findings import FileEdit, Finding, Fix
from vramlint.memory.model import Component, Interval
from vramlint.memory.profile import OwnProfile
from vramlint.plan import Fact, Location, ModelTree, TrainingPlan
from vramlint.report.fingerprint import fingerprints
from vramlint.report.frame import Texts
from vramlint.report.rows import EstimateRow
from vramlint.results import CheckResult, Failure
from vramlint.rule import Severity

CHECK_SCHEMA = "vramlint.check/1"
PLAN_SCHEMA = "vramlint.plan/1"
ESTIMATE_SCHEMA = "vramlint.estimate/1"


def render(result: CheckResult, texts: Texts, outcome: FixOutcome | None = None) -> str:
    """The findings of a check; ``outcome`` is what ``--fix`` did before it."""
    marks = fingerprints(result.findings, texts)
    return dump(
        {
            "schema": CHECK_SCHEMA,
            "findings": [finding_dict(found, mark) for found, mark in zip(result.findings, marks, strict=True)],
            "failures": failures(result.failures),
            "summary": summary(result),
            **_repairs(outcome),
        }
    )


def summary(result: CheckResult) -> dict[str, int]:
    """The counts of a check."""
    severities = [finding.severity for finding in result.findings]
    return {
        "files_seen": result.files_seen,
        "files_checked": result.files_checked,
        "runs": len(result.runs),
        "suppressed": result.suppressed,
        "baselined": result.baselined,
        **{f"{severity.value}s": severities.count(severity) for severity in Severity},
    }


def _repairs(outcome: FixOutcome | None) -> dict[str, Any]:
    if outcome is None:
        return {}
    return {
        "applied": [repair._asdict() for repair in outcome.applied],
        "refused": [repair._asdict() for repair in outcome.refused],
    }


def render_plans(result: CheckResult) -> str:
    """The plan of every run."""
    plans = [_plan(run.reading.plan) for run in result.runs]
    return dump({"schema": PLAN_SCHEMA, "plans": plans, "failures": failures(result.failures)})


def render_estimates(rows: Iterable[EstimateRow], failed: Sequence[Failure]) -> str:
    """The estimates of every run on every GPU asked for."""
    return dump(
        {"schema": ESTIMATE_SCHEMA, "estimates": [_estimate(row) for row in rows], "failures": failures(failed)}
    )


def dump(data: dict[str, Any]) -> str:
    """``data`` as the text that every JSON output of vramlint is: indented by two, plain ASCII."""
    return json.dumps(data, indent=2, default=str) + "\n"


def failures(found: Sequence[Failure]) -> list[dict[str, Any]]:
    """What could not be checked, as every JSON output lists it."""
    return [failure._asdict() for failure in found]


def finding_dict(finding: Finding, mark: str) -> dict[str, Any]:
    """A finding as the contract has it; ``mark`` is its fingerprint."""
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        **_place(finding.location),
        "message": finding.message,
        "help": finding.help,
        "fact": finding.fact,
        "run": finding.run,
        "fingerprint": mark,
        "fixes": [_fix(fix) for fix in finding.fixes],
    }


def _place(location: Location) -> dict[str, Any]:
    return {
        "path": location.path,
        "line": location.line,
        "column": location.column,
        "end_line": location.end_line,
        "end_column": location.end_column,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    return {"safety": fix.safety.value, "title": fix.title, "edits": [_edit(edit) for edit in fix.edits]}


def _edit(edit: FileEdit) -> dict[str, Any]:
    return {**_place(edit.location), "text": edit.text}


def _plan(plan: TrainingPlan) -> dict[str, Any]:
    facts = {name: fact_dict(fact) for name, fact in plan.facts()}
    return {"path": plan.path, "dialect": plan.dialect, "title": plan.title, **facts}


def fact_dict(fact: Fact[Any]) -> dict[str, Any]:
    """A fact as the contract has it; ``path`` and ``line`` are null where no file spells it."""
    place = fact.location
    return {
        "value": _value(fact.value),
        "origin": fact.origin.value,
        "path": None if place is None else place.path,
        "line": None if place is None else place.line,
        "note": fact.note,
    }


def _value(value: Any) -> Any:
    if isinstance(value, ModelTree | OwnProfile):
        return str(value)
    if hasattr(value, "_asdict") and not hasattr(value, "height"):
        return value._asdict()
    return value


def _estimate(row: EstimateRow) -> dict[str, Any]:
    estimate = row.estimate
    return {
        "path": row.plan.path,
        "title": row.plan.title,
        "micro_batch": row.plan.micro_batch.value,
        "model": estimate.model,
        "gpu": estimate.gpu,
        "allocated_bytes": _interval(estimate.allocated),
        "reserved_bytes": _interval(estimate.reserved),
        "device_bytes": _interval(estimate.device),
        "required_bytes": _interval(estimate.required),
        "evaluation_bytes": _interval(estimate.evaluation),
        "least_bytes": estimate.least_bytes,
        "usable_bytes": estimate.usable_bytes,
        "verdict": estimate.verdict.value,
        "phase": estimate.phase,
        "components": [_component(component) for component in estimate.components],
        "assumptions": list(estimate.assumptions),
        "caveat": estimate.caveat,
        "unknown_because": estimate.unknown_because,
        "swept": row.swept,
        "largest_batch": None if row.largest is None else row.largest._asdict(),
    }


def _interval(interval: Interval | None) -> dict[str, int] | None:
    return None if interval is None else interval._asdict()


def _component(component: Component) -> dict[str, Any]:
    return component._asdict()
