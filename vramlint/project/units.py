"""Run units: which files make one run together.

A config says little about ranks; the line that launches it does. Launch scripts are looked for among the checked paths
and beside the config (its folder, the folders above it up to the repository root, and ``scripts/`` in each), searched
for the config's name first and parsed only when they hold it. The scripts that import a Python config use it too.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from vramlint.errors import VramlintError
from vramlint.hardware.model import Target
from vramlint.project.discovery import display_path, repository_root
from vramlint.sources import read
from vramlint.sources.decode import MAX_FILE_BYTES
from vramlint.sources.model import Command, Document, Node, Scalar, Syntax
from vramlint.sources.model import Sequence as Items

_MOST_SCRIPTS = 200
"""Scripts looked at in one folder; a folder with more of them holds generated ones."""
_LARGEST_SCRIPT_BYTES = 256 * 1024
_SCRIPT_FOLDERS = ("", "scripts", "tools")
_SHELL_SUFFIXES = (".sh", ".bash", ".slurm", ".sbatch")
_JOB_SUFFIXES = (".yaml", ".yml")
_JOB_KEYS = (b"run:", b"command:", b"args:", b"entrypoint:")
_JOB_LAUNCHERS = (b"torchrun", b"python", b"accelerate", b"deepspeed", b"tune run", b"llamafactory-cli", b"axolotl")
_CONFIG_SUFFIXES = (".yaml", ".yml", ".json", ".toml", ".py")
_NAMING_FLAGS = frozenset({"config_name", "cn", "config", "cfg"})
"""Flags whose value may name a config without its suffix (Hydra's ``--config-name``)."""

_FROM_IMPORT = re.compile(rb"\n[ \t]*from[ \t]+([.\w]+)[ \t]+import[ \t]+([^\r\n#]+)")
_IMPORT = re.compile(rb"\n[ \t]*import[ \t]+([.\w]+)")
"""Lines of Python; ``\\n`` instead of ``^`` lets the search skip from line to line."""
_CONFIG_NAME = re.compile(rb"(?i)config|cfg|settings|hparams|hyperparam|options|arguments")

Launch = tuple[Document, Command]


class Project:
    """The files of one invocation, each read once. ``overlay`` gives bytes by shown path that stand for the disk's."""

    def __init__(
        self, overlay: Mapping[str, bytes] | None = None, checked: Sequence[str] = (), launchers: Sequence[str] = ()
    ) -> None:
        """``launchers`` are the only scripts whose launch lines count; where there are none, they are looked for."""
        self._overlay = overlay or {}
        self._launchers = tuple(launchers)
        self._checked_scripts = tuple(path for path in checked if path.endswith(_SHELL_SUFFIXES))
        self._data: dict[str, bytes] = {}
        self._documents: dict[str, Document] = {}
        self._listings: dict[str, tuple[str, ...]] = {}
        self._launches: dict[str, tuple[Launch, ...]] = {}
        self._job_files: dict[str, tuple[str, ...]] = {}
        self._roots: dict[str, str] = {}

    def data(self, path: str) -> bytes:
        """The bytes of the file shown as ``path``. Raises OSError."""
        if path in self._overlay:
            return self._overlay[path]
        known = self._data.get(path)
        if known is None:
            with open(path, "rb") as file:
                known = self._data[path] = file.read(MAX_FILE_BYTES + 1)  # enough to see that it is too large
        return known

    def document(self, path: str) -> Document:
        """The file shown as ``path``, parsed. Raises OSError and SourceError."""
        known = self._documents.get(path)
        if known is None:
            known = self._documents[path] = read(path, self.data(path))
        return known

    def root(self, path: str) -> str:
        """The folder that the file ``path`` belongs to: its repository, else the current folder or its own."""
        folder = os.path.dirname(os.path.abspath(path))
        known = self._roots.get(folder)
        if known is None:
            here = os.getcwd()
            below = folder == here or folder.startswith(os.path.join(here, ""))
            known = self._roots[folder] = repository_root(folder) or (here if below else folder)
        return known

    def find(self, word: str, beside: str) -> str | None:
        """The file that ``word`` in the file ``beside`` names: from its folder, then each folder up to the root."""
        for folder in self._folders_up(beside):
            shown = self._existing(os.path.join(folder, word), beside)
            if shown is not None:
                return shown
        return None

    def launches(self, path: str) -> tuple[Launch, ...]:
        """The launch lines known to use the file ``path``: by its name, or through a script that imports it."""
        known = self._launches.get(path)
        if known is None:
            known = self._launches[path] = tuple(self._find_launches(path))
        return known

    def linked(self, path: str) -> tuple[str, ...]:
        """The files that ``path`` chooses: configs that a script imports, scripts and configs of a launch line."""
        try:
            if path.endswith(".py"):
                return tuple(dict.fromkeys(self._imported(path, configs_only=True)))
            if path.endswith(_SHELL_SUFFIXES):
                return tuple(dict.fromkeys(self._named(self.document(path))))
            if path.endswith(_JOB_SUFFIXES) and self._may_launch(path):
                parts = _parts(self.document(path))
                return tuple(dict.fromkeys(found for part in parts for found in self._named(part) if found != path))
        except (OSError, VramlintError):
            return ()
        return ()

    def _folders_up(self, path: str) -> Iterator[str]:
        folder, root = os.path.dirname(os.path.abspath(path)), self.root(path)
        while True:
            yield folder
            if folder == root or os.path.dirname(folder) == folder:
                return
            folder = os.path.dirname(folder)

    def _existing(self, target: str, beside: str) -> str | None:
        """``target`` as shown, when it is a file inside the root of ``beside`` (symlinks followed).

        A file that lies in no repository and not below the current folder has no root that could bound it: the base
        files it names by path are read wherever they are.
        """
        shown = display_path(target)
        if shown in self._overlay:
            return shown
        if not os.path.isfile(target):
            return None
        root = self.root(beside)
        if root == os.path.dirname(os.path.abspath(beside)) and self._is_unbounded(root):
            return shown
        return shown if os.path.realpath(target).startswith(os.path.join(os.path.realpath(root), "")) else None

    def _is_unbounded(self, folder: str) -> bool:
        return folder != os.getcwd() and repository_root(folder) is None

    def _find_launches(self, path: str) -> Iterator[Launch]:
        seen: set[tuple[str, int]] = set()
        for target in (path, *self._importers(path)):
            jobs = () if self._launchers else self._jobs_that_mention(target)
            for document in itertools.chain(self._scripts_that_mention(target), jobs):
                for command in document.commands:
                    key = (document.path, command.span.start)
                    if key not in seen and self._uses(document, command, target):
                        seen.add(key)
                        yield document, command

    def _scripts_that_mention(self, target: str) -> Iterator[Document]:
        needle = os.fsencode(os.path.splitext(os.path.basename(target))[0])
        for script in self._launchers or dict.fromkeys((*self._checked_scripts, *self._scripts_beside(target))):
            if script == target or needle not in self._small(script):
                continue
            try:
                yield self.document(script)
            except (OSError, VramlintError):
                continue  # a script that cannot be read is reported where it is itself checked

    def _scripts_beside(self, target: str) -> Iterator[str]:
        return (script for folder in self._script_folders(target) for script in self._list(folder, _SHELL_SUFFIXES))

    def _jobs_that_mention(self, target: str) -> Iterator[Document]:
        """The commands inside job files (SkyPilot, Kubernetes, GitHub workflows) that hold the target's name."""
        needle = os.fsencode(os.path.splitext(os.path.basename(target))[0])
        for folder in dict.fromkeys(self._script_folders(target)):
            for job in self._jobs(folder):
                if job != target and needle in self._small(job):
                    try:
                        yield from _parts(self.document(job))
                    except (OSError, VramlintError):
                        continue

    def _jobs(self, folder: str) -> tuple[str, ...]:
        """The YAML files of ``folder`` that can hold a launch line, found by a byte search once."""
        known = self._job_files.get(folder)
        if known is None:
            listed = self._list(folder, _JOB_SUFFIXES)
            known = self._job_files[folder] = tuple(path for path in listed if self._may_launch(path))
        return known

    def _may_launch(self, path: str) -> bool:
        data = self._small(path)
        return any(key in data for key in _JOB_KEYS) and any(word in data for word in _JOB_LAUNCHERS)

    def _script_folders(self, path: str) -> Iterator[str]:
        for folder in self._folders_up(path):
            for name in _SCRIPT_FOLDERS:
                yield os.path.join(folder, name) if name else folder

    def _list(self, folder: str, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        known = self._listings.get(folder)
        if known is None:
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                names = []
            paths = (
                os.path.join(folder, name) for name in names if name.endswith((*_SHELL_SUFFIXES, *_JOB_SUFFIXES, ".py"))
            )
            known = self._listings[folder] = tuple(display_path(path) for path in paths)
        return tuple(path for path in known if path.endswith(suffixes))[:_MOST_SCRIPTS]

    def _small(self, path: str) -> bytes:
        """The bytes of a script, none where it cannot be read or is too large to be written by hand."""
        try:
            if path not in self._overlay and path not in self._data and os.path.getsize(path) > _LARGEST_SCRIPT_BYTES:
                return b""
            return self.data(path)
        except OSError:
            return b""

    def _uses(self, document: Document, command: Command, target: str) -> bool:
        return any(self.find(word, document.path) == target for word in _words(command)) or any(
            self._names_stem(key, value, target) for key, value in _flags(command)
        )

    def _names_stem(self, key: str, value: str, target: str) -> bool:
        stem, suffix = os.path.splitext(os.path.basename(target))
        return key in _NAMING_FLAGS and value.rpartition("/")[2] == stem and suffix in _CONFIG_SUFFIXES

    def _named(self, document: Document) -> Iterator[str]:
        for command in document.commands:
            for word in _words(command):
                found = self.find(word, document.path) if word.endswith(_CONFIG_SUFFIXES) else None
                if found is not None:
                    yield found

    def _importers(self, path: str) -> Iterator[str]:
        """The scripts that import the Python file ``path``."""
        if not path.endswith(".py"):
            return
        needle = os.fsencode(os.path.splitext(os.path.basename(path))[0])
        for folder in dict.fromkeys(self._script_folders(path)):
            for script in self._list(folder, (".py",)):
                is_other = script != path and needle in self._small(script)
                if is_other and path in self._imported(script, configs_only=False):
                    yield script

    def _imported(self, script: str, *, configs_only: bool) -> Iterator[str]:
        """The files of the repository that a Python file imports, found by a byte search."""
        for module, names in _imports(self._small(script)):
            if configs_only and not _CONFIG_NAME.search(module + b" " + names):
                continue
            found = self._module_file(module.decode("ascii", "ignore"), script)
            if found is not None and found != script:
                yield found

    def _module_file(self, module: str, script: str) -> str | None:
        dots = len(module) - len(module.lstrip("."))
        inner = module.lstrip(".").replace(".", "/")
        names = (f"{inner}.py", f"{inner}/__init__.py") if inner else ()
        if dots:
            folder = os.path.join(os.path.dirname(os.path.abspath(script)), *[os.pardir] * (dots - 1))
            found = (self._existing(os.path.normpath(os.path.join(folder, name)), script) for name in names)
        else:
            found = (self.find(name, script) for name in names)
        return next((path for path in found if path is not None), None)


def _parts(document: Document) -> Iterator[Document]:
    """The scripts and word lists inside a job file, as shell documents that know where they stand."""
    from vramlint.sources.embedded import scripts, words  # few files are jobs

    for script in scripts(document):
        yield script.shell
    for listed in words(document):
        yield listed.shell


class FileContext(NamedTuple):
    """The surroundings of one checked file, as dialects may ask about them (``vramlint.dialects.model.Context``)."""

    project: Project
    path: str
    target: Target

    def document(self, path: str) -> Document | None:
        """Another file of the repository, from the checked file's folder or any folder above; None where unreadable."""
        found = self.project.find(path, self.path)
        if found is None:
            return None
        try:
            return self.project.document(found)
        except (OSError, VramlintError):
            return None

    def launches(self, document: Document) -> Sequence[Launch]:
        """The launch lines known to use ``document``, those of one script in its order."""
        return () if document.syntax is Syntax.SHELL else self.project.launches(document.path)


def _imports(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    data = b"\n" + data
    for match in _FROM_IMPORT.finditer(data):
        yield match[1], match[2]
    for match in _IMPORT.finditer(data):
        yield match[1], b""


def _words(command: Command) -> Iterator[str]:
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
