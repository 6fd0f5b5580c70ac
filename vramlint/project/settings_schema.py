"""The settings as a JSON Schema, for editors that complete and check ``vramlint.toml``.

Types come from the checks that read the settings, remarks from the documented example.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from vramlint.project import settings
from vramlint.project.setting_values import KEYS, TARGET_KEYS, Check, form_of, text

DRAFT = "http://json-schema.org/draft-07/schema#"
"""Draft 7 is what Taplo and other TOML tools read."""


def settings_schema() -> dict[str, Any]:
    """The schema of ``vramlint.toml`` and of the table ``[tool.vramlint]``."""
    remarks = _remarks()
    properties = {key: _property(key, check, remarks) for key, check in sorted({**TARGET_KEYS, **KEYS}.items())}
    targets = {key: _property(key, check, remarks) for key, check in TARGET_KEYS.items()}
    properties["targets"]["items"] = {
        "type": "object",
        "required": ["path"],
        "additionalProperties": False,
        "properties": {"path": {**form_of(text), "description": "a pattern as in .gitignore"}, **targets},
    }
    return {
        "$schema": DRAFT,
        "title": "vramlint settings",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _property(key: str, check: Check, remarks: dict[str, str]) -> dict[str, Any]:
    return {**form_of(check), "description": remarks[key]} if key in remarks else dict(form_of(check))


def _remarks() -> dict[str, str]:
    """The remark behind each key of the documented example."""
    lines = inspect.cleandoc(settings.__doc__ or "").splitlines()
    found = (re.match(r"\s{4}\[*([\w-]+)\]*[^#]*#\s*(.+)", line) for line in lines)
    remarks: dict[str, str] = {}
    for match in found:
        if match is not None:
            remarks.setdefault(match[1], match[2])
    return remarks
