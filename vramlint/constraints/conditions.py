"""What a row may ask of one value. The answer is True, False, or None where the files do not decide it.

A condition is a plain value (equal to it) or a mapping of the words below, which all have to hold::

    bf16: true                     equal; true and "true" are the same, 1 and true are not
    adapter: {set: true}           spelled, and not null
    deepspeed: {truthy: true}      what Python takes as true; a setting that nobody spells is false
    precision: {in: [16, bf16]}    one of these; not_in: none of them
    dtype: {not: fp16}             anything else
    micro_batch: {above: 1}        at_least, at_most, above, below: numbers
    optim: {matches: "8bit"}       a regular expression, searched in a text; not_matches
    logging_steps: {whole: true}   a number without a fraction
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vramlint.patterns import later
from vramlint.plan import Fact, Origin

Answer = bool | None

_DEFAULT = Origin.DEFAULT

_NUMBER = later(r"[+-]?[\d._]+(?:[eE][+-]?\d+)?")
"""A text that some loaders make a number of: whether they do is the framework's affair, so the answer is unknown."""


def holds(condition: object, fact: Fact[Any]) -> Answer:
    """Whether ``condition`` holds for the value of ``fact``."""
    if not isinstance(condition, dict):
        return _decided(fact, lambda: _equal(condition, fact.value))
    return every(_WORDS[word](fact, argument) for word, argument in condition.items())


def every(answers: Iterable[Answer]) -> Answer:
    """True where all are, False where one is, None where it depends on an unknown one."""
    unknown = False
    for answer in answers:
        if answer is False:
            return False
        unknown = unknown or answer is None
    return None if unknown else True


def is_absent(fact: Fact[Any]) -> bool:
    """Whether nobody spells the setting and no default of it is known."""
    return fact.value is None and fact.origin is _DEFAULT


def wrong_condition(condition: object) -> str | None:
    """Why ``condition`` is none, in words; None where it is one."""
    if not isinstance(condition, dict):
        return "a list is no condition; write {in: [...]}" if isinstance(condition, list) else None
    for word, argument in condition.items():
        if word not in _WORDS:
            return f"unknown condition {word!r}; known: {', '.join(sorted(_WORDS))}"
        problem = _wrong_argument(str(word), argument)
        if problem:
            return f"{word}: {problem}"
    return None if condition else "an empty condition"


def _decided(fact: Fact[Any], answer: Callable[[], Answer]) -> Answer:
    """``answer`` for a value that is known; an absent one says nothing but that it is absent."""
    return None if not fact.known or is_absent(fact) else answer()


def _equal(wanted: object, value: object) -> Answer:
    if isinstance(wanted, bool):
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return (value.lower() == "true") is wanted
        return None if value in (0, 1) and not isinstance(value, bool) else value is wanted
    if isinstance(wanted, (int, float)):
        if isinstance(value, str):
            return None if _NUMBER.fullmatch(value.strip()) else False
        return not isinstance(value, bool) and value == wanted
    return value == wanted


def _among(value: object, items: Iterable[object]) -> Answer:
    answers = [_equal(item, value) for item in items]
    if any(answers):
        return True
    return None if None in answers else False


def _is_set(fact: Fact[Any], wanted: object) -> Answer:
    if not fact.known:
        return None
    return (fact.spelled and fact.value is not None) is bool(wanted)


def _truthy(fact: Fact[Any], wanted: object) -> Answer:
    if not fact.known:
        return None
    value = fact.value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        value = value.lower() == "true"
    return bool(value) is bool(wanted)


def _negated(answer: Answer) -> Answer:
    return None if answer is None else not answer


def _compared(compare: Callable[[float, float], bool]) -> Callable[[Fact[Any], Any], Answer]:
    def answer(fact: Fact[Any], bound: Any) -> Answer:
        value = fact.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        return compare(value, bound)

    return answer


def _matches(fact: Fact[Any], pattern: Any) -> Answer:
    return _decided(fact, lambda: isinstance(fact.value, str) and re.search(pattern, fact.value) is not None)


def _whole(fact: Fact[Any], wanted: Any) -> Answer:
    value = fact.value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value).is_integer() is bool(wanted)


_WORDS: dict[str, Callable[[Fact[Any], Any], Answer]] = {
    "set": _is_set,
    "truthy": _truthy,
    "not": lambda fact, wanted: _decided(fact, lambda: _negated(_equal(wanted, fact.value))),
    "in": lambda fact, items: _decided(fact, lambda: _among(fact.value, items)),
    "not_in": lambda fact, items: _decided(fact, lambda: _negated(_among(fact.value, items))),
    "at_least": _compared(lambda value, bound: value >= bound),
    "at_most": _compared(lambda value, bound: value <= bound),
    "above": _compared(lambda value, bound: value > bound),
    "below": _compared(lambda value, bound: value < bound),
    "matches": _matches,
    "not_matches": lambda fact, pattern: _negated(_matches(fact, pattern)),
    "whole": _whole,
}
_NUMBERS = ("at_least", "at_most", "above", "below")


def _wrong_argument(word: str, argument: object) -> str:
    if word in ("in", "not_in") and not isinstance(argument, Sequence | set):
        return "expected a list"
    if word in ("in", "not_in") and isinstance(argument, str):
        return "expected a list"
    if word in _NUMBERS and (isinstance(argument, bool) or not isinstance(argument, (int, float))):
        return "expected a number"
    if word in ("set", "truthy", "whole") and not isinstance(argument, bool):
        return "expected true or false"
    return _wrong_pattern(argument) if word in ("matches", "not_matches") else ""


def _wrong_pattern(argument: object) -> str:
    if not isinstance(argument, str):
        return "expected a regular expression"
    try:
        re.compile(argument)
    except re.error as error:
        return f"not a regular expression: {error}"
    return ""
