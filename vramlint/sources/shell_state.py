"""What a script has set by now: its variables, which of them are exported, and what words are worth with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from vramlint.sources.model import Entry, Scalar, Span, Style, Unknown
from vramlint.sources.shell_inner import unquoted
from vramlint.sources.shell_variables import MAX_WORDS, Argument, Binding, Expander, Valued, Variables, typed
from vramlint.sources.shell_words import Part, Word

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\[[^\]]*\])?(\+?)=")
_USED = re.compile(r"\$\{?([A-Za-z_]\w*)")
_DEFAULTED = re.compile(r"\b([A-Za-z_]\w*)=\"?\$\{\1:?[-=]")
"""``BATCH=${BATCH:-8}`` reads the variable only to keep what the caller gave."""


def _given(text: str) -> Binding:
    """A variable of the environment: of nobody's own spelling, so nothing edits it."""
    return Binding(Valued(Scalar(Span(0, 0), text, typed(text), Style.COMPUTED, shared=True), text))


class State:
    """The variables of ``text[start:end]``. ``variables`` is the innermost scope, which blocks replace and put back."""

    def __init__(self, text: str, start: int, end: int, path: str, known: Mapping[str, str] | None = None) -> None:
        """``known`` are variables that the script is started with; they have no place in its text."""
        uses = Counter(found.group(1) for found in _USED.finditer(text, start, end))
        uses.subtract(found.group(1) for found in _DEFAULTED.finditer(text, start, end))
        self._expander = Expander(text, uses, path)
        self.variables = Variables(None, {name: _given(value) for name, value in (known or {}).items()})
        self.exported: dict[str, Entry] = {}

    def continue_from(self, other: State) -> None:
        """Begin with all that ``other`` has set; how often a variable is used is counted in all of its text."""
        self._expander = other._expander
        self.variables, self.exported = Variables(other.variables), dict(other.exported)

    def expand(self, words: list[Word]) -> list[Argument]:
        """``words`` as arguments, with the variables known by now; nothing where they are too many to be meant."""
        arguments: list[Argument] = []
        for word in words:
            arguments.extend(self._expander.arguments(word, self.variables))
            if len(arguments) > MAX_WORDS:
                return []
        return arguments

    def read_again(self, word: Word) -> list[Argument]:
        """A word as ``eval`` reads it: a variable splits into its words, quoted or not."""
        named = word.pieces[0] if len(word.pieces) == 1 and word.pieces[0].part is not Part.LITERAL else None
        binding = self.variables.find(named.text) if named is not None else None
        if binding is not None and binding.words is not None:
            return [unquoted(each) for each in binding.words]
        return self.expand([word])

    def bind(self, name: str, binding: Binding, variables: Variables | None = None) -> None:
        """Set ``name`` in ``variables``, the innermost scope where none is given."""
        (variables or self.variables).values[name] = binding
        if name in self.exported:
            old = self.exported[name]
            self.exported[name] = Entry(name, old.key_span, binding.value.node, old.span)

    def forget(self, name: str, span: Span, text: str, reason: str) -> None:
        """From here on nobody knows what ``name`` is worth."""
        self.variables.values[name] = Binding(Valued(Unknown(span, text, reason), None))

    def read(self, word: Word, body: Span | None) -> None:
        """``read NAME``: the words of a here document, nothing known where there is none."""
        if body is None:
            unknown = Unknown(word.span, word.text, f"${word.text} is read at run time")
            self.bind(word.text, Binding(Valued(unknown, None)))
            return
        unknown = Unknown(word.span, word.text, "a here document")
        self.bind(word.text, Binding(Valued(unknown, None), self._expander.words_in(body, self.variables)))

    def export(self, word: Word) -> None:
        """Export a variable by its name alone."""
        binding = self.variables.find(word.text)
        if binding is not None:
            self.exported[word.text] = Entry(word.text, word.span, binding.value.node, word.span)

    def assign(self, word: Word) -> Entry | None:
        """Carry out ``NAME=value``; its entry, None where ``word`` is nothing of the kind."""
        found = ASSIGNMENT.match(word.text)
        if found is None:
            return None
        name, subscript, append = found.groups()
        start = word.span.start + found.end()
        binding = self._expander.assignment(word, start, self.variables)
        if subscript:
            unknown = Unknown(word.span, word.text, "an item of an array")
            binding = Binding(Valued(unknown, None))
        elif append:
            binding = self._appended(name, binding, word)
        self.variables.values[name] = binding
        entry = Entry(name, Span(word.span.start, word.span.start + len(name)), binding.value.node, word.span)
        if name in self.exported:
            self.exported[name] = entry
        return entry

    def assign_array(self, word: Word, items: list[Word]) -> None:
        """Carry out ``NAME=(words)`` and ``NAME+=(words)``."""
        found = ASSIGNMENT.match(word.text)
        if found is None:
            return
        arguments = self.expand(items)
        name = found.group(1)
        before = self.variables.find(name)
        if found.group(3) and before is not None and before.words is not None:
            arguments = [*before.words, *arguments]
        if len(arguments) > MAX_WORDS:
            arguments = []
        end = items[-1].span.end if items else word.span.end
        unknown = Unknown(Span(word.span.start, end), word.text, "an array")
        self.variables.values[name] = Binding(Valued(unknown, None), arguments)

    def _appended(self, name: str, more: Binding, word: Word) -> Binding:
        before = self.variables.find(name)
        unknown = Unknown(word.span, word.text, f"${name} is put together")
        if before is None or before.words is None:
            return Binding(Valued(unknown, None))
        added = more.words
        if added is None and isinstance(more.value.node, Scalar):
            node = more.value.node
            added = [Argument(node.span, more.value.text or "", node.span.start, more.value.text, node)]
        words = [*before.words, *(added or [])]
        return Binding(Valued(unknown, None), words if len(words) <= MAX_WORDS else None)
