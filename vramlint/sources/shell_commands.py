"""One simple command: its launchers peeled off, its flags, overrides and positional words told apart."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vramlint.sources.model import Command, Entry, Launcher, Mapping, Node, Scalar, Sequence, Span, Style, Unknown
from vramlint.sources.shell_launchers import (
    CONSOLE_PROGRAMS,
    IGNORED_PROGRAMS,
    MODULE_LAUNCHERS,
    PYTHON,
    SHELLS,
    SUBCOMMANDS,
    TOOLS,
    TORCHRUN,
    Tool,
)
from vramlint.sources.shell_variables import Argument

_FLAG = re.compile(r"--?[A-Za-z_]")
_NEGATIVE = re.compile(r"-(?:\d|\.\d)")
_GLUED = re.compile(r"-[A-Za-z]\d+(?:\.\d+)?")
_OVERRIDE = re.compile(r"\+{0,2}[A-Za-z_][\w.@/\[\]-]*=")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_PYTHON = re.compile(r"(?:.*/)?(?:python|pypy)[\d.]*t?(?:\.exe)?|\$\{?PYTHON\w*\}?")
_PROGRAM = re.compile(r".*\.(?:py|sh|pyz)")


class _Words:
    """The words of a command, taken from the left."""

    def __init__(self, arguments: list[Argument]) -> None:
        self._arguments = arguments
        self._next = 0

    def peek(self, ahead: int = 0) -> Argument | None:
        index = self._next + ahead
        return self._arguments[index] if index < len(self._arguments) else None

    def take(self) -> Argument:
        self._next += 1
        return self._arguments[self._next - 1]

    def skip_to_program(self) -> bool:
        """Step over words of an unknown launcher (``$LAUNCH train.py``) to the Python script behind it, if one is."""
        for index in range(self._next + 1, len(self._arguments)):
            if (self._arguments[index].text or "").endswith(".py"):
                self._next = index
                return True
        return False

    def rest(self) -> list[Argument]:
        left = self._arguments[self._next :]
        self._next = len(self._arguments)
        return left


def build(arguments: list[Argument], exported: Iterable[Entry], end: int) -> Command | None:
    """The command of ``arguments``; None where it is no program that could train.

    ``exported`` are the variables that the script exported before; ``end`` is where the command's own text ends.
    """
    words = _Words(arguments)
    start = arguments[0].span.start
    environment = Mapping(Span(start, start), list(exported), "environment")
    launchers: list[Launcher] = []
    _assignments(words, environment)
    program = _peel(words, launchers, environment)
    if program is None:
        return None
    name = program.text if program.text is not None else program.node.text
    if not launchers and name.rsplit("/", 1)[-1] in IGNORED_PROGRAMS:
        return None
    first = words.peek()
    if name == "tune" and first is not None and first.text == "run":
        return _tune_run(words, program, launchers, environment, start, end)
    command = _fill(name, program, words.rest(), Span(start, end))
    command.launchers, command.environment = launchers, environment
    return command


def options_of(arguments: list[Argument], span: Span) -> Mapping:
    """The flags of ``arguments`` alone, for ``#SBATCH`` lines."""
    return _fill("", None, arguments, span).options


def _assignments(words: _Words, environment: Mapping) -> None:
    while (word := words.peek()) is not None and word.tail is not None and _ASSIGNMENT.match(word.head):
        environment.entries.append(_keyed(words.take()))


def _keyed(word: Argument) -> Entry:
    """The entry of a ``key=value`` word, leading pluses left out of the key."""
    key = word.head.partition("=")[0]
    name = key.lstrip("+")
    start = word.head_start + len(key) - len(name)
    value: Node = word.tail if word.tail is not None else word.node
    return Entry(name, Span(start, start + len(name)), value, word.span)


