"""The package of docs/plugins.md: built into an installed distribution of its own and used from another repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
PROGRAM = Path(sys.executable).with_name("vramlint")
LINE = "torchrun --nproc_per_node=2 train.py --model resnet50 --batch_size 8 --gradient_accumulation_steps 64\n"
TELLTALE = "import os, pathlib\npathlib.Path(os.environ['RAN']).touch()\n"


def block(path: str) -> str:
    """The code block that follows the mention of ``path``."""
    found = re.search(rf"`{re.escape(path)}`.*?```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def _section(group: str, points: dict[str, str]) -> str:
    return f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the example in it, as an installer leaves it."""
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads(block("pyproject.toml"))["project"]
    for name in ("acme_rules/__init__.py", "acme_rules/long_accumulation.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(block(name), encoding="utf-8")
    with (folder / "acme_rules/__init__.py").open("a", encoding="utf-8") as module:
        module.write(TELLTALE)
    name, version = project["name"], project["version"]
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text("".join(_section(*group) for group in project["entry-points"].items()))
    return folder


class User:
    """A repository of somebody who has the package installed."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder, self.site = folder, site
        self.ran = folder / "the-plugin-ran"
        (folder / ".git").mkdir()
        (folder / "train.sh").write_text(LINE)

    def vramlint(self, *arguments: str, settings: str = 'plugins = ["acme"]\n') -> subprocess.CompletedProcess[str]:
        (self.folder / "vramlint.toml").write_text(settings)
        environment = {**os.environ, "PYTHONPATH": str(self.site), "RAN": str(self.ran)}
        return subprocess.run([PROGRAM, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def user(tmp_path: Path, site: Path) -> User:
    return User(tmp_path, site)


def test_the_plugin_runs_where_the_settings_name_it(user: User) -> None:
    done = user.vramlint("--output-format", "concise", "--select", "ACME", "train.sh")
    assert done.returncode == 1
    assert "warning[ACME001] long-accumulation: 64 accumulation steps" in done.stdout
    assert user.ran.exists()


@pytest.mark.parametrize("command", [["train.sh"], ["rules"], ["explain", "vram-over"], ["plan", "train.sh"], ["."]])
def test_installed_but_not_named_it_is_not_even_imported(user: User, command: list[str]) -> None:
    done = user.vramlint(*command, settings="")
    assert done.returncode == 0, done.stderr
    assert "ACME" not in done.stdout
    assert not user.ran.exists()


def test_it_is_a_rule_like_any_other(user: User) -> None:
    assert "ACME001" in user.vramlint("rules").stdout
    assert "# long-accumulation (ACME001)" in user.vramlint("explain", "long-accumulation").stdout
    log = json.loads(user.vramlint("--output-format", "sarif", "train.sh").stdout)
    assert "ACME001" in [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]]
    ignored = 'plugins = ["acme"]\nignore = ["long-accumulation"]\n'
    assert "ACME" not in user.vramlint("train.sh", settings=ignored).stdout
    assert user.vramlint("--add-ignore", "--reason", "small card", "--select", "ACME001", "train.sh").returncode == 0
    assert "# vramlint: ignore[long-accumulation] small card\n" in (user.folder / "train.sh").read_text()
    assert "1 suppressed" in user.vramlint("--select", "ACME", "train.sh").stdout


def test_the_cases_of_its_rule_hold(user: User) -> None:
    code = (
        "import acme_rules.long_accumulation as rule\nfrom vramlint.engine import CheckOptions, check_source\n"
        "options = CheckOptions(select=('ACME001',), isolated=True, plugins=('acme',))\n"
        "for case in (*rule.VALID, *rule.INVALID):\n"
        "    found = check_source(case.path, case.text.encode(), options).findings\n"
        "    assert bool(found) is (case in rule.INVALID), case\n"
        "print(len(rule.VALID), len(rule.INVALID))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(user.site), "RAN": str(user.ran)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "2 2\n", done.stderr


def test_a_plugin_that_is_not_installed(user: User) -> None:
    done = user.vramlint("train.sh", settings='plugins = ["acmee"]\n')
    assert done.returncode == 2
    assert "no installed package offers the rule plugin 'acmee'" in done.stderr
    assert "acme" in done.stderr.split("help:")[1]


def test_a_plugin_that_breaks_is_told_and_the_others_go_on(user: User, tmp_path: Path) -> None:
    broken = tmp_path / "site"
    for path in sorted(user.site.rglob("*")):
        target = broken / path.relative_to(user.site)
        if path.is_file() and "__pycache__" not in path.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text().replace("steps >= MANY", "steps >= 1 / 0"))
    user.site = broken
    done = user.vramlint("--pedantic", "--output-format", "concise", "train.sh")
    assert done.returncode == 2
    assert "rule ACME001 long-accumulation failed: ZeroDivisionError" in done.stderr
    assert "effective-batch" in done.stdout
