"""Which files to check: named files always, folders walked without what git ignores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vramlint.errors import UsageError
from vramlint.project.patterns import Verdict, matcher, verdict
from vramlint.project.settings import SettingsFinder

DEFAULT_EXCLUDES = frozenset(
    {
        *(".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", ".eggs", "node_modules", "site-packages"),
        *("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", "build", "dist"),
    }
)
"""Folders that are never walked into; naming one on the command line walks it all the same."""

_HEAD_BYTES = 128
"""Enough of a file without suffix to see its shebang line."""

_USUAL_BYTES = 64 * 1024
"""More than a config has; the largest of 1,285 published ones has 23,434 bytes."""


class Candidate(NamedTuple):
    """A file to look at. ``path`` is as results show it; ``explicit`` where the user named this very file."""

    path: str
    explicit: bool


def contents(path: str, most_bytes: int) -> bytes:
    """The first ``most_bytes`` of the file ``path``. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(_USUAL_BYTES)  # asked for a megabyte, Python would map and unmap one for every file
        return head if len(head) < _USUAL_BYTES else head + file.read(most_bytes - _USUAL_BYTES)


def display_path(path: str) -> str:
    """``path`` as results show it: relative to the current folder where it lies below, with ``/`` between names."""
    full = os.path.abspath(path)
    here = os.getcwd()
    if full == here:
        return "."
    inside = here if here.endswith(os.sep) else here + os.sep
    shown = full[len(inside) :] if full.startswith(inside) else os.path.normpath(path)
    return shown.replace(os.sep, "/")


def discover(paths: Sequence[str], settings: SettingsFinder, *, force_exclude: bool = False) -> tuple[Candidate, ...]:
    """The files of ``paths``, each once, named ones first come first, folders in alphabetical order.

    Raises UsageError for a path that does not exist, SettingsError.
    """
    found: dict[str, Candidate] = {}
    for path in paths:
        shown = display_path(path)
        if os.path.isdir(path):
            _expect_readable(path)
            for inner in _walk(os.path.abspath(path), settings):
                found.setdefault(display_path(inner), Candidate(display_path(inner), explicit=False))
        elif not os.path.isfile(path):
            raise _no_file(path)
        elif not (force_exclude and is_excluded(path, settings)):
            found[shown] = Candidate(shown, explicit=True)
    return tuple(found.values())


def _expect_readable(folder: str) -> None:
    """Raises UsageError for a named folder that cannot be listed; those below it are passed over."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise UsageError(f"the folder cannot be read: {error.strerror}", path=folder) from error


def _no_file(path: str) -> UsageError:
    if os.path.exists(path):
        help = "Pipe it to `vramlint - --stdin-filename NAME`."
        return UsageError("neither a file nor a folder", path=path, help=help)
    if os.path.islink(path):
        return UsageError("a symlink that leads nowhere", path=path, help=f"It names {os.readlink(path)!r}.")
    return UsageError("no such file or folder", path=path)


def is_excluded(path: str, settings: SettingsFinder) -> bool:
    """Whether the file ``path`` lies in a folder that is never walked or is excluded by its settings."""
    full = os.path.abspath(path)
    own = settings.for_file(full)
    top = repository_root(os.path.dirname(full)) or os.getcwd()
    if not DEFAULT_EXCLUDES.isdisjoint(os.path.relpath(full, top).split(os.sep)[:-1]):
        return True
    return bool(own.exclude) and matcher(own.exclude)(os.path.relpath(full, own.root).replace(os.sep, "/"))


def repository_root(folder: str) -> str | None:
    """The closest folder at or above ``folder`` that holds ``.git``, None outside every repository."""
    while True:
        if os.path.exists(os.path.join(folder, ".git")):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


class Repositories:
    """Finds the repositories of folders; every folder is looked into once."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def root(self, folder: str) -> str | None:
        """``repository_root`` of ``folder`` (absolute)."""
        if folder not in self._known:
            self._known[folder] = self._look_up(folder)
        return self._known[folder]

    def _look_up(self, folder: str) -> str | None:
        if os.path.exists(os.path.join(folder, ".git")):
            return folder
        parent = os.path.dirname(folder)
        return None if parent == folder else self.root(parent)


class _Ignores(NamedTuple):
    """The ignore files that hold in a folder: each with its own folder, outermost first."""

    specs: tuple[tuple[str, Verdict], ...] = ()

    def below(self, folder: str, name: str = ".gitignore") -> _Ignores:
        """With the ignore file of ``folder``, where it has one."""
        try:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            return self
        return _Ignores((*self.specs, (folder, verdict(lines))))

    def ignores(self, path: str, *, folder: bool = False) -> bool:
        """Whether git ignores ``path``: the innermost file that says anything about it decides."""
        for root, judged in reversed(self.specs):
            relative = os.path.relpath(path, root).replace(os.sep, "/")
            said = judged(relative + "/" if folder else relative)
            if said is not None:
                return said
        return False


def _walk(folder: str, settings: SettingsFinder) -> Iterator[str]:
    yield from _entries(folder, _inherited(folder), settings)


def _inherited(folder: str) -> _Ignores:
    """The ignore files above ``folder``; none where they ignore ``folder`` itself, which somebody asked for by name."""
    root = repository_root(folder)
    if root is None:
        return _Ignores()
    ignores = _Ignores().below(root, os.path.join(".git", "info", "exclude"))
    current = root
    for name in [] if folder == root else os.path.relpath(folder, root).split(os.sep):
        ignores = ignores.below(current)
        current = os.path.join(current, name)
        if ignores.ignores(current, folder=True):
            return _Ignores()
    return ignores


def _entries(folder: str, ignores: _Ignores, settings: SettingsFinder) -> Iterator[str]:
    """Files below ``folder``, depth first in alphabetical order.

    Symlinks are left out altogether: one that stays inside leads to files that are found anyway, and no walk leaves
    the folder it was given.
    """
    ignores = ignores.below(folder)
    own = settings.for_folder(folder)
    excluded = matcher(own.exclude) if own.exclude else None
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_symlink():
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and entry.name in DEFAULT_EXCLUDES:
            continue
        if not is_folder and not (entry.is_file(follow_symlinks=False) and _can_be_config(entry)):
            continue
        if ignores.ignores(entry.path, folder=is_folder):
            continue
        relative = os.path.relpath(entry.path, own.root).replace(os.sep, "/")
        if excluded is not None and excluded(relative + "/" if is_folder else relative):
            continue
        if is_folder:
            yield from _entries(entry.path, ignores, settings)
        else:
            yield entry.path


def _can_be_config(entry: os.DirEntry[str]) -> bool:
    from vramlint.sources import syntax_of

    if syntax_of(entry.name) is not None:
        return True
    if "." in entry.name:
        return False
    try:
        with open(entry.path, "rb") as file:
            return syntax_of(entry.name, file.read(_HEAD_BYTES)) is not None
    except OSError:
        return False
