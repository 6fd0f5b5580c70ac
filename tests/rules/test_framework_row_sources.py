"""Every framework row shows its source: a file of the framework and the words of it that the row rests on.

Where the framework is in ``.cache/wheels``, the words are searched for in that file; where it is in no package index,
repository, commit, path and line say where they were read.
"""

from __future__ import annotations

import re

import pytest

from tests.rules.witnesses.archives import found, text_of
from tests.rules.witnesses.quotes import Quoted, quotes_of, stands_in
from tests.rules.witnesses.starts import STARTS
from tests.rules.witnesses.tables import FRAMEWORKS, own_rows


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_row_is_quoted(framework: str) -> None:
    quotes = quotes_of(framework)
    assert {row.name for row in own_rows(framework)} == set(quotes)
    assert [name for name, quoted in quotes.items() if not _is_complete(quoted)] == []


def _is_complete(quoted: Quoted) -> bool:
    published = bool(quoted.archive) and not quoted.commit
    elsewhere = bool(re.fullmatch(r"[0-9a-f]{40}", quoted.commit) and "/" in quoted.repository and quoted.line)
    return published is not elsewhere and bool(quoted.file) and len(quoted.quote.replace("{}", "")) >= 12


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_framework_has_these_words(framework: str) -> None:
    published = {name: quoted for name, quoted in quotes_of(framework).items() if quoted.archive}
    if not published:
        pytest.skip("in no package index: its rows name repository, commit and line")
    missing = {quoted.archive for quoted in published.values() if found(quoted.archive) is None}
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: run tools/fetch_wheels.sh")
    wrong = [
        name for name, quoted in published.items() if not stands_in(quoted.quote, text_of(quoted.archive, quoted.file))
    ]
    assert wrong == []


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_removed_setting_is_gone(framework: str) -> None:
    for row in own_rows(framework):
        quoted = quotes_of(framework)[row.name]
        if row.template == "removed" and quoted.archive and found(quoted.archive) is not None:
            assert not re.search(rf"^\s*{row.terms['key']}\s*[:=]", text_of(quoted.archive, quoted.file), re.MULTILINE)


def test_how_many_rows_are_executed(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the rows that a framework executes, those that are quoted alone, and those that are neither: none."""
    counts = {"executed": 0, "quoted": 0, "neither": 0}
    for framework in FRAMEWORKS:
        quotes, start = quotes_of(framework), STARTS.get(framework)
        for row in own_rows(framework):
            executed = start is not None and row.name not in start.unreached
            counts["executed" if executed else "quoted" if row.name in quotes else "neither"] += 1
    with capsys.disabled():
        print(
            f"\nframework rows: {counts['executed']} executed, {counts['quoted']} quoted, {counts['neither']} neither"
        )
    assert counts["neither"] == 0
    assert counts["executed"] > 3 * counts["quoted"]
