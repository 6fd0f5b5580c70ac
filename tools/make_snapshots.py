"""Writes what each rule's first invalid case looks like in full format, or with --check says what is out of date.

Usage: python -m tools.make_snapshots [--check]

One file a rule under tests/rules/snapshots/: exactly what a person sees, so that a change of wording or of numbers is
read in the diff before it is released.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from pathlib import Path

from vramlint.engine import CheckOptions, check_source, load_rules
from vramlint.findings import Finding
from vramlint.hardware.model import GIB, MIB, Host
from vramlint.report import full
from vramlint.report.text import View
from vramlint.results import CheckResult
from vramlint.rule import Case, RuleModule

FOLDER = Path(__file__).parents[1] / "tests" / "rules" / "snapshots"
_SIZES = re.compile(r"(?m)^memory .*|\d+\.\d+(?= (GiB|to|of|usable|\())|(?<=saves )\d+\.\d+|\d+(?= (MiB|%))")
"""The line of the estimate, ``9.2 GiB``, ``9.2 GiB (8.4 to 10.1) of``, ``88 %``, ``saves 3.1``."""


def options(case: Case) -> CheckOptions:
    """The target of a case."""
    host = Host(
        case.cores,
        None if case.ram_gib is None else int(case.ram_gib * GIB),
        None if case.shm_mib is None else case.shm_mib * MIB,
        None if case.disk_gib is None else int(case.disk_gib * GIB),
    )
    gpu = () if case.gpu is None else (case.gpu,)
    return CheckOptions(gpu=gpu, gpus=case.gpus, host=host, pedantic=True, isolated=True)


def snapshot(rule: RuleModule) -> str:
    """The full report of the rule's first invalid case, in a project that holds nothing else."""
    case = rule.INVALID[0]
    data = case.text.encode()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(".git").mkdir()
        result = only(rule, check_source(case.path, data, options(case)))
    return full.render(result, {case.path: case.text}.get, View(width=120))


def only(rule: RuleModule, result: CheckResult) -> CheckResult:
    """``result`` with the findings of one rule."""

    def of_rule(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        return tuple(found for found in findings if found.code == rule.RULE.code)

    runs = tuple(run._replace(findings=of_rule(run.findings)) for run in result.runs)
    return result._replace(runs=runs, findings=of_rule(result.findings))


def snapshots() -> dict[str, str]:
    """Every rule's snapshot by file name."""
    return {f"{rule.RULE.name}.txt": snapshot(rule) for rule in load_rules()}


def stale() -> list[str]:
    """Snapshots that are missing, differ, or belong to a rule that is gone."""
    wanted = {name: without_sizes(text) for name, text in snapshots().items()}
    found = {path.name: without_sizes(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.txt")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def without_sizes(text: str) -> str:
    """``text`` without what the estimator works out: its numbers have tests of their own."""
    return _SIZES.sub("#", text)


def write() -> list[str]:
    """Bring the folder up to date; returns what changed."""
    changed, wanted = stale(), snapshots()
    FOLDER.mkdir(exist_ok=True)
    for name in changed:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    return changed


if __name__ == "__main__":
    checking = "--check" in sys.argv[1:]
    differing = stale() if checking else write()
    for name in differing:
        print(f"tests/rules/snapshots/{name} {'is out of date' if checking else 'written'}")
    sys.exit(1 if checking and differing else 0)
