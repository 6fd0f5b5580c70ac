"""One HTML file that holds everything: plan, memory, batch curve and findings of each run. It loads nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from vramlint import __version__
from vramlint.engine.curve import batch_curve
from vramlint.findings import Finding
from vramlint.plan import Fact, Location
from vramlint.report.charts import component_table, curve_chart, curve_table
from vramlint.report.frame import Texts
from vramlint.report.plan import title, value_words
from vramlint.report.summary import closing_line, interval_of, memory_line, plan_line, verdict_words
from vramlint.report.text import gib, printable
from vramlint.results import CheckResult, Failure, RunResult
from vramlint.rule import Severity

MOST_RUNS = 60
"""Runs shown in full; of a larger project the rest stands in the overview only."""
_LINES_BEFORE, _LINES_AFTER, _LONGEST_LINE = 2, 1, 400
_LINE_END = re.compile(r"\r\n|\r|\n")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What the page may do, should a file under review get markup into it: nothing."""


def render(result: CheckResult, texts: Texts) -> str:
    """The whole page, plain ASCII so that no server or stream can garble it."""
    shown = _shown(result)
    numbers = {id(run): number for number, run in enumerate(shown, 1)}
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>vramlint: {escape(closing_line(result))}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n"
    )
    body = [
        f'<header><h1>vramlint</h1><p class="lead">{escape(closing_line(result))}</p></header>',
        _overview(result, numbers) if len(result.runs) > 1 else "",
        "<main>",
        *(_run(run, numbers[id(run)], texts) for run in shown),
        _loose(result, texts),
        _failures(result.failures),
        "</main>",
        f'<footer class="muted">vramlint {__version__}. Memory is per GPU, GiB are 2^30 bytes, intervals are meant '
        "to hold 95 % of measured runs.</footer>",
    ]
    page = head + "\n".join(part for part in body if part) + "\n</body>\n</html>\n"
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


@cache
def _style() -> str:
    return (files("vramlint.report") / "page.css").read_text(encoding="utf-8")


def _shown(result: CheckResult) -> list[RunResult]:
    """Runs with findings first in their right, in the order of the files."""
    ranked = sorted(result.runs, key=lambda run: not run.findings)[:MOST_RUNS]
    kept = {id(run) for run in ranked}
    return [run for run in result.runs if id(run) in kept]


def _name(run: RunResult) -> str:
    return f"{run.reading.plan.path} {run.reading.plan.title}".rstrip()


def _overview(result: CheckResult, numbers: dict[int, int]) -> str:
    rows = []
    for run in result.runs:
        name, number = escape(printable(_name(run))), numbers.get(id(run))
        link = name if number is None else f'<a href="#run-{number}">{name}</a>'
        needed = interval_of(run.estimate)
        amount = "unknown" if needed is None else f"{gib(needed.value)} GiB"
        rows.append(
            f'<tr><th scope="row">{link}</th><td>{escape(plan_line(run.reading.plan))}</td>'
            f'<td class="number">{amount}</td><td>{_verdict(run)}</td><td class="number">{len(run.findings)}</td></tr>'
        )
    heads = "".join(f'<th scope="col">{word}</th>' for word in ("run", "plan", "needs", "verdict", "findings"))
    return f"<nav><h2>Runs</h2><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></nav>"


def _verdict(run: RunResult) -> str:
    verdict = run.estimate.verdict
    return f'<span class="sign {verdict.value}">{escape(verdict_words(verdict))}</span>'