def _peel(words: _Words, launchers: list[Launcher], environment: Mapping) -> Argument | None:
    """The word that finally runs; the launchers in front of it are added to ``launchers``."""
    while (word := words.peek()) is not None:
        name = (word.text or word.node.text).rsplit("/", 1)[-1]
        if _PYTHON.fullmatch(word.text or word.node.text.strip("\"'")):
            words.take()
            interpreted = _python(words, launchers)
            if interpreted is not None:
                launches = interpreted.text in MODULE_LAUNCHERS
                return _peel(words, launchers, environment) if launches else interpreted
            return word
        if name in SHELLS:
            return _shell_script(words)
        if word.text is None and words.skip_to_program():
            launchers.append(Launcher(word.node.text, Mapping(word.span, [], "options")))
            continue
        tool = TOOLS.get(name)
        if tool is None or not _follows(words, tool):
            return words.take()
        words.take()
        for _ in tool.words:
            words.take()
        module = _launcher(" ".join([name, *tool.words]), tool, words, launchers, environment)
        if module is not None:
            return module
    return None


def _follows(words: _Words, tool: Tool) -> bool:
    """Whether the words that make a tool a launcher stand behind its name (``accelerate launch``, not ``config``)."""
    following = [words.peek(1 + index) for index in range(len(tool.words))]
    return all(word is not None and word.text == wanted for word, wanted in zip(following, tool.words, strict=True))


def _python(words: _Words, launchers: list[Launcher]) -> Argument | None:
    """Behind ``python``: the script or module, a module that launches peeled too; None for ``python -c``."""
    while (word := words.peek()) is not None:
        text = word.text or ""
        if text in PYTHON.module:
            words.take()
            module = words.peek()
            if module is None:
                return None
            words.take()
            known = MODULE_LAUNCHERS.get(module.text or "")
            if known is None:
                return module
            return _launcher(known[0], known[1], words, launchers, None) or module
        if text in ("-c", ""):
            return None if text == "-c" else words.take()
        if not text.startswith("-") or text == "-":
            return words.take()
        words.take()
        if text in ("-W", "-X"):
            words.take()
    return None


def _shell_script(words: _Words) -> Argument | None:
    """Behind ``bash``: the script it runs."""
    shell = words.take()
    while (word := words.peek()) is not None and (word.text or "").startswith("-"):
        words.take()
        if "c" in (word.text or ""):
            return shell
    return words.take() if words.peek() is not None else None


def _launcher(
    name: str, tool: Tool, words: _Words, launchers: list[Launcher], environment: Mapping | None
) -> Argument | None:
    """Take a launcher's own options; the module's word where it launches a module."""
    start = words.peek()
    options = Mapping(Span(start.span.start, start.span.start) if start else Span(0, 0), [], "options")
    module: Argument | None = None
    while (word := words.peek()) is not None and module is None:
        text = word.text if word.text is not None else word.node.text
        if not _is_flag(word):
            if not (tool.assignments and word.tail is not None and _ASSIGNMENT.match(word.head)):
                break
            if environment is not None:
                environment.entries.append(_keyed(word))
            words.take()
            continue
        words.take()
        if text == "--":
            break
        following = words.peek()
        if text in tool.module and following is not None:
            module = words.take()
        options.entries.append(_launcher_option(word, text, tool, words) if module is None else _switch(word))
    options.span = Span(options.span.start, max([options.span.start, *(entry.span.end for entry in options.entries)]))
    for _ in range(tool.skip):
        if words.peek() is not None:
            words.take()
    if not tool.wrapper:
        launchers.append(Launcher(name, options))
    return module


def _launcher_option(word: Argument, text: str, tool: Tool, words: _Words) -> Entry:
    if word.tail is not None:
        return _flag_with_tail(word)
    following = words.peek()
    if tool.is_switch(text) or following is None or _is_flag(following) or _is_program(following):
        return _switch(word)
    value = words.take()
    if text in tool.pairs and words.peek() is not None:
        second = words.take()
        items: list[Node] = [value.node, second.node]
        pair = Sequence(Span(value.span.start, second.span.end), items, "words")
        return Entry(text, word.span, pair, Span(word.span.start, second.span.end))
    return Entry(text, word.span, value.node, Span(word.span.start, value.span.end))


