"""Leaving out what the baseline accepts, for every command that tells findings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vramlint.results import CheckResult


def fresh(result: CheckResult, given: Mapping[str, Any]) -> CheckResult:
    """``result`` without the findings of the baseline that the options or the settings name. Raises SettingsError."""
    named = given.get("baseline")
    if not result.findings and named is None:
        return result
    path = named if named is not None else _of_settings(given)
    if path is None:
        return result
    from vramlint.engine.baseline import read_baseline, without_known

    return without_known(result, read_baseline(path)).result


def _of_settings(given: Mapping[str, Any]) -> str | None:
    """The baseline that the current folder's settings name."""
    from vramlint.project.settings import SettingsFinder

    finder = SettingsFinder(given["settings_path"], isolated=given["isolated"])
    return finder.for_folder(os.getcwd()).baseline_path
