"""Reading a settings file: its TOML, the files it extends, and errors at the line that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vramlint.errors import SettingsError
from vramlint.hardware.model import Host
from vramlint.project.setting_values import KEYS, LIMIT_FIELDS, LIST_FIELDS, TARGET_KEYS, Check, text
from vramlint.project.settings import Settings, TargetTable
from vramlint.rule import Limits

if TYPE_CHECKING:
    from vramlint.memory.user_models import UserModel


def read_settings(path: str, data: bytes) -> Settings | None:
    """The settings in the file ``path`` with the bytes ``data``; None where it holds none. Raises SettingsError."""
    found = _own_table(path, data)
    if found is None:
        return None
    where, table = found
    full = os.path.abspath(path)
    return _settings(where, _values(where, table, (full,)), os.path.dirname(full))


def _own_table(path: str, data: bytes) -> tuple[_Where, Any] | None:
    """The file's table of settings and how to speak of it."""
    table = _table(path, data)
    where = _Where(os.path.relpath(path), data.decode("utf-8-sig", "replace"), "")
    if os.path.basename(path) != "pyproject.toml":
        return where, table
    tool = table.get("tool")
    table = tool.get("vramlint") if isinstance(tool, dict) else None
    return None if table is None else (where._replace(table="tool.vramlint"), table)


def _table(path: str, data: bytes) -> Any:
    import tomllib

    shown = os.path.relpath(path)
    try:
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise SettingsError("not UTF-8", path=shown, help="Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        import re

        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(place[1]), int(place[2])) if place else (None, None)
        message = re.sub(r" \(at .*\)$", "", str(error))
        raise SettingsError(f"not valid TOML: {message}", path=shown, line=line, column=column) from error


class _Where(NamedTuple):
    """Where settings are read, to say so in errors."""

    path: str
    text: str
    table: str

    def error(self, message: str, key: str, help: str = "") -> SettingsError:
        """The error, at the line that spells ``key`` where one does."""
        return SettingsError(message, path=self.path, line=self._line(key), help=help)

    def _line(self, key: str) -> int | None:
        inside = not self.table
        for number, line in enumerate(self.text.splitlines(), 1):
            bare = line.strip()
            if bare.startswith("["):
                name = bare.strip("[] ")
                inside = not self.table or name == self.table or name.startswith(f"{self.table}.")
                if inside and name.rpartition(".")[2].strip("\"'") == key:
                    return number
            elif inside and bare.partition("=")[0].strip().strip("\"'") == key:
                return number
        return None


def _values(where: _Where, table: object, chain: tuple[str, ...]) -> dict[str, Any]:
    """The checked values of ``table`` over those of the files it extends; ``chain`` are the files on the way here."""
    if not isinstance(table, dict):
        raise where.error("[tool.vramlint] is not a table", "vramlint")
    values = _checked(where, table, {**TARGET_KEYS, **KEYS})
    values["targets"] = tuple(_path_target(where, entry) for entry in values.get("targets", ()))
    if "models" in values:
        values["models"] = _models(where, values["models"], os.path.dirname(chain[-1]))
    if not values.get("extend"):
        return values
    merged: dict[str, Any] = {}
    for name in values["extend"]:
        merged = _over(merged, _extended(where, name, chain))
    return _over(merged, values)


def _extended(where: _Where, name: str, chain: tuple[str, ...]) -> dict[str, Any]:
    """The values of the extended file ``name``, its names of files absolute. Raises SettingsError."""
    path = os.path.normpath(os.path.join(os.path.dirname(chain[-1]), name))
    if path in chain:
        circle = " -> ".join(os.path.relpath(each) for each in (*chain[chain.index(path) :], path))
        raise where.error(f"extend goes in a circle: {circle}", "extend", help="Take one of them out.")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        why = f"extend names {name}, which cannot be read: {error.strerror}"
        raise where.error(why, "extend", help="Its path is relative to this file.") from error
    found = _own_table(path, data)
    if found is None:
        raise where.error(f"extend names {name}, which has no [tool.vramlint]", "extend")
    values = _values(*found, (*chain, path))
    folder = os.path.dirname(path)
    if "rules" in values:
        values["rules"] = tuple(os.path.normpath(os.path.join(folder, rule)) for rule in values["rules"])
    if "baseline" in values:
        values["baseline"] = os.path.normpath(os.path.join(folder, values["baseline"]))
    return values


_JOINED = ("targets", "models", "per-file-ignores")


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``own`` values over those of a file that is extended."""
    joined = {key: (*base.get(key, ()), *own[key]) for key in _JOINED if key in own}
    return {**base, **own, **joined}


def _settings(where: _Where, values: Mapping[str, Any], root: str) -> Settings:
    limits = {name: values[key] for key, name in LIMIT_FIELDS.items() if key in values}
    lists = {name: values[key] for key, name in LIST_FIELDS.items() if key in values}
    baseline = values.get("baseline", "")
    target, targets, known = _target(values), values["targets"], Limits(**limits)
    models = tuple(values.get("models", ()))
    return Settings(root, where.path, target, targets, known, models=models, baseline=baseline, **lists)


def _models(where: _Where, tables: Sequence[object], root: str) -> tuple[UserModel, ...]:
    from vramlint.memory.user_models import user_model

    try:
        return tuple(user_model(table, root) for table in tables)
    except ValueError as error:
        raise where.error(f"[[models]]: {error}", "models", help="docs/memory.md says what a model may say.") from error


def _path_target(where: _Where, table: object) -> TargetTable:
    if not isinstance(table, dict):
        raise where.error("targets is not an array of tables", "targets", help='Write [[targets]] with a path = "...".')
    values = _checked(where, table, {"path": text, **TARGET_KEYS})
    if "path" not in values:
        raise where.error("a [[targets]] table has no path", "targets", help='Add path = "folder/**".')
    return _target(values)


def _target(values: Mapping[str, Any]) -> TargetTable:
    host = Host(values.get("cores"), values.get("ram"), values.get("shm"), values.get("disk"))
    return TargetTable(values.get("path", ""), values.get("gpu"), values.get("gpus"), values.get("nodes"), host)


def _checked(where: _Where, table: Mapping[str, object], keys: Mapping[str, Check]) -> dict[str, Any]:
    values = {}
    for spelled, value in table.items():
        key = spelled.replace("_", "-")
        if key not in keys:
            raise where.error(f"unknown setting {spelled!r}", spelled, help=_suggestion(key, keys))
        try:
            values[key] = keys[key](value)
        except ValueError as error:
            raise where.error(f"{spelled} = {value!r}: {error}", spelled) from error
    return values


def _suggestion(key: str, keys: Mapping[str, Check]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, keys, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known settings: {', '.join(sorted(keys))}."
