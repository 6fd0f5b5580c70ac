"""The docs say what the program does: generated pages are fresh, commands run, the contract names every field."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vramlint.plan import FACT_NAMES

ROOT = Path(__file__).parents[2]
DOCS = sorted(path for path in (ROOT / "docs").rglob("*.md"))
COMMANDS = sorted(
    {
        (str(path.relative_to(ROOT)), line.removeprefix("$ "))
        for path in [*DOCS, ROOT / "CONTRIBUTING.md"]
        for block in re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("$ vramlint")
    }
)


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("vramlint"), *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, "tools/make_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"run python tools/make_docs.py\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_in_the_docs_run(page: str, command: str) -> None:
    done = run(shlex.split(command)[1:])
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout


def test_links_lead_somewhere() -> None:
    for page in [*DOCS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_pages_that_the_source_mentions_exist() -> None:
    for path in [path for room in ("vramlint", "rules", "tools") for path in (ROOT / room).rglob("*.py")]:
        for page in re.findall(r"docs/[\w/]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / page).exists(), f"{path.relative_to(ROOT)} speaks of {page}"


def _section(name: str) -> str:
    text = (ROOT / "docs/json.md").read_text(encoding="utf-8")
    return text.split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("command", ["check", "plan", "estimate"])
def test_the_contract_names_every_field_and_no_other(command: str) -> None:
    gpu = [] if command == "plan" else ["--gpu", "t4"]
    data = json.loads(run([command, "--output-format", "json", *gpu, "examples/vessels/config.yml"]).stdout)
    key = {"check": "findings", "plan": "plans", "estimate": "estimates"}[command]
    assert data[key], "an example without any result proves nothing"
    documented = set(re.findall(rf"`{key}\[\]\.([a-zA-Z_]+)", _section(command)))
    emitted = set(data[key][0])
    if command == "plan":
        facts = {name for name, value in data[key][0].items() if isinstance(value, dict)}
        assert facts >= set(FACT_NAMES)
        emitted = emitted - facts | {"FACT"}
        assert set(data[key][0]["micro_batch"]) == set(re.findall(r"FACT\.([a-z]+)`", _section(command)))
    assert documented == emitted
    assert f"vramlint.{command}/1" == data["schema"]
    assert set(data) <= {"schema", key, "failures", "summary", "applied", "refused"}
