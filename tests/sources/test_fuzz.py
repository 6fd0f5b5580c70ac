"""A few hundred cases of ``tools/fuzz.py``; a long run is ``python tools/fuzz.py --minutes 30``."""

from __future__ import annotations

import collections
from random import Random

import pytest

from tools.fuzz import run_case
from tools.fuzz_cases import Seeds, make_case
from vramlint import sources
from vramlint.sources.model import Syntax

NO_FILES: Seeds = {syntax: [] for syntax in Syntax}
"""Generated seeds alone, so that the cases are the same wherever the test runs."""


def test_spoilt_files_are_read_or_refused() -> None:
    outcomes: collections.Counter[str] = collections.Counter()
    findings: list[str] = []
    for number in range(400):
        result = run_case(*make_case(11, number, NO_FILES), Random(number))
        outcomes[result.outcome] += 1
        if result.finding:
            findings.append(f"case {number}: {result.finding}")
    assert not findings, "\n".join(findings[:5])
    assert outcomes["read"] > 100
    assert outcomes["SourceError"] > 100


def test_cases_come_again() -> None:
    assert make_case(3, 17, NO_FILES) == make_case(3, 17, NO_FILES)
    assert make_case(3, 17, NO_FILES) != make_case(4, 17, NO_FILES)


@pytest.mark.parametrize("error", [ValueError("broken"), RecursionError(), MemoryError()])
def test_a_crash_is_a_finding(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(sources, "read", broken)
    result = run_case(Syntax.YAML, b"a: 1\n", Random(0))
    assert result.outcome == "crash"
    assert type(error).__name__ in result.finding
