"""Finding, checking and choosing rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.engine.support import LARGE, PEDANTIC, QUEUE, rule
from vramlint.engine.rules import RuleSet, Selection, load_rules, means
from vramlint.errors import PluginError, UsageError
from vramlint.rule import Run, Verdict

RULE_TEXT = """
from vramlint.rule import Confidence, RuleInfo, Severity
RULE = RuleInfo("ACME1", "acme-rule", "s", Severity.ERROR, Confidence.HIGH, None, ())
VALID = INVALID = ()
def check(run):
    yield from ()
"""


def plugin(monkeypatch: pytest.MonkeyPatch, name: str, init: str, **modules: str) -> None:
    """A plugin package on the path, offered as an entry point."""
    folder = Path(name)
    folder.mkdir()
    (folder / "__init__.py").write_text(init, encoding="utf-8")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    points = metadata.EntryPoints([metadata.EntryPoint(name, name, "vramlint.rules")])
    monkeypatch.setattr(metadata, "entry_points", lambda **how: points.select(**how))


def test_the_rules_that_ship() -> None:
    rules = load_rules()
    codes = [each.RULE.code for each in rules]
    assert codes == sorted(codes)
    assert {"VL001", "VL201", "VL401", "VL901"} <= set(codes)
    assert rules.find("vram-over") is rules.find("VL401") is rules.find("vl401")
    assert rules.find("nothing") is None
    assert load_rules() is rules, "loaded once"


def test_a_plugin_that_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(monkeypatch, "acme_one", 'RULES = ("first",)', first=RULE_TEXT)
    assert "acme_one.first" not in sys.modules
    rules = load_rules(("acme_one",))
    assert rules.find("acme-rule") is not None
    assert rules.find("vram-over") is not None
    assert load_rules().find("acme-rule") is None


@pytest.mark.parametrize(
    ("name", "init", "module", "message"),
    [
        ("acme_no_rules", "", RULE_TEXT, "has no RULES"),
        ("acme_list", "RULES = ['first']", RULE_TEXT, "has no RULES"),
        ("acme_missing", "RULES = ('second',)", RULE_TEXT, "cannot be imported: ModuleNotFoundError"),
        ("acme_crash", "RULES = ('first',)", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("acme_no_rule", "RULES = ('first',)", "RULE = 1", "is no rule"),
        ("acme_twice", "RULES = ('first',)", RULE_TEXT.replace("ACME1", "VL401"), "two rules are called 'VL401'"),
    ],
)
def test_a_plugin_that_breaks_the_interface(
    monkeypatch: pytest.MonkeyPatch, name: str, init: str, module: str, message: str
) -> None:
    plugin(monkeypatch, name, init, first=module)
    with pytest.raises(PluginError, match=message):
        load_rules((name,))


def test_a_plugin_that_is_not_installed() -> None:
    with pytest.raises(PluginError, match="no installed package offers the rule plugin 'nobody'") as raised:
        load_rules(("nobody",))
    assert "vramlint_rules" in raised.value.help


def test_entry_points_are_not_scanned_for_vramlints_own_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr(metadata, "entry_points", refuse)
    from vramlint.engine import rules

    rules._load.cache_clear()
    assert len(load_rules()) > 5


def test_selectors() -> None:
    rules = RuleSet([LARGE, QUEUE, PEDANTIC])
    rules.expect(("VL", "VL1", "vl101", "queue-odd", "VL10", "VL7"))
    for wrong in ("VL3x", "VL999", "queue", "", "101"):
        with pytest.raises(UsageError):
            rules.expect((wrong,))


@pytest.mark.parametrize(
    ("selector", "yes"),
    [
        ("VL101", True),
        ("vl1", True),
        ("V", False),
        ("batch-large", True),
        ("batch", False),
        ("1", False),
        ("VL2", False),
    ],
)
def test_meaning(selector: str, yes: bool) -> None:
    assert means(selector, "VL101", "batch-large") is yes


def test_pedantic_rules_run_when_asked_for_by_name() -> None:
    for select, runs in [((), False), (("VL1",), False), (("VL102",), True), (("effective",), True)]:
        assert Selection(select, (), pedantic=False).runs(PEDANTIC.RULE) is runs
    assert not Selection(("VL102",), ("VL1",), pedantic=True).runs(PEDANTIC.RULE)


def test_two_rules_of_one_name() -> None:
    def nothing(_run: Run) -> Iterator[Verdict]:
        yield from ()

    with pytest.raises(PluginError, match="batch-large"):
        RuleSet([LARGE, rule("VL999", "batch-large", nothing)])
