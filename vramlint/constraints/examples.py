"""A row's examples as files: what the tests check, and what a page of documentation can show.

``example`` says what they stand in: ``path`` decides the syntax (a ``.py`` file without a call assigns each setting),
``base`` are the settings of a file that the framework is recognised by, ``call`` and ``imports`` make a Python call
with the settings as keywords instead, ``command`` a launch line with the settings as flags, and ``gpus`` is the target.
Dotted settings nest.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from vramlint.constraints.templates import Row


def example_path(row: Row) -> str:
    """What the example file is called."""
    fallback = "train.py" if "call" in row.example else "train.sh" if "command" in row.example else "config.yaml"
    return str(row.example.get("path", fallback))


def example_text(row: Row, settings: Mapping[str, Any]) -> str:
    """The whole file of one example of ``row``."""
    base = {**(row.example.get("base") or {})}
    if "call" in row.example:
        words = ", ".join(f"{key}={value!r}" for key, value in {**base, **settings}.items())
        return f"{row.example.get('imports', '')}\nargs = {row.example['call']}({words})\n"
    if "command" in row.example:
        flags = " ".join(f"--{key} {value}" for key, value in {**base, **settings}.items())
        return f"{row.example['command']} {flags}\n"
    table = copy.deepcopy(base)
    for key, value in settings.items():
        _put(table, key.split("."), value)
    path = example_path(row)
    if path.endswith(".py"):
        return "".join(f"{key} = {value!r}\n" for key, value in table.items())
    return _toml(table) if path.endswith(".toml") else json.dumps(table, indent=2) + "\n"  # JSON is YAML


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Sections of plain values: JSON's texts, numbers, switches and lists are TOML's."""
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.items())
        for name, section in sections.items()
    )


def _put(table: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        table = table.setdefault(key, {})
    table[keys[-1]] = value
