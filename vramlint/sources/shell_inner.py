"""Commands inside words: the text behind ``eval`` and ``bash -c``, and the operators among the words of a variable.

``CMD="torchrun … train.py …"; eval $CMD`` and ``srun bash -c "cd job; torchrun …"`` run what stands in the string.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from vramlint.sources.model import Command, Mapping, Node, Scalar, Sequence, Span, Unknown
from vramlint.sources.shell_launchers import SHELLS
from vramlint.sources.shell_variables import Argument, typed
from vramlint.sources.shell_words import Part, Word

_CONTROL = frozenset({"&&", "||", ";", "|", "|&", "&"})
_REDIRECTION = re.compile(r"(?:\d*[<>]|&>)[<>&|]*")
_QUOTING = re.compile(r"['\"\\]")


class ShellText(NamedTuple):
    """``LAUNCHER … bash -c TEXT``: the words up to ``-c``, and the word that the shell reads."""

    front: list[Word]
    text: Word


def shell_text(words: list[Word]) -> ShellText | None:
    """The text that ``bash -c``, ``sh -lc`` or ``bash -e -c`` in front of a script's own words reads."""
    for index, word in enumerate(words):
        if word.text.endswith(".py"):
            return None
        if word.text.rsplit("/", 1)[-1] not in SHELLS:
            continue
        for number in range(index + 1, len(words) - 1):
            flag = words[number].text
            if not flag.startswith("-") or flag.startswith("--"):
                break
            if flag.endswith("c"):
                return ShellText(words[: number + 1], words[number + 1])
    return None


def quotation(word: Word) -> Span | None:
    """The inside of a word that is one quotation from end to end; None for any other word, and for a mere ``"$NAME"``,
    of which a shell reads what the variable holds."""
    if not word.pieces or not word.pieces[0].quote:
        return None
    if len(word.pieces) == 1 and word.pieces[0].part is not Part.LITERAL:
        return None
    start, end = word.span.start + 1, word.span.end - 1
    quotes = {piece.quote for piece in word.pieces}
    whole = word.pieces[0].start == start and word.pieces[-1].end == end and len(quotes) == 1
    return Span(start, end) if whole else None


def simple_commands(arguments: list[Argument]) -> Iterator[list[Argument]]:
    """The commands among words that a shell reads again: split at ``;``, ``&&`` and ``|``, redirections left out."""
    command: list[Argument] = []
    to_file = False
    for argument in arguments:
        text = argument.text or ""
        if text in _CONTROL:
            yield command
            command, to_file = [], False
            continue
        redirection = _REDIRECTION.match(text)
        ends = text.endswith(";")
        if redirection is None and not to_file:
            command.append(_without_end(argument) if ends else argument)
        to_file = redirection is not None and redirection.end() == len(text)
        if ends:
            yield command
            command = []
    yield command


def unquoted(argument: Argument) -> Argument:
    """A variable's word as ``eval`` reads it: unknown with a quote, behind which further words may belong to it."""
    if argument.text is None or _QUOTING.search(argument.text) is None:
        return argument
    unknown = Unknown(argument.span, argument.node.text, "quoted inside a variable")
    tail = argument.tail
    return Argument(
        argument.span,
        argument.head,
        argument.head_start,
        argument.text,
        unknown,
        None if tail is None else Unknown(tail.span, tail.text, unknown.reason),
    )


def is_command(arguments: list[Argument]) -> bool:
    """Whether ``arguments`` are words of a command: not one alone that holds a whole text, known or not."""
    if len(arguments) != 1:
        return bool(arguments)
    text = arguments[0].text
    return text is not None and not any(character.isspace() for character in text)


def _without_end(argument: Argument) -> Argument:
    """``4;`` is ``4`` and the end of its command."""
    span = Span(argument.span.start, argument.span.end - 1)
    tail = argument.tail
    return Argument(
        span,
        argument.head.removesuffix(";"),
        argument.head_start,
        None if argument.text is None else argument.text[:-1],
        _shorter(argument.node) if isinstance(argument.node, Scalar) else argument.node,
        _shorter(tail) if isinstance(tail, Scalar) else tail,
    )


def _shorter(node: Scalar) -> Scalar:
    text = node.text.removesuffix(";")
    value = node.value.removesuffix(";") if isinstance(node.value, str) else node.value
    return replace(node, span=Span(node.span.start, node.span.end - 1), text=text, value=typed(str(value)))


def started_by(outer: Command, inner: Command) -> Command:
    """``inner`` as ``outer`` runs it: behind its launchers, in its environment."""
    inner.launchers = [*outer.launchers, *inner.launchers]
    entries = [*outer.environment.entries, *inner.environment.entries]
    inner.environment = Mapping(outer.environment.span, entries, "environment")
    return inner


def mark_shared(commands: Iterable[Command]) -> None:
    """Words of one variable that several commands run with are shared: an edit would change all of them."""
    seen: set[int] = set()
    for command in commands:
        own = {id(word): word for word in _words_of(command)}
        for word in own.values():
            word.shared = word.shared or id(word) in seen
        seen.update(own)


def _words_of(command: Command) -> Iterator[Scalar]:
    nodes: list[Node] = [entry.value for each in (command.options, command.overrides) for entry in each.entries]
    for node in (*nodes, *command.positionals):
        if isinstance(node, Scalar):
            yield node
        elif isinstance(node, Sequence):
            yield from (item for item in node.items if isinstance(item, Scalar))
