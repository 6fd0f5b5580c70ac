"""JUnit XML, which nearly every CI service shows: a suite a file, a case a finding.

Errors and warnings are failed cases; infos are passed ones with their text; a file without findings is one passed case.
Source: the schema ``junit-10.xsd`` of Jenkins' xUnit plugin, which pytest's own JUnit files are tested against.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from vramlint.findings import Finding
from vramlint.report.summary import memory_line, plan_line
from vramlint.results import CheckResult, Failure
from vramlint.rule import Severity

_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


def render(result: CheckResult) -> str:
    """The whole document; the order is that of the files."""
    suites = [_suite(path, result) for path in _paths(result)]
    tests, failed, errors = (sum(suite.counts[number] for suite in suites) for number in range(3))
    head = f'<testsuites name="vramlint" tests="{tests}" failures="{failed}" errors="{errors}">'
    body = "".join(suite.text for suite in suites)
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{body}</testsuites>\n'
    return document.encode("ascii", "xmlcharrefreplace").decode("ascii")


class _Suite:
    """The cases of one file."""

    def __init__(self, path: str, cases: Iterable[tuple[str, str]]) -> None:
        rows = tuple(cases)
        kinds = [kind for kind, _ in rows]
        self.counts = (len(rows), kinds.count("failure"), kinds.count("error"))
        tests, failed, errors = self.counts
        head = f'  <testsuite name={_attribute(path)} tests="{tests}" failures="{failed}" errors="{errors}">'
        self.text = "\n".join([head, *(text for _, text in rows), "  </testsuite>\n"])


def _paths(result: CheckResult) -> list[str]:
    runs = {run.reading.plan.path for run in result.runs}
    found = {finding.location.path for finding in result.findings}
    return sorted(runs | found | {failure.path for failure in result.failures})


def _suite(path: str, result: CheckResult) -> _Suite:
    findings = [found for found in result.findings if found.location.path == path]
    cases = [_finding(found, name) for found, name in zip(findings, _names(findings), strict=True)]
    cases.extend(_failure(failure) for failure in result.failures if failure.path == path)
    about = [run for run in result.runs if run.reading.plan.path == path]
    if not cases:
        said = "\n".join(
            f"plan: {plan_line(run.reading.plan)}\nmemory: {memory_line(run.estimate, run.target)}" for run in about
        )
        cases.append(("pass", _case("nothing to report", path, f"<system-out>{_text(said)}</system-out>")))
    return _Suite(path, cases)


def _names(findings: Sequence[Finding]) -> Iterator[str]:
    """A name for each finding of a file by rule, setting and run: services know a case by it, so no line is in it."""
    seen: Counter[str] = Counter()
    for finding in findings:
        name = " ".join(part for part in (finding.code, finding.name, finding.fact, finding.run) if part)
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} #{seen[name]}"


def _finding(finding: Finding, name: str) -> tuple[str, str]:
    place = finding.location
    fixes = [f"{fix.safety.value} fix: {fix.title}" for fix in finding.fixes]
    told = "\n".join([f"{place.path}:{place.line}:{place.column}: {finding.message}", finding.help, *fixes]).strip()
    if finding.severity is Severity.INFO:
        return "pass", _case(name, place.path, f"<system-out>{_text(told)}</system-out>")
    kind = f"type={_attribute(finding.severity.value)} message={_attribute(finding.message)}"
    return "failure", _case(name, place.path, f"<failure {kind}>{_text(told)}</failure>")


def _failure(failure: Failure) -> tuple[str, str]:
    told = f"{failure.message}\n{failure.help}".strip()
    body = f'<error type="could not check" message={_attribute(failure.message)}>{_text(told)}</error>'
    return "error", _case("could not check", failure.path, body)


def _case(name: str, path: str, body: str) -> str:
    return f"    <testcase name={_attribute(name)} classname={_attribute(path)}>{body}</testcase>"


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text))


def _attribute(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text), {"\n": "&#10;", "\t": "&#9;"})
