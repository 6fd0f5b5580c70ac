"""Rules of a repository in YAML: the documented example, and what is said of a file that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vramlint.constraints import TEMPLATES
from vramlint.constraints.conditions import _WORDS
from vramlint.engine import CheckOptions, check
from vramlint.errors import SettingsError
from vramlint.findings import Finding

PAGE = (Path(__file__).parents[2] / "docs/repository-rules.md").read_text(encoding="utf-8")
ROW = (
    "rows:\n- {code: TEAM001, name: too-big, template: accepts, key: '@micro_batch', "
    "values: {at_most: 4}, message: m}\n"
)


def block(after: str) -> str:
    found = re.search(rf"{re.escape(after)}.*?```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of the page."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "ops").mkdir()
    (tmp_path / "train").mkdir()
    (tmp_path / "vramlint.toml").write_text(block("relative to the settings file:"))
    (tmp_path / "ops/vramlint-rules.yaml").write_text(block("`ops/vramlint-rules.yaml`:"))
    (tmp_path / "train/sft.yaml").write_text(block("`train/sft.yaml`:"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(finding: Finding) -> str:
    place = finding.location
    head = f"{place.path}:{place.line}:{place.column}: {finding.severity}[{finding.code}]"
    return f"{head} {finding.name}: {finding.message}"


def test_the_example_of_the_page(project: Path) -> None:
    result = check(["train/sft.yaml"], CheckOptions(select=("TEAM",)))
    lines = PAGE.split("```text\n")[1].split("```")[0].splitlines()
    assert [shown(finding) for finding in result.findings] == lines


def test_the_page_names_every_template_and_word() -> None:
    for name in (*TEMPLATES, *_WORDS):
        assert f"`{name}" in PAGE, name


def test_a_rule_is_suppressed_by_its_name(project: Path) -> None:
    file = project / "train/sft.yaml"
    file.write_text(file.read_text().replace("size: 32", "size: 32  # vramlint: ignore[batch-over-our-limit] nightly"))
    result = check(["train/sft.yaml"], CheckOptions(select=("TEAM",)))
    assert [finding.code for finding in result.findings] == ["TEAM002", "TEAM003"]
    assert result.suppressed == 1


def test_rules_are_for_the_framework_they_name(project: Path) -> None:
    rules = project / "ops/vramlint-rules.yaml"
    rules.write_text("framework: [deepspeed, lightning]\n" + rules.read_text())
    assert check(["train/sft.yaml"], CheckOptions(select=("TEAM",))).findings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: {}\n", "no list of rows"),
        ("- a\n", "not a mapping"),
        ("rows: [\n", "not valid YAML"),
        (ROW.replace("too-big", "TooBig"), "a row has no name"),
        (ROW.replace("TEAM001", "VL201"), "code 'VL201' is none"),
        (ROW.replace("code: TEAM001, ", ""), "code '' is none"),
        (ROW.replace("accepts", "acepts"), "unknown template 'acepts'"),
        (ROW.replace("at_most: 4", "at_mots: 4"), "unknown condition 'at_mots'"),
        (ROW.replace("at_most: 4", "at_most: four"), "expected a number"),
        (ROW.replace("at_most: 4", "matches: '['"), "not a regular expression"),
        (ROW.replace("message: m", "mesage: m"), "unknown key 'mesage'"),
        (ROW.replace(", message: m", ""), "message is missing"),
        (ROW.replace("message: m", "message: m, severity: fatal"), "severity is 'fatal'"),
        ("framework: pytorch\n" + ROW, "no dialect is called 'pytorch'"),
    ],
)
def test_a_wrong_file_is_said_with_its_name(project: Path, text: str, message: str) -> None:
    (project / "ops/vramlint-rules.yaml").write_text(text)
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        check(["train/sft.yaml"])
    assert caught.value.path == "ops/vramlint-rules.yaml"


def test_a_missing_file_is_said(project: Path) -> None:
    (project / "ops/vramlint-rules.yaml").unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        check(["train/sft.yaml"])
