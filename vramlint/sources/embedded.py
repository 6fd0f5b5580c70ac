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
from vramlint.sources import shell_reader, yaml_reader
from vramlint.sources.model import (
    Carried,
    Command,
    Document,
    Entry,
    Mapping,
    Node,
    Plain,
    Scalar,
    Sequence,
    Span,
    Style,
    Syntax,
    TextEdit,
    apply_edits,
    plain,
)
from vramlint.sources.shell_reader import TextMap
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
    known: TextMap | None = None
    """Variables that the job sets for the script."""

    def read_again(self, text: str) -> Document:
        """The script as it reads with ``text``. Raises SourceError."""
        return shell_reader.parse(text, self.document.path, self.known)

    def place(self, span: Span) -> Span:
        """Where ``span`` of the shell text stands in the file; the whole string where that cannot be told."""
        return self.scalar.span if self.offsets is None else self.offsets.place(span)

    def replace_value(self, node: Scalar, value: Plain) -> TextEdit:
        """The edit of the shell text, as the shell's own editor makes it. Raises EditRefused."""
        from vramlint.sources import shell_edits  # most job files are only read

        return shell_edits.replace_value(self.shell, node, value)

    def insert_entry(self, mapping: Mapping, key: str, value: Plain, after: str | None) -> TextEdit:
        """The edit of the shell text that adds a flag. Raises EditRefused."""
        from vramlint.sources import shell_edits

        return shell_edits.insert_entry(self.shell, mapping, key, value, after)

    def delete_entry(self, mapping: Mapping, entry: Entry) -> TextEdit:
        """The edit of the shell text that takes a flag out. Raises EditRefused."""
        from vramlint.sources import shell_edits

        return shell_edits.delete_entry(self.shell, mapping, entry)

    def carry(self, edits: list[TextEdit]) -> Carried:
        """Edits of the shell text as edits of the file. Raises EditRefused with the reason."""
        return Carried(tuple(map(self.edit, edits)), ((self.scalar, apply_edits(self.shell.text, edits)),))

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
        again = _again(self.document, edit)
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

    @property
    def shell(self) -> Document:
        """The command as a document; its places are those of the file."""
        nothing = Mapping(self.command.span, [], "overrides")
        text = self.document.text
        return Document(self.document.path, text, Syntax.SHELL, nothing, commands=[self.command], host=self)

    def read_again(self, _text: str) -> Document:
        """A list of words is read with its file: there is no text of its own. Raises SourceError."""
        raise SourceError("a list of words has no text of its own", path=self.document.path)

    def place(self, span: Span) -> Span:
        """``span`` itself: words have the places of the file."""
        return span

    def insert_entry(self, _mapping: Mapping, key: str, _value: Plain, _after: str | None) -> TextEdit:
        """Refused: a list takes no new words."""
        raise EditRefused(f"{key} cannot be added to a list of words", path=self.document.path)

    def delete_entry(self, _mapping: Mapping, entry: Entry) -> TextEdit:
        """Refused: a list loses no words."""
        raise EditRefused(f"{entry.key} cannot be taken out of a list of words", path=self.document.path)

    def carry(self, edits: list[TextEdit]) -> Carried:
        """The edits as they are, with the words they change. Raises EditRefused where one changes no single word."""
        scalars: list[tuple[Scalar, Plain]] = []
        for edit in edits:
            word = next((each for each in self.words if _within(edit.span, each.span)), None)
            again = _again(self.document, edit)
            same = (
                None
                if word is None
                else next((each for each in _scalars(again) if each.span.start == word.span.start), None)
            )
            if word is None or same is None:
                raise EditRefused("the edit changes more than one word", path=self.document.path)
            scalars.append((word, same.value))
        return Carried(tuple(edits), tuple(scalars))

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
        from vramlint.sources import yaml_edits

        if not isinstance(word.value, str) and not isinstance(value, str):
            return yaml_edits.replace_value(self.document, word, value)
        return yaml_edits.replace_value(self.document, word, text)


def scripts(document: Document, known: TextMap | None = None) -> Iterator[Script]:
    """Every shell text of a YAML document that reads as shell; those of other languages are left out.

    ``known`` are variables that the job sets for its scripts.
    """
    for mapping in document.mappings():
        yield from scripts_of(document, mapping, known)


def scripts_of(document: Document, mapping: Mapping, known: TextMap | None = None) -> Iterator[Script]:
    """The shell texts that hang on the keys of ``mapping`` itself."""
    shell = plain(mapping.get("shell"))
    if isinstance(shell, str) and shell.startswith(_OTHER_SHELLS):
        return
    for entry in mapping.entries:
        if entry.merged or entry.key not in SCRIPT_KEYS | {"args"}:
            continue
        for scalar in _texts(mapping, entry.key, entry.value):
            script = _script(document, scalar, entry.key, known)
            if script is not None:
                yield script


def words(document: Document) -> Iterator[Words]:
    """Every command of a YAML document that is spelled as a list of words, ``command`` and ``args`` joined."""
    for mapping in document.mappings():
        found = words_of(document, mapping)
        if found is not None:
            yield found


def words_of(document: Document, mapping: Mapping) -> Words | None:
    """The command that ``mapping`` spells as a list of words."""
    listed = [item for key in WORD_KEYS for item in _items(mapping.get(key))]
    if not listed or _shell_text(listed) is not None or str(listed[0].value).startswith("-"):
        return None
    command = shell_reader.parse_argv(listed)
    return None if command is None else Words(document, listed, command)


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


def _again(document: Document, edit: TextEdit) -> Document:
    try:
        return yaml_reader.parse(apply_edits(document.text, [edit]), document.path)
    except SourceError as error:
        raise EditRefused(f"the edited text would not read: {error.message}", path=document.path) from None


def _script(document: Document, scalar: Scalar, key: str, known: TextMap | None) -> Script | None:
    value = scalar.value
    if not isinstance(value, str) or scalar.style is Style.COMPUTED:
        return None
    try:
        shell = shell_reader.parse(value, document.path, known)
    except SourceError:
        return None
    script = Script(document, scalar, shell, key, offsets(document.text, scalar, value), known)
    shell.host = script
    return script


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
