"""The files of one invocation: each read once, and found by the names that other files give them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vramlint.project.discovery import Repositories, contents, display_path
from vramlint.sources import read
from vramlint.sources.decode import MAX_FILE_BYTES
from vramlint.sources.model import Document

SHELL_SUFFIXES = (".sh", ".bash", ".slurm", ".sbatch")
JOB_SUFFIXES = (".yaml", ".yml")
_LISTED_SUFFIXES = (*SHELL_SUFFIXES, *JOB_SUFFIXES, ".py")
_SCRIPT_FOLDERS = ("scripts", "tools")
_MOST_SCRIPTS = 200
"""Scripts looked at in one folder; a folder with more of them holds generated ones."""
_LARGEST_SCRIPT_BYTES = 256 * 1024


class ProjectFiles:
    """Files by the path that results show. ``overlay`` gives bytes by that path that stand for the disk's."""

    def __init__(self, overlay: Mapping[str, bytes] | None = None) -> None:
        self.repositories = Repositories()
        self._overlay = overlay or {}
        self._data: dict[str, bytes] = {}
        self._documents: dict[str, Document] = {}
        self._contents: dict[str, tuple[str, ...]] = {}
        self._listings: dict[str, tuple[str, ...]] = {}
        self._roots: dict[str, str] = {}
        self._above: dict[str, tuple[str, ...]] = {}

    def glance(self, path: str) -> bytes:
        """The bytes of the file shown as ``path``, not kept for later. Raises OSError."""
        known = self._overlay.get(path)
        if known is None:
            known = self._data.get(path)
        return contents(path, MAX_FILE_BYTES + 1) if known is None else known  # enough to see that it is too large

    def data(self, path: str) -> bytes:
        """The bytes of the file shown as ``path``. Raises OSError."""
        known = self._data.get(path)
        if known is None:
            known = self._data[path] = self.glance(path)
        return known

    def keep(self, path: str, data: bytes) -> None:
        """``data`` are the bytes of the file shown as ``path``."""
        self._data.setdefault(path, data)

    def script(self, path: str) -> bytes:
        """The bytes of a script, none where it cannot be read or is too large to be written by hand."""
        known = self._data.get(path)
        if known is not None:
            return known
        try:
            if path not in self._overlay and os.path.getsize(path) > _LARGEST_SCRIPT_BYTES:
                return b""
            return self.data(path)
        except OSError:
            return b""

    def document(self, path: str) -> Document:
        """The file shown as ``path``, parsed. Raises OSError and SourceError."""
        known = self._documents.get(path)
        if known is None:
            known = self._documents[path] = read(path, self.data(path))
        return known

    def root(self, folder: str) -> str:
        """What ``folder`` (absolute) belongs to: its repository, else the current folder or itself."""
        known = self._roots.get(folder)
        if known is None:
            here = os.getcwd()
            below = folder == here or folder.startswith(os.path.join(here, ""))
            known = self._roots[folder] = self.repositories.root(folder) or (here if below else folder)
        return known

    def folders_up(self, folder: str) -> tuple[str, ...]:
        """``folder`` (absolute) and those above it up to its root."""
        known = self._above.get(folder)
        if known is None:
            root, found, at = self.root(folder), [folder], folder
            while at != root and os.path.dirname(at) != at:
                at = os.path.dirname(at)
                found.append(at)
            known = self._above[folder] = tuple(found)
        return known

    def script_folders(self, folder: str) -> tuple[str, ...]:
        """Where the scripts that launch a config of ``folder`` are looked for."""
        found: dict[str, None] = {}
        for at in self.folders_up(folder):
            found[at] = None
            found.update((os.path.join(at, name), None) for name in _SCRIPT_FOLDERS if name in self._names(at))
        return tuple(found)

    def listed(self, folder: str, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        """The files of ``folder`` with one of ``suffixes``, of those that may hold or import a launch."""
        known = self._listings.get(folder)
        if known is None:
            at = display_path(folder).rstrip("/")
            names = (name for name in self._names(folder) if name.endswith(_LISTED_SUFFIXES))
            known = self._listings[folder] = tuple(name if at == "." else f"{at}/{name}" for name in names)
        return tuple(path for path in known if path.endswith(suffixes))[:_MOST_SCRIPTS]

    def _names(self, folder: str) -> tuple[str, ...]:
        """What is in ``folder``, in order; nothing where it cannot be listed."""
        known = self._contents.get(folder)
        if known is None:
            try:
                known = tuple(sorted(os.listdir(folder)))
            except OSError:
                known = ()
            self._contents[folder] = known
        return known

    def find(self, word: str, beside: str) -> str | None:
        """The file that ``word`` in the file ``beside`` names: from its folder, then each folder up to the root.

        ``mmdet::path`` is a config of an installed package.
        """
        home = folder_of(beside)
        if "::" in word:
            from vramlint.project.installed import installed_config  # few configs build on a package's

            return installed_config(word, self.root(home))
        for folder in self.folders_up(home):
            shown = self.existing(os.path.join(folder, word), home)
            if shown is not None:
                return shown
        return None

    def existing(self, target: str, home: str) -> str | None:
        """``target`` as shown, when it is a file inside the root of the folder ``home`` (symlinks followed).

        A file that lies in no repository and not below the current folder has no root that could bound it: the base
        files it names by path are read wherever they are.
        """
        if self._overlay and display_path(target) in self._overlay:
            return display_path(target)
        if not os.path.isfile(target):
            return None
        root = self.root(home)
        if root == home and self._is_unbounded(root):
            return display_path(target)
        if "-packages" in target:
            from vramlint.project.installed import is_package_config

            return target if is_package_config(target) else None
        inside = os.path.realpath(target).startswith(os.path.join(os.path.realpath(root), ""))
        return display_path(target) if inside else None

    def _is_unbounded(self, folder: str) -> bool:
        return folder != os.getcwd() and self.repositories.root(folder) is None


def folder_of(path: str) -> str:
    """The folder of the file ``path``, absolute."""
    return os.path.dirname(os.path.abspath(path))
