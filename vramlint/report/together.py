"""What is said of one file for many: findings that are about the card more than about the file."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from vramlint.findings import Finding
from vramlint.results import CheckResult, RunResult

MOST_ONE_BY_ONE = 3
"""Up to so many findings of a rule and a card are told each in its place."""


class _Kind(NamedTuple):
    code: str
    card: str


def once_a_card(result: CheckResult, told: Collection[str], own_card: Collection[str]) -> CheckResult:
    """``result`` with one finding for many of a rule that asks for that.

    Always told are those of the files ``told`` (the paths that the user named), and of runs whose card is from one of
    the sources ``own_card``.
    """
    many: dict[_Kind, list[Finding]] = {}
    for run in result.runs:
        for finding in run.findings:
            if finding.once_a_card and not _is_own(run, told, own_card):
                many.setdefault(_kind(finding, run), []).append(finding)
    replaced: dict[tuple[object, ...], Finding | None] = {}
    for findings in many.values():
        if len(findings) > MOST_ONE_BY_ONE:
            first, *others = sorted(findings, key=_place)
            replaced |= {_identity(each): None for each in others}
            replaced[_identity(first)] = _for_all(first, len(others))
    if not replaced:
        return result
    runs = tuple(run._replace(findings=_left(run.findings, replaced)) for run in result.runs)
    return result._replace(runs=runs, findings=_left(result.findings, replaced))


def _is_own(run: RunResult, told: Collection[str], own_card: Collection[str]) -> bool:
    return run.reading.document.path in told or run.target.source in own_card


def _kind(finding: Finding, run: RunResult) -> _Kind:
    return _Kind(finding.code, "" if run.target.gpu is None else run.target.gpu.name)


def _for_all(finding: Finding, others: int) -> Finding:
    text = f"; likewise in {others:,} more configs (check one by its name to see its own figures)"
    return finding._replace(message=finding.message + text)


def _left(findings: tuple[Finding, ...], replaced: dict[tuple[object, ...], Finding | None]) -> tuple[Finding, ...]:
    found = (replaced.get(_identity(each), each) for each in findings)
    return tuple(each for each in found if each is not None)


def _place(finding: Finding) -> tuple[str, int]:
    return finding.location.path, finding.location.start


def _identity(finding: Finding) -> tuple[object, ...]:
    return finding.code, finding.location, finding.run, finding.message
