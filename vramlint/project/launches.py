"""Launch lines: the commands, in scripts and in job files, that use a config.

They are looked for among the checked paths and beside the config (its folder, the folders above it up to the
repository root, and ``scripts/`` in each). A file is searched for the config's name first and parsed only when it
holds it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vramlint.errors import VramlintError
from vramlint.project.files import JOB_SUFFIXES, SHELL_SUFFIXES, ProjectFiles, folder_of
from vramlint.project.imports import Imports
from vramlint.sources.model import Command, Document, Node, Scalar
from vramlint.sources.model import Sequence as Items

_JOB_KEYS = (b"run:", b"command:", b"args:", b"entrypoint:")
_JOB_LAUNCHERS = (b"torchrun", b"python", b"accelerate", b"deepspeed", b"tune run", b"llamafactory-cli", b"axolotl")
CONFIG_SUFFIXES = (".yaml", ".yml", ".json", ".toml", ".py")
_NAMING_FLAGS = frozenset({"config_name", "cn", "config", "cfg"})
"""Flags whose value may name a config without its suffix (Hydra's ``--config-name``)."""

Launch = tuple[Document, Command]


class _Places(NamedTuple):
    """Where the launch lines of one folder's configs may stand: scripts and job files, each with its bytes."""

    scripts: tuple[tuple[str, bytes], ...]
    jobs: tuple[tuple[str, bytes], ...]


class LaunchLines:
    """Finds the launch lines of configs; what is beside a folder is listed and read once for all its configs."""

    def __init__(self, files: ProjectFiles, imports: Imports, checked: Sequence[str], launchers: Sequence[str]) -> None:
        """``launchers`` are the only scripts whose launch lines count; where there are none, they are looked for."""
        self._files = files
        self._imports = imports
        self._launchers = tuple(launchers)
        self._checked_scripts = tuple(path for path in checked if path.endswith(SHELL_SUFFIXES))
        self._places: dict[str, _Places] = {}
        self._jobs: dict[str, tuple[tuple[str, bytes], ...]] = {}

    def of(self, path: str) -> Iterator[Launch]:
        """The launch lines that use the file ``path``: by its name, or through a script that imports it."""
        seen: set[tuple[str, int]] = set()
        for target in (path, *self._imports.importers(path)):
            for document in self._documents_that_mention(target):
                for command in document.commands:
                    key = (document.path, command.span.start)
                    if key not in seen and self._uses(document, command, target):
                        seen.add(key)
                        yield document, command

    def may_launch(self, path: str) -> bool:
        """Whether the YAML file ``path`` can hold a launch line, as far as a byte search says."""
        return _may_launch(self._files.script(path))

    def _documents_that_mention(self, target: str) -> Iterator[Document]:
        """The scripts that hold the target's name, then the commands inside such job files."""
        needle = os.fsencode(os.path.splitext(os.path.basename(target))[0])
        places = self._around(folder_of(target))
        for script, data in places.scripts:
            if needle in data and script != target:
                try:
                    yield self._files.document(script)
                except (OSError, VramlintError):
                    continue  # a script that cannot be read is reported where it is itself checked
        for job, data in places.jobs:
            if needle in data and job != target:
                try:
                    yield from parts(self._files.document(job))
                except (OSError, VramlintError):
                    continue

    def _around(self, folder: str) -> _Places:
        known = self._places.get(folder)
        if known is None:
            known = self._places[folder] = self._look_around(folder)
        return known

    def _look_around(self, folder: str) -> _Places:
        files = self._files
        if self._launchers:
            return _Places(tuple((script, files.script(script)) for script in self._launchers), ())
        folders = files.script_folders(folder)
        beside = (script for at in folders for script in files.listed(at, SHELL_SUFFIXES))
        scripts = dict.fromkeys((*self._checked_scripts, *beside))
        jobs = itertools.chain.from_iterable(self._jobs_in(at) for at in folders)
        return _Places(tuple((script, files.script(script)) for script in scripts), tuple(jobs))

    def _jobs_in(self, folder: str) -> tuple[tuple[str, bytes], ...]:
        """The YAML files of ``folder`` that can hold a launch line (SkyPilot, Kubernetes, GitHub workflows)."""
        known = self._jobs.get(folder)
        if known is None:
            listed = self._files.listed(folder, JOB_SUFFIXES)
            read = ((path, self._files.script(path)) for path in listed)
            known = self._jobs[folder] = tuple((path, data) for path, data in read if _may_launch(data))
        return known

    def _uses(self, document: Document, command: Command, target: str) -> bool:
        name = os.path.basename(target)
        for word in words(command):
            # The disk is asked only about words that end like the target does.
            if word.endswith(name) and self._files.find(word, document.path) == target:
                return True
        stem, suffix = os.path.splitext(name)
        if suffix not in CONFIG_SUFFIXES:
            return False
        return any(key in _NAMING_FLAGS and value.rpartition("/")[2] == stem for key, value in _flags(command))


def _may_launch(data: bytes) -> bool:
    return any(key in data for key in _JOB_KEYS) and any(word in data for word in _JOB_LAUNCHERS)


def parts(document: Document) -> Iterator[Document]:
    """The scripts and word lists inside a job file, as shell documents that know where they stand."""
    from vramlint.sources import embedded  # few files are jobs

    for script in embedded.scripts(document):
        yield script.shell
    for listed in embedded.words(document):
        yield listed.shell


def words(command: Command) -> Iterator[str]:
    """Every word of a command that may name a file: the program, positionals, values of flags and overrides."""
    program = command.program
    yield program
    if not program.endswith(".py") and "/" not in program and "." in program:
        yield program.replace(".", "/") + ".py"
    for node in command.positionals:
        yield from _texts(node)
    for mapping in (command.options, command.overrides, *(launcher.options for launcher in command.launchers)):
        for entry in mapping.entries:
            yield from _texts(entry.value)


def _texts(node: Node) -> Iterator[str]:
    if isinstance(node, Scalar) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, Items):
        for item in node.items:
            yield from _texts(item)


def _flags(command: Command) -> Iterator[tuple[str, str]]:
    for entry in command.options.entries:
        if isinstance(entry.value, Scalar) and isinstance(entry.value.value, str):
            yield entry.key.lstrip("-").replace("-", "_"), entry.value.value
