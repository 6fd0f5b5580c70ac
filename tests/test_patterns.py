"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import re

import pytest

from vramlint.patterns import later


def test_nothing_is_compiled_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    compiled = re.compile
    monkeypatch.setattr(re, "compile", lambda text, flags=0: seen.append(text) or compiled(text, flags))
    word = later(r"\w+", re.IGNORECASE)
    assert not seen
    assert [found[0] for found in word.finditer("ab cd")] == word.findall("ab cd") == ["ab", "cd"]
    assert word.sub("x", "a b") == "x x"
    assert seen == [r"\w+"]


def test_it_is_a_pattern_in_all_that_is_asked_of_it() -> None:
    pattern, compiled = later(rb"(?P<first>a)|b", re.IGNORECASE), re.compile(rb"(?P<first>a)|b", re.IGNORECASE)
    assert (pattern.pattern, pattern.flags, pattern.groups) == (compiled.pattern, compiled.flags, compiled.groups)
    assert pattern.groupindex == compiled.groupindex
    for text in (b"A", b"b", b"ca"):
        assert bool(pattern.match(text)) == bool(compiled.match(text))
        assert bool(pattern.search(text)) == bool(compiled.search(text))
        assert bool(pattern.fullmatch(text)) == bool(compiled.fullmatch(text))


def test_a_wrong_pattern_says_so_when_it_is_used() -> None:
    with pytest.raises(re.error):
        later("(").match("")
