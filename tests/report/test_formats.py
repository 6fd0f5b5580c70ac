"""The machine-readable formats: concise, github, json, sarif, and the fingerprints they share."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.report.support import MOCO, finding, result, run, texts, unknown_estimate
from vramlint.report import concise, github, sarif
from vramlint.report import json as contract
from vramlint.report.fingerprint import fingerprints
from vramlint.report.text import View
from vramlint.results import Failure
from vramlint.rule import Confidence, RuleInfo, Safety, Severity

SARIF_SCHEMA = json.loads((Path(__file__).parents[1] / "data/sarif/sarif-2.1.0.json").read_text(encoding="utf-8"))
FAILURE = Failure("bad.yml", "not UTF-8", 3, 1, "save it as UTF-8")
RULE = RuleInfo(
    "VL201",
    "queue-not-divisible",
    "The queue is no multiple of the batch",
    Severity.ERROR,
    Confidence.HIGH,
    Safety.SAFE,
    (),
)


def test_concise_is_one_line_a_finding() -> None:
    other = finding(needle="96", severity=Severity.WARNING, code="VL401", name="vram-tight", message="m", fixes=())
    assert concise.render(result(run(finding(), other)), View()) == (
        "src/config.py:4:23: warning[VL401] vram-tight: m\n"
        "src/config.py:5:23: error[VL201] queue-not-divisible: queue_size 65536 is not a multiple of batch_size 96 "
        "(682.67 batches): the queue pointer runs past the end [safe fix]\n"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"message": "bad"},
            "::error file=src/config.py,line=5,endLine=5,col=23,endColumn=27,title=VL201 queue-not-divisible::bad",
        ),
        (
            {"message": "100 %\nnext", "help": "do: this, now", "severity": Severity.WARNING},
            "::warning file=src/config.py,line=5,endLine=5,col=23,endColumn=27,title=VL201 queue-not-divisible"
            "::100 %25%0Anext%0Ado: this, now",
        ),
        (
            {"severity": Severity.INFO, "path": "a,b:c.py", "message": "m"},
            "::notice file=a%2Cb%3Ac.py,line=5,endLine=5,col=23,endColumn=27,title=VL201 queue-not-divisible::m",
        ),
    ],
)
def test_github_escapes_what_workflow_commands_reserve(changes: dict, line: str) -> None:
    assert github.render(result(run(finding(**changes)))) == line + "\n"


def test_github_gives_no_columns_over_several_lines() -> None:
    where = finding().location._replace(end_line=6, end_column=4)
    shown = github.render(result(run(finding(location=where, message="m"))))
    assert shown.startswith("::error file=src/config.py,line=5,endLine=6,title=")


def test_github_annotates_files_that_could_not_be_checked() -> None:
    shown = github.render(result(failures=(FAILURE,)))
    assert shown == "::error file=bad.yml,line=3,title=could not check::not UTF-8\n"


def test_json_findings_have_every_field_of_the_contract() -> None:
    data = json.loads(contract.render(result(run(finding()), failures=(FAILURE,)), texts()))
    assert data["schema"] == "vramlint.check/1"
    (found,) = data["findings"]
    mark = found.pop("fingerprint")
    assert len(mark) == 32
    assert found == {
        "code": "VL201",
        "name": "queue-not-divisible",
        "severity": "error",
        "confidence": "high",
        "path": "src/config.py",
        "line": 5,
        "column": 23,
        "end_line": 5,
        "end_column": 28,
        "message": finding().message,
        "help": "",
        "fact": "queue_size",
        "run": "Config",
        "fixes": [
            {
                "safety": "safe",
                "title": "set queue_size to 76800 (800 batches)",
                "edits": [
                    {
                        "path": "src/config.py",
                        "line": 5,
                        "column": 23,
                        "end_line": 5,
                        "end_column": 28,
                        "text": "76800",
                    }
                ],
            }
        ],
    }
    assert data["failures"] == [
        {"path": "bad.yml", "message": "not UTF-8", "line": 3, "column": 1, "help": "save it as UTF-8"}
    ]
    assert data["summary"] == {
        "files_seen": 1,
        "files_checked": 1,
        "runs": 1,
        "suppressed": 0,
        "baselined": 0,
        "errors": 1,
        "warnings": 0,
        "infos": 0,
    }


def test_json_plans_have_origin_path_and_line() -> None:
    (plan,) = json.loads(contract.render_plans(result(run())))["plans"]
    assert plan["path"] == "src/config.py"
    assert plan["micro_batch"] == {"value": 96, "origin": "file", "path": "src/config.py", "line": 4, "note": ""}
    assert plan["effective_batch"]["value"] == 768
    assert plan["effective_batch"]["origin"] == "derived"
    assert plan["precision"]["value"] == "fp16"
    assert plan["image_size"]["value"] == [224, 224]
    assert plan["seq_len"] == {"value": None, "origin": "unknown", "path": None, "line": None, "note": ""}


def test_json_estimates() -> None:
    rows = [contract.EstimateRow(one.reading.plan, one.estimate) for one in (run(), run(estimate=unknown_estimate()))]
    known, unknown = json.loads(contract.render_estimates(rows, ()))["estimates"]
    assert set(known["device_bytes"]) == {"low", "value", "high"}
    assert known["verdict"] == "fits"
    assert known["components"][0] == {"name": "activations", "bytes": 2**32, "origin": "profile resnet50"}
    assert unknown["allocated_bytes"] is None
    assert unknown["verdict"] == "unknown"
    assert unknown["unknown_because"] == "no profile of model 'mynet'"


def test_json_survives_a_path_that_is_no_text() -> None:
    stray = finding(path="caf\udce9.py")
    text = contract.render(result(run(stray)), texts())
    assert json.loads(text)["findings"][0]["path"] == "caf\udce9.py"
    text.encode("utf-8")


@pytest.mark.parametrize(
    "checked",
    [
        result(),
        result(run(finding())),
        result(run(finding(fixes=(), help="do it"), finding(needle="96", severity=Severity.INFO, code="VL404"))),
        result(run(finding(path="/tmp/a b%.py"))),
        result(run(), failures=(FAILURE, Failure("gone.yml", "no such file"))),
    ],
    ids=["nothing", "one", "two", "absolute path", "failures"],
)
def test_sarif_is_valid_by_the_schema(checked: object) -> None:
    log = json.loads(sarif.render(checked, texts(), [RULE]))
    jsonschema.Draft202012Validator(SARIF_SCHEMA, format_checker=jsonschema.FormatChecker()).validate(log)


def test_sarif_says_where_and_how_to_fix() -> None:
    (log,) = json.loads(sarif.render(result(run(finding(path="a b.py"))), texts(MOCO, "a b.py"), [RULE]))["runs"]
    (found,) = log["results"]
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "a%20b.py", "uriBaseId": "SRCROOT"}
    assert place["region"] == {"startLine": 5, "startColumn": 23, "endLine": 5, "endColumn": 28}
    assert log["tool"]["driver"]["rules"][found["ruleIndex"]]["id"] == "VL201"
    replacement = found["fixes"][0]["artifactChanges"][0]["replacements"][0]
    assert replacement["insertedContent"] == {"text": "76800"}
    assert log["invocations"] == [{"executionSuccessful": True}]


def test_sarif_failures_are_notifications() -> None:
    (log,) = json.loads(sarif.render(result(failures=(FAILURE,)), texts()))["runs"]
    assert log["invocations"][0]["executionSuccessful"] is False


def test_fingerprints_survive_new_lines_above_and_new_words() -> None:
    (before,) = fingerprints([finding()], texts())
    moved = "# a comment\n\n" + MOCO
    (after,) = fingerprints([finding(moved, message="reworded")], texts(moved))
    assert before == after


def test_fingerprints_tell_findings_apart() -> None:
    marks = fingerprints([finding(), finding(), finding(needle="96"), finding(run="Other")], texts())
    assert len(set(marks)) == 4
