"""Structural signatures as data: what a document, a command, a class or a call must hold for a dialect to claim it.

A signature only looks at names and structure, so recognising costs microseconds and imports nothing.

Key patterns are dotted (``trainer.devices``); ``*`` stands for any one key, ``name[]`` asks for a list, ``{}`` after a
name for a mapping, and ``name=REGEX`` also asks that the scalar's text matches. Flags are compared without their dashes
and with ``_`` for ``-``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from vramlint.sources.model import Command, Definition, Document, Mapping, Node, Scalar, Sequence, Syntax, Unknown

Subject = Document | Command | Definition | Mapping
Has = Callable[[str], bool]

DATA = (Syntax.YAML, Syntax.JSON)


class Match(NamedTuple):
    """Where a signature holds, and the names that made it hold."""

    subject: Subject
    evidence: tuple[str, ...]


class Names(NamedTuple):
    """Names that must be there: ``all_of``, ``min_any`` of ``any_of``, ``min_also`` of ``also``, no ``none_of``."""

    all_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    min_any: int = 1
    also: tuple[str, ...] = ()
    min_also: int = 1
    none_of: tuple[str, ...] = ()

    def evidence(self, has: Has) -> tuple[str, ...] | None:
        """The names that are there, or None where the condition does not hold."""
        if not all(has(name) for name in self.all_of):
            return None
        found = [name for name in self.any_of if has(name)]
        if self.any_of and len(found) < self.min_any:
            return None
        more = [name for name in self.also if has(name)]
        if self.also and len(more) < self.min_also:
            return None
        if any(has(name) for name in self.none_of):
            return None
        return (*self.all_of, *found, *more)


class Keys(NamedTuple):
    """Keys of the root mapping of a data file, or the names that a Python module assigns.

    ``text`` is a regular expression that the file's text must contain, for structure that is no key (a YAML tag).
    """

    names: Names = Names()
    syntaxes: tuple[Syntax, ...] = DATA
    text: str = ""
    path: str = ""

    def matches(self, document: Document) -> Iterator[Match]:
        """The document itself, when it holds the names."""
        if not isinstance(document.root, Mapping):
            return
        if self.path and not _compiled(self.path).search(document.path):
            return
        evidence = self.names.evidence(lambda name: present(document.root, name))
        if evidence is None:
            return
        found = _compiled(self.text).search(document.text) if self.text else None
        if self.text and found is None:
            return
        yield Match(document, (*evidence, *((found.group().strip(),) if found else ())))


class Line(NamedTuple):
    """A command: its program, its words and its flags (``key=value`` words count as flags)."""

    names: Names = Names()
    program: str = ""
    not_program: str = ""
    words: tuple[str, ...] = ()

    @property
    def syntaxes(self) -> tuple[Syntax, ...]:
        return (Syntax.SHELL,)

    def matches(self, document: Document) -> Iterator[Match]:
        """Every command of the document that fits."""
        for command in document.commands:
            evidence = self.evidence(command)
            if evidence is not None:
                yield Match(command, evidence)

    def evidence(self, command: Command) -> tuple[str, ...] | None:
        """The words and flags of ``command`` that fit this signature, or None."""
        if self.program and not _compiled(self.program).search(command.program):
            return None
        if self.not_program and _compiled(self.not_program).search(command.program):
            return None
        words = spoken_words(command)
        if not all(any(_compiled(pattern).search(word) for word in words) for pattern in self.words):
            return None
        flags = flag_texts(command)
        found = self.names.evidence(lambda name: _has_flag(flags, name))
        return None if found is None else (command.program, *found)


class Defined(NamedTuple):
    """A Python class or a recognised call (its ``kind``), by name, bases, members and the imports of its file."""

    kind: str
    names: Names = Names()
    name: str = ""
    bases: str = ""
    imports: str = ""
    constant: tuple[str, ...] = ()
    """Keywords of which one must be a constant: a call that only passes variables on is no run of its own."""

    @property
    def syntaxes(self) -> tuple[Syntax, ...]:
        return (Syntax.PYTHON,)

    def matches(self, document: Document) -> Iterator[Match]:
        """Every class or call of the document that fits."""
        if self.imports and not any(_compiled(self.imports).search(found.module) for found in document.imports):
            return
        for definition in document.definitions:
            if definition.kind != self.kind or not self._named(definition) or not self._says_something(definition):
                continue
            evidence = self.names.evidence(
                {normal_name(entry.key) for entry in definition.members.entries}.__contains__
            )
            if evidence is not None:
                yield Match(definition, (definition.name, *evidence))

    def _says_something(self, definition: Definition) -> bool:
        if not self.constant:
            return True
        found = [definition.members.get(name) for name in self.constant]
        return any(node is not None and not isinstance(node, Unknown) for node in found)

    def _named(self, definition: Definition) -> bool:
        if self.name and not _compiled(self.name).search(definition.name):
            return False
        return not self.bases or any(_compiled(self.bases).search(base) for base in definition.bases)


class Tree(NamedTuple):
    """Leaves at any depth of a data file, for programs with a layout of their own.

    ``anchors`` are the leaves of which one must be there, outside of ``not_under`` sections; ``groups`` the kinds of
    setting of which ``min_groups`` must be there too. ``none_of`` are key patterns of the root.
    """

    anchors: frozenset[str]
    groups: tuple[frozenset[str], ...]
    min_groups: int
    not_under: frozenset[str]
    none_of: tuple[str, ...] = ()
    text_none: str = ""
    syntaxes: tuple[Syntax, ...] = (Syntax.YAML, Syntax.TOML)

    def matches(self, document: Document) -> Iterator[Match]:
        """The document itself, when its leaves look like a training run."""
        if not isinstance(document.root, Mapping) or any(present(document.root, name) for name in self.none_of):
            return
        if self.text_none and _compiled(self.text_none).search(document.text):
            return
        leaves = dict(scalar_leaves(document.root, self.not_under))
        found = [path for path, name in leaves.items() if name in self.anchors]
        kinds = [next((path for path, name in leaves.items() if name in group), None) for group in self.groups]
        also = [path for path in kinds if path is not None]
        if found and len(also) >= self.min_groups:
            yield Match(document, (*found, *also))


def scalar_leaves(root: Mapping, not_under: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Dotted path and normalised last key of every scalar outside of the sections ``not_under``."""
    pending: list[tuple[str, Mapping]] = [("", root)]
    seen: set[int] = set()
    while pending:
        prefix, mapping = pending.pop(0)
        if id(mapping) in seen:
            continue
        seen.add(id(mapping))
        for entry in mapping.entries:
            name = normal_name(entry.key)
            if isinstance(entry.value, Mapping):
                if name not in not_under:
                    pending.append((f"{prefix}{entry.key}.", entry.value))
            else:
                yield f"{prefix}{entry.key}", name


