"""Every rule is documented and proves itself: its cases run through the engine, invalid ones through the fixer too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tools.make_snapshots import FOLDER, stale
from vramlint.engine import CheckOptions, check_source, fix_source, load_rules
from vramlint.findings import Finding
from vramlint.hardware.model import GIB, MIB, Host
from vramlint.rule import Case, RuleModule, Safety

MODULES: dict[str, RuleModule] = {rule.__name__.rpartition(".")[2]: rule for rule in load_rules()}  # type: ignore[attr-defined]
"""Every rule, those of the engine itself among them."""


@pytest.fixture(autouse=True)
def _empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case stands alone: no launch line or settings of this repository may reach it."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)


class Labelled(NamedTuple):
    """A case with the rule it belongs to."""

    rule: RuleModule
    case: Case


def cases(kind: str) -> list[object]:
    return [
        pytest.param(Labelled(rule, case), id=f"{rule.RULE.code}-{kind.lower()}-{number}")
        for rule in MODULES.values()
        for number, case in enumerate(getattr(rule, kind), 1)
    ]


def options(case: Case, **more: object) -> CheckOptions:
    host = Host(
        case.cores,
        None if case.ram_gib is None else int(case.ram_gib * GIB),
        None if case.shm_mib is None else case.shm_mib * MIB,
        None if case.disk_gib is None else int(case.disk_gib * GIB),
    )
    gpu = () if case.gpu is None else (case.gpu,)
    return CheckOptions(gpu=gpu, gpus=case.gpus, host=host, pedantic=True, isolated=True, **more)  # type: ignore[arg-type]


def findings(labelled: Labelled, data: bytes) -> list[Finding]:
    result = check_source(labelled.case.path, data, options(labelled.case))
    assert not result.failures
    return [found for found in result.findings if found.code == labelled.rule.RULE.code]


@pytest.mark.parametrize("labelled", cases("VALID"))
def test_valid_cases_have_no_finding(labelled: Labelled) -> None:
    assert findings(labelled, labelled.case.text.encode()) == []


@pytest.mark.parametrize("labelled", cases("INVALID"))
def test_invalid_cases_have_one_finding(labelled: Labelled) -> None:
    (found,) = findings(labelled, labelled.case.text.encode())
    assert found.name == labelled.rule.RULE.name
    assert found.location.path == labelled.case.path
    assert found.message


@pytest.mark.parametrize("labelled", cases("INVALID"))
def test_fixed_text_is_exact_and_final(labelled: Labelled) -> None:
    """Only this rule runs, so that the expected text shows its own repair; a second run changes nothing."""
    rule, case = labelled
    chosen = options(case, select=(rule.RULE.code,))
    fixed = _fixed(case, case.text.encode(), chosen)
    assert fixed.decode() == (case.fixed if case.fixed is not None else case.text)
    assert _fixed(case, fixed, chosen) == fixed


def _fixed(case: Case, data: bytes, chosen: CheckOptions) -> bytes:
    outcome = fix_source(case.path, data, chosen, unsafe=case.unsafe)
    assert not outcome.refused
    assert not outcome.result.failures
    return next((file.new for file in outcome.files if file.path == case.path), data)


@pytest.mark.parametrize("labelled", cases("INVALID"))
def test_safe_by_default(labelled: Labelled) -> None:
    """What a case needs ``--unsafe-fixes`` for is not done without."""
    case = labelled.case
    if case.unsafe:
        chosen = options(case, select=(labelled.rule.RULE.code,))
        assert not fix_source(case.path, case.text.encode(), chosen).files


@pytest.mark.parametrize("name", MODULES)
def test_a_rule_is_complete(name: str) -> None:
    rule = MODULES[name]
    info = rule.RULE
    assert name == info.name.replace("-", "_")
    assert re.fullmatch(r"VL\d{3}", info.code)
    assert info.summary
    assert info.summary[0].islower() or not info.summary[0].isalpha()
    assert info.sources
    assert all(source.startswith(("https://", "docs/")) for source in info.sources)
    assert len(rule.VALID) >= 2
    assert len(rule.INVALID) >= 2
    doc = rule.__doc__ or ""
    for section in ("Why: ", "Example: ", "Fix safety: ", "Sources: "):
        assert f"\n\n{section}" in doc, f"{name} has no section {section!r}"
    repaired = [case for case in rule.INVALID if case.fixed is not None]
    if info.fix in (None, Safety.DISPLAY):
        assert not repaired
    elif info.fix is Safety.SAFE:
        assert any(not case.unsafe for case in repaired)


def test_codes_are_unique() -> None:
    codes = [rule.RULE.code for rule in MODULES.values()]
    assert len(set(codes)) == len(codes)


def test_rule_modules_stay_small() -> None:
    for name, rule in MODULES.items():
        with open(rule.__file__ or "", encoding="utf-8") as file:  # type: ignore[attr-defined]
            lines = file.read().count("\n")
        assert lines <= 130, f"{name} has {lines} lines"


def test_enough_rules_of_worth() -> None:
    """The declared facts of frameworks come on top."""
    assert len(MODULES) >= 60


@pytest.mark.parametrize("name", MODULES)
def test_a_rule_has_a_snapshot(name: str) -> None:
    path = FOLDER / f"{MODULES[name].RULE.name}.txt"
    assert f"[{MODULES[name].RULE.code}] {MODULES[name].RULE.name}" in path.read_text(encoding="utf-8")


def test_snapshots_are_up_to_date() -> None:
    """``python -m tools.make_snapshots`` writes them."""
    assert stale() == []
