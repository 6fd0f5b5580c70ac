"""The docs say what the program does: generated pages are fresh, commands run, the contract names every field."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from vramlint.cli.main import COMMANDS as COMMAND_NAMES
from vramlint.cli.main import cli
from vramlint.hardware.catalogue import find_gpu
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


def run(arguments: list[str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("vramlint"), *arguments], cwd=folder, capture_output=True, text=True
    )


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, "tools/make_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"run python tools/make_docs.py\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples, where a command may write."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_in_the_docs_run(page: str, command: str, checkout: Path) -> None:
    done = run(shlex.split(command)[1:], checkout)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout or done.stderr


def _recipes() -> list[tuple[str, str]]:
    """Every call of vramlint in the shell and YAML blocks of the docs, with its page; ``$ `` blocks are run above."""
    found = set()
    for page in [*DOCS, ROOT / "CONTRIBUTING.md", ROOT / "README.md"]:
        for block in re.findall(r"```(?:bash|yaml)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                match = re.search(r"(?:^|exec |run: |- )vramlint ((?:[a-z]+|-).*)", re.split(r"\s+# ", line)[0].strip())
                if match and not line.lstrip().startswith("#"):
                    found.add((str(page.relative_to(ROOT)), match[1]))
    return sorted(found)


@pytest.mark.parametrize(("page", "arguments"), _recipes())
def test_recipes_in_the_docs_are_commands_that_exist(page: str, arguments: str) -> None:
    context = click.Context(cli, info_name="vramlint")
    name, *rest = shlex.split(arguments)
    if name not in COMMAND_NAMES:
        name, rest = "check", [name, *rest]
    command = cli.get_command(context, name)
    assert command is not None
    given = command.make_context(name, rest, parent=context).params
    wanted = given.get("gpu") or ()
    for card in (wanted,) if isinstance(wanted, str) else wanted:
        find_gpu(card)


def test_there_are_recipes_to_check() -> None:
    assert len(_recipes()) >= 15


@pytest.mark.parametrize("page", [page for page in DOCS if page.parent == ROOT / "docs" and page.name != "trace.md"])
def test_blocks_of_data_in_the_docs_parse(page: Path) -> None:
    loaders = {"yaml": yaml.safe_load, "toml": tomllib.loads, "json": json.loads}
    for kind, block in re.findall(r"```(yaml|toml|json)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        loaders[kind](block)


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
