"""Leaving out what the baseline accepts, for every command that tells findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vramlint.results import CheckResult


def fresh(result: CheckResult, given: Mapping[str, Any]) -> CheckResult:
    """``result`` without the findings of the baseline that the options or the settings name. Raises SettingsError."""
    named = given.get("baseline")
    if not result.findings and named is None:
        return result
    from vramlint.engine.baseline import chosen_path, read_baseline, without_known
    from vramlint.project.settings import SettingsFinder

    path = chosen_path(named, SettingsFinder(given["settings_path"], isolated=given["isolated"]))
    if path is None:
        return result
    compared = without_known(result, read_baseline(path))
    return compared.result
