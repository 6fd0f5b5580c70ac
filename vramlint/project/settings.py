"""Settings: ``[tool.vramlint]`` of ``pyproject.toml`` or a ``vramlint.toml``; the closest file to what is checked wins.

Within one folder ``vramlint.toml`` wins, and a ``pyproject.toml`` without the table does not count. Files are looked
for upwards as far as the repository goes. Every key, with its default:

    gpu = "rtx3060-12gb"            # none
    gpus = 2                        # per node; none
    nodes = 1                       # none
    cores = 16                      # logical cores of the host; none
    ram = "64GiB"                   # none
    shm = "8GiB"                    # /dev/shm; none
    disk = "2TiB"                   # free space for checkpoints; none
    headroom = 0.05                 # share of usable memory to leave free
    wasted-below = 0.60             # below this share of usable memory a card counts as wasted
    fill-to = 0.85                  # share of usable memory that a larger batch should reach
    select = ["VL2", "vram-over"]   # everything
    ignore = []
    exclude = ["legacy/"]           # patterns as in .gitignore
    plugins = ["my_company_rules"]  # rule plugins besides vramlint's own
    rules = ["ops/rules.yaml"]      # files of rules in YAML, relative to the settings file
    baseline = ".vramlint-baseline.json"  # accepted findings, relative to the settings file; none

    [per-file-ignores]
    "experiments/**" = ["vram-wasted"]

    [[targets]]                     # the last one that matches wins, key by key
    path = "cluster/**"
    gpu = "a100-80gb"
    gpus = 8
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from vramlint.errors import SettingsError
from vramlint.project.setting_values import KEYS, LIMIT_FIELDS, LIST_FIELDS, TARGET_KEYS, Check, text

# Most invocations find no settings; those that do can afford these imports.
if TYPE_CHECKING:
    from vramlint.hardware.model import Host
    from vramlint.rule import Limits

FILE_NAMES = ("vramlint.toml", "pyproject.toml")
"""In the order in which they count within one folder."""


class TargetTable(NamedTuple):
    """The target that settings give, for every file or for those that match ``path``; None where they say nothing."""

    path: str = ""
    gpu: str | None = None
    gpus: int | None = None
    nodes: int | None = None
    host: Host | None = None


class Settings(NamedTuple):
    """The settings that hold for a file. ``root`` is the folder that patterns are relative to."""

    root: str
    path: str | None = None
    """The file they come from, None for the defaults."""
    target: TargetTable = TargetTable()
    targets: tuple[TargetTable, ...] = ()
    limits: Limits | None = None
    """None: the defaults."""
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    """Files of the repository's own rules, relative to ``root``."""
    baseline: str = ""
    """The file of accepted findings, relative to ``root``."""

    def targets_for(self, path: str) -> tuple[TargetTable, ...]:
        """The tables that match the file ``path`` (absolute), then the general one: the first to speak wins."""
        return (*(table for table in reversed(self.targets) if self.matches(path, table.path)), self.target)

    def ignored_for(self, path: str) -> tuple[str, ...]:
        """Codes and names that the settings ignore in the file ``path`` (absolute)."""
        if not self.per_file_ignores:
            return ()
        return tuple(code for pattern, codes in self.per_file_ignores if self.matches(path, pattern) for code in codes)

    def matches(self, path: str, pattern: str) -> bool:
        """Whether the file ``path`` (absolute) is meant by ``pattern``, read as a line of a ``.gitignore`` is."""
        from vramlint.project.patterns import matcher

        relative = os.path.relpath(path, self.root).replace(os.sep, "/")
        return not relative.startswith("../") and matcher((pattern,))(relative)


class SettingsFinder:
    """Finds and reads the settings of files, each settings file once."""

    def __init__(self, explicit: str | None = None, *, isolated: bool = False) -> None:
        """``explicit`` settings hold for every file; ``isolated`` reads none. Raises SettingsError."""
        self._fixed: Settings | None = None
        self._by_folder: dict[str, Settings] = {}
        if isolated:
            self._fixed = Settings(os.getcwd())
        elif explicit is not None:
            self._fixed = _explicit(explicit)

    def for_file(self, path: str) -> Settings:
        """The settings of the file ``path``. Raises SettingsError."""
        return self.for_folder(os.path.dirname(os.path.abspath(path)))

    def for_folder(self, folder: str) -> Settings:
        """The settings of the files in ``folder`` (absolute). Raises SettingsError."""
        if self._fixed is not None:
            return self._fixed
        known = self._by_folder.get(folder)
        if known is None:
            known = self._by_folder[folder] = self._look_up(folder)
        return known

    def _look_up(self, folder: str) -> Settings:
        for name in FILE_NAMES:
            found = _read(os.path.join(folder, name))
            if found is not None:
                return found
        parent = os.path.dirname(folder)
        if parent == folder or os.path.exists(os.path.join(folder, ".git")):
            return Settings(folder)
        above = self.for_folder(parent)
        return above if above.path is not None else Settings(folder)


def _explicit(path: str) -> Settings:
    if not os.path.isfile(path):
        raise SettingsError("no such settings file", path=path)
    return _read(path) or Settings(os.path.dirname(os.path.abspath(path)))


def _read(path: str) -> Settings | None:
    """The settings in the file ``path``; None where it does not exist or holds none."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", path=path) from error
    in_pyproject = os.path.basename(path) == "pyproject.toml"
    # Most pyproject.toml files know nothing of vramlint; a byte search spares them (and us) the parsing.
    if in_pyproject and b"vramlint" not in data:
        return None
    table = _table(path, data)
    if in_pyproject:
        tool = table.get("tool")
        table = tool.get("vramlint") if isinstance(tool, dict) else None
        if table is None:
            return None
    where = _Where(os.path.relpath(path), data.decode("utf-8", "replace"), "tool.vramlint" if in_pyproject else "")
    return _settings(where, table, os.path.dirname(os.path.abspath(path)))


def _table(path: str, data: bytes) -> Any:
    import tomllib

    shown = os.path.relpath(path)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError("not UTF-8", path=shown) from error
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


def _settings(where: _Where, table: object, root: str) -> Settings:
    if not isinstance(table, dict):
        raise where.error("[tool.vramlint] is not a table", "vramlint")
    from vramlint.rule import Limits

    values = _checked(where, table, {**TARGET_KEYS, **KEYS})
    limits = {name: values[key] for key, name in LIMIT_FIELDS.items() if key in values}
    lists = {name: values[key] for key, name in LIST_FIELDS.items() if key in values}
    baseline = values.get("baseline", "")
    targets = tuple(_path_target(where, entry) for entry in values.get("targets", ()))
    return Settings(root, where.path, _target(values), targets, Limits(**limits), baseline=baseline, **lists)


def _path_target(where: _Where, table: object) -> TargetTable:
    if not isinstance(table, dict):
        raise where.error("targets is not an array of tables", "targets", help='Write [[targets]] with a path = "...".')
    values = _checked(where, table, {"path": text, **TARGET_KEYS})
    if "path" not in values:
        raise where.error("a [[targets]] table has no path", "targets", help='Add path = "folder/**".')
    return _target(values)


def _target(values: Mapping[str, Any]) -> TargetTable:
    from vramlint.hardware.model import Host

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
