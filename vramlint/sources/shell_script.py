"""Follows a script in order: assignments, exports, branches, loops, and each command with what is known there.

A variable that is set in a branch is known inside it and unknown behind it, unless every way through sets it alike.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vramlint.errors import SourceError
from vramlint.sources.model import Command, Entry, Scalar, Span, Style, Unknown
from vramlint.sources.shell_commands import build
from vramlint.sources.shell_inner import mark_shared, quotation, shell_text, simple_commands, started_by
from vramlint.sources.shell_variables import MAX_WORDS, Argument, Binding, Expander, Valued, Variables, typed
from vramlint.sources.shell_words import NEWLINE, Lexer, Operator, Part, Token, Word

MAX_BLOCKS = 100
"""Nesting of ``if``, ``for``, ``{`` and ``(`` that is followed."""

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\[[^\]]*\])?(\+?)=")
_USED = re.compile(r"\$\{?([A-Za-z_]\w*)")
_DEFAULTED = re.compile(r"\b([A-Za-z_]\w*)=\"?\$\{\1:?[-=]")
"""``BATCH=${BATCH:-8}`` reads the variable only to keep what the caller gave."""
_LOOPS = frozenset({"while", "until", "for", "select"})
_Mark = tuple[int, int, str]
"""A token that matters to a loop: its number, 1 and -1 where a loop begins and ends, and the variable it sets."""

_DECLARING = frozenset({"export", "declare", "typeset", "readonly", "local"})
_REDIRECT = re.compile(r"\d*(?:[<>]|&>)")


def _given(text: str) -> Binding:
    """A variable of the environment: of nobody's own spelling, so nothing edits it."""
    return Binding(Valued(Scalar(Span(0, 0), text, typed(text), Style.COMPUTED, shared=True), text))


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
        uses = Counter(found.group(1) for found in _USED.finditer(text, start, end))
        uses.subtract(found.group(1) for found in _DEFAULTED.finditer(text, start, end))
        self._expander = Expander(text, uses, path)
        self._tokens: list[Token] = []
        self._at = 0
        self._marks: list[_Mark] | None = None
        self._variables = Variables(None, {name: _given(value) for name, value in (known or {}).items()})
        self._blocks: list[Block] = []
        self._exported: dict[str, Entry] = {}
        self.settings: list[Entry] = []
        self.commands: list[Command] = []

    @property
    def comments(self) -> list[Span]:
        return self._lexer.comments

    def expand(self, words: list[Word]) -> list[Argument]:
        """``words`` as arguments, with the variables known by now; nothing where they are too many to be meant."""
        arguments: list[Argument] = []
        for word in words:
            arguments.extend(self._expander.arguments(word, self._variables))
            if len(arguments) > MAX_WORDS:
                return []
        return arguments

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
                self._open(Block("(", self._variables))
                self._branch()
            case ")":
                self._close("(")
            case ";;" | ";&" | ";;&":
                block = self._top("case")
                if block is not None:
                    self._variables = block.outer
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
        self._variables = block.branches[-1]

    def _close(self, *kinds: str) -> None:
        block = self._top(*kinds)
        if block is None:
            return
        self._blocks.pop()
        self._variables = block.outer
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
                self._bind(name, Binding(Valued(unsure, None)), block.outer)
            else:
                block.outer.values[name] = first

    def _if(self, _: Word) -> None:
        self._open(Block("if", self._variables))

    def _then(self, _: Word) -> None:
        if self._top("if") is not None:
            self._branch()

    def _elif(self, _: Word) -> None:
        if (block := self._top("if")) is not None:
            self._variables = block.outer

    def _else(self, _: Word) -> None:
        if (block := self._top("if")) is not None:
            block.has_else = True
            self._branch()

    def _fi(self, _: Word) -> None:
        self._close("if")

    def _while(self, _: Word) -> None:
        self._open(Block("loop", self._variables))
        self._branch()
        self._forget_until_done()

    def _for(self, _: Word) -> None:
        self._open(Block("loop", self._variables))
        self._branch()
        self._forget_until_done()
        if self._at < len(self._tokens) and isinstance(name := self._tokens[self._at], Word):
            unknown = Unknown(name.span, name.text, f"${name.text} changes in a loop")
            self._variables.values[name.text] = Binding(Valued(unknown, None))
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
            if self._variables.find(name) is not None:
                token = self._tokens[index]
                unknown = Unknown(token.span, token.text, f"${name} changes in a loop")
                self._variables.values[name] = Binding(Valued(unknown, None))

    def _do(self, _: Word) -> None:
        return

    def _done(self, _: Word) -> None:
        self._close("loop")

    def _case(self, _: Word) -> None:
        self._open(Block("case", self._variables))
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
        self._open(Block("{", self._variables, has_else=True))
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
            self._open(Block("function", self._variables))
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
            self._assign_array(name, items)
        if words and words[0].text == "read" and fed is not None:
            self._read(words, fed)
        elif words:
            self._command(words)

    def _opens_array(self, word: Word, token: Operator) -> bool:
        return word.span.end == token.span.start and _ASSIGNMENT.fullmatch(word.text) is not None

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

    def _assign_array(self, word: Word, items: list[Word]) -> None:
        found = _ASSIGNMENT.match(word.text)
        if found is None:
            return
        arguments = self.expand(items)
        name = found.group(1)
        before = self._variables.find(name)
        if found.group(3) and before is not None and before.words is not None:
            arguments = [*before.words, *arguments]
        if len(arguments) > MAX_WORDS:
            arguments = []
        end = items[-1].span.end if items else word.span.end
        unknown = Unknown(Span(word.span.start, end), word.text, "an array")
        self._variables.values[name] = Binding(Valued(unknown, None), arguments)

    def _command(self, words: list[Word]) -> None:
        leading = [word for word in words if _ASSIGNMENT.match(word.text)]
        if len(leading) == len(words):
            for word in words:
                self._assign(word)
            return
        name = words[0].text
        if name in _DECLARING:
            self._declare(words)
            return
        if name in ("read", "unset", "mapfile", "getopts"):
            for word in words[1:]:
                unknown = Unknown(word.span, word.text, f"${word.text} is read at run time")
                self._bind(word.text, Binding(Valued(unknown, None)), self._variables)
            return
        inner = shell_text(words)
        if inner is not None:
            self._inside(inner.front, [inner.text])
        elif name == "eval":
            self._inside([], words[1:])
        else:
            self._add(self.expand(words), words[-1].span.end)

    def _add(self, arguments: list[Argument], end: int) -> None:
        command = build(arguments, self._exported.values(), end) if arguments else None
        if command is not None:
            self.commands.append(command)

    def _read(self, words: list[Word], body: Span) -> None:
        """``read -r -d '' NAME <<EOF``: the variable is the here document, and splits into words where it is used."""
        name = words[-1]
        unknown = Unknown(name.span, name.text, "a here document")
        whole = any(word.text.startswith("-") and word.text.endswith("d") for word in words)
        split = self._expander.words_in(body, self._variables) if whole else None
        self._bind(name.text, Binding(Valued(unknown, None), split), self._variables)

    def _inside(self, front: list[Word], texts: list[Word]) -> None:
        """The commands in the text that ``eval`` or the shell behind ``front`` reads."""
        first = len(self.commands)
        span = quotation(texts[0]) if len(texts) == 1 else None
        if span is not None:
            self._script_inside(span)
        else:
            for words in simple_commands([each for text in texts for each in self._read_again(text)]):
                self._add(words, words[-1].span.end if words else 0)
        outer = build(self.expand(front), (), front[-1].span.end) if front else None
        if outer is not None:
            self.commands[first:] = [started_by(outer, command) for command in self.commands[first:]]

    def _script_inside(self, span: Span) -> None:
        inner = Script(self._text, span.start, span.end, self._path)
        inner._variables, inner._exported = Variables(self._variables), dict(self._exported)
        inner.run()
        self.commands += inner.commands

    def _read_again(self, word: Word) -> list[Argument]:
        """A word as ``eval`` reads it: a variable splits into its words, quoted or not."""
        named = word.pieces[0] if len(word.pieces) == 1 and word.pieces[0].part is not Part.LITERAL else None
        binding = self._variables.find(named.text) if named is not None else None
        if binding is not None and binding.words is not None:
            return binding.words
        return self.expand([word])

    def _declare(self, words: list[Word]) -> None:
        exporting = words[0].text == "export" or any(word.text.startswith("-") and "x" in word.text for word in words)
        for word in words[1:]:
            entry = self._assign(word)
            if not exporting:
                continue
            if entry is not None:
                self._exported[entry.key] = entry
            elif (binding := self._variables.find(word.text)) is not None:
                self._exported[word.text] = Entry(word.text, word.span, binding.value.node, word.span)

    def _assign(self, word: Word) -> Entry | None:
        """Carry out ``NAME=value``; its entry, None where ``word`` is nothing of the kind."""
        found = _ASSIGNMENT.match(word.text)
        if found is None:
            return None
        name, subscript, append = found.groups()
        start = word.span.start + found.end()
        binding = self._expander.assignment(word, start, self._variables)
        if subscript:
            unknown = Unknown(word.span, word.text, "an item of an array")
            binding = Binding(Valued(unknown, None))
        elif append:
            binding = self._appended(name, binding, word)
        self._variables.values[name] = binding
        entry = Entry(name, Span(word.span.start, word.span.start + len(name)), binding.value.node, word.span)
        if not self._blocks:
            self.settings.append(entry)
        if name in self._exported:
            self._exported[name] = entry
        return entry

    def _appended(self, name: str, more: Binding, word: Word) -> Binding:
        before = self._variables.find(name)
        unknown = Unknown(word.span, word.text, f"${name} is put together")
        if before is None or before.words is None:
            return Binding(Valued(unknown, None))
        added = more.words
        if added is None and isinstance(more.value.node, Scalar):
            node = more.value.node
            added = [Argument(node.span, more.value.text or "", node.span.start, more.value.text, node)]
        words = [*before.words, *(added or [])]
        return Binding(Valued(unknown, None), words if len(words) <= MAX_WORDS else None)

    def _bind(self, name: str, binding: Binding, variables: Variables) -> None:
        variables.values[name] = binding
        if name in self._exported:
            old = self._exported[name]
            self._exported[name] = Entry(name, old.key_span, binding.value.node, old.span)


def _loop_marks(tokens: list[Token]) -> list[_Mark]:
    """The tokens that loops look ahead for, found once: loops inside loops would look through the script each."""
    marks: list[_Mark] = []
    for index, token in enumerate(tokens):
        if token.text in _LOOPS:
            marks.append((index, 1, ""))
        elif token.text == "done":
            marks.append((index, -1, ""))
        elif isinstance(token, Word) and (found := _ASSIGNMENT.match(token.text)):
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
