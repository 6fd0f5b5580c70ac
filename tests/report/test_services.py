"""The formats of CI services: GitLab code quality, JUnit, Markdown comments and JSON lines, each by its own schema."""

from __future__ import annotations

import json
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest

from tests.report.support import MOCO, finding, result, run, texts, unknown_estimate
from vramlint.report import gitlab, jsonl, junit, markdown
from vramlint.report import json as contract
from vramlint.results import CheckResult, Failure
from vramlint.rule import Severity

ROOT = Path(__file__).parents[2]
GITLAB_SCHEMA = json.loads((ROOT / "tests/data/gitlab/code-quality.json").read_text(encoding="utf-8"))
FAILURE = Failure("bad.yml", "not UTF-8", 3, 1, "save it as UTF-8")
NASTY = '</failure>]]> "quoted" <b> & \x1b[31m \x00 \udce9 \u2028 ünï'
WARNING = {"needle": "96", "severity": Severity.WARNING, "code": "VL401", "name": "vram-over"}
INFO = {"needle": "224", "severity": Severity.INFO, "code": "VL402", "name": "vram-wasted"}

RESULTS = {
    "nothing": result(),
    "clean run": result(run()),
    "unknown memory": result(run(estimate=unknown_estimate())),
    "one": result(run(finding())),
    "three": result(run(finding(), finding(**WARNING), finding(**INFO, fixes=(), help="do it"))),
    "nasty": result(run(finding(message=NASTY, help=NASTY, path='a "b" <c>&.py')), failures=(Failure(NASTY, NASTY),)),
    "failures": result(run(), failures=(FAILURE, Failure("gone.yml", "no such file"))),
}
every = pytest.mark.parametrize("checked", RESULTS.values(), ids=RESULTS.keys())


@every
def test_gitlab_is_valid_by_the_schema(checked: CheckResult) -> None:
    issues = json.loads(gitlab.render(checked, texts()))
    jsonschema.Draft202012Validator(GITLAB_SCHEMA).validate(issues)
    assert len(issues) == len(checked.findings) + len(checked.failures)
    marks = [issue["fingerprint"] for issue in issues]
    assert len(set(marks)) == len(marks), "GitLab drops issues that share a fingerprint"


def test_gitlab_issues_survive_lines_above() -> None:
    moved = "# a comment\n" + MOCO
    (before,) = json.loads(gitlab.render(result(run(finding())), texts()))
    (after,) = json.loads(gitlab.render(result(run(finding(moved), text=moved)), texts(moved)))
    assert before["fingerprint"] == after["fingerprint"]
    assert after["location"]["lines"]["begin"] == before["location"]["lines"]["begin"] + 1


@pytest.fixture(scope="module")
def junit_schema() -> object:
    """Jenkins' schema, which pytest's source distribution holds for tests of its own."""
    xmlschema = pytest.importorskip("xmlschema", reason="xmlschema reads the JUnit schema")
    archives = sorted((ROOT / ".cache/wheels").glob("pytest-*.tar.gz"))
    if not archives:
        pytest.skip("bash tools/fetch_wheels.sh downloads the JUnit schema")
    with tarfile.open(archives[-1]) as archive:
        member = next(one for one in archive.getmembers() if one.name.endswith("/junit-10.xsd"))
        file = archive.extractfile(member)
        assert file is not None
        return xmlschema.XMLSchema(file.read().decode("utf-8"))


@every
def test_junit_is_valid_by_the_schema(checked: CheckResult, junit_schema) -> None:
    junit_schema.validate(junit.render(checked))


def test_the_junit_schema_refuses_what_is_none(junit_schema) -> None:
    assert not junit_schema.is_valid("<testsuites><testcase/></testsuites>")


@every
def test_junit_counts_what_it_holds(checked: CheckResult) -> None:
    root = ET.fromstring(junit.render(checked))
    serious = [found for found in checked.findings if found.severity is not Severity.INFO]
    assert int(root.get("failures", "")) == len(serious) == len(root.findall(".//failure"))
    assert int(root.get("errors", "")) == len(checked.failures) == len(root.findall(".//error"))
    assert int(root.get("tests", "")) == len(root.findall(".//testcase"))


def test_junit_failures_say_where_and_how_to_repair() -> None:
    (failure,) = ET.fromstring(junit.render(result(run(finding())))).findall(".//failure")
    assert failure.get("type") == "error"
    assert failure.get("message") == finding().message
    assert failure.text is not None
    assert failure.text.startswith("src/config.py:5:23: queue_size 65536")
    assert "safe fix: set queue_size to 76800" in failure.text


def test_junit_cases_are_known_by_setting_and_not_by_line() -> None:
    moved = "# a comment\n" + MOCO
    cases = [
        [case.get("name") for case in ET.fromstring(junit.render(found)).findall(".//testcase")]
        for found in (result(run(finding(), finding())), result(run(finding(moved), finding(moved), text=moved)))
    ]
    assert cases[0] == cases[1]
    assert cases[0] == ["VL201 queue-not-divisible queue_size Config", "VL201 queue-not-divisible queue_size Config #2"]


def test_a_clean_run_is_a_passed_case_with_its_plan() -> None:
    (case,) = ET.fromstring(junit.render(result(run()))).findall(".//testcase")
    assert [child.tag for child in case] == ["system-out"]
    assert "effective batch 768" in (case.findtext("system-out") or "")


def test_markdown_of_one_error() -> None:
    shown = markdown.render(result(run(finding())))
    assert shown.startswith(f"{markdown.MARK}\n\n### vramlint: 1 error in 1 file")
    assert "| 🔴 error | `src/config.py:5` | VL201 queue-not-divisible | queue\\_size 65536 is not a multiple" in shown
    assert "safe fix: set queue\\_size to 76800 (800 batches) (`vramlint --fix` makes it)" in shown
    assert "effective batch 768" in shown


def test_markdown_tables_keep_their_columns_and_mention_nobody() -> None:
    hostile = "a | b\n| c | @everyone #1 <img src=x> [x](http://y)"
    shown = markdown.render(result(run(finding(message=hostile, path="a|b`c.py"))))
    (row,) = [line for line in shown.splitlines() if line.startswith("| 🔴")]
    cells = row.replace("\\|", "").strip("|").split("|")
    assert len(cells) == 4
    assert "@everyone" not in shown
    assert "#1" not in shown
    assert "\\<img" in shown


def test_markdown_stays_below_the_limit_of_a_comment() -> None:
    many = [finding(message=f"{number} " + "x" * 500) for number in range(400)]
    shown = markdown.render(result(run(*many)))
    assert len(shown) <= markdown.MOST_CHARACTERS
    assert "more.\n" in shown
    assert "400 errors" in shown


def test_markdown_puts_the_serious_first() -> None:
    shown = markdown.render(RESULTS["three"])
    assert shown.index("🔴") < shown.index("🟡") < shown.index("🔵")


@every
def test_lines_of_json_are_the_report_in_json(checked: CheckResult) -> None:
    rows = [json.loads(line) for line in jsonl.render(checked, texts()).splitlines()]
    whole = json.loads(contract.render(checked, texts()))
    by_schema: dict[str, list[dict]] = {}
    for row in rows:
        by_schema.setdefault(row.pop("schema"), []).append(row)
    assert by_schema.get(jsonl.FINDING_SCHEMA, []) == whole["findings"]
    assert by_schema.get(jsonl.FAILURE_SCHEMA, []) == whole["failures"]
    assert by_schema[jsonl.SUMMARY_SCHEMA] == [whole["summary"]]
