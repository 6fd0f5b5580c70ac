"""Run units: which files make one run together.

A config says little about ranks; the line that launches it does (``vramlint.project.launches``). The scripts that
import a Python config use it too (``vramlint.project.imports``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from vramlint.errors import VramlintError
from vramlint.hardware.model import Target
from vramlint.project.discovery import Repositories
from vramlint.project.files import JOB_SUFFIXES, SHELL_SUFFIXES, ProjectFiles
from vramlint.project.imports import Imports
from vramlint.project.launches import CONFIG_SUFFIXES, Launch, LaunchLines, parts, words
from vramlint.sources.model import Command, Document, Syntax


class Project:
    """The files of one invocation, each read once. ``overlay`` gives bytes by shown path that stand for the disk's."""

    def __init__(
        self, overlay: Mapping[str, bytes] | None = None, checked: Sequence[str] = (), launchers: Sequence[str] = ()
    ) -> None:
        """``launchers`` are the only scripts whose launch lines count; where there are none, they are looked for."""
        self.files = ProjectFiles(overlay)
        self._imports = Imports(self.files)
        self._lines = LaunchLines(self.files, self._imports, checked, launchers)
        self._launches: dict[str, tuple[Launch, ...]] = {}

    @property
    def repositories(self) -> Repositories:
        """Where the files belong."""
        return self.files.repositories

    def launches(self, path: str) -> tuple[Launch, ...]:
        """The launch lines known to use the file ``path``: by its name, or through a script that imports it."""
        known = self._launches.get(path)
        if known is None:
            known = self._launches[path] = tuple(self._lines.of(path))
        return known

    def linked(self, path: str) -> tuple[str, ...]:
        """The files that ``path`` chooses: configs that a script imports, scripts and configs of a launch line."""
        try:
            if path.endswith(".py"):
                return tuple(dict.fromkeys(self._imports.configs(path)))
            if path.endswith(SHELL_SUFFIXES):
                return tuple(dict.fromkeys(self._named(self.files.document(path))))
            if path.endswith(JOB_SUFFIXES) and self._lines.may_launch(path):
                inside = parts(self.files.document(path))
                return tuple(dict.fromkeys(found for part in inside for found in self._named(part) if found != path))
        except (OSError, VramlintError):
            return ()
        return ()

    def _named(self, document: Document) -> Iterator[str]:
        for command in document.commands:
            yield from self.configs_of(document, command)

    def configs_of(self, document: Document, command: Command) -> Iterator[str]:
        """The files with the name of a config that a launch line in ``document`` names and that exist."""
        for word in words(command):
            found = self.files.find(word, document.path) if word.endswith(CONFIG_SUFFIXES) else None
            if found is not None:
                yield found


class FileContext(NamedTuple):
    """The surroundings of one checked file, as dialects may ask about them (``vramlint.dialects.model.Context``)."""

    project: Project
    path: str
    target: Target

    def document(self, path: str) -> Document | None:
        """Another file of the repository, from the checked file's folder or any folder above; None where unreadable."""
        found = self.project.files.find(path, self.path)
        if found is None:
            return None
        try:
            return self.project.files.document(found)
        except (OSError, VramlintError):
            return None

    def launches(self, document: Document) -> Sequence[Launch]:
        """The launch lines known to use ``document``, those of one script in its order."""
        return () if document.syntax is Syntax.SHELL else self.project.launches(document.path)
