"""The rules: found through plugins, imported only when a dialect has matched something."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, cast

from vramlint.errors import PluginError, UsageError
from vramlint.patterns import later
from vramlint.rule import RuleInfo, RuleModule

if TYPE_CHECKING:
    from vramlint.project.settings import Settings

DEFAULT_PLUGINS = ("vramlint_rules",)
"""The plugin that ships with vramlint, by package name."""
_OWN = tuple(
    f"vramlint.engine.{name}"
    for name in (
        "value_misread",
        "duplicate_key",
        "unknown_key",
        "files_disagree",
        "unused_suppression",
        "unknown_suppression",
        "suppression_without_reason",
    )
)
"""Rules that the engine itself judges: they are about how a file is written, not about a run."""
_FAMILY = later(r"(?i)VL\d?")
ENTRY_POINTS = "vramlint.rules"
"""The entry point group under which other distributions offer their rules."""


class RuleSet:
    """The rules of all loaded plugins, ordered by code."""

    def __init__(self, rules: Iterable[RuleModule]) -> None:
        """Raises PluginError where two rules share a code or a name."""
        self.rules = tuple(sorted(rules, key=lambda rule: rule.RULE.code))
        self._by_name: dict[str, RuleModule] = {}
        for rule in self.rules:
            for word in (rule.RULE.code, rule.RULE.name):
                if self._by_name.setdefault(word.lower(), rule) is not rule:
                    raise PluginError(f"two rules are called {word!r}")

    def __iter__(self) -> Iterator[RuleModule]:
        """The rule modules, by code."""
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def find(self, name_or_code: str) -> RuleModule | None:
        """The rule of that code or name, None where there is none."""
        return self._by_name.get(name_or_code.lower())

    def knows(self, selector: str) -> bool:
        """Whether ``selector`` is a code, a name, the beginning of a code, or a family, even an empty one."""
        if _FAMILY.fullmatch(selector):
            return True
        return self.find(selector) is not None or any(
            means(selector, rule.RULE.code, rule.RULE.name) for rule in self.rules
        )

    def nearest(self, selector: str) -> str | None:
        """The code or name that is most like ``selector``, None where none is."""
        from difflib import get_close_matches

        return next(iter(get_close_matches(selector.lower(), self._by_name, n=1)), None)

    def expect(self, selectors: Iterable[str]) -> None:
        """Raises UsageError, with the nearest rules, for a selector that means none."""
        for selector in selectors:
            if not self.knows(selector):
                close = self.nearest(selector)
                help = f"Did you mean {close!r}?" if close else "`vramlint rules` lists them."
                raise UsageError(f"no rule is called {selector!r}", help=help)


class Selection:
    """Which rules run: ``select`` (everything where empty) without ``ignore``; pedantic ones when asked for."""

    def __init__(self, select: Sequence[str], ignore: Sequence[str], *, pedantic: bool) -> None:
        self._select = select
        self._ignore = ignore
        self._pedantic = pedantic

    def runs(self, rule: RuleInfo) -> bool:
        """Whether the rule runs. Naming a pedantic rule by its own code or name asks for it."""
        if any(means(word, rule.code, rule.name) for word in self._ignore):
            return False
        if rule.pedantic and not self._pedantic:
            return any(word.lower() in (rule.code.lower(), rule.name) for word in self._select)
        return self.shows(rule.code, rule.name)

    def shows(self, code: str, name: str) -> bool:
        """Whether findings of that code and name are wanted."""
        if any(means(word, code, name) for word in self._ignore):
            return False
        return not self._select or any(means(word, code, name) for word in self._select)


def means(selector: str, code: str, name: str) -> bool:
    """Whether ``selector`` is the rule's name, its code or the beginning of its code."""
    wanted = selector.lower()
    return wanted == name or (len(wanted) > 1 and wanted[:2].isalpha() and code.lower().startswith(wanted))


def load_rules(plugins: Sequence[str] = (), files: Sequence[str] = ()) -> RuleSet:
    """Import every rule of vramlint's own plugin and of ``plugins``: names of entry points of ``vramlint.rules``.

    A plugin package exposes ``RULES: tuple[str, ...]``, the names of its rule modules (relative to the package).
    ``files`` are YAML files of rules (``vramlint.engine.repository_rules``). Raises PluginError where a plugin is
    missing or breaks the interface, SettingsError where a file of rules is missing or wrong.
    """
    stamped = tuple((path, _changed(path)) for path in files)
    return _load(tuple(dict.fromkeys((*DEFAULT_PLUGINS, *plugins))), stamped)


def own_files(settings: Settings) -> tuple[str, ...]:
    """The files of rules that ``settings`` name; their paths are relative to the settings file."""
    return tuple(os.path.normpath(os.path.join(settings.root, name)) for name in settings.rules)


def _changed(path: str) -> int:
    """When the file was last written, so that an editor's session sees its new contents."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0  # reading it says what is wrong


@lru_cache(maxsize=8)
def _load(plugins: tuple[str, ...], files: tuple[tuple[str, int], ...]) -> RuleSet:
    own = [cast("RuleModule", module) for module in map(importlib.import_module, _OWN)]
    shipped = [*own, *(rule for plugin in plugins for rule in _plugin(plugin))]
    if not files:
        return RuleSet(shipped)
    from vramlint.engine.repository_rules import rules_in

    return RuleSet([*shipped, *(rule for path, _ in files for rule in rules_in(path))])


def _plugin(name: str) -> Iterator[RuleModule]:
    package = _imported(name) if name in DEFAULT_PLUGINS else _entry_point(name)
    modules = getattr(package, "RULES", None)
    if not isinstance(modules, tuple):
        raise PluginError(f"plugin {name!r} has no RULES", help="RULES is a tuple of the names of its rule modules.")
    for module in modules:
        yield _checked(_imported(module if "." in module else f"{package.__name__}.{module}"))


def _entry_point(name: str) -> ModuleType:
    from importlib.metadata import entry_points

    found = tuple(entry_points(group=ENTRY_POINTS, name=name))
    if not found:
        offered = ", ".join(sorted(point.name for point in entry_points(group=ENTRY_POINTS))) or "none"
        raise PluginError(f"no installed package offers the rule plugin {name!r}", help=f"Installed: {offered}.")
    return _imported(found[0].value)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a plugin may raise anything when it is imported
        raise PluginError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _checked(module: ModuleType) -> RuleModule:
    info = getattr(module, "RULE", None)
    if not isinstance(info, RuleInfo) or not callable(getattr(module, "check", None)):
        raise PluginError(f"{module.__name__} is no rule", help="A rule has RULE, VALID, INVALID and check(run).")
    return cast("RuleModule", module)
