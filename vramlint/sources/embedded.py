"""Commands inside job files: ``command:``, ``args:``, ``run:`` and their kin in Kubernetes, SkyPilot and GitHub YAML.

A string that a shell runs becomes a shell document of its own. Its edits are made there, by the shell's own editor, and
carried over into the YAML string with its indent, quotes and escapes; the carried edit counts only if the file then
reads with exactly the edited script in that string and nothing else changed. A list of words becomes a command whose
places are those of the YAML.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from vramlint.errors import EditRefused, SourceError
from vramlint.sources import shell_reader, yaml_edits, yaml_reader
from vramlint.sources.model import (
    Command,
    Document,
    Mapping,
    Node,
    Plain,
    Scalar,
    Sequence,
    Span,
    Style,
    TextEdit,
    apply_edits,
    plain,
)
from vramlint.sources.yaml_offsets import Offsets, offsets

SCRIPT_KEYS = frozenset({"run", "setup", "script", "before_script", "commands", "entrypoint", "command", "cmd"})
"""Keys whose text a shell runs: GitHub, SkyPilot, Ray (entrypoint), GitLab, dstack (commands), MosaicML (command)."""
WORD_KEYS = ("command", "args")
"""Keys of a container whose lists are words of one command line: no shell is in between."""
_SHELLS = frozenset({"bash", "sh", "/bin/bash", "/bin/sh", "zsh", "dash"})
_OTHER_SHELLS = ("pwsh", "powershell", "python", "cmd", "node", "perl")


class Script(NamedTuple):
    """A shell text inside a YAML string. ``shell`` is its document, with places of its own, ``key`` what holds it."""

    document: Document
    scalar: Scalar
    shell: Document
    key: str
    offsets: Offsets | None

    def place(self, span: Span) -> Span:
        """Where ``span`` of the shell text stands in the file; the whole string where that cannot be told."""
        return self.scalar.span if self.offsets is None else self.offsets.place(span)

    def edit(self, edit: TextEdit) -> TextEdit:
        """An edit of the shell text as an edit of the file. Raises EditRefused with the reason."""
        where = self.offsets
        if self.scalar.shared:
            raise EditRefused("the script is used in more than one place", path=self.document.path)
        if where is None:
            raise EditRefused("the place inside the YAML string cannot be told", path=self.document.path)
        wanted = apply_edits(self.shell.text, [edit])
        carried = TextEdit(where.place_of_edit(edit.span), self._spelled(edit.text, where))
        found = self._read_again(carried)
        if found != (wanted, self._others(self.document, self.scalar.span.start)):
            raise EditRefused("YAML would read the edited script differently", path=self.document.path)
        return carried

    def _spelled(self, text: str, where: Offsets) -> str:
        match self.scalar.style:
            case Style.BLOCK:
                newline = "\r\n" if "\r\n" in self.document.text else "\n"
                return text.replace("\n", f"{newline}{where.indent}")
            case Style.SINGLE:
                return text.replace("'", "''")
            case Style.DOUBLE:
                return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
            case _:
                return text

    def _read_again(self, edit: TextEdit) -> tuple[object, object]:
        try:
            again = yaml_reader.parse(apply_edits(self.document.text, [edit]), self.document.path)
        except SourceError as error:
            raise EditRefused(f"the edited text would not read: {error.message}", path=self.document.path) from None
        start = self.scalar.span.start
        same = next((node for node in _scalars(again) if node.span.start == start), None)
        return None if same is None else same.value, self._others(again, start)

    @staticmethod
    def _others(document: Document, start: int) -> list[object]:
        """Everything that the file says besides the script that begins at ``start``."""
        said: list[object] = [
            (type(node.value).__name__, node.value) for node in _scalars(document) if node.span.start != start
        ]
        shape = [(mapping.style, [entry.key for entry in mapping.entries]) for mapping in document.mappings()]
        return [*said, shape, [comment.text for comment in document.comments]]


class Words(NamedTuple):
    """A command spelled as a list of words. The places of ``command`` are those of the file."""

    document: Document
    words: list[Scalar]
    command: Command

    def replace_value(self, node: Node, value: Plain) -> TextEdit:
        """The edit that makes an option worth ``value``: its word is rewritten, as a string, in its own quotes.

        Raises EditRefused for a switch, several words and everything else that is not one word.
        """
        if (
            not isinstance(node, Scalar)
            or node.style is Style.EMPTY
            or isinstance(value, (list, dict))
            or value is None
        ):
            raise EditRefused("only a value of one word can be changed in a list", path=self.document.path)
        word = next((each for each in self.words if _within(node.span, each.span)), None)
        if word is None or word.shared or not isinstance(word.value, str | int | float):
            raise EditRefused("the word is used in more than one place", path=self.document.path)
        old = word.value if isinstance(word.value, str) else word.text
        text = _lower_bool(value, node) if isinstance(value, bool) else str(value)
        if node.span != word.span or "=" in old:
            head, equals, _ = old.partition("=")
            text = f"{head}{equals}{text}" if equals else text
        if not isinstance(word.value, str) and not isinstance(value, str):
            return yaml_edits.replace_value(self.document, word, value)
        return yaml_edits.replace_value(self.document, word, text)


def scripts(document: Document) -> Iterator[Script]:
    """Every shell text of a YAML document that reads as shell; those of other languages are left out."""
    for mapping in document.mappings():
        yield from scripts_of(document, mapping)


def scripts_of(document: Document, mapping: Mapping) -> Iterator[Script]:
    """The shell texts that hang on the keys of ``mapping`` itself."""
    shell = plain(mapping.get("shell"))
    if isinstance(shell, str) and shell.startswith(_OTHER_SHELLS):
        return
    for entry in mapping.entries:
        if entry.merged or entry.key not in SCRIPT_KEYS | {"args"}:
            continue
        for scalar in _texts(mapping, entry.key, entry.value):
            script = _script(document, scalar, entry.key)
            if script is not None:
                yield script


def words(document: Document) -> Iterator[Words]:
    """Every command of a YAML document that is spelled as a list of words, ``command`` and ``args`` joined."""
    for mapping in document.mappings():
        listed = [item for key in WORD_KEYS for item in _items(mapping.get(key))]
        if not listed or _shell_text(listed) is not None or str(listed[0].value).startswith("-"):
            continue
        command = shell_reader.parse_argv(listed)
        if command is not None:
            yield Words(document, listed, command)


def _texts(mapping: Mapping, key: str, value: Node) -> list[Scalar]:
    """The strings that a shell runs: the value itself, each item of a list of commands, the text after ``bash -c``."""
    if isinstance(value, Scalar):
        return [value] if isinstance(value.value, str) and key in SCRIPT_KEYS else []
    if key in WORD_KEYS:
        text = _shell_text([item for name in WORD_KEYS for item in _items(mapping.get(name))])
        return [] if text is None or text not in _items(value) else [text]
    return [item for item in _items(value) if isinstance(item.value, str)]


def _items(node: Node | None) -> list[Scalar]:
    return [item for item in node.items if isinstance(item, Scalar)] if isinstance(node, Sequence) else []


def _shell_text(listed: list[Scalar]) -> Scalar | None:
    """The text after ``bash -c``, ``-lc``, ``-ec`` or ``-e -c``."""
    if not listed or listed[0].value not in _SHELLS:
        return None
    for flag, text in itertools.pairwise(listed[1:]):
        name = str(flag.value)
        if not name.startswith("-"):
            return None
        if name.endswith("c"):
            return text if isinstance(text.value, str) else None
    return None


def _script(document: Document, scalar: Scalar, key: str) -> Script | None:
    value = scalar.value
    if not isinstance(value, str) or scalar.style is Style.COMPUTED:
        return None
    try:
        shell = shell_reader.parse(value, f"{document.path}:{document.position(scalar.span.start).line}")
    except SourceError:
        return None
    return Script(document, scalar, shell, key, offsets(document.text, scalar, value))


def _scalars(document: Document) -> Iterator[Scalar]:
    pending: list[Node] = [document.root, *document.more_roots][::-1]
    seen: set[int] = set()
    while pending:
        node = pending.pop()
        if isinstance(node, Scalar):
            yield node
        elif isinstance(node, (Mapping, Sequence)) and id(node) not in seen:
            seen.add(id(node))
            children = node.items if isinstance(node, Sequence) else [entry.value for entry in node.entries]
            pending.extend(children[::-1])


def _within(inner: Span, outer: Span) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def _lower_bool(value: bool, like: Scalar) -> str:
    return str(value).lower() if like.text.strip("\"'").islower() else str(value)