Signature = Keys | Line | Defined | Tree


def present(node: Node, pattern: str) -> bool:
    """Whether a key pattern (see the module) holds below ``node``."""
    wanted = _pattern(pattern)
    if isinstance(node, Mapping) and wanted.steps[0] != "*":
        if wanted.steps[0] not in _names_of(node):
            return False
        if wanted.is_bare:
            return True
    return any(_fits(found, wanted) for found in _follow(node, wanted.steps))


def spoken_words(command: Command) -> list[str]:
    """The words of a command that belong to no flag, the subcommand first."""
    words = [command.subcommand] if command.subcommand else []
    words += [word.text.strip("'\"") for word in command.positionals]
    words += [f"{entry.key}={_text(entry.value)}" for entry in command.overrides.entries]
    return words


def flag_texts(command: Command) -> dict[str, str]:
    """Every flag and ``key=value`` word of a command, name normalised, with the text of its value."""
    flags = {normal_flag(entry.key): _text(entry.value) for entry in command.options.entries}
    flags.update({entry.key: _text(entry.value) for entry in command.overrides.entries})
    return flags


def normal_flag(flag: str) -> str:
    """``--batch-size`` and ``--batch_size`` are one flag: ``batch_size``. Short flags keep their letter."""
    return flag.lstrip("-").replace("-", "_")


def normal_name(key: str) -> str:
    """Keys as people vary them: ``BATCH_SIZE``, ``batch-size`` and ``batch_size`` are one name."""
    return key.lstrip("-").replace("-", "_").lower()


def _has_flag(flags: dict[str, str], pattern: str) -> bool:
    name, _, wanted = pattern.partition("=")
    if name.startswith("~"):
        return any(_compiled(name[1:]).search(flag) for flag in flags)
    return name in flags and (not wanted or bool(_compiled(wanted).search(flags[name])))


class _Pattern(NamedTuple):
    """A key pattern, taken apart: the keys on the way, the kind of node asked for and what its text must match."""

    steps: tuple[str, ...]
    kind: type[Node] | None
    text: str
    is_bare: bool
    """A key at the top, whatever its value."""


@cache
def _pattern(pattern: str) -> _Pattern:
    path, _, text = pattern.partition("=")
    kind = Sequence if path.endswith("[]") else Mapping if path.endswith("{}") else None
    steps = tuple(path.removesuffix("[]").removesuffix("{}").split("."))
    return _Pattern(steps, kind, text, len(steps) == 1 and kind is None and not text)


@lru_cache(maxsize=1)
def _names_of(mapping: Mapping) -> frozenset[str]:
    """The keys of ``mapping``; kept for one, since hundreds of patterns are asked of the same root in a row."""
    return frozenset(mapping.keys())


def _follow(node: Node, steps: tuple[str, ...]) -> Iterator[Node]:
    if not steps:
        yield node
        return
    if not isinstance(node, Mapping):
        return
    key, rest = steps[0], steps[1:]
    for entry in node.entries:
        if key in ("*", entry.key):
            yield from _follow(entry.value, rest)


def _fits(node: Node, wanted: _Pattern) -> bool:
    if wanted.kind is not None:
        return isinstance(node, wanted.kind)
    return not wanted.text or bool(_compiled(wanted.text).search(_text(node)))


def _text(node: Node) -> str:
    return str(node.value) if isinstance(node, Scalar) else ""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
