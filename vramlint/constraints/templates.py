"""The templates: what a row can say, and how it is checked on a run. A value that is unknown makes no finding.

========== ============================================== ====================================================
template   needs                                          finds
========== ============================================== ====================================================
forbids    ``when``                                       every condition of ``when`` holds
requires   ``when``, ``needs``                            ``when`` holds and a condition of ``needs`` does not
accepts    ``key``, ``values``; ``when`` may narrow it    ``key`` does not meet the condition ``values``
exclusive  ``keys``; ``when`` may narrow it               more than one of ``keys`` is set
divides    ``key``, ``by``; ``when`` may narrow it        ``key`` is no multiple of the product of ``by``
equals     ``key``, ``by``; ``when`` may narrow it        ``key`` is not the product of ``by``
exceeds    ``key``, ``by``; ``when`` may narrow it        ``key`` is above the product of ``by``
removed    ``key``; ``instead`` names its successor       ``key`` is set
========== ============================================== ====================================================

A setting is named as its file spells it (``zero_optimization.stage``), and so are the flags of a command line and the
keyword arguments of a call. ``@name`` is a fact of the plan (``@micro_batch``, ``@world_size``), whatever the framework
calls it; ``@run`` is the run's title: the call or program it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from vramlint.constraints.conditions import Answer, every, holds, is_absent
from vramlint.plan import Fact, Origin
from vramlint.rule import Confidence, Run, Severity, Verdict


class Row(NamedTuple):
    """One constraint. ``terms`` are the template's own words (``when``, ``needs``, ``key``, …)."""

    name: str
    template: str
    terms: Mapping[str, Any]
    message: str
    help: str
    severity: Severity
    confidence: Confidence
    source: str
    defaults: Mapping[str, object]
    """What a framework takes where nobody spells a setting."""
    fails: tuple[Mapping[str, Any], ...] = ()
    """Settings with which the row finds something, each laid over the file's ``example``: the row's tests."""
    passes: tuple[Mapping[str, Any], ...] = ()
    example: Mapping[str, Any] = {}
    """What the examples stand in (``vramlint.constraints.examples``)."""
    code: str = ""
    """The rule's code, for a row that is a rule of its own."""
    needs: tuple[str, ...] = ()
    """Settings without which the row finds nothing (``needed_settings``)."""


def verdict_of(row: Row, run: Run) -> Verdict | None:
    """The verdict of ``row`` on ``run``; None where it is met or cannot be decided."""
    for needed in row.needs:
        if is_absent(run.setting(needed)):
            return None
    look = _Look(row, run)
    key = TEMPLATES[row.template].check(row.terms, look)
    if key is None:
        return None
    # What rests on a default may still be set by a launch line that no file shows.
    confidence = Confidence.MEDIUM if look.used_default and row.confidence is Confidence.HIGH else row.confidence
    return Verdict(
        key[1:] if key.startswith("@") else "",
        look.filled(row.message),
        help=f"{look.filled(row.help)} ({row.source})".strip() if row.source else look.filled(row.help),
        severity=row.severity,
        confidence=confidence,
        key="" if key.startswith("@") else key,
    )


def needed_settings(terms: Mapping[str, Any], defaults: Mapping[str, object]) -> tuple[str, ...]:
    """The settings of a row that somebody must spell: those with a condition that does not hold of an absent one, and
    those that the template compares. Most rows are done with for a run by the first of them."""
    conditions = terms.get("when", {})
    asked = [key for key, condition in conditions.items() if holds(condition, _ABSENT) is not True]
    by = terms.get("by", ())
    compared = [terms.get("key"), *(by if isinstance(by, list) else [by])]
    names = (name for name in (*compared, *asked) if isinstance(name, str))
    return tuple(dict.fromkeys(name for name in names if name not in defaults and not name.startswith("@")))


_ABSENT: Fact[Any] = Fact(None, Origin.DEFAULT)


