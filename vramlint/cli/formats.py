"""The output formats of ``check``: each one's module is imported only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vramlint.cli.shared import rules_here, view, write
from vramlint.errors import UsageError

if TYPE_CHECKING:
    from vramlint.engine import FixOutcome
    from vramlint.report.frame import Texts
    from vramlint.results import CheckResult


class Report(NamedTuple):
    """What is to be shown: a check, the texts it speaks of, and what ``--fix`` did before it."""

    result: CheckResult
    texts: Texts
    outcome: FixOutcome | None = None


def show(output_format: str, report: Report, file: str | None = None) -> None:
    """Print ``report``, or write it to ``file``; people who read a short format get the closing line on stderr.

    Raises UsageError where ``file`` cannot be written.
    """
    result = report.result
    text = rendered(output_format, report)
    if file is None:
        write(text)
    else:
        _write_file(file, text)
    if output_format == "concise" or file is not None:
        write(_closing(result), err=True)


def rendered(output_format: str, report: Report) -> str:
    """``report`` as the text of a format."""
    return _RENDERERS[output_format](report)


def _full(report: Report) -> str:
    if not report.result.runs and not report.result.findings:
        return _closing(report.result)
    from vramlint.report import full

    return full.render(report.result, report.texts, view())


def _concise(report: Report) -> str:
    if not report.result.findings:
        return ""
    from vramlint.report import concise

    return concise.render(report.result, view())


def _json(report: Report) -> str:
    from vramlint.report import json

    return json.render(report.result, report.texts, report.outcome)


def _jsonl(report: Report) -> str:
    from vramlint.report import jsonl

    return jsonl.render(report.result, report.texts)


def _sarif(report: Report) -> str:
    from vramlint.report import sarif

    return sarif.render(report.result, report.texts, [rule.RULE for rule in rules_here()])


def _github(report: Report) -> str:
    from vramlint.report import github

    return github.render(report.result)


def _gitlab(report: Report) -> str:
    from vramlint.report import gitlab

    return gitlab.render(report.result, report.texts)


def _junit(report: Report) -> str:
    from vramlint.report import junit

    return junit.render(report.result)


def _markdown(report: Report) -> str:
    from vramlint.report import markdown

    return markdown.render(report.result)


def _html(report: Report) -> str:
    from vramlint.report import html

    return html.render(report.result, report.texts)


_RENDERERS: dict[str, Callable[[Report], str]] = {
    "full": _full,
    "concise": _concise,
    "json": _json,
    "jsonl": _jsonl,
    "sarif": _sarif,
    "github": _github,
    "gitlab": _gitlab,
    "junit": _junit,
    "markdown": _markdown,
    "html": _html,
}
FORMATS = tuple(_RENDERERS)


def _closing(result: CheckResult) -> str:
    """What was looked at and found, in one line; nothing where only failures are to tell, which were told already."""
    if result.runs or result.findings:
        from vramlint.report.summary import closing_line

        return f"{closing_line(result)}\n"
    if result.failures:
        return ""
    from vramlint.report.silence import no_run

    return f"{no_run(result.files_seen)}\n"


def _write_file(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", path=path, help="Name another --output-file."
        ) from error
