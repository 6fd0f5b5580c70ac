"""Settings: ``[tool.vramlint]`` of ``pyproject.toml`` or a ``vramlint.toml``; the closest file to what is checked wins.

Within one folder ``vramlint.toml`` wins, and a ``pyproject.toml`` without the table does not count. Files are looked
for upwards as far as the repository goes. Every key, with its default:

    gpu = "rtx3060-12gb"            # the card to check against; none
    gpus = 2                        # GPUs per node; none
    nodes = 1                       # machines; none
    cores = 16                      # logical cores of the host; none
    ram = "64GiB"                   # memory of the host; none
    shm = "8GiB"                    # /dev/shm; none
    disk = "2TiB"                   # free space for checkpoints; none
    headroom = 0.05                 # share of usable memory to leave free
    wasted-below = 0.60             # below this share of usable memory a card counts as wasted
    fill-to = 0.85                  # share of usable memory that a larger batch should reach
    select = ["VL2", "vram-over"]   # codes, names or beginnings of codes; everything
    ignore = []                     # likewise; none
    exclude = ["legacy/"]           # patterns as in .gitignore
    extend = "../shared.toml"       # settings that hold where this file says nothing; one file or a list; none
    plugins = ["my_company_rules"]  # rule plugins besides vramlint's own
    rules = ["ops/rules.yaml"]      # files of rules in YAML, relative to the settings file
    baseline = ".vramlint-baseline.json"  # accepted findings, relative to the settings file; none

    [per-file-ignores]              # patterns, each with a list of rules
    "experiments/**" = ["vram-wasted"]

    [[targets]]                     # the last one that matches wins, key by key
    path = "cluster/**"
    gpu = "a100-80gb"
    gpus = 8

    [[models]]                      # what is known of a model (vramlint.memory.user_models)
    match = "our-unet*"
    parameters = "31M"
    observations = [{batch = 2, image-size = 512, memory = "7.4GiB", meter = "nvidia-smi"}]

Settings of an extended file hold key by key: a key here replaces its list or number, but ``targets`` and ``models``
come behind those of the extended file and ``per-file-ignores`` join them. Names of files (``extend``, ``rules``,
``baseline``) are relative to the file that spells them; patterns (``exclude``, ``targets``, ``per-file-ignores``) to
the file that was found, so a shared file works for every project that extends it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from vramlint.errors import SettingsError

# Most invocations find no settings; those that do can afford these imports.
if TYPE_CHECKING:
    from vramlint.hardware.model import Host
    from vramlint.memory.user_models import UserModel
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
    models: tuple[UserModel, ...] = ()
    """What the user knows of models."""
    rules: tuple[str, ...] = ()
    """Files of the repository's own rules, relative to ``root``."""
    baseline: str = ""
    """The file of accepted findings, relative to ``root``."""

    @property
    def baseline_path(self) -> str | None:
        """The path of the file of accepted findings, None where the settings name none."""
        return os.path.normpath(os.path.join(self.root, self.baseline)) if self.baseline else None

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
    from vramlint.project.settings_reader import read_settings

    return read_settings(path, data)