def _run(run: RunResult, number: int, texts: Texts) -> str:
    plan = run.reading.plan
    parts = [
        f'<section class="run" id="run-{number}" aria-labelledby="run-{number}-name">',
        f'<h2 id="run-{number}-name">{escape(printable(_name(run)))}</h2>',
        f'<p class="muted">read as {escape(plan.dialect)}</p>',
        f"<p><strong>plan</strong> {escape(plan_line(plan))}<br>",
        f"<strong>memory</strong> {escape(memory_line(run.estimate, run.target))}</p>",
        *(_finding(found, texts) for found in sorted(run.findings, key=_seriousness)),
        _charts(run, number),
        _facts(run),
        _assumptions(run.estimate.assumptions),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _seriousness(finding: Finding) -> tuple[int, int]:
    return list(Severity).index(finding.severity), finding.location.start


def _charts(run: RunResult, number: int) -> str:
    parts = []
    if run.estimate.components:
        parts.append(f"<div><h3>Where the memory goes</h3>{component_table(run.estimate.components)}</div>")
    points = batch_curve(run)
    now = run.reading.plan.micro_batch.value
    if len(points) > 1 and now is not None:
        chart = curve_chart(points, now, run.estimate.usable_bytes, f"curve-{number}")
        table = f"<details><summary>as a table</summary>{curve_table(points)}</details>"
        parts.append(f"<div><h3>Memory over the micro batch</h3>{chart}{table}</div>")
    return f'<div class="columns">{"".join(parts)}</div>' if parts else ""


def _facts(run: RunResult) -> str:
    rows = "".join(_fact(name, fact) for name, fact in run.reading.plan.facts() if fact.known)
    heads = "".join(f'<th scope="col">{word}</th>' for word in ("fact", "value", "from"))
    return (
        f"<details><summary>The plan, and where each fact comes from</summary>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></details>"
    )


def _fact(name: str, fact: Fact[Any]) -> str:
    place = "" if fact.location is None else f" {fact.location.path}:{fact.location.line}"
    note = f" ({fact.note})" if fact.note else ""
    source = escape(printable(f"{fact.origin.value}{place}{note}"))
    value = escape(printable(value_words(fact.value)))
    return f'<tr><th scope="row">{title(name)}</th><td>{value}</td><td>{source}</td></tr>'


def _assumptions(assumptions: Sequence[str]) -> str:
    if not assumptions:
        return ""
    items = "".join(f"<li>{escape(printable(text))}</li>" for text in assumptions)
    return f"<details><summary>What the estimate takes for granted</summary><ul>{items}</ul></details>"


def _loose(result: CheckResult, texts: Texts) -> str:
    """Findings that belong to no run that is shown."""
    of_runs = {_identity(found) for run in _shown(result) for found in run.findings}
    left = [_finding(found, texts) for found in result.findings if _identity(found) not in of_runs]
    return "\n".join(['<section class="loose"><h2>Other findings</h2>', *left, "</section>"]) if left else ""


def _identity(finding: Finding) -> tuple[object, ...]:
    return finding.code, finding.location, finding.message


def _finding(finding: Finding, texts: Texts) -> str:
    place = finding.location
    where = escape(printable(f"{place.path}:{place.line}:{place.column}"))
    kind = finding.severity.value
    parts = [
        f'<article class="finding {kind}"><p><span class="sign {kind}">{kind}</span> '
        f"<strong>{escape(finding.name)}</strong> <code>{finding.code}</code> "
        f'<span class="muted">{where}, confidence {finding.confidence.value}</span></p>',
        f"<p>{escape(printable(finding.message))}</p>",
        _frame(place, texts(place.path)),
        f"<p>{escape(printable(finding.help))}</p>" if finding.help and not finding.fixes else "",
        _fixes(finding),
        "</article>",
    ]
    return "\n".join(part for part in parts if part)


def _fixes(finding: Finding) -> str:
    items = "".join(
        f"<li><strong>{fix.safety.value} fix:</strong> {escape(printable(fix.title))}</li>" for fix in finding.fixes
    )
    return f"<ul>{items}</ul>" if items else ""


def _frame(place: Location, text: str | None) -> str:
    lines = _LINE_END.split(text) if text else []
    if not 1 <= place.line <= len(lines):
        return ""
    return f"<pre>{chr(10).join(_numbered(place, lines))}</pre>"


def _numbered(place: Location, lines: Sequence[str]) -> Iterator[str]:
    last = min(place.line + _LINES_AFTER, len(lines))
    for number in range(max(place.line - _LINES_BEFORE, 1), last + 1):
        line = lines[number - 1]
        shown = _marked(line, place) if number == place.line else escape(printable(line[:_LONGEST_LINE]))
        yield f'<span class="at">{number:>5}  </span>{shown}'


def _marked(line: str, place: Location) -> str:
    """``line`` with its marked part; of a very long one only what surrounds the mark."""
    start = place.column - 1
    end = place.end_column - 1 if place.end_line == place.line else len(line)
    left, right = max(start - _LONGEST_LINE // 2, 0), min(end + _LONGEST_LINE // 2, len(line))
    before, marked, after = (escape(printable(part)) for part in (line[left:start], line[start:end], line[end:right]))
    return f"{before}<mark>{marked}</mark>{after}"


def _failures(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    items = []
    for failure in failures:
        place = ":".join(str(part) for part in (failure.path, failure.line) if part is not None)
        items.append(f"<li><code>{escape(printable(place))}</code> {escape(printable(failure.message))}</li>")
    return f'<section class="loose"><h2>Could not be checked</h2><ul>{"".join(items)}</ul></section>'