class _Look:
    """Looks settings up for one row, remembering whether a default decided."""

    def __init__(self, row: Row, run: Run) -> None:
        self._run = run
        self._defaults = row.defaults
        self.used_default = False

    def fact(self, key: str) -> Fact[Any]:
        """The value of ``key``: spelled, the framework's default, or unknown."""
        if key == "@run":
            return Fact(self._run.plan.title, Origin.DERIVED)
        if key.startswith("@"):
            return self._run.plan.fact(key[1:])
        found = self._run.setting(key)
        if is_absent(found):
            self.used_default = True
            if key in self._defaults:
                return Fact(self._defaults[key], Origin.DEFAULT)
        return found

    def holds(self, conditions: Mapping[str, object]) -> Answer:
        """Whether all of ``conditions`` hold, by key."""
        return every(holds(condition, self.fact(key)) for key, condition in conditions.items())

    def first_spelled(self, keys: Iterator[str]) -> str:
        """The key to point at: the first that somebody wrote down."""
        names = list(keys)
        return next((key for key in names if self.fact(key).spelled), names[0])

    def filled(self, text: str) -> str:
        """``text`` with ``{key}`` replaced by the value of that setting."""
        return re.sub(r"\{(@?[\w.-]+)\}", lambda match: _shown(self.fact(match[1]).value), text)


def _shown(value: object) -> str:
    if value is None:
        return "unset"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _forbids(terms: Mapping[str, Any], look: _Look) -> str | None:
    return look.first_spelled(iter(terms["when"])) if look.holds(terms["when"]) else None


def _requires(terms: Mapping[str, Any], look: _Look) -> str | None:
    if not look.holds(terms["when"]):
        return None
    missing = [key for key, condition in terms["needs"].items() if holds(condition, look.fact(key)) is False]
    if not missing:
        return None
    return look.first_spelled(iter((*missing, *(key for key in terms["when"] if key != "@run"))))


def _accepts(terms: Mapping[str, Any], look: _Look) -> str | None:
    fact = look.fact(terms["key"])
    narrowed = look.holds(terms.get("when", {}))
    if not narrowed or not fact.known or fact.value is None or holds(terms["values"], fact) is not False:
        return None
    return str(terms["key"])


def _exclusive(terms: Mapping[str, Any], look: _Look) -> str | None:
    given = [key for key in terms["keys"] if (fact := look.fact(key)).spelled and fact.value is not None]
    look.used_default = False  # that a third one is absent decides nothing
    return given[-1] if len(given) > 1 and look.holds(terms.get("when", {})) else None


def _divides(terms: Mapping[str, Any], look: _Look) -> str | None:
    numbers = _numbers(terms, look)
    return str(terms["key"]) if numbers and numbers[1] > 0 and numbers[0] % numbers[1] else None


def _equals(terms: Mapping[str, Any], look: _Look) -> str | None:
    numbers = _numbers(terms, look)
    return str(terms["key"]) if numbers and numbers[0] != numbers[1] else None


def _exceeds(terms: Mapping[str, Any], look: _Look) -> str | None:
    numbers = _numbers(terms, look)
    if numbers is None or numbers[0] <= numbers[1]:
        return None
    by = terms["by"] if isinstance(terms["by"], list) else [terms["by"]]
    return look.first_spelled(iter((terms["key"], *by)))


def _numbers(terms: Mapping[str, Any], look: _Look) -> tuple[int, int] | None:
    """The value of ``key`` and the product of ``by``, where all are whole numbers and ``when`` holds."""
    by = terms["by"] if isinstance(terms["by"], list) else [terms["by"]]
    values = [part if isinstance(part, int) else look.fact(part).value for part in (terms["key"], *by)]
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(numbers) < len(values) or not look.holds(terms.get("when", {})):
        return None
    return numbers[0], prod(numbers[1:])


def _removed(terms: Mapping[str, Any], look: _Look) -> str | None:
    fact = look.fact(terms["key"])
    return str(terms["key"]) if fact.spelled and fact.value is not None and look.holds(terms.get("when", {})) else None


class Template(NamedTuple):
    """A template's check (the key to point at, None where nothing is wrong) and the words it takes."""

    check: Callable[[Mapping[str, Any], _Look], str | None]
    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()


TEMPLATES: Mapping[str, Template] = {
    "forbids": Template(_forbids, ("when",)),
    "requires": Template(_requires, ("when", "needs")),
    "accepts": Template(_accepts, ("key", "values"), ("when",)),
    "exclusive": Template(_exclusive, ("keys",), ("when",)),
    "divides": Template(_divides, ("key", "by"), ("when",)),
    "equals": Template(_equals, ("key", "by"), ("when",)),
    "exceeds": Template(_exceeds, ("key", "by"), ("when",)),
    "removed": Template(_removed, ("key",), ("when", "instead")),
}
