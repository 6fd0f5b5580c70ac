"""Follows a script in order: assignments, exports, branches, loops, and each command with what is known there.

A variable that is set in a branch is known inside it and unknown behind it, unless every way through sets it alike.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vramlint.errors import SourceError
from vramlint.sources.model import Command, Entry, Span, Unknown
from vramlint.sources.shell_commands import build
from vramlint.sources.shell_inner import (
    is_command,
    mark_shared,
    quotation,
    shell_text,
    simple_commands,
    started_by,
    unquoted,
)
from vramlint.sources.shell_state import ASSIGNMENT, State
from vramlint.sources.shell_variables import Argument, Binding, Valued, Variables
from vramlint.sources.shell_words import NEWLINE, Lexer, Operator, Token, Word

MAX_BLOCKS = 100
"""Nesting of ``if``, ``for``, ``{`` and ``(`` that is followed."""

_LOOPS = frozenset({"while", "until", "for", "select"})
_Mark = tuple[int, int, str]
"""A token that matters to a loop: its number, 1 and -1 where a loop begins and ends, and the variable it sets."""

_DECLARING = frozenset({"export", "declare", "typeset", "readonly", "local"})
_REDIRECT = re.compile(r"\d*(?:[<>]|&>)")


@dataclass(slots=True, eq=False)
class Block:
    """An open compound command. ``outer`` are the variables around it, ``branches`` those of each way through."""

    kind: str
    outer: Variables
    branches: list[Variables] = field(default_factory=list)
    has_else: bool = False
    in_pattern: bool = False


class Script:
    """The commands and variables of ``text[start:end]``."""

    def __init__(self, text: str, start: int, end: int, path: str, known: Mapping[str, str] | None = None) -> None:
        """``known`` are variables that the script is started with; they have no place in its text."""
        self._text = text
        self._path = path
        self._lexer = Lexer(text, start, end, path)
        self._state = State(text, start, end, path, known)
        self._tokens: list[Token] = []
        self._at = 0
        self._marks: list[_Mark] | None = None
        self._blocks: list[Block] = []
        self.settings: list[Entry] = []
        self.commands: list[Command] = []

    @property
    def comments(self) -> list[Span]:
        return self._lexer.comments

    def expand(self, words: list[Word]) -> list[Argument]:
        """``words`` as arguments, with the variables known by now."""
        return self._state.expand(words)

    def run(self) -> None:
        """Read everything. Raises SourceError for an unclosed quote and for blocks nested beyond reason."""
        self._tokens = self._lexer.tokens()
        while self._at < len(self._tokens):
            if self._blocks and self._blocks[-1].in_pattern:
                self._pattern()
                continue
            token = self._tokens[self._at]
            if isinstance(token, Operator):
                self._operator(token)
            else:
                self._statement(token)
        mark_shared(self.commands)

    def _operator(self, token: Operator) -> None:
        self._at += 1
        match token.text:
            case "(":
                self._open(Block("(", self._state.variables))
                self._branch()
            case ")":
                self._close("(")
            case ";;" | ";&" | ";;&":
                block = self._top("case")
                if block is not None:
                    self._state.variables = block.outer
                    block.in_pattern = True
            case redirect if _REDIRECT.match(redirect):
                self._at += 1  # a redirection in front of a command: its word is no program
            case _:
                return

    def _statement(self, word: Word) -> None:
        keyword = _KEYWORDS.get(word.text)
        if keyword is not None:
            self._at += 1
            keyword(self, word)
            return
        self._simple()

    # Compound commands

    def _open(self, block: Block) -> None:
        if len(self._blocks) >= MAX_BLOCKS:
            line = self._text.count("\n", 0, self._tokens[self._at - 1].span.start) + 1
            raise SourceError("the script is nested too deeply to read", path=self._path, line=line)
        self._blocks.append(block)

    def _top(self, *kinds: str) -> Block | None:
        return self._blocks[-1] if self._blocks and self._blocks[-1].kind in kinds else None

    def _branch(self) -> None:
        block = self._blocks[-1]
        block.branches.append(Variables(block.outer))
        self._state.variables = block.branches[-1]

    def _close(self, *kinds: str) -> None:
        block = self._top(*kinds)
        if block is None:
            return
        self._blocks.pop()
        self._state.variables = block.outer
        if block.kind != "(":
            self._join(block)

    def _join(self, block: Block) -> None:
        """Behind a compound command: a variable stays known where every way through agrees."""
        ways = block.branches if block.has_else else [*block.branches, Variables()]
        for name in {name: None for branch in block.branches for name in branch.values}:
            before = block.outer.find(name)
            bindings = [branch.values.get(name, before) for branch in ways]
            texts = {None if binding is None else binding.value.text for binding in bindings}
            first = next(binding for binding in bindings if binding is not None)
            if None in texts or len(texts) > 1 or first.words is not None:
                node = first.value.node
                unsure = Unknown(node.span, node.text, f"${name} is set under a condition")
                self._state.bind(name, Binding(Valued(unsure, None)), block.outer)
            else:
                block.outer.values[name] = first

    def _if(self, _: Word) -> None:
        self._open(Block("if", self._state.variables))

    def _then(self, _: Word) -> None:
        if self._top("if") is not None:
            self._branch()

    def _elif(self, _: Word) -> None:
        if (block := self._top("if")) is not None:
            self._state.variables = block.outer

    def _else(self, _: Word) -> None:
        if (block := self._top("if")) is not None:
            block.has_else = True
            self._branch()

    def _fi(self, _: Word) -> None:
        self._close("if")

    def _while(self, _: Word) -> None:
        self._open(Block("loop", self._state.variables))
        self._branch()
        self._forget_until_done()

    def _for(self, _: Word) -> None:
        self._open(Block("loop", self._state.variables))
        self._branch()
        self._forget_until_done()
        if self._at < len(self._tokens) and isinstance(name := self._tokens[self._at], Word):
            self._state.forget(name.text, name.span, name.text, f"${name.text} changes in a loop")
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if (isinstance(token, Operator) and token.text in (";", NEWLINE)) or token.text == "do":
                return
            self._at += 1

    def _forget_until_done(self) -> None:
        """Variables that the loop's body sets are unknown in it until they are set there."""
        if self._marks is None:
            self._marks = _loop_marks(self._tokens)
        depth = 1
        seen: set[str] = set()
        for number in range(bisect.bisect_left(self._marks, (self._at, -1, "")), len(self._marks)):
            index, step, name = self._marks[number]
            depth += step
            if depth == 0:
                return
            if step or name in seen:
                continue
            seen.add(name)
            if self._state.variables.find(name) is not None:
                token = self._tokens[index]
                self._state.forget(name, token.span, token.text, f"${name} changes in a loop")

    def _do(self, _: Word) -> None:
        return

    def _done(self, _: Word) -> None:
        self._close("loop")

    def _case(self, _: Word) -> None:
        self._open(Block("case", self._state.variables))
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.text == "in":
                self._blocks[-1].in_pattern = True
                return

    def _pattern(self) -> None:
        """Between ``in`` or ``;;`` and the ``)`` of the next pattern."""
        block = self._blocks[-1]
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.text == "esac":
                block.in_pattern = False
                self._close("case")
                return
            if isinstance(token, Operator) and token.text == ")":
                block.in_pattern = False
                self._branch()
                return

    def _esac(self, _: Word) -> None:
        self._close("case")

    def _brace(self, _: Word) -> None:
        self._open(Block("{", self._state.variables, has_else=True))
        self._branch()

    def _end_brace(self, _: Word) -> None:
        self._close("{", "function")

    def _function(self, _: Word) -> None:
        """``function name [()] {``: the body may run later, or never."""
        self._at += 1
        self._function_body()

    def _function_body(self) -> None:
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if isinstance(token, Operator) and token.text in ("(", ")", NEWLINE):
                self._at += 1
                continue
            break
        if self._at < len(self._tokens) and self._tokens[self._at].text == "{":
            self._at += 1
            self._open(Block("function", self._state.variables))
            self._branch()

    def _test(self, _: Word) -> None:
        """``[[ … ]]``: its operators are not the shell's."""
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.text == "]]":
                return

    def _nothing(self, _: Word) -> None:
        return

    # Simple commands

    def _simple(self) -> None:
        words: list[Word] = []
        arrays: list[tuple[Word, list[Word]]] = []
        fed: Span | None = None
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if isinstance(token, Word):
                self._at += 1
                words.append(token)
                continue
            if token.text == "(" and words and self._opens_array(words[-1], token):
                arrays.append((words.pop(), self._array()))
                continue
            if token.text == "(" and len(words) == 1:
                self._at += 1
                self._function_body()
                return
            if not _REDIRECT.match(token.text):
                break
            fed = self._lexer.bodies.get(token.span.start, fed)
            self._at += 2
        for name, items in arrays:
            self._state.assign_array(name, items)
        if words:
            self._command(words, fed)

    def _opens_array(self, word: Word, token: Operator) -> bool:
        return word.span.end == token.span.start and ASSIGNMENT.fullmatch(word.text) is not None

    def _array(self) -> list[Word]:
        self._at += 1
        items: list[Word] = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if isinstance(token, Word):
                items.append(token)
            elif token.text == ")":
                break
        return items

    def _command(self, words: list[Word], fed: Span | None) -> None:
        """One simple command; ``fed`` is the here document that it reads."""
        leading = [word for word in words if ASSIGNMENT.match(word.text)]
        if len(leading) == len(words):
            for word in words:
                self._assign(word)
            return
        name = words[0].text
        if name in _DECLARING:
            self._declare(words)
            return
        if name in ("read", "unset", "mapfile", "getopts"):
            # Only ``read -d ''`` reads the whole here document, and only into the last name.
            whole = any(word.text.startswith("-") and word.text.endswith("d") for word in words)
            for word in words[1:]:
                self._state.read(word, fed if whole and word is words[-1] else None)
            return
        inner = shell_text(words)
        if inner is not None:
            self._inside(inner.front, [inner.text])
        elif name == "eval":
            self._inside([], words[1:])
        else:
            self._expanded(words)

    def _expanded(self, words: list[Word]) -> None:
        """A command with its variables put in; their operators and quotes count where another shell puts them in."""
        arguments = self.expand(words)
        if not self._lexer.read_before:
            self._add(arguments, words[-1].span.end)
            return
        for command in simple_commands([unquoted(each) for each in arguments]):
            self._add(command, words[-1].span.end)

    def _add(self, arguments: list[Argument], end: int) -> None:
        command = build(arguments, self._state.exported.values(), end) if arguments else None
        if command is not None:
            self.commands.append(command)

    def _inside(self, front: list[Word], texts: list[Word]) -> None:
        """The commands in the text that ``eval`` or the shell behind ``front`` reads."""
        first = len(self.commands)
        span = quotation(texts[0]) if len(texts) == 1 else None
        if span is not None:
            self._script_inside(span)
        else:
            for words in simple_commands([each for text in texts for each in self._state.read_again(text)]):
                if is_command(words):
                    self._add(words, words[-1].span.end)
        outer = build(self.expand(front), (), front[-1].span.end) if front else None
        if outer is not None:
            self.commands[first:] = [started_by(outer, command) for command in self.commands[first:]]

    def _script_inside(self, span: Span) -> None:
        inner = Script(self._text, span.start, span.end, self._path)
        inner._lexer.read_before = self._text[span.start - 1] == '"'
        inner._state.continue_from(self._state)
        inner.run()
        self.commands += inner.commands

    def _assign(self, word: Word) -> Entry | None:
        """Carry out an assignment; outside of blocks it is a setting of the script."""
        entry = self._state.assign(word)
        if entry is not None and not self._blocks:
            self.settings.append(entry)
        return entry

    def _declare(self, words: list[Word]) -> None:
        exporting = words[0].text == "export" or any(word.text.startswith("-") and "x" in word.text for word in words)
        for word in words[1:]:
            entry = self._assign(word)
            if not exporting:
                continue
            if entry is not None:
                self._state.exported[entry.key] = entry
            else:
                self._state.export(word)


def _loop_marks(tokens: list[Token]) -> list[_Mark]:
    """The tokens that loops look ahead for, found once: loops inside loops would look through the script each."""
    marks: list[_Mark] = []
    for index, token in enumerate(tokens):
        if token.text in _LOOPS:
            marks.append((index, 1, ""))
        elif token.text == "done":
            marks.append((index, -1, ""))
        elif isinstance(token, Word) and (found := ASSIGNMENT.match(token.text)):
            marks.append((index, 0, found.group(1)))
    return marks


_KEYWORDS: dict[str, Callable[[Script, Word], None]] = {
    "if": Script._if,
    "then": Script._then,
    "elif": Script._elif,
    "else": Script._else,
    "fi": Script._fi,
    "while": Script._while,
    "until": Script._while,
    "for": Script._for,
    "select": Script._for,
    "do": Script._do,
    "done": Script._done,
    "case": Script._case,
    "esac": Script._esac,
    "{": Script._brace,
    "}": Script._end_brace,
    "function": Script._function,
    "[[": Script._test,
    "!": Script._nothing,
    "time": Script._nothing,
}