def _is_program(word: Argument) -> bool:
    text = word.text or ""
    return bool(_PROGRAM.fullmatch(text) or _PYTHON.fullmatch(text))


def _is_flag(word: Argument) -> bool:
    if word.text == "--":
        return True
    return _FLAG.match(word.head) is not None and not _NEGATIVE.match(word.head)


def _switch(word: Argument) -> Entry:
    end = word.span.end
    return Entry(word.head, word.span, Scalar(Span(end, end), "", value=True, style=Style.EMPTY), word.span)


def _flag_with_tail(word: Argument) -> Entry:
    key = word.head.partition("=")[0]
    key_span = Span(word.head_start, word.head_start + len(key))
    value: Node = word.tail if word.tail is not None else word.node
    return Entry(key, key_span, value, word.span)


def _tune_run(
    words: _Words, program: Argument, launchers: list[Launcher], environment: Mapping, start: int, end: int
) -> Command:
    """torchtune 0.6 ``tune run [torchrun options] RECIPE --config …``: torchrun's options follow the subcommand."""
    subcommand = words.take()
    _launcher("tune run", TORCHRUN, words, launchers, None)
    command = _fill("tune", program, words.rest(), Span(start, end))
    command.launchers, command.environment = launchers, environment
    if isinstance(subcommand.node, Scalar):
        command.positionals.insert(0, subcommand.node)
    command.subcommand = "run"
    return command


def _fill(name: str, program: Argument | None, arguments: list[Argument], span: Span) -> Command:
    program_end = program.span.end if program is not None else span.start
    options = Mapping(Span(program_end, max(program_end, span.end)), [], "options")
    overrides = Mapping(options.span, [], "overrides")
    positionals: list[Scalar] = []
    words = _Words(arguments)
    while words.peek() is not None:
        word = words.take()
        if word.text == "--":
            continue
        if _is_flag(word):
            options.entries.append(_option(word, words))
        elif _is_override(word):
            overrides.entries.append(_keyed(word))
        elif isinstance(word.node, Scalar):
            positionals.append(word.node)
        else:
            positionals.append(_unknown_word(word.node))
    command = Command(name, program.span if program is not None else span, positionals, options, overrides, span)
    command.subcommand = _subcommand(name, arguments)
    return command


def _unknown_word(node: Unknown) -> Scalar:
    """A positional word whose value is not known keeps its place and its source text."""
    return Scalar(node.span, node.text, node.text, Style.COMPUTED)


def _is_override(word: Argument) -> bool:
    return word.tail is not None and _OVERRIDE.match(word.head) is not None


def _option(word: Argument, words: _Words) -> Entry:
    """A flag with the words that belong to it: all up to the next flag or ``key=value``."""
    if word.tail is not None:
        return _flag_with_tail(word)
    if _GLUED.fullmatch(word.head) and isinstance(word.node, Scalar) and word.node.text == word.head:
        return _glued(word)
    values: list[Argument] = []
    while (following := words.peek()) is not None and not _is_flag(following) and not _is_override(following):
        values.append(words.take())
    if not values:
        return _switch(word)
    whole = Span(word.span.start, max(word.span.end, values[-1].span.end))
    if len(values) == 1:
        return Entry(word.head, word.span, values[0].node, whole)
    items: list[Node] = [value.node for value in values]
    return Entry(word.head, word.span, Sequence(Span(values[0].span.start, values[-1].span.end), items, "words"), whole)


def _glued(word: Argument) -> Entry:
    """``-j8``."""
    start = word.head_start + 2
    text = word.head[2:]
    value = float(text) if "." in text else int(text)
    return Entry(
        word.head[:2], Span(word.head_start, start), Scalar(Span(start, word.span.end), text, value), word.span
    )


def _subcommand(name: str, arguments: list[Argument]) -> str | None:
    if not arguments or arguments[0].text is None or _is_flag(arguments[0]) or arguments[0].tail is not None:
        return None
    first = arguments[0].text
    if name.rsplit("/", 1)[-1] in CONSOLE_PROGRAMS or first in SUBCOMMANDS:
        return first
    return None
