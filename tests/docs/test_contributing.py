"""The six steps of CONTRIBUTING.md, done: the rule and the dialect of the page, added to a copy of the source."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(path: str) -> str:
    """The code block that follows the mention of ``path``."""
    found = re.search(rf"`{re.escape(path)}`.*?\n\n(`{{3,4}})python\n(.*?)\1", PAGE, re.DOTALL)
    assert found is not None
    return found[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the source, where the steps can be tried."""
    for name in ("vramlint", "rules"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def python(checkout: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` with the copy in front of everything that is installed."""
    path = os.pathsep.join(map(str, (checkout, checkout / "rules", ROOT)))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=checkout, env=environment, capture_output=True, text=True
    )


def test_a_rule_in_six_steps(checkout: Path) -> None:
    (checkout / "rules/vramlint_rules/no_workers.py").write_text(
        block("rules/vramlint_rules/no_workers.py"), encoding="utf-8"
    )
    code = """
import sys, vramlint_rules.no_workers as rule
from vramlint.engine import CheckOptions, check_source, fix_source, load_rules
assert "VL390" in [found.RULE.code for found in load_rules()]
options = CheckOptions(select=("VL390",), isolated=True)
for case in rule.VALID:
    assert not check_source(case.path, case.text.encode(), options).findings, case
for case in rule.INVALID:
    assert [found.code for found in check_source(case.path, case.text.encode(), options).findings] == ["VL390"], case
    (fixed,) = fix_source(case.path, case.text.encode(), options, unsafe=True).files
    assert fixed.new.decode() == case.fixed, fixed.new
"""
    done = python(checkout, code)
    assert done.returncode == 0, done.stderr


def test_a_dialect_in_six_steps(checkout: Path) -> None:
    module = block("vramlint/dialects/skylark.py")
    (checkout / "vramlint/dialects/skylark.py").write_text(module, encoding="utf-8")
    table = checkout / "vramlint/dialects/table.py"
    (row,) = re.findall(r"^row\(.*\),$", PAGE, re.MULTILINE)
    head, start, tail = table.read_text(encoding="utf-8").partition(": tuple[Row, ...] = (\n")
    assert start, "the table's rows no longer stand in a tuple"
    table.write_text(f"{head}{start}    {row}\n{tail}", encoding="utf-8")
    example = re.search(r"```yaml\n(skylark.*?)```", module, re.DOTALL)
    assert example is not None
    (checkout / "sky.yaml").write_text(example[1], encoding="utf-8")
    main = "import sys; from vramlint.cli.main import main; sys.exit(main(sys.argv[1:]))"

    why = python(checkout, main, "dialects", "--why", "sky.yaml")
    assert why.stdout.startswith("sky.yaml: skylark: "), why.stderr
    planned = python(checkout, main, "plan", "--gpus", "4", "--output-format", "json", "sky.yaml")
    (plan,) = json.loads(planned.stdout)["plans"]
    assert (plan["dialect"], plan["effective_batch"]["value"], plan["precision"]["value"]) == ("skylark", 128, "fp16")
    assert "micro_batch: 16 file 4" in module
