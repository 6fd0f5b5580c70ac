"""The rules: found through plugins, imported only when a dialect has matched something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vramlint.rule import RuleModule

DEFAULT_PLUGINS = ("vramlint_rules",)
"""The plugin that ships with vramlint, by package name."""


class RuleSet(NamedTuple):
    """The rules of all loaded plugins, ordered by code."""

    rules: tuple[RuleModule, ...]

    def __iter__(self) -> Iterator[RuleModule]:  # type: ignore[override]
        """The rule modules, by code."""
        raise NotImplementedError

    def find(self, name_or_code: str) -> RuleModule | None:
        """The rule of that code or name, None where there is none."""
        raise NotImplementedError


def load_rules(plugins: Sequence[str] = DEFAULT_PLUGINS) -> RuleSet:
    """Import every rule of ``plugins``: package names, or names of entry points of the group ``vramlint.rules``.

    A plugin package exposes ``RULES: tuple[str, ...]``, the names of its rule modules (relative to the package).
    Raises PluginError where a plugin is missing or breaks the interface.
    """
    raise NotImplementedError
