"""Hydra's composition of one run: the primary config, the files that ``defaults`` lists choose, the command's words.

Later entries of a list win; ``_self_`` says where the file itself stands, at the end where it is left out. A chosen
file lands under its group's name, unless it says ``# @package _global_``.

Source: Hydra 1.3, "The Defaults List", "Packages" and "Override grammar".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from typing import NamedTuple

from vramlint.dialects.model import Context
from vramlint.dialects.neighbours import reader_of
from vramlint.dialects.overrides import WordSource
from vramlint.dialects.places import Place, Source
from vramlint.sources.model import Command, Document, Mapping, Scalar, Sequence

_GLOBAL = re.compile(r"(?m)^#\s*@package\s+_global_")
_MAIN = re.compile(r"hydra\.main\(([^)]*)\)")
_ARGUMENT = re.compile(r"config_(path|name)\s*=\s*[\"']([^\"']+)[\"']")
_MOST_FILES = 60


class Part(NamedTuple):
    """One file of the composition and the package its settings land in."""

    document: Document
    package: str


class Composition(NamedTuple):
    """The files of a run, the strongest first, and those that the lists name and nobody could read."""

    parts: list[Part]
    missing: list[str]

    def sources(self) -> list[Source]:
        """Where settings are looked up, the strongest first."""
        return [
            PackageSource(part.document, part.document.root, part.package)
            for part in self.parts
            if isinstance(part.document.root, Mapping)
        ]


class PackageSource(Source):
    """A file of a group: ``devices`` in ``trainer/gpu.yaml`` is ``trainer.devices`` of the run."""

    def __init__(self, document: Document, mapping: Mapping, package: str) -> None:
        super().__init__(document, mapping)
        self._prefix = f"{package}." if package else ""

    def find(self, dotted: str) -> Place | None:
        """The place of ``dotted`` where it belongs to this file's package."""
        if not dotted.startswith(self._prefix):
            return None
        place = super().find(dotted.removeprefix(self._prefix))
        return None if place is None else place._replace(name=dotted)


def compose(folder: str, primary: Document, context: Context, choices: MappingType[str, str]) -> Composition:
    """The run of ``primary`` in the config folder ``folder``; ``choices`` are the command's ``group=name`` words."""
    composer = _Composer(folder, primary, context, dict(choices))
    for experiment in composer.experiments():
        composer.choices = {**_overridden(experiment), **composer.choices}
    weakest_first = list(composer.parts(primary, "", folder))
    return Composition(weakest_first[::-1], composer.missing)


def choices_of(command: Command) -> dict[str, str]:
    """The words of a command that choose a file of a group: ``trainer=ddp``."""
    words = {entry.key.lstrip("+"): entry.value for entry in command.overrides.entries}
    return {key: str(node.value) for key, node in words.items() if isinstance(node, Scalar) and "." not in key}


def words_of(document: Document, command: Command) -> Source:
    """The settings of the command itself."""
    return WordSource(document, command.overrides)


def main_config(script: Document) -> tuple[str, str] | None:
    """Folder and name of the primary config in ``@hydra.main(...)``."""
    found = _MAIN.search(script.text)
    if found is None:
        return None
    named = dict(_ARGUMENT.findall(found[1]))
    if "path" not in named or "name" not in named:
        return None
    folder = posixpath.normpath(posixpath.join(posixpath.dirname(script.path), named["path"]))
    return folder, re.sub(r"\.ya?ml$", "", named["name"])


class _Composer:
    def __init__(self, folder: str, primary: Document, context: Context, choices: dict[str, str]) -> None:
        self._folder = folder
        self._read = reader_of(primary, context)
        self.choices = choices
        self.missing: list[str] = []
        self._opened = 0

    def experiments(self) -> list[Document]:
        """The chosen experiment: its list overrides the choices of the primary config."""
        name = self.choices.get("experiment")
        found = self._file("experiment", name) if name else None
        return [] if found is None else [found]

    def parts(self, document: Document, package: str, folder: str) -> Iterator[Part]:
        """The file and what its list names, the weakest first."""
        own = Part(document, "" if _GLOBAL.search(document.text[:400]) else package)
        root = document.root
        listed = root.get("defaults") if isinstance(root, Mapping) else None
        named = False
        for item in listed.items if isinstance(listed, Sequence) else []:
            if isinstance(item, Scalar) and item.value == "_self_":
                named = True
                yield own
            elif isinstance(item, Scalar) and isinstance(item.value, str):
                yield from self._chosen(posixpath.relpath(folder, self._folder), item.value, package, folder)
            elif isinstance(item, Mapping) and item.entries:
                yield from self._group(item)
        if not named:
            yield own

    def _group(self, item: Mapping) -> Iterator[Part]:
        entry = item.entries[0]
        group = entry.key.removeprefix("optional ").strip("/")
        if entry.key.startswith("override "):
            return
        value = entry.value.value if isinstance(entry.value, Scalar) else None
        name = self.choices.get(group, value)
        if name in (None, "null", "~"):
            return
        folder = posixpath.join(self._folder, group)
        yield from self._chosen(
            group, str(name), group.replace("/", "."), folder, optional=entry.key.startswith("optional ")
        )

    def _chosen(self, group: str, name: str, package: str, folder: str, *, optional: bool = False) -> Iterator[Part]:
        found = self._file(group, name)
        if found is not None:
            yield from self.parts(found, package, folder)
        elif not optional:
            self.missing.append(posixpath.join(group, name))

    def _file(self, group: str, name: str) -> Document | None:
        self._opened += 1
        if self._opened > _MOST_FILES or "$" in name:
            return None
        stem = posixpath.normpath(posixpath.join(self._folder, group, re.sub(r"\.ya?ml$", "", name)))
        return self._read(f"{stem}.yaml") or self._read(f"{stem}.yml")


def _overridden(document: Document) -> dict[str, str]:
    """``- override /trainer: gpu`` of an experiment."""
    root = document.root
    listed = root.get("defaults") if isinstance(root, Mapping) else None
    found: dict[str, str] = {}
    for item in listed.items if isinstance(listed, Sequence) else []:
        entry = item.entries[0] if isinstance(item, Mapping) and item.entries else None
        if entry is not None and entry.key.startswith("override ") and isinstance(entry.value, Scalar):
            found[entry.key.removeprefix("override ").strip().strip("/")] = str(entry.value.value)
    return found
